"""Image files that lie about themselves, written by hand."""

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from photographs import picture
from PIL import Image


def tiff(tags: Mapping[int, int | tuple[int, ...]], data: bytes) -> bytes:
    """A classic little-endian TIFF: `data` from byte 8 on, then one directory of LONG tags."""
    start = 8 + len(data) + len(data) % 2
    entries, values = b"", b""
    after = start + 2 + 12 * len(tags) + 4
    for tag, given in sorted(tags.items()):
        numbers = given if isinstance(given, tuple) else (given,)
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            values, packed = values + packed, struct.pack("<I", after + len(values))
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    head = b"II*\0" + struct.pack("<I", start)
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    return head + data.ljust(start - 8, b"\0") + directory + values


def grey_tiff(**changed: int | tuple[int, ...] | None) -> bytes:
    """A sound 100x200 grey TIFF of one Deflate strip, but for the tags that are changed."""
    data = zlib.compress(bytes(100 * 200))
    tags: dict[int, int | tuple[int, ...]] = {
        **{256: 100, 257: 200, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: 200, 284: 1},
        279: len(data),
    }
    for name, value in changed.items():
        tag = int(name.removeprefix("tag"))
        if value is None:
            del tags[tag]
        else:
            tags[tag] = value
    return tiff(tags, data)


def strips_tiff(count: int, present: int) -> bytes:
    """A grey TIFF of `count` strips, of which only the first `present` have bytes."""
    data = zlib.compress(bytes(100 * 10))
    return tiff(
        {
            **{256: 100, 257: 10 * count, 258: 8, 259: 8, 262: 1, 277: 1, 278: 10},
            273: (8,) * present + (0,) * (count - present),
            279: (len(data),) * present + (0,) * (count - present),
        },
        data,
    )


def chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, extra: bytes = b"", pixels: bytes | None = None) -> bytes:
    """A grey PNG; `pixels` in place of the compressed rows of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height)) if pixels is None else pixels
    parts = chunk(b"IHDR", header), extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def swollen_exif(tags: int, size: int) -> bytes:
    """EXIF whose tags all have the same `size` bytes for a value."""
    start = 8 + 2 + 12 * tags + 4
    entries = b"".join(struct.pack("<HHII", 0x9000 + i % 999, 7, size, start) for i in range(tags))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", tags) + entries + b"\0\0\0\0" + bytes(size)


def webp() -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    Image.fromarray(picture()).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def mosaic(side: int) -> np.ndarray:
    """Something that does not compress to nothing."""
    return np.random.default_rng(4).integers(0, 256, (side, side, 3), dtype=np.uint8)
