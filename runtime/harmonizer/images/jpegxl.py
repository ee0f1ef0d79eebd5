"""JPEG XL (ISO/IEC 18181): pixels and ICC profile by OpenImageIO, EXIF and XMP in boxes.

imagecodecs has a JPEG XL of its own, which neither tells nor takes a profile; it reads the first
frame of an animation, which OpenImageIO does not.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.images.code_points import HDR, SRGB_CURVE, by_code
from harmonizer.images.containers import iso_boxes
from harmonizer.images.describing import Description, with_clean_xmp
from harmonizer.images.inspection import Size
from harmonizer.images.lossy import UNKNOWN_NOISE
from harmonizer.images.oiio import attribute, encoded, opened, pixels_of
from harmonizer.images.raster import Raster, without_orientation
from harmonizer.limits import MAX_METADATA, check_size

if TYPE_CHECKING:
    from harmonizer.images.encoding import Quality

FORM, SUFFIX = "JPEG XL", ".jxl"
_CODESTREAM = b"\xff\x0a"
_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_FILE_TYPE = b"\0\0\0\x14ftypjxl \0\0\0\0jxl "
_PIXELS = (b"jxlc", b"jxlp")
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def is_one(head: bytes) -> bool:
    """Whether a file begins as one of JPEG XL does."""
    return head.startswith((_CODESTREAM, _SIGNATURE))


@dataclass(frozen=True, slots=True)
class _Header:
    """Of a codestream (part 1, annex D): the upright size, and whether frames follow in time."""

    size: Size
    animated: bool


def size_of(path: object, data: bytes, max_pixels: int) -> Size:
    """Look through a file; its size as it is displayed.

    Raises:
        ImageFileError: If it has more pixels than it may.
        ValueError: If it is damaged, or has too much metadata.
    """
    size = _read_header(_boxes(data)).size
    check_size(path, size.width, size.height, max_pixels)
    return size


def decode(path: object, data: bytes, max_pixels: int) -> Raster:
    """Read a file whose `size_of` was in order; the codestream's orientation is applied already.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If it is damaged.
        Exception: Whatever else a library raises for a damaged file.
    """
    boxes = _boxes(data)
    notes = []
    with opened(FORM, data, SUFFIX) as picture:
        pixels = pixels_of(picture)
        profile = attribute(picture, "ICCProfile")
        code = attribute(picture, "CICP") or (0, 0)
    if _read_header(boxes).animated:
        from imagecodecs import jpegxl_decode

        notes.append("it is animated; the first frame is used")
        pixels = np.asarray(jpegxl_decode(data, index=0))
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.dtype not in (np.uint8, np.uint16):
        pixels = _of_floats(pixels)
        notes.append("its floats are rounded to 16 bits")
    if pixels.shape[2] > 4:
        raise ValueError(f"it has {pixels.shape[2]} channels")
    icc = b"" if profile is None else np.asarray(profile, np.uint8).tobytes()
    if pixels.shape[2] < 3 and code[1] == SRGB_CURVE:
        icc = b""  # made up by libjxl from the code; grey of sRGB's curve is what grey is here
    stated = by_code(code[0], code[1], "its codestream") if code[1] in HDR else None
    structure = b"".join(content[4:] for kind, content in boxes if kind == b"Exif")
    xmp = next((content for kind, content in boxes if kind == b"xml "), b"")
    return Raster(
        pixels,
        {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]],
        without_orientation(structure.removeprefix(b"Exif\0\0"), notes),
        b"" if stated else icc,
        1,
        tuple(notes),
        FORM,
        noise=UNKNOWN_NOISE,
        description=with_clean_xmp(Description(None, xmp, stated.name if stated else "")),
    )


def encode(pixels: NDArray[Any], exif: bytes, icc: bytes, xmp: bytes, quality: "Quality") -> bytes:
    """A file in boxes, with EXIF and XMP behind the codestream.

    Raises:
        ImageFileError: If OpenImageIO is not installed.
        ValueError: If it does not take the pixels.
    """
    level = 100 if quality.lossless else min(quality.level, 99)  # 100 is without loss
    attributes: dict[str, Any] = {
        "compression": f"jpegxl:{level}",
        "oiio:UnassociatedAlpha": 1,
    }
    if icc:
        attributes["ICCProfile"] = (f"uint8[{len(icc)}]", icc)
    file = encoded(FORM, pixels, SUFFIX, attributes)
    # What it says beside the picture is its own: a time, a program.
    kept = [(kind, body) for kind, body in _boxes(file) if kind in (b"jxll", *_PIXELS)]
    if exif:
        kept.append((b"Exif", bytes(4) + exif))
    if xmp:
        kept.append((b"xml ", xmp))
    packed = [struct.pack(">I", 8 + len(body)) + kind + body for kind, body in kept]
    return b"".join([_SIGNATURE, _FILE_TYPE, *packed])


def _boxes(data: bytes) -> list[tuple[bytes, bytes]]:
    """(type, content) of a file's boxes (part 2, 9.1); of a bare codestream one.

    Raises:
        ValueError: If they do not lead from one to the next, or have too much metadata.
    """
    if data.startswith(_CODESTREAM):
        return [(b"jxlc", data)]
    boxes, metadata = [], 0
    for kind, begin, end in iso_boxes(data):
        content = data[begin:end]
        if kind == b"brob":
            kind, content = content[:4], _unpacked(content)
        metadata += len(content) if kind not in _PIXELS else 0
        if metadata > MAX_METADATA:
            raise ValueError(f"it has more than {MAX_METADATA:,} bytes beside its pixels")
        boxes.append((kind, content))
    return boxes


def _unpacked(content: bytes) -> bytes:
    """What a box of type brob holds, for EXIF and XMP alone; of others nothing."""
    if content[:4] not in (b"Exif", b"xml "):
        return b""
    from imagecodecs import brotli_decode

    return bytes(brotli_decode(content[4:], out=MAX_METADATA + 1))


def _read_header(boxes: list[tuple[bytes, bytes]]) -> _Header:
    """SizeHeader and the beginning of ImageMetadata, whose bits go from each byte's lowest up.

    Raises:
        ValueError: If there is no codestream.
    """
    begun = b""
    for kind, content in boxes:
        if kind in _PIXELS:
            begun += content[4 if kind == b"jxlp" else 0 :][:64]
        if len(begun) >= 64:
            break
    if not begun.startswith(_CODESTREAM):
        raise ValueError("it has no codestream")
    bits = _Bits(begun[2:])
    width, height = _read_size(bits)
    animated = False
    if not bits.take(1) and bits.take(1):  # not all defaults, and further fields
        if bits.take(3) >= 4:  # stored on its side
            width, height = height, width
        if bits.take(1):
            _read_size(bits)
        animated = not bits.take(1) and bool(bits.take(1))  # behind a preview it is not looked for
    return _Header(Size(width, height), animated)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("its header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value


def _read_size(bits: _Bits) -> tuple[int, int]:
    """Width and height, as stored."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else 1 + bits.take((9, 13, 18, 30)[bits.take(2)])

    height, ratio = side(), bits.take(3)
    if ratio == 0:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _of_floats(pixels: NDArray[Any]) -> NDArray[np.uint16]:
    values = pixels.astype(np.float32)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("its floats must lie in [0, 1]")
    rounded: NDArray[np.uint16] = np.floor(values * 65535 + 0.5).astype(np.uint16)
    return rounded
