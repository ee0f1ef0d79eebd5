"""Image files that lie in memory: what a service receives and sends, or a pipe carries."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Union

from harmonizer.errors import ImageFileError

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

    A Pillow image becomes a PNG file, which loses nothing of 8 bits; what it says of EXIF and its
    ICC profile goes along.

    Args:
        source: See `Source`.
        name: What messages call it, where it has no name.

    Raises:
        ImageFileError: If it is a Pillow image whose mode PNG does not hold.
        TypeError: If it is none of these.
    """
    if isinstance(source, Blob):
        return source
    if isinstance(source, str | Path):
        return Path(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return Blob(bytes(source), name)
    if hasattr(source, "mode") and hasattr(source, "save"):
        return Blob(_as_png(source, name), name)
    raise TypeError(
        f"{name} must be a path, the bytes of an image file, or a Pillow image; got "
        f"{type(source).__name__}. Arrays go to the Harmonizer itself."
    )


def _as_png(image: "Image.Image", name: str) -> bytes:
    buffer = BytesIO()
    kept = {key: image.info[key] for key in ("exif", "icc_profile") if image.info.get(key)}
    try:
        image.save(buffer, "PNG", compress_level=1, **kept)
    except OSError as error:
        raise ImageFileError(
            f"{name} must be a Pillow image in a mode that PNG holds (L, RGB, RGBA, I;16, P, 1); "
            f"it is {image.mode}. Convert it to RGB."
        ) from error
    return buffer.getvalue()
