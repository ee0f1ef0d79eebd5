"""Image files that lie in memory: what a service receives and sends, or a pipe carries."""

import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Union

from harmonizer.checks import finite
from harmonizer.errors import ImageFileError
from harmonizer.images.exif import is_resolution

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Blob:
    """A file's bytes.

    Attributes:
        data: All of them.
        name: What messages call it.
    """

    data: bytes
    name: str = "the image"

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True)
class Sink:
    """Where an image file is written to memory.

    Attributes:
        suffix: Names its format, such as ".png".
        name: What messages call it.
        data: What was written.
    """

    suffix: str
    name: str = "the output"
    data: bytes = b""

    def __str__(self) -> str:
        return self.name


Source = Union[str, Path, bytes, "Image.Image", Blob]
"""What can be read as an image: a path, a file's bytes, or a Pillow image."""

Place = Path | Sink
"""Where an image can be written."""


def source_of(source: Source, name: str) -> Path | Blob:
    """A file, on the disk or in memory.

    A Pillow image becomes a PNG file, which loses nothing; EXIF, ICC profile, XMP and resolution
    go along, where its `info` has them (Pillow keeps no EXIF there of TIFF).

    Args:
        source: See `Source`.
        name: What messages call it, where it has no name.

    Raises:
        ImageFileError: If it is an address of the web, or a Pillow image that is damaged, empty,
            or of a mode that PNG does not hold.
        TypeError: If it is none of these.
    """
    if isinstance(source, Blob):
        return source
    if isinstance(source, str | Path):
        if _ADDRESS.match(str(source)):
            raise ImageFileError(
                f"{name} must be a file; {source} is an address, and nothing is fetched from the "
                "web. Download it first."
            )
        return Path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return Blob(bytes(source), name)
    if hasattr(source, "mode") and hasattr(source, "save"):
        return Blob(_as_png(source, name), name)
    remedy = "Arrays go to the Harmonizer itself."
    if hasattr(source, "read"):
        remedy = "Of an open file pass what its read() gives."
    raise TypeError(
        f"{name} must be a path, the bytes of an image file, or a Pillow image; got "
        f"{type(source).__name__}. {remedy}"
    )


_ADDRESS = re.compile(r"(https?|ftp|s3|gs|file):/|data:image/", re.IGNORECASE)

_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B")
"""Of Pillow images, those that PNG holds as they are."""

_OTHER_MODES = {
    **dict.fromkeys(("RGBa", "PA"), 'Pass image.convert("RGBA").'),
    "La": 'Pass image.convert("LA").',
    "CMYK": "Pass its file or the bytes of it, where its ICC profile says what the inks are.",
    **dict.fromkeys(
        ("I", "F"),
        "Scale its values to 0..65535, and pass Image.fromarray(values.astype(np.uint16)).",
    ),
}
"""What to do with others; `convert("RGB")` would clip, drop alpha, or guess inks."""


def _as_png(image: "Image.Image", name: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    if image.mode not in _MODES:
        remedy = _OTHER_MODES.get(image.mode, 'Pass image.convert("RGB").')
        raise ImageFileError(
            f"{name} must be a Pillow image in a mode that PNG holds ({', '.join(_MODES)}); it is "
            f"{image.mode}. {remedy}"
        )
    if 0 in image.size:
        size = f"{image.width}x{image.height}"
        raise ImageFileError(f"{name} must have at least one pixel; the Pillow image has {size}.")
    kept = {key: image.info[key] for key in ("exif", "icc_profile") if image.info.get(key)}
    texts = PngInfo()
    if isinstance(xmp := image.info.get("xmp"), bytes):
        texts.add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    stated = image.info.get("dpi")
    dpi = [finite(number) or 0 for number in stated] if isinstance(stated, tuple) else []
    if len(dpi) == 2 and all(map(is_resolution, dpi)):
        kept["dpi"] = tuple(dpi)
    buffer = BytesIO()
    try:
        image.save(buffer, "PNG", compress_level=1, pnginfo=texts, **kept)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageFileError(
            f"{name} must be a complete Pillow image; it cannot be read ({error}). Open it again, "
            "or pass its file."
        ) from error
    return buffer.getvalue()
