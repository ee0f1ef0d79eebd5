"""From frames to plans: predict, interpolate, smooth, measure. Works on any stream of frames."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.concerns import FULL_MASK, THIN_MASK, TRACK_ENDED, VANISHED_MASK
from harmonizer.frame import Frame
from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS, Plan, Step
from harmonizer.recipes import Recipe, Tools
from harmonizer.video.cuts import CutDetector
from harmonizer.video.entries import Entry, statistics_of, with_statistics
from harmonizer.video.errors import VideoError
from harmonizer.video.orientation import UPRIGHT, Orientation
from harmonizer.video.planes import Box
from harmonizer.video.smoothing import Smoother, Smoothing, mixed
from harmonizer.video.stages import close
from harmonizer.video.track import Track

Array = NDArray[Any]

_ROUNDED = 1e-3
"""Seconds by which a track's times may be off: containers round them."""


@dataclass(slots=True)
class VideoFrame:
    """One frame on its way through the stages; each fills in what it finds.

    Attributes:
        index: From 0.
        time: Seconds since the first frame.
        image: (H, W, 3) RGB composite.
        mask: (H, W).
        box: Around the foreground; None if there is none, and then nothing is drawn.
        orientation: How the picture is displayed, for the network.
        carry: Whatever the caller wants back.
        frame: The picture at work, once it is opened.
        cut: A new scene begins here.
        raw: Predicted, given or interpolated arguments; None where nothing is drawn.
        plan: What is drawn; None where nothing is.
        own: The composite in the video's colours, if these are not sRGB's.
    """

    index: int
    time: float
    image: Array
    mask: Array
    box: Box | None
    orientation: Orientation = UPRIGHT
    carry: Any = None
    frame: Frame | None = None
    cut: bool = False
    raw: Arguments | None = None
    plan: Plan | None = None
    own: Array | None = None

    @property
    def opened(self) -> Frame:
        """The picture at work.

        Raises:
            VideoError: If it has not been opened.
        """
        if self.frame is None:
            raise VideoError("a frame must be opened before it is worked on; it is not.")
        return self.frame

    def close(self) -> None:
        """Let go of the picture at work."""
        if self.frame is not None:
            self.frame.close()
            self.frame = None

    def entry(self) -> Entry:
        """The line of a track for it."""
        if self.plan is None:
            return Entry(self.index, self.time, None, {}, self.cut)
        filters = self.plan.filters
        arguments = Arguments(filters, tuple(step.argument for step in self.plan.steps))
        return Entry(self.index, self.time, arguments, statistics_of(self.plan), self.cut)


@dataclass(slots=True)
class Tally:
    """What was counted on the way, for the report."""

    frames: int = 0
    drawn: int = 0
    cuts: int = 0
    concerns: Counter[str] = field(default_factory=Counter)


def predicted(
    video_frames: Iterable[VideoFrame],
    tools: Tools,
    recipe: Recipe,
    smoothing: Smoothing,
    tally: Tally,
) -> Iterator[VideoFrame]:
    """Find cuts, and predict the arguments of every n-th frame (or take the recipe's).

    After a cut, and where a foreground appears, a frame is predicted at once. Frames between have
    ``raw`` None; `interpolated` fills it in.

    Raises:
        TypeError, ValueError, ModelError: As `Harmonizer.predict` does.
    """
    detector = CutDetector() if smoothing.cuts else None
    waited = smoothing.every
    network = None if recipe.given is not None else tools.network
    crops = network is not None and network.contract.crops
    try:
        for video_frame in video_frames:
            composite, coverage = video_frame.opened.thumbnails()
            video_frame.cut = detector is not None and detector.is_cut(composite)
            tally.cuts += video_frame.cut
            if video_frame.box is not None and not coverage.any():
                tally.concerns[VANISHED_MASK] += 1
                video_frame.box = None
            if (
                video_frame.box is not None
                and crops
                and _is_thin(video_frame.box.of(video_frame.mask))
            ):
                # What comes into view does so by a pixel's width; a video must not end by it.
                tally.concerns[THIN_MASK] += 1
                video_frame.box = None
            waited += 1
            if video_frame.box is None:
                waited = smoothing.every
            elif recipe.given is not None:
                video_frame.raw = recipe.given
            elif video_frame.cut or waited >= smoothing.every:
                video_frame.raw = video_frame.opened.predict()
                tally.concerns[FULL_MASK] += bool(coverage.min() == 1)
                waited = 0
            yield video_frame
    finally:
        close(video_frames)


def _is_thin(mask: Array) -> bool:
    """Whether what is not 0, of which there is some, lies in one row or in one column."""
    return any(int(mask.any(axis=axis).sum()) == 1 for axis in (0, 1))


def interpolated(video_frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Give the frames between two predictions arguments by interpolation in time.

    Holds back as many frames as lie between two predictions. Nothing is interpolated across a cut
    or a stretch without foreground; frames after the last prediction keep it.
    """
    last: VideoFrame | None = None
    between: list[VideoFrame] = []
    try:
        for video_frame in video_frames:
            if video_frame.box is not None and video_frame.raw is None:
                between.append(video_frame)
                continue
            joined = video_frame.raw is not None and not video_frame.cut
            yield from _fill(between, last, video_frame if joined else None)
            between = []
            last = video_frame if video_frame.raw is not None else None
            yield video_frame
        yield from _fill(between, last, None)
    finally:
        close(video_frames)


def _fill(
    between: list[VideoFrame], last: VideoFrame | None, after: VideoFrame | None
) -> Iterator[VideoFrame]:
    for video_frame in between:
        if last is None or last.raw is None:
            raise VideoError("a frame without arguments must follow one with them; it does not.")
        video_frame.raw = last.raw
        if after is not None and after.raw is not None:
            share = (video_frame.time - last.time) / (after.time - last.time)
            video_frame.raw = mixed(last.raw, after.raw, share)
        yield video_frame


def planned(
    video_frames: Iterable[VideoFrame], recipe: Recipe, smoothing: Smoothing
) -> Iterator[VideoFrame]:
    """Smooth the arguments, follow the recipe, measure the statistics, and smooth those.

    Raises:
        ArgumentsError: If the recipe does not fit.
    """
    smoother = Smoother(smoothing)
    try:
        for video_frame in video_frames:
            if video_frame.cut:
                smoother.reset()
            if video_frame.raw is not None:
                arguments = recipe.finish(smoother.arguments(video_frame.raw, video_frame.time))
                plan = video_frame.opened.measure(arguments)
                video_frame.plan = smoother.plan(plan, video_frame.time)
            yield video_frame
    finally:
        close(video_frames)


def replayed(
    video_frames: Iterable[VideoFrame], recipe: Recipe, track: Track, tally: Tally
) -> Iterator[VideoFrame]:
    """Take arguments and statistics from a track, by time.

    The track's statistics belong to its arguments: where the recipe changes these, or a line has
    none, they are measured.

    Raises:
        ArgumentsError: If the recipe does not fit.
    """
    unchanged = recipe.strength == 1 and not recipe.overrides
    try:
        for video_frame in video_frames:
            entry = track.at(video_frame.time)
            video_frame.cut = entry.cut and abs(entry.time - video_frame.time) < _ROUNDED
            tally.cuts += video_frame.cut
            if video_frame.box is not None and entry.arguments is not None:
                tally.concerns[TRACK_ENDED] += video_frame.time > track.end + _ROUNDED
                arguments = recipe.finish(entry.arguments)
                video_frame.raw = arguments
                video_frame.plan = _replay_plan(video_frame, arguments, entry, unchanged)
            yield video_frame
    finally:
        close(video_frames)


def _replay_plan(
    video_frame: VideoFrame, arguments: Arguments, entry: Entry, unchanged: bool
) -> Plan:
    if not unchanged:
        return video_frame.opened.measure(arguments)
    steps, complete = [], True
    for name, value in arguments.clamped().items():
        count = STATISTICS_COUNTS[OPERATIONS[name].statistics]
        step = Step(name, value, entry.statistics.get(name, (0.0,) * count))
        complete &= count == 0 or step.is_identity or name in entry.statistics
        steps.append(step)
    if complete:
        return Plan(tuple(steps))
    return with_statistics(video_frame.opened.measure(arguments), entry.statistics)
