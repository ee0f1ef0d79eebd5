"""One image file: the way from composite and mask to the output."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harmonizer.arguments import Arguments
from harmonizer.encoding import Quality
from harmonizer.files import (
    ALPHA_FORMATS,
    MAX_PIXELS,
    Photo,
    Pixels,
    check_depth,
    copy_atomically,
    load_pair,
    output_format,
    save_photo,
    to_depth,
)
from harmonizer.masks import Levels
from harmonizer.recipes import Recipe, Tools

if TYPE_CHECKING:
    from harmonizer.plan import Plan


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        max_pixels: Larger images are refused.
        fit_mask: Scale a mask of another size.
        depth: 8 or 16 bits a channel in the output; None for the composite's.
        quality: Settings of JPEG and WebP; None for the default ones.
        mask_levels: What is black and white in masks; None for 0 and the largest value.
    """

    max_pixels: int = MAX_PIXELS
    fit_mask: bool = False
    depth: int | None = None
    quality: Quality | None = None
    mask_levels: Levels | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What `harmonize_file` did.

    Attributes:
        arguments: As drawn.
        plan: Arguments and image statistics; draws the same again.
        notes: Conversions and concerns, one sentence each.
        shape: (height, width) of the output.
    """

    arguments: Arguments
    plan: "Plan"
    notes: tuple[str, ...]
    shape: tuple[int, int]


def harmonize_file(
    tools: Tools,
    composite: Path,
    mask: Path | None,
    output: Path,
    recipe: Recipe,
    options: FileOptions,
) -> Result:
    """Read a composite and its mask, harmonize, write the output atomically.

    Where nothing is drawn (an empty mask, or arguments that change nothing) the output is a copy
    of the composite's file, unless another format, an EXIF orientation or the options ask for
    other bytes; the notes say which.

    Args:
        tools: What predicts and draws.
        composite: Image file.
        mask: Mask file; None if the composite's alpha is the mask.
        output: Written in the format that its suffix names, with the composite's EXIF, ICC
            profile and, where the format holds it, alpha.
        recipe: Where the arguments come from.
        options: How files are read and written.

    Raises:
        ImageFileError: If a file cannot be read or written, or the mask does not fit.
        MaskError: If the mask levels are beyond the mask's type.
        ArgumentsError, ModelError: If the arguments cannot be had.
    """
    photo, values, notes = load_pair(
        composite, mask, options.max_pixels, options.fit_mask, options.mask_levels
    )
    if photo.pixels.dtype == np.uint8 and options.depth == 16:
        photo = replace(photo, pixels=to_depth(photo.pixels, 16))
        notes += (f"{composite}: its 8-bit values are widened to 16 bits",)
    if options.depth is None:
        check_depth(output, photo.pixels.dtype)
    height, width = values.shape
    with tools.open(photo.pixels, values, brief=True) as frame:
        arguments, concerns = recipe.follow(frame, values)
        plan = frame.measure(arguments)
        concerns = tuple(f"{composite}: {concern}" for concern in concerns)
        if not values.any() or arguments.is_identity():
            obstacle = _copy_obstacle(photo, output, options)
            if obstacle is None:
                copy_atomically(composite, output, options.max_pixels)
                undone = {f"{composite}: {note}" for note in photo.notes}
                notes = tuple(note for note in notes if note not in undone)
                said = f"{output}: nothing is drawn; the file is a copy of the composite's"
                return Result(arguments, plan, (*notes, *concerns, said), (height, width))
            concerns += (f"{output}: nothing is drawn, but the file is re-encoded, for {obstacle}",)
        drawn = frame.draw(plan, out=photo.pixels)
    pixels = to_depth(drawn, options.depth) if options.depth else drawn
    losses = save_photo(output, pixels, photo, _kept_alpha(photo, mask, output), options.quality)
    return Result(arguments, plan, (*notes, *concerns, *losses), (height, width))


def _copy_obstacle(photo: Photo, output: Path, options: FileOptions) -> str | None:
    """Why the composite's file, unchanged, is not the output that was asked for; or None."""
    form = output_format(output)
    if photo.form != form:
        return f"the composite is {photo.form} and the output {form}"
    if photo.orientation != 1:
        return f"the composite's EXIF orientation {photo.orientation} is applied to the pixels"
    if options.depth is not None or options.quality is not None:
        return "depth or quality was asked for"
    return None


def _kept_alpha(photo: Photo, mask: Path | None, output: Path) -> Pixels | None:
    """The alpha to write; an alpha that only served as mask is dropped without a note."""
    if mask is None and output_format(output) not in ALPHA_FORMATS:
        return None
    return photo.alpha
