"""Photoshop's files (PSD, PSB): the merged picture by OpenImageIO, what lies beside it read here.

Adobe Photoshop File Formats Specification. Photoshop blends a merged picture with transparency
onto white; OpenImageIO takes that out again.
"""

import struct
from dataclasses import dataclass

import numpy as np

from harmonizer.errors import ImageFileError
from harmonizer.images import exif
from harmonizer.images.describing import Description, with_clean_xmp
from harmonizer.images.inspection import Size
from harmonizer.images.oiio import opened, pixels_of
from harmonizer.images.raster import Raster, without_orientation
from harmonizer.limits import MAX_METADATA, check_size

FORM, SUFFIX = "Photoshop", ".psd"
_MAGIC = b"8BPS"
_MODES = {0: "bitmap", 1: "greyscale", 2: "indexed", 3: "RGB", 4: "CMYK", 7: "multichannel"}
_MODES |= {8: "duotone", 9: "Lab"}
_RESOLUTION, _ICC, _VERSION, _EXIF, _XMP = 1005, 1039, 1057, 1058, 1060


@dataclass(frozen=True, slots=True)
class _File:
    """Of its header, and its image resources by their numbers."""

    size: Size
    mode: int
    resources: dict[int, bytes]
    has_layers: bool


def is_one(head: bytes) -> bool:
    """Whether a file begins as one of Photoshop does."""
    return head.startswith(_MAGIC)


def size_of(path: object, data: bytes, max_pixels: int) -> Size:
    """A file's size, by its header.

    Raises:
        ImageFileError: If it has more pixels than it may, is neither RGB nor greyscale, or has no
            merged picture.
        ValueError: If it is damaged.
    """
    file = _read(data)
    check_size(path, file.size.width, file.size.height, max_pixels)
    if file.mode not in (1, 3):
        raise ImageFileError(
            f"{path} must be RGB or greyscale; it is {_MODES.get(file.mode, 'unknown')}. Convert "
            "it to RGB in Photoshop."
        )
    if file.resources.get(_VERSION, b"\0\0\0\0\1")[4:5] == b"\0":
        raise ImageFileError(
            f"{path} must hold the merged picture of its layers; it was saved without. Save it "
            "with `Maximize compatibility`, or export it as TIFF."
        )
    return file.size


def decode(path: object, data: bytes, max_pixels: int) -> Raster:
    """Read a file whose `size_of` was in order.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If pixels are missing.
    """
    file, notes = _read(data), list[str]()
    with opened(FORM, data, SUFFIX) as picture:
        names = list(picture.spec().channelnames)
        pixels = pixels_of(picture)
    if file.has_layers:
        notes.append("its layers are not carried over; their merged picture is used")
    colours = 3 if file.mode == 3 else 1
    kept = [*range(colours), *(at for at, name in enumerate(names) if name == "A")][: colours + 1]
    pixels = pixels.reshape(*pixels.shape[:2], -1)[..., kept]
    structure = file.resources.get(_EXIF, b"").removeprefix(b"Exif\0\0")
    resolution = None
    if len(stated := file.resources.get(_RESOLUTION, b"")) >= 16:
        # Fixed-point pixels per inch, whatever unit is shown.
        across, down = struct.unpack_from(">I4xI", stated)
        resolution = (across / 65536, down / 65536)
        resolution = resolution if all(map(exif.is_resolution, resolution)) else None
    return Raster(
        np.ascontiguousarray(pixels),
        {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]],
        without_orientation(structure, notes),
        file.resources.get(_ICC, b""),
        1,  # the merged picture is upright; EXIF is what the camera wrote
        tuple(notes),
        FORM,
        description=with_clean_xmp(Description(resolution, file.resources.get(_XMP, b""))),
    )


def _read(data: bytes) -> _File:
    """Header and image resources.

    Raises:
        ValueError: If they lie outside of the file, or are too large.
    """
    try:
        height, width, _, mode, palette = struct.unpack_from(">IIHHI", data, 14)
        at = 30 + palette
        (length,) = struct.unpack_from(">I", data, at)
        resources = _resources(data, at + 4, length)
        (layers,) = struct.unpack_from(">I", data, at + 4 + length)
    except struct.error as error:
        raise ValueError("it ends within its header") from error
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width}x{height}")
    return _File(Size(width, height), mode, resources, layers > 0)


def _resources(data: bytes, start: int, length: int) -> dict[int, bytes]:
    if length > MAX_METADATA or start + length > len(data):
        raise ValueError(f"its resources claim {length:,} bytes")
    found: dict[int, bytes] = {}
    at, end = start, start + length
    while at + 12 <= end and data[at : at + 4] == b"8BIM":
        (number,) = struct.unpack_from(">H", data, at + 4)
        at += 6 + (data[at + 6] | 1) + 1  # a name of even length, its own length among it
        (size,) = struct.unpack_from(">I", data, at)
        found.setdefault(number, data[at + 4 : at + 4 + size])
        at += 4 + size + size % 2
    return found
