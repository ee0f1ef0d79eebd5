"""Read and write files through OpenImageIO: JPEG XL, OpenEXR, Photoshop. An extra of its own.

Its Python interface takes names of files alone: what is read has been checked in memory, and goes
to a file of this process's own for as long as that takes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError


def library(form: str) -> Any:
    """The module OpenImageIO.

    Raises:
        ImageFileError: If it is not installed.
    """
    try:
        import OpenImageIO
    except ImportError as error:
        raise ImageFileError(
            f"{form} files need OpenImageIO, which cannot be imported ({error}). Install it: "
            'pip install "harmonizer[formats]"; or export the picture as PNG or TIFF.'
        ) from error
    return OpenImageIO


@contextmanager
def opened(form: str, data: bytes, suffix: str) -> Iterator[Any]:
    """A file's first picture, its alpha as it is stored.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If it cannot be opened.
    """
    oiio = library(form)
    with TemporaryDirectory(prefix="harmonizer-") as folder:
        path = Path(folder) / f"picture{suffix}"
        path.write_bytes(data)
        settings = oiio.ImageSpec()
        settings.attribute("oiio:UnassociatedAlpha", 1)
        picture = oiio.ImageInput.open(str(path), settings)
        if picture is None:
            raise ValueError(_plain(oiio.geterror(), folder))
        try:
            yield picture
        finally:
            picture.close()


def pixels_of(picture: Any) -> NDArray[Any]:
    """All its channels, (H, W, C), in the type that it is stored in.

    Raises:
        ValueError: If some of them are missing.
    """
    pixels = picture.read_image(picture.spec().format)
    trouble = picture.geterror()
    if pixels is None or trouble:
        raise ValueError(trouble or "its pixels cannot be read")
    return np.asarray(pixels)


def attribute(picture: Any, name: str) -> Any:
    """One of its attributes; None if it has none of that name."""
    return picture.spec().getattribute(name)


def encoded(form: str, pixels: NDArray[Any], suffix: str, attributes: dict[str, Any]) -> bytes:
    """A picture as a file.

    Args:
        form: For messages.
        pixels: (H, W, C).
        suffix: Names the format.
        attributes: Of OpenImageIO: a value, or a type and a value.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If it does not take them.
    """
    oiio = library(form)
    height, width, channels = pixels.shape
    kind = {"float32": "float", "float16": "half"}.get(pixels.dtype.name, pixels.dtype.name)
    spec = oiio.ImageSpec(width, height, channels, kind)
    for name, value in attributes.items():
        spec.attribute(name, *(value if isinstance(value, tuple) else (value,)))
    with TemporaryDirectory(prefix="harmonizer-") as folder:
        path = Path(folder) / f"picture{suffix}"
        output = oiio.ImageOutput.create(str(path))
        if output is None:
            raise ValueError(_plain(oiio.geterror(), folder))
        done = output.open(str(path), spec) and output.write_image(pixels)
        trouble = output.geterror()
        if not output.close() or not done or trouble:
            raise ValueError(_plain(trouble or output.geterror(), folder))
        return path.read_bytes()


def _plain(trouble: str, folder: str) -> str:
    """What it says, without a name that nobody gave."""
    return trouble.replace(folder + "/", "") or "it does not say why"
