"""Look through an image file before a decoder does: is it whole, and what will it cost?

Pillow, libpng and libwebp repair, pad and ignore; what they return is not taken for proof that the
file is intact. PNG's chunks carry checksums, which Pillow does not look at where the pixels are;
RIFF says how long it is; JPEG's segments must lead from one to the next.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from harmonizer.limits import (
    BYTES_PER_PIXEL,
    FLOAT_BYTES_PER_PIXEL,
    MAX_METADATA,
    MAX_PARTS,
    MAX_SCANS,
    check_size,
)

_PNG_START = 8
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"fdAT", b"fcTL"}
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)
"""Left, top, and steps across and down of each pass (section 8.2)."""

_BLOCK = 1 << 20
_WEBP_PIXELS = {b"VP8 ", b"VP8L", b"VP8X", b"ANMF", b"ANIM", b"ALPH"}

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""The next marker among entropy-coded bytes (ITU-T T.81, B.1.1.2)."""

_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA


@dataclass(frozen=True, slots=True)
class Size:
    """What a file's header says.

    Attributes:
        width, height: In pixels, as stored.
        floats: Whether its samples are floats.
    """

    width: int
    height: int
    floats: bool = False

    @property
    def pixels(self) -> int:
        """How many."""
        return self.width * self.height

    @property
    def cost(self) -> int:
        """Most bytes of memory that it takes to work on it, beside what all take."""
        return self.pixels * (FLOAT_BYTES_PER_PIXEL if self.floats else BYTES_PER_PIXEL)


def inspect(path: object, form: str, data: bytes, max_pixels: int) -> Size:
    """Check a JPEG, PNG or WebP file.

    Args:
        path: For messages.
        form: "JPEG", "PNG" or "WebP".
        data: All its bytes.
        max_pixels: Most pixels that it may have.

    Returns:
        Its size, from its header.

    Raises:
        ImageFileError: If it has more pixels.
        ValueError: If it is damaged, or has more metadata than `harmonizer.limits` allows.
    """
    look = {"PNG": _inspect_png, "JPEG": _inspect_jpeg, "WebP": _inspect_webp}[form]
    return look(path, data, max_pixels)


class _Metadata:
    """Adds up what is no pixels."""

    def __init__(self) -> None:
        self._bytes = self._parts = 0

    def add(self, count: int) -> None:
        self._bytes += count
        self._parts += 1
        if self._bytes > MAX_METADATA or self._parts > MAX_PARTS:
            raise ValueError(
                f"it may have {MAX_METADATA:,} bytes of metadata in {MAX_PARTS:,} parts; it has "
                "more"
            )


def _checked(path: object, width: int, height: int, max_pixels: int) -> Size:
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width}x{height}")
    check_size(path, width, height, max_pixels)
    return Size(width, height)


def _inspect_png(path: object, data: bytes, max_pixels: int) -> Size:
    """PNG (third edition), 5.3: length, type, content, CRC of type and content."""
    at, metadata = _PNG_START, _Metadata()
    size: Size | None = None
    rows: _Rows | None = None
    view = memoryview(data)
    while True:
        if at + 12 > len(data):
            raise ValueError("it ends before its IEND chunk")
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 8 + length
        if size is None:
            if kind != b"IHDR" or length != 13:
                raise ValueError("it does not begin with an IHDR chunk")
            width, height, depth, colour, _, _, interlace = struct.unpack_from(
                ">IIBBBBB", data, at + 8
            )
            if depth not in _PNG_DEPTHS.get(colour, ()) or interlace > 1:
                raise ValueError(f"it has {depth} bits of colour type {colour}")
            size = _checked(path, width, height, max_pixels)
            rows = _Rows(size, depth * _PNG_CHANNELS[colour], bool(interlace))
        elif kind == b"IHDR":
            raise ValueError("it has two IHDR chunks")
        if end + 4 > len(data):
            raise ValueError(f"it ends inside its {kind!r} chunk")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise ValueError(f"the checksum of its {kind!r} chunk is wrong")
        if kind == b"IEND":
            break
        if kind not in _PIXEL_CHUNKS:
            metadata.add(length)
        elif kind == b"IDAT" and rows is not None:
            rows.add(view[at + 8 : end])
        at = end + 4
    if rows is None:
        raise ValueError("it has no pixels")
    rows.finish()
    return size


class _Rows:
    """Counts what PNG's pixels decompress to (sections 7.2 and 8), a block at a time.

    Pillow leaves rows that the data does not reach as they are.
    """

    def __init__(self, size: Size, bits: int, interlaced: bool) -> None:
        passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
        self._wanted = 0
        for left, top, across, down in passes:
            columns = max(0, -(-(size.width - left) // across))
            rows = max(0, -(-(size.height - top) // down))
            self._wanted += rows * (1 + -(-columns * bits // 8)) if columns else 0
        self._stream, self._came = zlib.decompressobj(), 0

    def add(self, data: "bytes | memoryview[int]") -> None:
        """Take the content of another IDAT chunk."""
        try:
            while data and not self._stream.eof and self._came <= self._wanted:
                self._came += len(self._stream.decompress(data, _BLOCK))
                data = self._stream.unconsumed_tail
        except zlib.error as error:
            raise ValueError(f"its pixels do not decompress ({error})") from error

    def finish(self) -> None:
        """Refuse too few and too many bytes."""
        if self._came <= self._wanted and not self._stream.eof:
            self._came += len(self._stream.flush(_BLOCK))
        if self._came != self._wanted or not self._stream.eof:
            raise ValueError(
                f"its pixels must have {self._wanted:,} bytes; there are {self._came:,}"
            )


def _inspect_jpeg(path: object, data: bytes, max_pixels: int) -> Size:
    """ITU-T T.81, B.1.1: markers, segments with lengths, entropy-coded bytes after each SOS."""
    at, metadata, scans = 2, _Metadata(), 0
    size: Size | None = None
    while True:
        found = _NEXT_MARKER.search(data, at)
        if found is None:
            break
        marker, at = found[1][0], found.end()
        if marker == _EOI:
            break
        if marker in (_SOI, 0x01):
            continue
        length = int.from_bytes(data[at : at + 2])
        if length < 2 or at + length > len(data):
            raise ValueError("it ends inside a segment")
        if marker in _FRAMES:
            if size is not None:
                raise ValueError("it has two frame headers")
            height, width = struct.unpack_from(">HH", data.ljust(at + 7, b"\0"), at + 3)
            size = _checked(path, width, height, max_pixels)
        elif marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise ValueError(f"it may have {MAX_SCANS} scans; it has more")
        elif marker == 0xFE or 0xE0 <= marker <= 0xEF:
            metadata.add(length)
        at += length
    if size is None or not scans:
        raise ValueError("it ends before its pixels")
    return size


def _inspect_webp(path: object, data: bytes, max_pixels: int) -> Size:
    """RFC 9649, 2: RIFF chunks of even length, sizes in little-endian order."""
    stated = int.from_bytes(data[4:8], "little") + 8
    if stated > len(data):
        raise ValueError(f"it must have {stated} bytes, and has {len(data)}")
    at, metadata = 12, _Metadata()
    size: Size | None = None
    while at + 8 <= stated:
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > stated:
            raise ValueError(f"it ends inside its {kind!r} chunk")
        if kind in _WEBP_PIXELS:
            measured = _webp_size(kind, data[at + 8 : at + 8 + min(length, 24)])
            if measured is not None:
                here = _checked(path, *measured, max_pixels)
                size = size or here
        else:
            metadata.add(length)
        at += 8 + length + length % 2
    if size is None:
        raise ValueError("it has no pixels")
    return size


def _webp_size(kind: bytes, head: bytes) -> tuple[int, int] | None:
    """Width and height by a chunk's first bytes; None for one that does not say."""
    if kind == b"VP8X":
        head = head.ljust(10, b"\0")
        width, height = head[4:7], head[7:10]
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", head.ljust(10, b"\0"), 6)
        return width & 0x3FFF, height & 0x3FFF
    return None
