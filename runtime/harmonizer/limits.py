"""How much memory an input may cost: one rule that every decoder asks before it allocates.

``--max-pixels N`` promises that one input costs at most N times `BYTES_PER_PIXEL` bytes, and
`FIXED_BYTES` beside them (docs/reliability.md has the measured figures). For that, everything that
a file declares is bounded by N or by a constant: its pixels, its samples per pixel, its own size,
its metadata.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harmonizer.errors import ImageFileError

MAX_PIXELS = 200_000_000
"""Larger images are refused unless the caller raises the limit."""

MAX_FRAME_PIXELS = 36_000_000
"""Larger frames of a video are refused unless the caller raises the limit; 8K has 33 million."""

BYTES_PER_PIXEL = 64
"""Most memory that an input image costs while it is read, drawn and written, for each pixel of the
limit: the file, its decoded samples (up to 6 of 16 bits), RGB and alpha, and the output."""

FLOAT_BYTES_PER_PIXEL = 96
"""The same for a picture of floats, which have four bytes a sample."""

FRAME_BYTES_PER_PIXEL = 400
"""The same for a video, for each pixel of a frame: what decoder, stages and encoder hold."""

FIXED_BYTES = 192 << 20
"""What an input may cost beside its pixels: metadata, tables of a file's parts."""

MAX_SAMPLES = 6
"""Most values of a pixel in a file."""

MAX_METADATA = 32 << 20
"""Most bytes of EXIF, ICC profile, texts and the like in one file, together."""

MAX_SCANS = 200
"""Most passes of a progressive JPEG; each costs the time of decoding the image once."""

MAX_PARTS = 10_000
"""Most metadata chunks or segments of a file."""

MAX_PAGES = 10_000
"""Most pages of a TIFF that are counted."""

MAX_TILE_BYTES = 64 << 20
"""Most bytes of one decoded tile of a TIFF."""


def max_file_bytes(max_pixels: int) -> int:
    """Most bytes of an image file: its samples, should they not compress, and metadata."""
    return 2 * MAX_SAMPLES * max_pixels + 2 * MAX_METADATA


def check_size(path: object, width: int, height: int, max_pixels: int) -> None:
    """Refuse an image of more than `max_pixels`.

    Raises:
        ImageFileError: If it is larger.
    """
    if width * height > max_pixels:
        raise ImageFileError(
            f"{path} must have at most {max_pixels:,} pixels; it has {width}x{height} = "
            f"{width * height:,}. Scale it down, or pass `max_pixels={width * height}`."
        )


class MemoryBudget:
    """Bytes that workers may have in hand together.

    Args:
        most: How many. One image may always be worked on, whatever its size.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._used = 0
        self._change = threading.Condition()

    @contextmanager
    def of(self, cost: int) -> Iterator[None]:
        """Wait until so many are free, and hold them."""
        with self._change:
            self._change.wait_for(lambda: not self._used or self._used + cost <= self._most)
            self._used += cost
        try:
            yield
        finally:
            with self._change:
                self._used -= cost
                self._change.notify_all()
