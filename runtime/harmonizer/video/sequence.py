"""Numbered image files as a video, read as `harmonizer image` reads them."""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images.files import FORMATS, load_mask, load_photo, to_depth
from harmonizer.limits import MAX_FRAME_PIXELS
from harmonizer.masks import Levels, full_value
from harmonizer.video.errors import VideoError
from harmonizer.video.masks import Brightness
from harmonizer.video.reader import Picture

Content = TypeVar("Content")

_NUMBER = re.compile(r"%0?[0-9]{0,2}d")

MAX_NUMBER = (1 << 31) - 1
"""Largest number of an image: libav counts time in 64 bits of small units."""


def is_pattern(path: str | Path) -> bool:
    """Whether a name stands for numbered files, such as frames/%04d.png."""
    return _NUMBER.search(Path(path).name) is not None


def is_sequence(path: str | Path) -> bool:
    """Whether a path names an image sequence: a folder, or a pattern that is no file's own name."""
    path = Path(path)
    return path.is_dir() or (is_pattern(path) and not path.exists())


def is_still(path: str | Path) -> bool:
    """Whether a path names one image file."""
    return Path(path).suffix.lower() in FORMATS and not is_sequence(path)


def numbered_files(path: Path) -> dict[int, Path]:
    """The files that a pattern stands for, by their numbers, in order.

    Raises:
        VideoError: If two have the same number.
    """
    name = re.compile(r"([0-9]+)".join(map(re.escape, _NUMBER.split(path.name, maxsplit=1))))
    there = path.parent.iterdir() if path.parent.is_dir() else iter(())
    return _by_number([(int(m[1]), p) for p in there if (m := name.fullmatch(p.name))], path)


def numbered(path: Path, number: int) -> str:
    """The file name that a pattern gives to a number."""
    return _NUMBER.sub(lambda match: match[0] % number, path.name)


def find_sequence(path: str | Path) -> dict[int, Path]:
    """The files of a sequence by their numbers, in order.

    Args:
        path: A pattern such as frames/%04d.png, or a folder whose images are named alike but for
            the last number in their names.

    Raises:
        VideoError: If there are none, or it is not one sequence.
    """
    path = Path(path)
    if not path.is_dir():
        found = numbered_files(path)
    else:
        images = [p for p in sorted(path.iterdir()) if p.suffix.lower() in FORMATS and p.is_file()]
        images = [p for p in images if not p.name.startswith(".")]
        parts = [re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", p.name) for p in images]
        kinds = {(m[1], m[3].lower()) if m else p.name for m, p in zip(parts, images, strict=True)}
        if len(kinds) > 1:
            one, other = sorted(map(str, kinds))[:2]
            raise VideoError(
                f"{path} must hold images whose names differ in their last number alone; it holds "
                f"{len(kinds)} kinds of names, such as {one} and {other}. Name one of the "
                f"sequences by a pattern, such as {path}/%04d.png."
            )
        numbers = [int(m[2]) if m else 0 for m in parts]
        found = _by_number(list(zip(numbers, images, strict=True)), path)
    if not found:
        raise VideoError(
            f"{path} must name images ({', '.join(FORMATS)}); there are none. Give a folder, or a "
            "pattern such as frames/%04d.png."
        )
    return found


def _by_number(pairs: list[tuple[int, Path]], path: Path) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for number, file in sorted(pairs):
        if number > MAX_NUMBER:
            raise VideoError(
                f"{path} must have image numbers up to {MAX_NUMBER:,}; {file.name[:80]} has a "
                "larger one. Number them anew."
            )
        if number in files:
            raise VideoError(
                f"{path} must have one image of each number; {files[number].name} and {file.name} "
                "have the same. Remove one of them."
            )
        files[number] = file
    return files


def frame_of(pixels: NDArray[Any], alpha: NDArray[Any] | None) -> av.VideoFrame:
    """A frame of (H, W, 3) RGB, uint8 or uint16, and its alpha, if any."""
    deep = pixels.dtype == np.uint16
    if alpha is None:
        return av.VideoFrame.from_ndarray(pixels, "rgb48le" if deep else "rgb24")
    return av.VideoFrame.from_ndarray(np.dstack([pixels, alpha]), "rgba64le" if deep else "rgba")


class SequenceReader:
    """Image files, with the interface of `VideoReader`. An image's number says its time.

    Args:
        path: As `find_sequence` takes.
        rate: Frames per second.
        skip_damaged: Go on past images that cannot be read, and count them in `damaged`.
        max_pixels: Larger images are refused.
        colour_management: Convert images of other colours, and of floats, to sRGB.

    Attributes:
        start: The first image's number.
        converted: What the first one's colours are, if they are not sRGB's.
        missing: Numbers between the first and the last that have no image.
        others: Files in the folder that are no images of the sequence; none for a pattern.

    Raises:
        VideoError: If there are no images, or no rate is given.
        ImageFileError: If the first one cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        rate: Fraction | None,
        skip_damaged: bool = False,
        max_pixels: int = MAX_FRAME_PIXELS,
        colour_management: bool = True,
    ) -> None:
        self.path = Path(path)
        self._files = find_sequence(path)
        if rate is None:
            raise VideoError(
                f"{path} is a sequence of images and must have a frame rate; none is given. Pass "
                "`rate`, such as `rate=25`."
            )
        self._skip, self._max_pixels = skip_damaged, max_pixels
        self.others: list[str] = []
        if self.path.is_dir():
            used = {file.name for file in self._files.values()}
            files = sorted(file for file in self.path.iterdir() if file.is_file())
            self.others = [file.name for file in files if file.name not in used]
        self.rate: Fraction = rate
        self.time_base = 1 / rate
        self.start, end = min(self._files), max(self._files)
        span = end - self.start + 1
        self.missing = span - len(self._files)
        self.duration: float = float(span / rate)
        self.promised_duration: float | None = self.duration
        self.frame_count: int = len(self._files)
        self.frames_read = 0
        self.last_time = 0.0
        self.damaged = 0
        self.copies: list[Any] = []
        self.dropped: list[str] = []
        self.aspect: Fraction | None = None
        self._managed = colour_management
        first = load_photo(self._files[self.start], max_pixels, colour_management)
        self.converted = first.colours.name if first.colours is not None else ""
        self.height, self.width = first.pixels.shape[:2]

    def items(self) -> Iterator[Picture]:
        """Yield the images in order.

        Raises:
            ImageFileError: If one cannot be read.
        """
        for number, path in self._files.items():
            photo = self._read(lambda file, most: load_photo(file, most, self._managed), path)
            if photo is None:
                continue
            pixels, alpha = photo.in_srgb(), photo.alpha
            if alpha is not None and alpha.dtype != pixels.dtype:
                alpha = to_depth(alpha, 8 * pixels.itemsize)
            frame = frame_of(pixels, alpha)
            pts = number - self.start
            frame.pts, frame.time_base = pts, self.time_base
            self.last_time = float(pts / self.rate)
            yield Picture(self.frames_read, pts / self.rate, pts, frame)
            self.frames_read += 1

    def pictures(self) -> Iterator[Picture]:
        """As `items`."""
        return self.items()

    def masks(
        self, levels: Levels | None, brightness: Brightness
    ) -> Iterator[tuple[float, NDArray[np.uint8], tuple[str, ...]]]:
        """Yield (seconds, mask, notes), each read as a mask file.

        Args:
            levels: What is black and white in them; see `load_mask`.
            brightness: Is told of each.

        Raises:
            ImageFileError, MaskError: If one cannot be read, or holds labels.
            VideoError: As `Brightness.see` does.
        """
        for number, path in self._files.items():
            read = self._read(lambda file, most: still_mask(file, most, levels, brightness), path)
            if read is not None:
                yield float((number - self.start) / self.rate), *read

    def close(self) -> None:
        """Nothing is open."""

    def _read(self, load: Callable[[Path, int], Content], path: Path) -> Content | None:
        try:
            return load(path, self._max_pixels)
        except ImageFileError:
            self.damaged += 1
            if not self._skip:
                raise
            return None


def still_mask(
    path: Path,
    max_pixels: int = MAX_FRAME_PIXELS,
    levels: Levels | None = None,
    brightness: Brightness | None = None,
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """A mask file as (H, W) uint8, and notes on what was done; 16-bit masks are rounded.

    Args:
        path: Image file.
        max_pixels: Larger ones are refused.
        levels: What is black and white in it; see `load_mask`.
        brightness: Of a sequence: is told this mask's brightest value; the file may be faint.

    Raises:
        ImageFileError, MaskError: As `load_mask` does.
        VideoError: As `Brightness.see` does.
    """
    values, notes = load_mask(path, max_pixels, levels, brightness is not None)
    if brightness is not None:
        brightness.see(float(values.max()), full_value(values.dtype))
    return to_depth(values, 8).astype(np.uint8, copy=False), notes
