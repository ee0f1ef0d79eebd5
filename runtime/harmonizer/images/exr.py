"""OpenEXR: scene-linear light in floats, by OpenImageIO.

Its alpha is associated by definition: colours are divided by it on reading and multiplied on
writing. Of a pixel that nothing covers (alpha 0) the colours are left as they are.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError, printable
from harmonizer.images.describing import Description
from harmonizer.images.inspection import Size
from harmonizer.images.light import linear_profile
from harmonizer.images.oiio import attribute, encoded, opened
from harmonizer.images.raster import Raster, straightened
from harmonizer.limits import check_size

FORM, SUFFIX = "OpenEXR", ".exr"
_MAGIC = b"\x76\x2f\x31\x01"
_USUAL = (
    *("compression", "chromaticities", "PixelAspectRatio", "XResolution", "YResolution"),
    *("ResolutionUnit", "DateTime", "screenWindowCenter", "screenWindowWidth"),
)
"""Attributes that are kept, or say nothing of the picture."""

_NAMED = 5


def is_one(head: bytes) -> bool:
    """Whether a file begins as one of OpenEXR does."""
    return head.startswith(_MAGIC)


def size_of(path: object, data: bytes, max_pixels: int) -> Size:
    """A file's size, by its header.

    Raises:
        ImageFileError: If it has more pixels than it may, a part of its picture alone, or no
            colours; or OpenImageIO is not installed.
        ValueError: If it is damaged.
    """
    with opened(FORM, data, SUFFIX) as picture:
        spec = picture.spec()
        check_size(path, spec.width, spec.height, max_pixels)
        shown = (spec.full_x, spec.full_y, spec.full_width, spec.full_height)
        if shown != (spec.x, spec.y, spec.width, spec.height):
            raise ImageFileError(
                f"{path} must hold the whole of its picture; its data window is {spec.width}x"
                f"{spec.height} at {spec.x},{spec.y}, its display window {shown[2]}x{shown[3]} at "
                f"{shown[0]},{shown[1]}. Crop it to the display window."
            )
        if spec.deep:
            raise ImageFileError(
                f"{path} must be a flat picture; it is a deep one. Flatten it in a compositor."
            )
        _channels(path, spec.channelnames)
        return Size(spec.width, spec.height, floats=True)


def decode(path: object, data: bytes, max_pixels: int) -> Raster:
    """Read a file whose `size_of` was in order, in float32.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If pixels are missing.
    """
    notes = []
    with opened(FORM, data, SUFFIX) as picture:
        spec = picture.spec()
        names = list(spec.channelnames)
        wanted = _channels(path, spec.channelnames)
        places = [names.index(name) for name in wanted]
        whole = picture.read_image(0, 0, min(places), max(places) + 1, "float")
        trouble = picture.geterror()
        if whole is None or trouble:
            raise ValueError(trouble or "its pixels cannot be read")
        half = {str(kind) for kind in spec.channelformats or (spec.format,)} == {"half"}
        chromaticities = _chromaticities(attribute(picture, "chromaticities"))
        resolution = attribute(picture, "XResolution"), attribute(picture, "YResolution")
        others = [a.name for a in spec.extra_attribs if ":" not in a.name and a.name not in _USUAL]
        parts = attribute(picture, "oiio:subimages") or 1
    if parts > 1:
        notes.append(f"it holds {parts} parts; the first is used")
    rest = [printable(name, 40) for name in names if name not in wanted]
    for what, lost in (("channels", rest), ("attributes", [printable(n, 40) for n in others])):
        if lost:
            more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
            notes.append(f"not carried over: its {what} {', '.join(lost[:_NAMED])}{more}")
    pixels: NDArray[Any] = np.asarray(whole, np.float32).reshape(spec.height, spec.width, -1)
    order = [place - min(places) for place in places]
    if order != [*range(pixels.shape[2])]:
        pixels = pixels[..., order]
    channels = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(places)]
    if channels.endswith("A"):
        pixels = straightened(pixels, notes)
    dpi = (float(resolution[0]), float(resolution[1])) if all(resolution) else None
    return Raster(
        np.ascontiguousarray(pixels),
        channels,
        b"",
        b"",
        1,
        tuple(notes),
        FORM,
        description=Description(dpi, chromaticities=chromaticities, half=half),
    )


def encode(pixels: NDArray[Any], description: Description) -> bytes:
    """A file of floats, or of halves where the picture came in them; losslessly compressed.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If it does not take the pixels.
    """
    attributes: dict[str, Any] = {"compression": "zip"}
    if description.chromaticities:
        attributes["chromaticities"] = ("float[8]", description.chromaticities)
    if description.resolution:
        attributes["XResolution"], attributes["YResolution"] = description.resolution
        attributes["ResolutionUnit"] = "in"
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 1:
        colours, alpha = pixels[..., :3], pixels[..., 3:]
        pixels = pixels.copy()
        np.multiply(colours, alpha, out=pixels[..., :3], where=alpha > 0)
    kind = np.float16 if description.half else np.float32
    return encoded(FORM, np.ascontiguousarray(pixels, kind), SUFFIX, attributes)


def _chromaticities(stated: Any) -> tuple[float, ...] | None:
    """What a file states of its primaries and its white, if it does.

    Raises:
        ValueError: If they are no colours.
    """
    if stated is None:
        return None
    numbers = tuple(map(float, stated)) if isinstance(stated, tuple) else ()
    if len(numbers) != 8 or not np.isfinite(numbers).all() or min(numbers[1::2]) <= 0:
        raise ValueError("its chromaticities are no colours")
    linear_profile(numbers)
    return numbers


def _channels(path: object, names: tuple[str, ...]) -> list[str]:
    colours: tuple[str, ...] = ("R", "G", "B")
    if not set(colours) <= set(names):
        colours = ("Y",) if "Y" in names else ()
    if not colours:
        came = ", ".join(printable(name, 40) for name in names[:_NAMED])
        raise ImageFileError(
            f"{path} must have channels R, G and B, or Y; it has {came}. Name them so, or export "
            "its colours alone."
        )
    return [*colours, *(name for name in ("A",) if name in names)]
