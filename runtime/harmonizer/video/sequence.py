"""Numbered image files as a video, read as `harmonizer image` reads them."""

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from harmonizer.files import FORMATS, load_mask, load_photo
from harmonizer.video.errors import VideoError
from harmonizer.video.reader import Picture


def is_sequence(path: str | Path) -> bool:
    """Whether a path names an image sequence: a folder, or a pattern such as frames/%04d.png."""
    return Path(path).is_dir() or re.search(r"%0?\d*d", Path(path).name) is not None


def is_still(path: str | Path) -> bool:
    """Whether a path names one image file."""
    return Path(path).suffix.lower() in FORMATS and not is_sequence(path)


def find_sequence(path: str | Path) -> list[Path]:
    """The files of a sequence, by number where a pattern says it, else by name.

    Raises:
        VideoError: If there are none.
    """
    folder = Path(path)
    if folder.is_dir():
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in FORMATS and p.is_file())
    else:
        folder, name = folder.parent, folder.name
        parts = re.split(r"%0?\d*d", name)
        pattern = re.compile(r"(\d+)".join(map(re.escape, parts)))
        found = folder.iterdir() if folder.is_dir() else iter(())
        numbered = [(m, p) for p in found if (m := pattern.fullmatch(p.name))]
        files = [p for m, p in sorted(numbered, key=lambda pair: int(pair[0].group(1)))]
    if not files:
        raise VideoError(
            f"{path} must name images ({', '.join(FORMATS)}); there are none. Give a folder, or a "
            "pattern such as frames/%04d.png."
        )
    return files


def frame_of(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> av.VideoFrame:
    """A frame of (H, W, 3) RGB, uint8 or uint16, and its alpha, if any."""
    deep = pixels.dtype == np.uint16
    if alpha is None:
        return av.VideoFrame.from_ndarray(pixels, "rgb48le" if deep else "rgb24")
    return av.VideoFrame.from_ndarray(np.dstack([pixels, alpha]), "rgba64le" if deep else "rgba")


class SequenceReader:
    """Image files, with the interface of `VideoReader`.

    Args:
        path: As `find_sequence` takes.
        rate: Frames per second.

    Raises:
        VideoError: If there are no images, or no rate is given.
        ImageFileError: If the first one cannot be read.
    """

    def __init__(self, path: str | Path, rate: Fraction | None) -> None:
        self.path = Path(path)
        self._files = find_sequence(path)
        if rate is None:
            raise VideoError(
                f"{path} is a sequence of images and must have a frame rate; none is given. Pass "
                "--rate, such as --rate 25."
            )
        self.rate: Fraction = rate
        self.time_base = 1 / rate
        self.duration: float = float(len(self._files) / rate)
        self.frame_count: int = len(self._files)
        self.frames_read = 0
        self.last_time = 0.0
        self.promised_duration: float | None = None
        self.damaged = 0
        self.copies: list[Any] = []
        self.dropped: list[str] = []
        self.aspect: Fraction | None = None
        first = load_photo(self._files[0]).pixels
        self.height, self.width = first.shape[:2]

    def items(self) -> Iterator[Picture]:
        """Yield the images in order.

        Raises:
            ImageFileError: If one cannot be read.
        """
        for index, path in enumerate(self._files):
            photo = load_photo(path)
            frame = frame_of(photo.pixels, photo.alpha)
            frame.pts, frame.time_base = index, self.time_base
            yield Picture(index, index / self.rate, index, frame)
            self.frames_read, self.last_time = index + 1, float(index / self.rate)

    def pictures(self) -> Iterator[Picture]:
        """As `items`."""
        return self.items()

    def masks(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Yield (seconds, mask), each read as a mask file.

        Raises:
            ImageFileError: If one cannot be read, or holds labels.
        """
        for index, path in enumerate(self._files):
            yield float(index / self.rate), still_mask(path)

    def close(self) -> None:
        """Nothing is open."""


def still_mask(path: Path) -> NDArray[np.uint8]:
    """A mask file as (H, W) uint8; 16-bit masks are rounded.

    Raises:
        ImageFileError: As `load_mask` does.
    """
    values, _ = load_mask(path)
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return values.astype(np.uint8, copy=False)
