"""What every decoder gives, and what is done alike for all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images import exif
from harmonizer.images.colour import in_blocks, srgb_profile, transformed
from harmonizer.images.describing import NOTHING, Description
from harmonizer.images.icc import profile_name
from harmonizer.masks import full_value

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]


DIVIDED = "its colours are multiplied by its alpha, and are divided by it"
"""The note of a file whose alpha is associated."""


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded file, as stored: orientation not yet applied.

    Attributes:
        pixels: (H, W, C) uint8 or uint16, or float32 where the file holds floats.
        channels: "L", "LA", "RGB" or "RGBA"; C is its length.
        exif: The EXIF structure without prefix, orientation already 1; empty if there is none.
        icc: The ICC profile; empty if there is none.
        orientation: 1 to 8, what the file asked for.
        notes: Conversions done on the way, one sentence each.
        form: Such as "JPEG".
        palette: The file stores indices into a table of colours.
        noise: Standard deviation, in levels, of what lossy compression left; 0 without loss.
        description: Resolution, XMP and colours as the file states them.
    """

    pixels: Pixels
    channels: str
    exif: bytes
    icc: bytes
    orientation: int
    notes: tuple[str, ...]
    form: str
    palette: bool = False
    noise: float = 0.0
    description: Description = NOTHING


def plain_mode(
    path: object, image: "Image.Image", notes: list[str], profile: bytes = b""
) -> "Image.Image":
    """Convert to L, LA, RGB or RGBA without losing anything; CMYK by its ICC profile.

    Raises:
        ImageFileError: If that cannot be, or CMYK has no profile of its inks.
    """
    mode = image.mode
    if mode == "CMYK":
        from PIL import Image

        return Image.fromarray(without_ink(path, np.asarray(image), profile, notes))
    transparent = "transparency" in image.info
    if mode == "P":
        notes.append("its palette colours are converted to RGB")
        return image.convert("RGBA" if transparent else "RGB")
    if mode == "1":
        return image.convert("L")
    if transparent and mode in ("L", "RGB"):
        notes.append("its transparent colour is converted to an alpha channel")
        return image.convert("LA" if mode == "L" else "RGBA")
    if mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageFileError(f"{path} must be RGB or greyscale; it is {mode}. Convert it to RGB.")
    return image


def without_ink(path: object, ink: Pixels, profile: bytes, notes: list[str]) -> Pixels:
    """SRGB-encoded colours of CMYK, in its bits.

    Args:
        path: For messages.
        ink: (H, W, 4), where 0 is no ink.
        profile: ICC profile of the inks and the paper.
        notes: Is told.

    Raises:
        ImageFileError: If there is no such profile.
    """
    if profile[16:20] != b"CMYK":
        raise ImageFileError(
            f"{path} must be RGB or greyscale, or CMYK with an ICC profile; it is CMYK, and says "
            "nothing of its inks. Convert it to RGB in a colour-managed editor."
        )
    name = profile_name(profile)

    def convert(rows: slice) -> Pixels:
        if ink.dtype == np.uint16:
            return transformed(ink[rows], profile, srgb_profile(), "uint16", name, ink=True)
        deep = ink[rows].astype(np.uint16) * np.uint16(257)
        rgb = transformed(deep, profile, srgb_profile(), "uint16", name, ink=True)
        return ((rgb.astype(np.uint32) + 128) // 257).astype(np.uint8)

    notes.append(f"its CMYK colours ({name}) are converted to sRGB")
    return in_blocks(convert, (*ink.shape[:2], 3), ink.dtype)


def straightened(pixels: Pixels, notes: list[str]) -> Pixels:
    """Colours that are multiplied by their alpha, the last channel, divided by it."""
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    full = full_value(pixels.dtype)
    if alpha.min() == full:
        return pixels
    notes.append(DIVIDED)

    def divided(rows: slice) -> Pixels:
        weights = np.where(alpha[rows] > 0, alpha[rows], full).astype(np.float64)
        straight = colours[rows] * (full / weights)
        if pixels.dtype != np.float32:
            straight = np.minimum(np.floor(straight + 0.5), full)
        return np.concatenate([straight.astype(pixels.dtype), alpha[rows]], axis=2)

    return in_blocks(divided, pixels.shape, pixels.dtype)


def without_orientation(structure: bytes, notes: list[str]) -> bytes:
    """EXIF with orientation 1; empty, with a note, if it is malformed."""
    if not structure:
        return b""
    try:
        return exif.without_orientation(structure)
    except ValueError as error:
        notes.append(f"its EXIF data is malformed ({error}) and is left out")
        return b""
