"""Where data sets lie, and their images, opened as the runtime opens a user's: within limits."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from harmonizer.limits import MAX_PIXELS, check_size, max_file_bytes
from harmonizer.mistaken import HEAD, came
from harmonizer.reading import read_regular


def data_folder() -> Path:
    """Where data lies: $HARMONIZER_DATA, by default ../shared/data."""
    return Path(os.environ.get("HARMONIZER_DATA", "../shared/data"))


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image file, opened by Pillow, not decoded yet.

    Raises:
        OSError: If it cannot be read, is no regular file, is too large, or is no image.
        ImageFileError: If it has more than 200 million pixels.
    """
    data = read_regular(path, max_file_bytes(MAX_PIXELS))
    try:
        opened = Image.open(BytesIO(data))
    except UnidentifiedImageError as error:
        raise OSError(f"no image that Pillow reads; {came(data[:HEAD])}") from error
    with opened as image:
        check_size(path, image.width, image.height, MAX_PIXELS)
        yield image
