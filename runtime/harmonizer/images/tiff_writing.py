"""Write TIFF 6.0, because the libraries at hand cannot put an EXIF directory into a 16-bit file.

docs/decisions/0003-image-files.md says so.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images import exif as exif_tags
from harmonizer.images.describing import Description

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]


def encode(pixels: Pixels, exif: bytes, icc: bytes, description: Description) -> bytes:
    """Strips, Deflate, integers as differences, in the byte order of the EXIF.

    Args:
        pixels: (H, W, 3) or (H, W, 4) uint8, uint16 or float32.
        exif: EXIF structure without prefix; may be empty.
        icc: ICC profile; may be empty.
        description: Resolution and XMP.

    Raises:
        ImageFileError: If the file would have 4 GiB or more.
    """
    order = exif_tags.byte_order(exif) if exif else "<"
    height, width, channels = pixels.shape
    floats = pixels.dtype == np.float32
    rows = max(1, (1 << 20) // (width * channels * pixels.itemsize))
    strips: list[bytes] = []
    for top in range(0, height, rows):
        strip = pixels[top : top + rows].copy()
        if not floats:
            np.subtract(
                strip[:, 1:], pixels[top : top + rows, :-1], out=strip[:, 1:]
            )  # wraps around, as the predictor means it
        raw = strip.astype(strip.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
        strips.append(bytes(zlib.compress(raw, 6)))
    sizes = [len(strip) for strip in strips]
    padding = b"\0" * (sum(sizes) % 2)
    offsets = [8 + sum(sizes[:index]) for index in range(len(sizes))]
    end = 8 + sum(sizes) + len(padding)
    first, nested = exif_tags.describing_tags(exif) if exif else ({}, {})
    short, long = 3, 4
    for tag, kind, values in (
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [8 * pixels.itemsize] * channels),
        (259, short, [8]),  # Adobe Deflate
        (262, short, [2]),  # RGB
        (273, long, offsets),
        (exif_tags.ORIENTATION, short, [1]),
        (277, short, [channels]),
        (278, long, [rows]),
        (279, long, sizes),
        (284, short, [1]),  # interleaved
        (317, short, [1 if floats else 2]),  # horizontal differencing
        (339, short, [3 if floats else 1] * channels),  # floats, or unsigned integers
    ):
        first[tag] = exif_tags.pack_integers(order, kind, values)
    if channels == 4:
        first[338] = exif_tags.pack_integers(order, short, [2])  # straight alpha
    if icc:
        first[34675] = exif_tags.Entry(7, len(icc), icc)
    if description.resolution and exif_tags.X_RESOLUTION not in first:
        first |= exif_tags.resolution_entries(order, *description.resolution)
    if description.xmp:
        first[700] = exif_tags.Entry(1, len(description.xmp), description.xmp)
    packed, start = exif_tags.pack_directories(first, nested, end, order)
    if end + len(packed) >= 1 << 32:
        raise ImageFileError(
            f"a TIFF file must stay below 4 GiB; this one would have {end + len(packed):,} bytes. "
            "Write .png instead."
        )
    magic = b"II*\0" if order == "<" else b"MM\0*"
    header = magic + struct.pack(order + "I", start)
    return b"".join([header, *strips, padding, packed])
