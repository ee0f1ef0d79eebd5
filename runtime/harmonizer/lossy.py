"""How far lossy compression may have moved the values of a picture, read from the file itself."""

import math
from collections.abc import Mapping, Sequence

WEBP_NOISE = 8.0
"""Standard deviation in levels for lossy WebP, which does not state its quality plainly; five of it
cover quality 50 and better."""

UNKNOWN_NOISE = 10.0
"""For lossy codecs within TIFF that are not JPEG; that of JPEG at quality 75."""

_LOSSY_IN_TIFF = frozenset({33003, 33004, 33005, 34712, 34887, 34892, 34927, 50001, 50002, 52546})
"""TIFF's Compression values of JPEG 2000, LERC, lossy DNG, WebP, JPEG XL: with loss as a rule."""

_JPEG_IN_TIFF = frozenset({6, 7, 33007})


def noise_of_table(table: Sequence[int]) -> float:
    """Standard deviation in levels of what a JPEG quantization table takes away.

    Coefficients are rounded to multiples of their step q, an error of q / sqrt(12); the transform
    (ITU-T T.81, A.3.3) is orthonormal, so that a pixel's error is their root mean square.
    """
    return math.sqrt(sum(step * step for step in table) / len(table) / 12) if table else 0.0


def noise_of_jpeg(tables: Mapping[int, Sequence[int]]) -> float:
    """As `noise_of_table`, for the luma's table among those of a file."""
    return noise_of_table(tables[min(tables)]) if tables else UNKNOWN_NOISE


def noise_of_webp(data: bytes) -> float:
    """0 where the picture is coded without loss (RFC 9649, 2.6: the chunk is `VP8L`)."""
    at = 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return WEBP_NOISE if name == b"VP8 " else 0.0
        if name == b"ANMF":  # a frame of an animation: chunks within a chunk
            at, length = at + 24, 0
            continue
        at += 8 + length + length % 2
    return 0.0


def noise_of_tiff(compression: int, tables: bytes) -> float:
    """The noise of a TIFF's Compression.

    Args:
        compression: The tag's value.
        tables: Of JPEG: the tag JPEGTables, or the first strip.
    """
    if compression in _JPEG_IN_TIFF:
        return noise_of_table(_first_table(tables)) or UNKNOWN_NOISE
    return UNKNOWN_NOISE if compression in _LOSSY_IN_TIFF else 0.0


def _first_table(stream: bytes) -> Sequence[int]:
    """Table 0 of the first DQT segment (ITU-T T.81, B.2.4.1); empty if there is none."""
    at = 2
    while at + 4 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4])
        content = stream[at + 4 : at + 2 + length]
        if marker == 0xDB and content:
            if content[0] >> 4 == 0:
                return content[1:65]
            return [int.from_bytes(content[i : i + 2]) for i in range(1, 129, 2)]
        if marker in (0xD9, 0xDA) or length < 2:
            break
        at += 2 + length
    return ()
