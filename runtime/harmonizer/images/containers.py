"""Walk the segments, chunks and tags of image files, without decoding a pixel.

JPEG: ITU-T T.81, B.1. PNG: third edition, 5.3. WebP: RFC 9649, 2.3. TIFF 6.0, section 2, and
BigTIFF. Boxes: ISO/IEC 14496-12, 4.2. What is malformed ends the walk, but of boxes, whose decoders
read on: whether a file is damaged is the decoder's business.
"""

import struct
from collections.abc import Iterator

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q"}


def jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment before the first scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0xD9, 0xDA) or length < 2:
            return
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each chunk; of the pixels (IDAT) the content is left empty."""
    at = 8
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        yield kind, b"" if kind == b"IDAT" else data[at + 8 : at + 8 + length]
        at += 12 + length


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each chunk, and of those within a frame; of pixels 16 bytes."""
    at = 12
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"ANMF":
            at += 8 + 16
            continue
        pixels = kind in (b"VP8 ", b"VP8L", b"ALPH")
        yield kind, data[at + 8 : at + 8 + (min(length, 16) if pixels else length)]
        at += 8 + length + length % 2


def iso_boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin, end) of each outermost box's content, to the end of the file.

    Raises:
        ValueError: If a box ends beyond the file.
    """
    at = 0
    while at < len(data):
        size, kind, header = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(data[at + 8 : at + 16]), 16
        elif size == 0:
            size = len(data) - at
        if size < header or at + size > len(data):
            raise ValueError(f"its box {kind!r} of {size:,} bytes ends beyond the file")
        yield kind, at + header, at + size
        at += size


class TiffTags:
    """The tags of the first directory of a classic TIFF or BigTIFF; empty if it is malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
        self._places: dict[int, tuple[int, int, int]] = {}
        try:
            self._read()
        except struct.error:
            self._places.clear()

    def _read(self) -> None:
        if not self._order:
            return
        (version,) = struct.unpack_from(self._order + "H", self._data, 2)
        if version not in (42, 43):
            return
        big = version == 43
        word, size, start = ("Q", 20, 8) if big else ("I", 12, 4)
        (at,) = struct.unpack_from(self._order + word, self._data, start)
        (count,) = struct.unpack_from(self._order + ("Q" if big else "H"), self._data, at)
        at += 8 if big else 2
        for entry in range(at, min(at + count * size, len(self._data)), size):
            tag, kind, values = struct.unpack_from(self._order + "HH" + word, self._data, entry)
            length, place = _SIZES.get(kind, 0) * values, entry + (12 if big else 8)
            if length > (8 if big else 4):
                (place,) = struct.unpack_from(self._order + word, self._data, place)
            if length > 0 and place + length <= len(self._data):
                self._places[tag] = (kind, place, length)

    def __contains__(self, tag: int) -> bool:
        return tag in self._places

    def content(self, tag: int) -> bytes:
        """A tag's bytes as stored; empty if there is none."""
        _, place, length = self._places.get(tag, (0, 0, 0))
        return self._data[place : place + length]

    def number(self, tag: int) -> float | None:
        """A tag's first integer or rational; None if there is none."""
        kind, place, _ = self._places.get(tag, (0, 0, 0))
        if kind in _CODES:
            return float(struct.unpack_from(self._order + _CODES[kind], self._data, place)[0])
        if kind == 5:
            above, below = struct.unpack_from(self._order + "II", self._data, place)
            return above / below if below else None
        return None
