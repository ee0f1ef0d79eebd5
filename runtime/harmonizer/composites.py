"""One image file: the way from composite and mask to the output."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harmonizer.arguments import Arguments
from harmonizer.concerns import FLAT_SURROUNDINGS
from harmonizer.errors import ImageFileError
from harmonizer.images.cutouts import Placing, load_placed
from harmonizer.images.encoding import Quality
from harmonizer.images.files import (
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
from harmonizer.images.light import Light
from harmonizer.images.memory import Place, Source, source_of
from harmonizer.masks import Levels, full_value
from harmonizer.recipes import Recipe, Tools

if TYPE_CHECKING:
    from harmonizer.plan import Plan


_FLAT_LEVELS, _FLAT_SHARE = 6, 0.97


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        max_pixels: Larger images are refused.
        fit_mask: Scale a mask of another size.
        depth: 8 or 16 bits a channel in the output; None for the composite's.
        quality: Settings of JPEG and WebP; None for the default ones.
        mask_levels: What is black and white in masks; None for 0 and the largest value.
        colour_management: Convert colours other than sRGB's for the filters, and back.
        placing: What the composites are cut-outs for; None if they are composites.
        keep: Where the composite and the mask that were made of a cut-out are written, too.
        invert_mask: What is black in masks is the foreground.
    """

    max_pixels: int = MAX_PIXELS
    fit_mask: bool = False
    depth: int | None = None
    quality: Quality | None = None
    mask_levels: Levels | None = None
    colour_management: bool = True
    placing: Placing | None = None
    keep: tuple[Path | None, Path | None] = (None, None)
    invert_mask: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What `harmonize_file` did.

    Attributes:
        arguments: As drawn.
        plan: Arguments and image statistics; draws the same again.
        notes: Conversions and concerns, one sentence each.
        shape: (height, width) of the output.
        data: The output's bytes, where it is written to memory.
    """

    arguments: Arguments
    plan: "Plan"
    notes: tuple[str, ...]
    shape: tuple[int, int]
    data: bytes = b""


def harmonize_file(
    tools: Tools,
    composite: Source,
    mask: Source | None,
    output: Place,
    recipe: Recipe,
    options: FileOptions,
) -> Result:
    """Read a composite and its mask, harmonize, write the output atomically.

    Where nothing is drawn (an empty mask, or arguments that change nothing) the output is a copy
    of the composite's file, unless another format, an EXIF orientation or the options ask for
    other bytes; the notes say which.

    Args:
        tools: What predicts and draws.
        composite: Image file, its bytes, or a Pillow image; a cut-out, if the options have a
            background for it.
        mask: The same of a mask; None if the composite's alpha is the mask.
        output: A path, or a `Sink` that takes the bytes. Written in the format that its suffix
            names, with the composite's EXIF, ICC profile and, where the format holds it, alpha.
        recipe: Where the arguments come from.
        options: How files are read and written.

    Raises:
        ImageFileError: If a file cannot be read or written, or the mask does not fit.
        MaskError: If the mask levels are beyond the mask's type.
        PlacementError: If a cut-out cannot be placed.
        ArgumentsError, ModelError: If the arguments cannot be had.
    """
    composite = source_of(composite, "the composite")
    mask = None if mask is None else source_of(mask, "the mask")
    photo, values, notes = load_inputs(composite, mask, options)
    if photo.pixels.dtype == np.uint8 and options.depth == 16:
        photo = replace(photo, pixels=to_depth(photo.pixels, 16))
        notes += (f"{composite}: its 8-bit values are widened to 16 bits",)
    if options.depth is None:
        check_depth(output, photo.pixels.dtype)
    floats = photo.pixels.dtype == np.float32
    for kept, values_of in zip(options.keep, (photo.pixels, np.dstack([values] * 3)), strict=True):
        if kept is not None:
            notes += save_photo(kept, values_of, photo if values_of is photo.pixels else None)
    own = photo.pixels
    if (colours := photo.colours) is not None:
        try:
            photo = replace(photo, pixels=colours.to_srgb(own))
            notes += (f"{composite}: {colours.say(own)}",)
        except ImageFileError as error:
            raise ImageFileError(f"{composite}: {error}") from error
    height, width = values.shape
    with tools.open(photo.pixels, values, brief=True) as frame:
        arguments, concerns = recipe.follow(frame, values)
        plan = frame.measure(arguments)
        if _is_flat(photo.pixels, values):
            concerns += (FLAT_SURROUNDINGS,)
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
    if floats and options.depth:
        said = (
            f"{output}: its floats are written as sRGB, {options.depth} bits; what lies beyond is"
        )
        notes += (f"{said} clipped",)
        photo = replace(photo, icc=b"")
    elif colours is not None:
        drawn = colours.back(drawn, own)
        if isinstance(colours, Light) and photo.icc and output_format(output) == "OpenEXR":
            drawn = colours.linear(drawn)
            notes += (f"{output}: its floats are converted to scene-linear light",)
    drawn = to_depth(drawn, options.depth) if options.depth else drawn
    photo, own = replace(photo, pixels=drawn), drawn  # what it was is not held any longer
    losses = save_photo(output, drawn, photo, _kept_alpha(photo, mask, output), options.quality)
    return Result(arguments, plan, (*notes, *concerns, *losses), (height, width))


def _is_flat(pixels: Pixels, mask: Pixels) -> bool:
    """Whether what the mask leaves out is one colour, but for what compression does at edges."""
    step = max(1, int((mask.size / 250_000) ** 0.5))
    around = pixels[::step, ::step][mask[::step, ::step] == 0]
    if not around.size:
        return False
    slack = _FLAT_LEVELS * full_value(pixels.dtype) / 255
    near = (np.abs(around - np.median(around, axis=0)) <= slack).all(axis=1)
    return bool(near.mean() >= _FLAT_SHARE)


def load_inputs(
    composite: Source, mask: Source | None, options: FileOptions
) -> tuple[Photo, Pixels, tuple[str, ...]]:
    """The composite that is there, or one made of a cut-out."""
    how = (
        options.max_pixels,
        options.fit_mask,
        options.mask_levels,
        options.colour_management,
        options.invert_mask,
    )
    if options.placing is None:
        return load_pair(composite, mask, *how)
    return load_placed(composite, mask, options.placing, *how)


def _copy_obstacle(photo: Photo, output: Place, options: FileOptions) -> str | None:
    """Why the composite's file, unchanged, is not the output that was asked for; or None."""
    form = output_format(output)
    if options.placing is not None:
        return "the composite is made here"
    if photo.form != form:
        return f"the composite is {photo.form} and the output {form}"
    if photo.orientation != 1:
        return f"the composite's EXIF orientation {photo.orientation} is applied to the pixels"
    if options.depth is not None or options.quality is not None:
        return "depth or quality was asked for"
    return None


def _kept_alpha(photo: Photo, mask: Source | None, output: Place) -> Pixels | None:
    """The alpha to write; an alpha that only served as mask is dropped without a note."""
    if mask is None and output_format(output) not in ALPHA_FORMATS:
        return None
    return photo.alpha
