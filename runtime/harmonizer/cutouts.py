"""Files of a cut-out and of a background, as one composite: what `load_pair` gives for one made."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harmonizer.colour import Colours
from harmonizer.files import Photo, Pixels, load_pair, load_photo, to_depth
from harmonizer.masks import Levels
from harmonizer.placement import Position, place


@dataclass(frozen=True, slots=True)
class Placing:
    """A background, and how a foreground is put on it; see `harmonizer.place`."""

    background: Path
    at: tuple[Position, Position] = ("50%", "50%")
    anchor: str = "center"
    scale: float = 1.0
    fit: bool = False
    rotation: float = 0.0
    associated: bool = False
    clean_edges: bool = False


def load_placed(
    foreground: Path,
    mask: Path | None,
    placing: Placing,
    max_pixels: int,
    fit_mask: bool,
    levels: Levels | None,
    colour_management: bool,
) -> tuple[Photo, Pixels, tuple[str, ...]]:
    """Read a cut-out and a background, and place the one on the other.

    Args:
        foreground: Image file with an alpha channel, or with a mask.
        mask: Mask file of the foreground's size, or None.
        placing: The background's file, and where and how.
        max_pixels, fit_mask, levels, colour_management: As `load_pair` has them. With colour
            management the foreground's colours become the background's.

    Returns:
        The composite with all that belongs to the background's file, its mask, and notes.

    Raises:
        ImageFileError, MaskError: As `load_pair` does.
        PlacementError: As `place` does.
    """
    cut, coverage, notes = load_pair(
        foreground, mask, max_pixels, fit_mask, levels, colour_management
    )
    ground = load_photo(placing.background, max_pixels, colour_management)
    placed = place(
        _in_colours(cut.pixels, cut.colours, ground.colours),
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
    said = [*notes, *(f"{placing.background}: {note}" for note in ground.notes)]
    said += [f"{foreground}: {note}" for note in placed.notes]
    if ground.alpha is not None:
        said.append(f"{placing.background}: its alpha channel is left out")
    composite = replace(ground, pixels=placed.composite, alpha=None, form="")
    return composite, placed.mask, tuple(said)


def _in_colours(pixels: Pixels, own: Colours | None, wanted: Colours | None) -> Pixels:
    """Pixels of some colours in others; None stands for sRGB's."""
    if (own and own.profile) == (wanted and wanted.profile):
        return pixels
    srgb = to_depth(pixels, 16) if own is None else own.to_srgb(pixels)
    return np.asarray(srgb) if wanted is None else wanted.from_srgb(srgb)
