"""Frames from anywhere - a camera, an editor, a network - harmonized one after the other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.frame import check_pair
from harmonizer.harmonizer import Harmonizer
from harmonizer.masks import ARRAY_REMEDY, Levels, full_value
from harmonizer.plan import Plan
from harmonizer.recipes import Recipe, Tools
from harmonizer.video.errors import VideoError
from harmonizer.video.masks import Brightness
from harmonizer.video.opening import Opener, sent
from harmonizer.video.planes import foreground_box
from harmonizer.video.planning import Tally, VideoFrame, interpolated, planned, predicted
from harmonizer.video.smoothing import Smoothing
from harmonizer.video.stages import RunAhead, close

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Harmonized:
    """One frame's result.

    Attributes:
        image: (H, W, 3) of the input's type; a new array, or the input's own where nothing is
            drawn.
        time: As it came, in seconds.
        arguments: As drawn; None where nothing is drawn.
        plan: Arguments and statistics as drawn; None where nothing is.
        cut: A scene cut was found before this frame.
    """

    image: Array
    time: float
    arguments: Arguments | None
    plan: Plan | None
    cut: bool


def harmonize_frames(
    harmonizer: Harmonizer,
    frames: Iterable[tuple[Array, Array, float]],
    smoothing: Smoothing | None = None,
    recipe: Recipe | None = None,
    ahead: int = 0,
) -> Iterator[Harmonized]:
    """Predict, smooth and draw frames from any iterable, as they come.

    Args:
        harmonizer: What predicts and draws.
        frames: (image, mask, time): (H, W, 3) RGB, (H, W), and seconds, which must increase.
            Single masks may be faint, as in a fade. Frames may differ in size. They must not
            change until their result has come.
        smoothing: Of arguments and statistics; None for the default.
        recipe: Strength, overrides or constant arguments; None for the prediction itself.
        ahead: Frames that may be read and predicted ahead of the drawing, in another thread; 0
            draws each frame before the next is asked for (with ``smoothing.every`` 1), which is
            the least latency.

    Yields:
        One result for each frame, in order.

    Raises:
        VideoError: If times do not increase, or no mask comes near white, which is known after
            the last frame or some hundred.
        TypeError, ValueError, ModelError, ArgumentsError: As `Harmonizer.predict` and `render` do.
    """
    smoothing, recipe = smoothing or Smoothing(), recipe or Recipe()
    tools = Tools(harmonizer.renderer, harmonizer)
    opener = Opener(tools, smoothing.every, recipe.given is None, checked=True)
    read = opener.opened(_video_frames(frames, harmonizer.mask_levels), ahead > 0)
    keyed = predicted(read, tools, recipe, smoothing, Tally())
    guided = planned(interpolated(keyed), recipe, smoothing)
    video_frames: Iterable[VideoFrame] = sent(guided, in_place=False)
    if ahead:
        video_frames = RunAhead(video_frames, ahead, "predict")
    try:
        for video_frame in video_frames:
            image, arguments = video_frame.image, None
            if video_frame.plan is not None:
                arguments = video_frame.entry().arguments
                image = video_frame.opened.draw(video_frame.plan)
            video_frame.close()
            yield Harmonized(image, video_frame.time, arguments, video_frame.plan, video_frame.cut)
    finally:
        close(video_frames)
        opener.close()


def _video_frames(
    frames: Iterable[tuple[Array, Array, float]], levels: Levels | None
) -> Iterator[VideoFrame]:
    brightness = Brightness("the frames' mask", levels is not None, ARRAY_REMEDY)
    last: float | None = None
    try:
        for index, (image, mask, time) in enumerate(frames):
            check_pair(image, mask)
            if last is not None and not time > last:
                raise VideoError(
                    f"times must increase from frame to frame; frame {index} is at {time:g} s, the "
                    f"one before at {last:g} s. Pass each frame's own time in seconds."
                )
            last = time
            if levels is not None:
                mask = levels.apply(mask)
            brightness.see(float(mask.max()), full_value(mask.dtype))
            plain = mask.view(np.uint8) if mask.dtype == np.bool_ else mask
            yield VideoFrame(index, time, image, mask, foreground_box(plain))
        brightness.judge()
    finally:
        close(frames)
