"""Walk the segments, chunks and boxes of image files, without decoding a pixel.

JPEG: ITU-T T.81, B.1. PNG: third edition, 5.3. WebP: RFC 9649, 2.3. Boxes: ISO/IEC 14496-12, 4.2;
`tiff_directory` has TIFF. What is malformed ends the walk, but of boxes, whose decoders read on:
whether a file is damaged is the decoder's business.
"""

from collections.abc import Iterator


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
