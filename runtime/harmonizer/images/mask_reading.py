"""Read a mask out of an image file: which channel, which scale, what its compression left."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images.exif import upright
from harmonizer.images.memory import Source, source_of
from harmonizer.masks import (
    FAINT_REMEDY,
    Levels,
    faintness,
    full_value,
    noise_note,
    without_noise,
)

Pixels = NDArray[np.uint8 | np.uint16]
"""A mask's; of other pictures also floats."""


def read_mask(
    path: Source, max_pixels: int, levels: Levels | None, may_be_faint: bool
) -> tuple[Pixels, tuple[str, ...], int]:
    """`harmonizer.images.files.load_mask`, and the EXIF orientation that was applied.

    Raises:
        ImageFileError, MaskError: As that does.
    """
    from harmonizer.images.decoding import decode

    path = source_of(path, "the mask")
    raster = decode(path, max_pixels)
    pixels, notes, noise = (
        upright(raster.pixels, raster.orientation),
        list(raster.notes),
        raster.noise,
    )
    if raster.channels.endswith("A"):
        alpha, pixels = pixels[..., -1], pixels[..., :-1]
        if alpha.min() < full_value(alpha.dtype):
            notes.append("the mask is its alpha channel")
            pixels, noise = alpha[..., None], 0.0
        else:
            notes.append("its alpha channel is opaque everywhere and is not used")
    if pixels.shape[2] == 3:
        grey = bool((pixels[..., 0] == pixels[..., 1]).all()) and bool(
            (pixels[..., 0] == pixels[..., 2]).all()
        )
        if not grey and raster.palette and pixels.max() < 255:
            raise ImageFileError(
                f"{path} must be black and white, with grey for soft edges; it is a palette image "
                f"whose colours stand for labels (the brightest value is {pixels.max()} of 255). "
                "Write the foreground's label as 255 and the others as 0."
            )
        if not grey:
            notes.append(
                "it is coloured; the mask is the largest of red, green and blue: were composite "
                "and mask swapped?"
            )
        pixels = pixels.max(axis=2, keepdims=True)
    mask = whole_numbers(path, np.ascontiguousarray(pixels[..., 0]))
    if levels is not None:
        return levels.apply(mask), tuple(notes), raster.orientation
    if not may_be_faint:
        check_brightness(path, mask)
    if noise and mask.dtype == np.uint8:
        mask, changed = without_noise(mask, noise)
        if changed:
            notes.append(noise_note(raster.form, noise))
    return mask, tuple(notes), raster.orientation


def whole_numbers(path: object, pixels: NDArray[Any]) -> Pixels:
    """A mask of floats in [0, 1] in 16 bits; one of whole numbers as it is.

    Raises:
        ImageFileError: If floats lie beyond.
    """
    if pixels.dtype != np.float32:
        return pixels
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ImageFileError(
            f"{_called(path)} must have floats in [0, 1]; they lie in [{pixels.min():g}, "
            f"{pixels.max():g}]. Scale it, or save it with 8 or 16 bits."
        )
    return np.floor(pixels * 65535 + 0.5).astype(np.uint16)


def check_brightness(path: object, mask: Pixels) -> None:
    """Refuse labels and other scales, which would draw nearly nothing.

    Raises:
        ImageFileError: If the mask is faint.
    """
    complaint = faintness(float(mask.max()), full_value(mask.dtype), _called(path), FAINT_REMEDY)
    if complaint:
        raise ImageFileError(complaint)


def _called(path: object) -> str:
    """What messages call the mask of a file, or of bytes, which are called "the mask"."""
    return "the mask" if str(path) == "the mask" else f"the mask in {path}"
