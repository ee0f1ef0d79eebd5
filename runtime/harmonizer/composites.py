"""One image file: the way from composite and mask to the output."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harmonizer.arguments import Arguments
from harmonizer.concerns import FLAT_SURROUNDINGS
from harmonizer.images.files import (
    Photo,
    Pixels,
    check_depth,
    copy_atomically,
    output_format,
    save_photo,
)
from harmonizer.images.memory import Place, Source, source_of
from harmonizer.masks import full_value
from harmonizer.picture import FileOptions, open_picture
from harmonizer.recipes import Recipe, Tools

if TYPE_CHECKING:
    from harmonizer.plan import Plan


_FLAT_LEVELS, _FLAT_SHARE = 6, 0.97


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
    picture = open_picture(composite, mask, options)
    name, notes, (height, width) = picture.name, picture.notes, picture.mask.shape
    if options.depth is None:
        check_depth(output, picture.photo.pixels.dtype)
    own, values = options.keep
    if own is not None:
        notes += save_photo(own, picture.photo.pixels, picture.photo)
    if values is not None:
        notes += save_photo(values, np.dstack([picture.mask] * 3))
    with tools.open(picture.image, picture.mask, brief=True) as frame:
        arguments, concerns = recipe.follow(frame, picture.mask)
        plan = frame.measure(arguments)
        if _is_flat(picture.image, picture.mask):
            concerns += (FLAT_SURROUNDINGS,)
        concerns = tuple(f"{name}: {concern}" for concern in concerns)
        if not picture.mask.any() or arguments.is_identity():
            obstacle = _copy_obstacle(picture.photo, output, options)
            if obstacle is None:
                copy_atomically(source_of(composite, name), output, options.max_pixels)
                undone = {f"{name}: {note}" for note in picture.photo.notes}
                notes = tuple(note for note in notes if note not in undone)
                said = f"{output}: nothing is drawn; the file is a copy of the composite's"
                return Result(arguments, plan, (*notes, *concerns, said), (height, width))
            concerns += (f"{output}: nothing is drawn, but the file is re-encoded, for {obstacle}",)
        drawn = frame.draw(plan, out=picture.image)
    photo, losses = picture.finish(drawn, output)
    alpha = picture.alpha_for(output)
    del picture, frame, drawn  # what it was is not held any longer
    losses += save_photo(output, photo.pixels, photo, alpha, options.quality)
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
