"""Open the inputs and compose them, frame by frame: what the pipeline then works on."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from harmonizer.files import load_photo
from harmonizer.video.colour import (
    FULL,
    HDR_TRANSFERS,
    LIMITED,
    Colour,
    Converter,
    colour_of,
    is_guessed,
)
from harmonizer.video.errors import VideoError
from harmonizer.video.masks import Levels, alpha_mask, has_alpha, luma_mask
from harmonizer.video.matching import Companion, EndedError, Follower, Still, WhenShort, too_short
from harmonizer.video.planes import Mask, blend, copy_frame, foreground_box
from harmonizer.video.reader import Picture, VideoReader, display_matrix, quarter_turns
from harmonizer.video.sequence import SequenceReader, is_sequence, is_still, still_mask
from harmonizer.video.shots import Shot
from harmonizer.video.stages import RunAhead

Reader = VideoReader | SequenceReader

_READ_AHEAD = 4
_TYPICAL_RATE = 25.0


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is harmonized.

    Attributes:
        composite: Video or image sequence; with `background`, the foreground over it. One image
            may stand still over a moving background.
        mask: Video, image sequence or one image; None for the composite's alpha channel.
        background: Video, image sequence or one image; None if the composite is one.
        rate: Frames per second of image sequences, and of videos in place of their timestamps.
        when_short: What happens where a mask or background ends before the video.
        skip_damaged: Go on past what cannot be decoded.
        fit_mask: Scale a mask of another size.
        levels: What counts as black and white in masks that come from video.
        copied: Kinds of other streams that are copied.
    """

    composite: Path
    mask: Path | None = None
    background: Path | None = None
    rate: Fraction | None = None
    when_short: WhenShort = "refuse"
    skip_damaged: bool = False
    fit_mask: bool = False
    levels: Levels = field(default_factory=Levels)
    copied: tuple[str, ...] = ("audio", "subtitle")


@dataclass(slots=True)
class Frame:
    """What a shot carries: the frame that is encoded, and what is copied before it.

    Attributes:
        picture: The composite; drawn on where the mask is not 0.
        pts: For the output.
        packets: Of copied streams, read before this frame.
    """

    picture: av.VideoFrame
    pts: int
    packets: list[Any]


class Feed:
    """The opened inputs. `prepare` once, then iterate over `shots` once, then `close`.

    Attributes:
        reader: Of the moving input that gives the times: composite, else background.
        first: Its first frame.
        colour: Its colours.
        notes: What a person should know.
        trailing: Packets after the last frame, when `shots` has ended.

    Raises:
        VideoError, ImageFileError: If an input cannot be read, or nothing moves.
    """

    def __init__(self, inputs: Inputs, threads: int = 1) -> None:
        self.inputs = inputs
        self.notes: list[str] = []
        self.trailing: list[Any] = []
        self._threads = threads
        self._stack = ExitStack()
        still = is_still(inputs.composite)
        leader = inputs.background if still and inputs.background else inputs.composite
        if is_still(leader):
            raise VideoError(
                f"{leader} must be a video or a sequence of images; it is one image. Use "
                "`harmonizer image`, or name a video."
            )
        self._leads_background = still
        try:
            self.reader = self._open(leader, inputs.copied)
            self._items = self._stack.enter_context(
                RunAhead(self.reader.items(), _READ_AHEAD, "read")
            )
            self._waiting: list[Any] = []
            self.first = self._peek()
        except BaseException:
            self.close()
            raise
        self.size = (self.first.frame.height, self.first.frame.width)
        self.source_colour = colour_of(self.first.frame)
        self.turns = quarter_turns(self.first.frame, self.reader.path)
        self.matrix = display_matrix(self.first.frame)
        self._describe()

    def output_colour(self, working_format: str) -> Colour:
        """The tags of the output in a working format."""
        colour, before = self.source_colour, self.first.frame.format
        rgb = av.VideoFormat(working_format, 16, 16).is_rgb
        if before.is_rgb and not rgb:
            return Colour(1, LIMITED, 1, 1)
        return Colour(0, FULL, colour.primaries, colour.transfer) if rgb else colour

    def prepare(self, working_format: str) -> None:
        """Open mask and background for a working format.

        Raises:
            VideoError, ImageFileError: If one cannot be read or does not fit.
        """
        self.working_format = working_format
        self.colour = self.output_colour(working_format)
        self._converter = Converter(self._threads)
        inputs, frame = self.inputs, self.first.frame
        self._mask: Companion[Mask] | None = None
        if inputs.mask is not None:
            self._mask = self._open_mask(inputs.mask)
        elif self._leads_background:
            self._mask = Still(self._turned(_still_alpha(inputs.composite)))
        elif not has_alpha(frame):
            raise VideoError(
                f"{inputs.composite} must have an alpha channel when no mask is given; its pixel "
                f"format is {frame.format.name}. Name a mask."
            )
        self._other: Companion[av.VideoFrame] | None = None
        if self._leads_background:
            self._other = Still(self._still_frame(inputs.composite))
        elif inputs.background is not None:
            self._other = self._open_background(inputs.background)

    def shots(self) -> Iterator[Shot]:
        """Compose frame by frame; ends early where a companion does, if that was asked for.

        Raises:
            VideoError, ImageFileError: If an input is damaged, too short or of another size.
        """
        packets: list[Any] = []
        try:
            for item in self.items():
                if not isinstance(item, Picture):
                    packets.append(item)
                    continue
                yield self._compose(item, packets)
                packets = []
        except EndedError:
            self.notes.append(
                f"stopped where the mask or the background ends, after {self.reader.frames_read} "
                "frames were read"
            )
        self.trailing = packets

    def close(self) -> None:
        """Close everything, also while `shots` is under way in another thread that has ended."""
        self._stack.close()

    def items(self) -> Iterator[Any]:
        """Pictures and packets as read, the peeked ones included, in place of `shots`."""
        yield from self._waiting
        self._waiting.clear()
        yield from self._items

    def _peek(self) -> Picture:
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, Picture):
                return item
        raise VideoError(f"{self.reader.path} must have at least one video frame; it has none.")

    def _open(self, path: Path, copied: tuple[str, ...] = ()) -> Reader:
        reader: Reader
        if is_sequence(path):
            reader = SequenceReader(path, self.inputs.rate or getattr(self, "_rate", None))
        else:
            reader = VideoReader(path, self.inputs.rate, self.inputs.skip_damaged, copied)
        self._stack.callback(reader.close)
        if not hasattr(self, "_rate"):
            self._rate = reader.rate
        return reader

    def _describe(self) -> None:
        for dropped in self.reader.dropped:
            self.notes.append(f"{self.reader.path}: its {dropped} stream is not copied")
        if is_guessed(self.source_colour, self.first.frame):
            guess = "BT.709" if self.size[0] >= 720 else "BT.601"
            self.notes.append(f"{self.reader.path}: has no colour matrix tag; {guess} is assumed")
        if self.first.frame.interlaced_frame:
            self.notes.append(f"{self.reader.path}: is interlaced; the output says progressive")
        transfer = HDR_TRANSFERS.get(self.source_colour.transfer)
        if transfer:
            self.notes.append(
                f"{self.reader.path}: is {transfer}; the filters run on its encoded values, which "
                "the network was not trained on, and HDR metadata of frames may be lost"
            )

    def _compose(self, picture: Picture, packets: list[Any]) -> Shot:
        time, frame = float(picture.time), picture.frame
        if (frame.height, frame.width) != self.size:
            raise VideoError(
                f"{self.reader.path} must keep its size; frame {picture.index} is "
                f"{frame.width}x{frame.height} after {self.size[1]}x{self.size[0]}. Split it there."
            )
        given = self._mask
        mask = alpha_mask(frame, self.inputs.levels) if given is None else given.at(time)
        box = foreground_box(mask)
        own = self._normalised(frame, self._converter)
        shown = own
        if self._other is not None:
            other = self._other.at(time)
            below, over = (own, other) if self._leads_background else (other, own)
            # A new frame in any case: the companion may give the same one again.
            shown = copy_frame(below) if box is None else blend(below, over, mask, box)
        image = self._converter.to_rgb(shown, self.colour)
        carry = Frame(shown, picture.pts, packets)
        return Shot(picture.index, time, image, mask, box, self.turns, carry)

    def _normalised(self, frame: av.VideoFrame, converter: Converter) -> av.VideoFrame:
        return converter.to_format(frame, colour_of(frame), self.working_format, self.colour)

    def _open_mask(self, path: Path) -> Companion[Mask]:
        if is_still(path):
            return Still(self._turned(self._fitted(still_mask(path), path)))
        reader = self._open(path)
        self._check_length(reader, "mask")
        values: Callable[[], Iterator[tuple[float, Mask]]]
        if isinstance(reader, SequenceReader):

            def values() -> Iterator[tuple[float, Mask]]:
                for seconds, mask in reader.masks():
                    yield seconds, self._turned(self._fitted(mask, path))
        else:

            def values() -> Iterator[tuple[float, Mask]]:
                for picture in reader.pictures():
                    yield float(picture.time), self._video_mask(picture.frame, path)

        return self._follow(values(), reader, f"the mask {path}")

    def _video_mask(self, frame: av.VideoFrame, path: Path) -> Mask:
        turns = (quarter_turns(frame, path) - self.turns) % 4
        height, width = self.size if turns % 2 == 0 else self.size[::-1]
        fits = (frame.height, frame.width) == (height, width)
        if not fits:
            self._check_fit((frame.height, frame.width), (height, width), path)
        mask = luma_mask(frame, self.inputs.levels, None if fits else (height, width))
        return np.ascontiguousarray(np.rot90(mask, turns)) if turns else mask

    def _fitted(self, mask: Mask, path: Path) -> Mask:
        """A mask from an image file, which is upright, in the upright size."""
        size = self.size if self.turns % 2 == 0 else self.size[::-1]
        if mask.shape == size:
            return mask
        self._check_fit(mask.shape, size, path)
        frame = av.VideoFrame.from_ndarray(mask, "gray")
        return luma_mask(frame, Levels(0, 255), size)

    def _check_fit(self, came: tuple[int, ...], size: tuple[int, ...], path: Path) -> None:
        if not self.inputs.fit_mask:
            raise VideoError(
                f"the mask must have the video's size; {path} is {came[1]}x{came[0]} for a "
                f"{size[1]}x{size[0]} video. Resize it, or pass --fit-mask."
            )

    def _turned(self, array: Any) -> Any:
        """An upright picture in the stored orientation of the video."""
        return np.ascontiguousarray(np.rot90(array, -self.turns)) if self.turns else array

    def _open_background(self, path: Path) -> Companion[av.VideoFrame]:
        if is_still(path):
            return Still(self._still_frame(path))
        reader = self._open(path)
        self._check_length(reader, "background")
        converter = Converter(self._threads)

        def values() -> Iterator[tuple[float, av.VideoFrame]]:
            for picture in reader.pictures():
                frame = picture.frame
                turns = quarter_turns(frame, path)
                came = (frame.height, frame.width)
                if came != self.size or turns != self.turns:
                    raise VideoError(_other_size(path, came, self.size))
                yield float(picture.time), self._normalised(frame, converter)

        return self._follow(values(), reader, f"the background {path}")

    def _still_frame(self, path: Path) -> av.VideoFrame:
        pixels = self._turned(load_photo(path).pixels)
        if pixels.shape[:2] != self.size:
            raise VideoError(_other_size(path, pixels.shape, self.size))
        converter = Converter(self._threads)
        return converter.from_rgb(
            np.ascontiguousarray(pixels), self.working_format, self.colour, self.size[0]
        )

    def _follow(
        self, values: Iterator[tuple[float, Any]], reader: Reader, what: str
    ) -> Companion[Any]:
        interval = 1 / float(reader.rate or _TYPICAL_RATE)
        follower: Follower[Any] = Follower(values, what, interval, self.inputs.when_short)
        self._stack.callback(follower.close)
        return follower

    def _check_length(self, reader: Reader, role: str) -> None:
        """Refuse a companion that its header says is shorter, before the work begins."""
        ends, needed = reader.promised_duration, self.reader.promised_duration
        if self.inputs.when_short != "refuse" or ends is None or needed is None:
            return
        interval = 1 / float(reader.rate or _TYPICAL_RATE)
        if ends + interval < needed:
            raise VideoError(too_short(f"the {role} {reader.path}", ends, needed))


def _still_alpha(path: Path) -> Mask:
    photo = load_photo(path)
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
