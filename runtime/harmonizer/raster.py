"""What every decoder gives, and what is done alike for all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmonizer import exif
from harmonizer.describing import NOTHING, Description
from harmonizer.errors import ImageFileError

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, slots=True)
class Raster:
    """A decoded file, as stored: orientation not yet applied.

    Attributes:
        pixels: (H, W, C) uint8 or uint16.
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


def plain_mode(path: object, image: "Image.Image", notes: list[str]) -> "Image.Image":
    """Convert to L, LA, RGB or RGBA without losing anything.

    Raises:
        ImageFileError: If the mode is another one, whose colours would have to be guessed.
    """
    mode = image.mode
    if mode == "CMYK":
        raise ImageFileError(
            f"{path} must be RGB or greyscale; it is CMYK, whose colours depend on an ink "
            "profile. Convert it to RGB in a colour-managed editor."
        )
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


def without_orientation(structure: bytes, notes: list[str]) -> bytes:
    """EXIF with orientation 1; empty, with a note, if it is malformed."""
    if not structure:
        return b""
    try:
        return exif.without_orientation(structure)
    except ValueError as error:
        notes.append(f"its EXIF data is malformed ({error}) and is left out")
        return b""
