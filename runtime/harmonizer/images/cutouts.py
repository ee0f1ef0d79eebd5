"""Files of a cut-out and of a background, as one composite: what `load_pair` gives for one made."""

from dataclasses import dataclass, replace

import numpy as np

from harmonizer.errors import PlacementError
from harmonizer.images.colour import Colours
from harmonizer.images.files import Photo, Pixels, load_pair, load_photo, to_depth
from harmonizer.images.light import Light
from harmonizer.images.memory import Source, source_of
from harmonizer.masks import Levels
from harmonizer.placement import Position, place


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
        PlacementError: As `place` does, or of floats.
    """
    foreground = source_of(foreground, "the foreground")
    background = source_of(placing.background, "the background")
    cut, coverage, notes = load_pair(
        foreground, mask, max_pixels, fit_mask, levels, colour_management, invert_mask
    )
    ground = load_photo(background, max_pixels, colour_management)
    for source, pixels in ((foreground, cut.pixels), (background, ground.pixels)):
        if pixels.dtype == np.float32:
            raise PlacementError(
                f"{source} must have 8 or 16 bits a channel to be placed, or placed on; it has "
                "floats. Save it as 16-bit PNG or TIFF, or place it in a compositor."
            )
    placed = place(
        _in_colours(cut.pixels, _whole(cut.colours), _whole(ground.colours)),
        ground.pixels,
        coverage,
        at=placing.at,
        anchor=placing.anchor,
        scale=placing.scale,
        fit=placing.fit,
        rotation=placing.rotation,
        associated=placing.associated,
        clean_edges=placing.clean_edges,
    )
    said = [*notes, *(f"{background}: {note}" for note in ground.notes)]
    said += [f"{foreground}: {note}" for note in placed.notes]
    if ground.alpha is not None:
        said.append(f"{background}: its alpha channel is left out")
    composite = replace(ground, pixels=placed.composite, alpha=None, form="")
    return composite, placed.mask, tuple(said)


def _whole(colours: Colours | Light | None) -> Colours | None:
    """Those of whole numbers; floats have been refused."""
    return None if isinstance(colours, Light) else colours


def _in_colours(pixels: Pixels, own: Colours | None, wanted: Colours | None) -> Pixels:
    """Pixels of some colours in others; None stands for sRGB's."""
    if (own and own.profile) == (wanted and wanted.profile):
        return pixels
    srgb = to_depth(pixels, 16) if own is None else own.to_srgb(pixels)
    return np.asarray(srgb) if wanted is None else wanted.from_srgb(srgb)
