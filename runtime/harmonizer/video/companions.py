"""Open the mask and the background that go along with a video, fitted to its frames."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from harmonizer.files import load_photo
from harmonizer.video.colour import Colour, Converter, colour_of
from harmonizer.video.errors import VideoError
from harmonizer.video.inputs import Inputs, Opener, Reader, interval_of
from harmonizer.video.masks import Levels, luma_mask
from harmonizer.video.matching import Companion, Follower, Still, too_short
from harmonizer.video.orientation import Orientation, orientation_of
from harmonizer.video.planes import Mask
from harmonizer.video.sequence import SequenceReader, is_still, still_mask


@dataclass(frozen=True, slots=True)
class Leader:
    """What companions are fitted to: the video that gives the times.

    Attributes:
        reader: Of it.
        size: (height, width) as stored.
        orientation: How that is displayed.
        working_format: Pixel format that frames are composed in.
        colour: Their colours.
    """

    reader: Reader
    size: tuple[int, int]
    orientation: Orientation
    working_format: str
    colour: Colour


class Companions:
    """Opens what goes along with a leader.

    Args:
        inputs: What was asked for.
        leader: What it is fitted to.
        opener: Opens files.
        stack: Closes what is read ahead.
        threads: Of each conversion.
    """

    def __init__(
        self, inputs: Inputs, leader: Leader, opener: Opener, stack: ExitStack, threads: int
    ) -> None:
        self._inputs, self._leader, self._opener = inputs, leader, opener
        self._stack, self._threads = stack, threads

    def mask(self, path: Path) -> Companion[Mask]:
        """A mask in the leader's size, as stored.

        Raises:
            VideoError, ImageFileError: If it cannot be read or does not fit.
        """
        if is_still(path):
            return Still(
                self._stored(self._fitted(still_mask(path, self._inputs.max_pixels), path))
            )
        reader = self._opener.open(path)
        self._check_length(reader, "mask")
        values: Callable[[], Iterator[tuple[float, Mask]]]
        if isinstance(reader, SequenceReader):

            def values() -> Iterator[tuple[float, Mask]]:
                for seconds, mask in reader.masks():
                    yield seconds, self._stored(self._fitted(mask, path))
        else:

            def values() -> Iterator[tuple[float, Mask]]:
                for picture in reader.pictures():
                    yield float(picture.time), self._video_mask(picture.frame, path)

        return self._follow(values(), reader, f"the mask {path}")

    def background(self, path: Path) -> Companion[av.VideoFrame]:
        """A background, or a foreground, in the leader's size, format and colours.

        Raises:
            VideoError, ImageFileError: If it cannot be read or does not fit.
        """
        leader = self._leader
        if is_still(path):
            return Still(self._still_frame(path))
        reader = self._opener.open(path)
        self._check_length(reader, "background")
        converter = Converter(self._threads)

        def values() -> Iterator[tuple[float, av.VideoFrame]]:
            for picture in reader.pictures():
                frame = picture.frame
                came = (frame.height, frame.width)
                if came != leader.size or orientation_of(frame, path) != leader.orientation:
                    raise VideoError(_other_size(path, came, leader.size))
                yield float(picture.time), normalised(frame, converter, leader)

        return self._follow(values(), reader, f"the background {path}")

    def alpha(self, path: Path) -> Companion[Mask]:
        """The alpha channel of an image as a mask.

        Raises:
            VideoError, ImageFileError: If it cannot be read or has none.
        """
        return Still(self._stored(_still_alpha(path, self._inputs.max_pixels)))

    def _video_mask(self, frame: av.VideoFrame, path: Path) -> Mask:
        own, leading = orientation_of(frame, path), self._leader.orientation
        size = own.size(*leading.size(*self._leader.size))
        fits = (frame.height, frame.width) == size
        if not fits:
            self._check_fit((frame.height, frame.width), size, path)
        mask = luma_mask(frame, self._inputs.levels, None if fits else size)
        return mask if own == leading else self._stored(own.upright(mask))

    def _fitted(self, mask: Mask, path: Path) -> Mask:
        """A mask from an image file, which is upright, in the upright size."""
        size = self._leader.orientation.size(*self._leader.size)
        if mask.shape == size:
            return mask
        self._check_fit(mask.shape, size, path)
        frame = av.VideoFrame.from_ndarray(mask, "gray")
        return luma_mask(frame, Levels(0, 255), size)

    def _check_fit(self, came: tuple[int, ...], size: tuple[int, ...], path: Path) -> None:
        if not self._inputs.fit_mask:
            raise VideoError(
                f"the mask must have the video's size; {path} is {came[1]}x{came[0]} for a "
                f"{size[1]}x{size[0]} video. Resize it, or pass --fit-mask."
            )

    def _stored(self, array: Any) -> Any:
        """An upright picture as the leader stores its own."""
        return np.ascontiguousarray(self._leader.orientation.stored(array))

    def _still_frame(self, path: Path) -> av.VideoFrame:
        leader = self._leader
        pixels = self._stored(load_photo(path, self._inputs.max_pixels).pixels)
        if pixels.shape[:2] != leader.size:
            raise VideoError(_other_size(path, pixels.shape, leader.size))
        converter = Converter(self._threads)
        return converter.from_rgb(pixels, leader.working_format, leader.colour, leader.size[0])

    def _follow(
        self, values: Iterator[tuple[float, Any]], reader: Reader, what: str
    ) -> Companion[Any]:
        follower: Follower[Any] = Follower(
            values, what, interval_of(reader), self._inputs.when_short
        )
        self._stack.callback(follower.close)
        return follower

    def _check_length(self, reader: Reader, role: str) -> None:
        """Refuse a companion that its header says is shorter, before the work begins."""
        ends, needed = reader.promised_duration, self._leader.reader.promised_duration
        if self._inputs.when_short != "refuse" or ends is None or needed is None:
            return
        if ends + interval_of(reader) < needed:
            raise VideoError(too_short(f"the {role} {reader.path}", ends, needed))


def normalised(frame: av.VideoFrame, converter: Converter, leader: Leader) -> av.VideoFrame:
    """A frame in the leader's working format and colours."""
    return converter.to_format(frame, colour_of(frame), leader.working_format, leader.colour)


def _still_alpha(path: Path, max_pixels: int) -> Mask:
    photo = load_photo(path, max_pixels)
    if photo.alpha is None:
        raise VideoError(
            f"{path} must have an alpha channel when no mask is given; it has none. Name a mask."
        )
    deep = photo.alpha.dtype == np.uint16
    values = (photo.alpha.astype(np.uint32) + 128) // 257 if deep else photo.alpha
    return values.astype(np.uint8)


def _other_size(path: Path, came: tuple[int, ...], size: tuple[int, ...]) -> str:
    return (
        f"foreground and background must have one size and rotation; {path} is "
        f"{came[1]}x{came[0]}, the other {size[1]}x{size[0]}. Scale or crop one of them first."
    )
