"""Open a video's frames: several are on their way to where they are drawn, and none is left there.

On a GPU each has a place of its own from upload to download: while one is measured and predicted,
the next is on its way to the GPU and the ones before on their way back.
"""

from collections.abc import Iterable, Iterator

from harmonizer.errors import BusyError
from harmonizer.frame import Frame
from harmonizer.recipes import Tools
from harmonizer.video.planning import VideoFrame
from harmonizer.video.stages import close


class Opener:
    """Opens frames. Close it after the threads that use its frames have ended.

    Frames whose arguments are interpolated wait for a later one, which could need their places:
    on a GPU these lie in memory of their own.

    Args:
        tools: What opens them.
        every: How many frames lie between two predictions.
        predicts: Whether the network is asked about the frames.
        checked: Whether the arrays have been checked.
    """

    def __init__(self, tools: Tools, every: int, predicts: bool, checked: bool = False) -> None:
        self._tools, self._checked = tools, checked
        self._brief, self._predicts = every == 1, predicts
        self._open: list[Frame] = []

    def opened(self, video_frames: Iterable[VideoFrame], ahead: bool) -> Iterator[VideoFrame]:
        """Open each frame; with `ahead`, the next one before this one is given.

        Raises:
            TypeError, ValueError, DeviceError, ModelError: As `Renderer.open` does.
        """
        waiting: VideoFrame | None = None
        try:
            for video_frame in video_frames:
                # Waiting for a place while holding others could wait for ever, where several
                # videos share a GPU.
                early = ahead and waiting is not None and self._begin(video_frame, wait=False)
                if waiting is not None:
                    yield waiting
                    waiting = None
                if not early:
                    self._begin(video_frame, wait=True)
                if ahead:
                    waiting = video_frame
                else:
                    yield video_frame
            if waiting is not None:
                yield waiting
        finally:
            close(video_frames)

    def close(self) -> None:
        """Close what abandoned frames still hold."""
        for frame in self._open:
            frame.close()
        self._open.clear()

    def _begin(self, video_frame: VideoFrame, wait: bool) -> bool:
        try:
            video_frame.frame = self._tools.open(
                video_frame.image,
                video_frame.mask,
                upright=video_frame.orientation.upright,
                checked=self._checked,
                brief=self._brief,
                wait=wait,
            )
        except BusyError:
            return False
        self._open = [frame for frame in self._open if not frame.closed] + [video_frame.frame]
        video_frame.frame.start(self._predicts)
        return True


def sent(video_frames: Iterable[VideoFrame], in_place: bool) -> Iterator[VideoFrame]:
    """Queue the drawing of frames where that can be; the result is waited for by a later stage.

    Args:
        video_frames: With their plans.
        in_place: Whether they are drawn into their own pictures.
    """
    try:
        for video_frame in video_frames:
            if video_frame.plan is not None:
                video_frame.opened.send(video_frame.plan, video_frame.image if in_place else None)
            yield video_frame
    finally:
        close(video_frames)
