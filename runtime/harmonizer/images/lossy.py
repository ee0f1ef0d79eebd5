"""How far lossy compression may have moved the values of a picture, read from the file itself."""

import math
from collections.abc import Sequence

from harmonizer.images.containers import jpeg_segments, webp_chunks
from harmonizer.images.tiff_directory import Directory

WEBP_NOISE = 8.0
"""Standard deviation in levels for lossy WebP, which does not state its quality plainly; five of it
cover quality 50 and better."""

UNKNOWN_NOISE = 10.0
"""For lossy codecs whose quality is not found; that of JPEG at quality 75."""

_LOSSY_IN_TIFF = frozenset({33003, 33004, 33005, 34712, 34887, 34892, 34927, 50001, 50002, 52546})
"""TIFF's Compression values of JPEG 2000, LERC, lossy DNG, WebP, JPEG XL: with loss as a rule."""

_JPEG_IN_TIFF = frozenset({6, 7, 33007})

_BEFORE_TABLE = 1 << 20
"""Bytes of a JPEG in which its first table is looked for."""

_COMPRESSION, _STRIP_OFFSETS, _TILE_OFFSETS, _JPEG_TABLES = 259, 273, 324, 347


def noise_of(form: str, data: bytes) -> float:
    """Standard deviation, in levels, of what compression left in a file; 0 where it has no loss.

    Args:
        form: "JPEG", "PNG", "TIFF" or "WebP".
        data: The file.
    """
    if form == "JPEG":
        return _of_table(_first_table(data)) or UNKNOWN_NOISE
    if form == "WebP":
        return WEBP_NOISE if any(kind == b"VP8 " for kind, _ in webp_chunks(data)) else 0.0
    if form == "TIFF":
        return _of_tiff(data)
    return 0.0


def _of_table(table: Sequence[int]) -> float:
    """The noise of a JPEG quantization table; 0 for an empty one.

    Coefficients are rounded to multiples of their step q, an error of q / sqrt(12); the transform
    (ITU-T T.81, A.3.3) is orthonormal, so that a pixel's error is their root mean square.
    """
    return math.sqrt(sum(step * step for step in table) / len(table) / 12) if table else 0.0


def _of_tiff(data: bytes) -> float:
    directory = Directory(data)
    compression = directory.leading(_COMPRESSION)
    if compression in _JPEG_IN_TIFF:
        first = int(directory.leading(_STRIP_OFFSETS) or directory.leading(_TILE_OFFSETS))
        parts = (directory.content(_JPEG_TABLES), data[first : first + _BEFORE_TABLE])
        return next(filter(None, (_of_table(_first_table(part)) for part in parts)), UNKNOWN_NOISE)
    return UNKNOWN_NOISE if compression in _LOSSY_IN_TIFF else 0.0


def _first_table(data: bytes) -> Sequence[int]:
    """The first table, which is the luma's (ITU-T T.81, B.2.4.1); empty if there is none."""
    for marker, content in jpeg_segments(data):
        if marker == 0xDB and content:
            if content[0] >> 4 == 0:
                return content[1:65]
            return [int.from_bytes(content[i : i + 2]) for i in range(1, 129, 2)]
    return ()
