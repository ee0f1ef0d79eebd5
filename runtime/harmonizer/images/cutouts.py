"""Files of a cut-out and of a background, as one composite: what `load_pair` gives for one made."""

from dataclasses import dataclass, replace

import numpy as np

from harmonizer.errors import PlacementError
from harmonizer.images.colour import Colours
from harmonizer.images.files import Photo, Pixels, load_pair, load_photo, to_depth
from harmonizer.images.light import Light
from harmonizer.images.memory import Source, source_of
from harmonizer.images.raster import DIVIDED
from harmonizer.masks import Levels
from harmonizer.placement import Laid, Placed, Position, as_type, lay, put


@dataclass(frozen=True, slots=True)
class Placing:
    """A background, and how a foreground is put on it; see `harmonizer.place`."""

    background: Source
    at: tuple[Position, Position] = ("50%", "50%")
    anchor: str = "center"
    scale: float = 1.0
    fit: bool = False
    rotation: float = 0.0
    associated: bool = False
    clean_edges: bool = False


def load_placed(
    foreground: Source,
    mask: Source | None,
    placing: Placing,
    max_pixels: int,
    fit_mask: bool,
    levels: Levels | None,
    colour_management: bool,
    invert_mask: bool = False,
) -> tuple[Photo, Pixels, tuple[str, ...]]:
    """Read a cut-out and a background, and place the one on the other.

    Args:
        foreground: Image file with an alpha channel, or with a mask.
        mask: Mask file of the foreground's size, or None.
        placing: The background's file, and where and how.
        max_pixels, fit_mask, levels, colour_management, invert_mask: As `load_pair` has them. With
            colour management the foreground's colours become the background's.

    Returns:
        The composite with all that belongs to the background's file, its mask, and notes.

    Raises:
        ImageFileError, MaskError: As `load_pair` does.
        PlacementError: As `place` and `check_associated` do.
    """
    foreground = source_of(foreground, "the foreground")
    background = source_of(placing.background, "the background")
    cut, coverage, notes = load_pair(
        foreground, mask, max_pixels, fit_mask, levels, colour_management, invert_mask
    )
    check_associated(foreground, cut, placing)
    ground = load_photo(background, max_pixels, colour_management)
    said = [*notes, *(f"{background}: {note}" for note in ground.notes)]
    if isinstance(cut.colours, Light):
        cut = replace(cut, pixels=to_depth(cut.colours.to_srgb(cut.pixels), 16), colours=None)
        said.append(f"{foreground}: its floats become 16 bits in sRGB; what lies beyond is clipped")
    how = (
        *(placing.at, placing.anchor, placing.scale, placing.fit, placing.rotation),
        *(placing.associated, placing.clean_edges),
    )
    size = (ground.pixels.shape[0], ground.pixels.shape[1])
    light = ground.colours if isinstance(ground.colours, Light) else None
    pixels = _in_colours(cut.pixels, _whole(cut.colours), _whole(ground.colours))
    laid = lay(pixels, size, coverage, *how)
    placed = put(laid, ground.pixels) if light is None else _in_light(laid, ground.pixels, light)
    said += [f"{foreground}: {note}" for note in placed.notes]
    if ground.alpha is not None:
        said.append(f"{background}: its alpha channel is left out")
    composite = replace(ground, pixels=placed.composite, alpha=None, form="")
    return composite, placed.mask, tuple(said)


def check_associated(foreground: object, cut: Photo, placing: Placing) -> None:
    """Refuse to divide colours by their alpha that were divided when their file was read.

    Raises:
        PlacementError: If that is asked for.
    """
    if placing.associated and DIVIDED in cut.notes:
        raise PlacementError(
            f"`associated` must be left out for {foreground}: its file says that its colours are "
            "multiplied by its alpha, and they have been divided by it. Drop `associated`."
        )


def _in_light(laid: Laid, background: Pixels, light: Light) -> Placed:
    """Composite in floats, blended in their light; the mask has 16 bits."""
    composite, mask = background.copy(), np.zeros(background.shape[:2], np.uint16)
    mask[laid.part] = as_type(laid.coverage, mask.dtype)
    share = (mask[laid.part] / np.float32(65535))[..., None]
    own, above = composite[laid.part], light.from_encoded(laid.colours)
    with np.errstate(invalid="ignore"):  # what is not finite stays, where it is not covered
        mixed = np.where(share < 1, share * above + (1 - share) * own, above)
    composite[laid.part] = np.where(share > 0, mixed, own)
    return Placed(composite, mask, laid.notes)


def _whole(colours: Colours | Light | None) -> Colours | None:
    """Those of whole numbers; of floats none, which are converted by their light."""
    return None if isinstance(colours, Light) else colours


def _in_colours(pixels: Pixels, own: Colours | None, wanted: Colours | None) -> Pixels:
    """Pixels of some colours in others; None stands for sRGB's."""
    if (own and own.profile) == (wanted and wanted.profile):
        return pixels
    srgb = to_depth(pixels, 16) if own is None else own.to_srgb(pixels)
    return np.asarray(srgb) if wanted is None else wanted.from_srgb(srgb)
