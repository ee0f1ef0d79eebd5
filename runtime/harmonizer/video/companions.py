"""Open the mask and the background that go along with a video, fitted to its frames."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from harmonizer.images.cutouts import Placing, check_associated
from harmonizer.images.files import load_pair, load_photo
from harmonizer.images.fitting import Fit
from harmonizer.masks import Levels
from harmonizer.placement import as_type, lay
from harmonizer.video.colour import Colour, Converter, colour_of, wide_colours
from harmonizer.video.errors import VideoError
from harmonizer.video.inputs import Inputs, Opener, Reader, interval_of
from harmonizer.video.masks import Brightness, luma_mask
from harmonizer.video.matching import Companion, Follower, Still, too_short
from harmonizer.video.orientation import UPRIGHT, Orientation, orientation_of
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

    Attributes:
        notes: What a person should know of masks, each once; grows while they are read.
        brightness: Of the mask, where it moves; None before `mask` and where it stands still.
    """

    def __init__(
        self, inputs: Inputs, leader: Leader, opener: Opener, stack: ExitStack, threads: int
    ) -> None:
        self._inputs, self._leader, self._opener = inputs, leader, opener
        self._stack, self._threads = stack, threads
        self.notes: dict[str, None] = {}
        self.brightness: Brightness | None = None
        self._wide = wide_colours(leader.colour) if inputs.colour_management else None

    def mask(self, path: Path) -> Companion[Mask]:
        """A mask in the leader's size, as stored.

        Raises:
            VideoError, ImageFileError: If it cannot be read or does not fit.
        """
        levels = self._inputs.mask_levels
        if is_still(path):
            still, notes = still_mask(path, self._inputs.max_pixels, levels)
            self._note(path, notes)
            return Still(self._stored(self._fitted(still, path)))
        brightness = self.brightness = Brightness(f"the mask in {path}", levels is not None)
        reader = self._opener.open(path)
        self._check_length(reader, "mask")
        values: Callable[[], Iterator[tuple[float, Mask]]]
        if isinstance(reader, SequenceReader):

            def values() -> Iterator[tuple[float, Mask]]:
                for seconds, mask, notes in reader.masks(levels, brightness):
                    self._note(path, notes)
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

    def placed(self, path: Path, mask: Path | None) -> tuple[Still[av.VideoFrame], Still[Mask]]:
        """A foreground that is one image, put on the leader's frames, and where it covers them.

        Raises:
            ImageFileError, MaskError, PlacementError: If it cannot be read or placed.
        """
        inputs, leader = self._inputs, self._leader
        how = inputs.placing or Placing(path)
        photo, coverage, notes = load_pair(
            path,
            mask,
            inputs.max_pixels,
            inputs.fit_mask,
            inputs.mask_levels,
            inputs.colour_management,
            inputs.invert_mask,
        )
        check_associated(path, photo, how)
        pixels = photo.pixels
        if photo.colours is not None:
            pixels = photo.colours.to_srgb(pixels)
            notes += (f"{path}: its colours ({photo.colours.name}) are converted to sRGB",)
        size = leader.orientation.size(*leader.size)
        laid = lay(
            pixels,
            size,
            coverage,
            how.at,
            how.anchor,
            how.scale,
            how.fit,
            how.rotation,
            how.associated,
            how.clean_edges,
        )
        self.notes |= dict.fromkeys((*notes, *(f"{path}: {note}" for note in laid.notes)))
        kind = np.dtype(np.uint8 if pixels.dtype == np.uint8 else np.uint16)
        colours, covered = np.zeros((*size, 3), kind), np.zeros(size, np.uint8)
        colours[laid.part] = as_type(laid.colours, kind)
        covered[laid.part] = as_type(laid.coverage, covered.dtype)
        return Still(self._as_leader(self._stored(colours))), Still(self._stored(covered))

    def _video_mask(self, frame: av.VideoFrame, path: Path) -> Mask:
        own, leading = orientation_of(frame, path), self._leader.orientation
        size = own.size(*leading.size(*self._leader.size))
        fit = self._checked_fit((frame.height, frame.width), own, path)
        levels, target = self._inputs.coded_levels, None if fit.size == fit.wanted else size
        mask = luma_mask(frame, levels, target, self.brightness)
        return mask if own == leading else self._stored(own.upright(mask))

    def _fitted(self, mask: Mask, path: Path) -> Mask:
        """A mask from an image file, which is upright, in the upright size."""
        fit = self._checked_fit((mask.shape[0], mask.shape[1]), UPRIGHT, path)
        if fit.size == fit.wanted:
            return mask
        frame = av.VideoFrame.from_ndarray(mask, "gray")
        return luma_mask(frame, Levels(0, 255), fit.wanted)

    def _checked_fit(self, size: tuple[int, int], own: Orientation, path: Path) -> Fit:
        """How a mask of a stored size fits the leader, both as they are displayed."""
        stored, leading = self._leader.size, self._leader.orientation
        fit = Fit(str(path), own.size(*size), "video", leading.size(*stored), stored)
        if refusal := fit.refusal(self._inputs.fit_mask):
            raise VideoError(refusal)
        if fit.size != fit.wanted:
            self.notes[fit.note()] = None
        elif leading != UPRIGHT and (doubt := fit.doubt(own != UPRIGHT)):
            self.notes[doubt] = None
        return fit

    def _note(self, path: Path, notes: tuple[str, ...]) -> None:
        self.notes |= dict.fromkeys(f"{path}: {note}" for note in notes)

    def _stored(self, array: Any) -> Any:
        """An upright picture as the leader stores its own."""
        return np.ascontiguousarray(self._leader.orientation.stored(array))

    def _still_frame(self, path: Path) -> av.VideoFrame:
        leader = self._leader
        photo = load_photo(path, self._inputs.max_pixels, self._inputs.colour_management)
        if photo.colours is not None:
            self._note(path, (f"its colours ({photo.colours.name}) are converted to sRGB",))
        pixels = self._stored(photo.in_srgb())
        if pixels.shape[:2] != leader.size:
            raise VideoError(_other_size(path, pixels.shape, leader.size))
        return self._as_leader(pixels)

    def _as_leader(self, pixels: Any) -> av.VideoFrame:
        """A stored picture in sRGB's colours as a frame of the leader's."""
        leader = self._leader
        if self._wide is not None:
            pixels = self._wide.from_srgb(pixels)
        return Converter(self._threads).from_rgb(
            pixels, leader.working_format, leader.colour, leader.size[0]
        )

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


def _other_size(path: Path, came: tuple[int, ...], size: tuple[int, ...]) -> str:
    return (
        f"foreground and background must have one size and rotation; {path} is "
        f"{came[1]}x{came[0]}, the other {size[1]}x{size[0]}. Scale or crop one of them first."
    )
