"""Open a video's frames: several are on their way to where they are drawn, and none is left there.

On a GPU each has a place of its own from upload to download: while one is measured and predicted,
the next is on its way to the GPU and the ones before on their way back.
"""

from collections.abc import Iterable, Iterator

from harmonizer.errors import BusyError
from harmonizer.frame import Frame
from harmonizer.jobs import Tools
from harmonizer.video.shots import Shot
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

    def opened(self, shots: Iterable[Shot], ahead: bool) -> Iterator[Shot]:
        """Open each frame; with `ahead`, the next one before this one is given.

        Raises:
            TypeError, ValueError, DeviceError, ModelError: As `Renderer.open` does.
        """
        waiting: Shot | None = None
        try:
            for shot in shots:
                # Waiting for a place while holding others could wait for ever, where several
                # videos share a GPU.
                early = ahead and waiting is not None and self._begin(shot, wait=False)
                if waiting is not None:
                    yield waiting
                    waiting = None
                if not early:
                    self._begin(shot, wait=True)
                if ahead:
                    waiting = shot
                else:
                    yield shot
            if waiting is not None:
                yield waiting
        finally:
            close(shots)

    def close(self) -> None:
        """Close what abandoned frames still hold."""
        for frame in self._open:
            frame.close()
        self._open.clear()

    def _begin(self, shot: Shot, wait: bool) -> bool:
        try:
            shot.frame = self._tools.open(
                shot.image,
                shot.mask,
                upright=shot.orientation.upright,
                checked=self._checked,
                brief=self._brief,
                wait=wait,
            )
        except BusyError:
            return False
        self._open = [frame for frame in self._open if not frame.closed] + [shot.frame]
        shot.frame.start(self._predicts)
        return True


def sent(shots: Iterable[Shot], in_place: bool) -> Iterator[Shot]:
    """Queue the drawing of frames where that can be; the result is waited for by a later stage.

    Args:
        shots: With their plans.
        in_place: Whether they are drawn into their own pictures.
    """
    try:
        for shot in shots:
            if shot.plan is not None:
                shot.opened.send(shot.plan, shot.image if in_place else None)
            yield shot
    finally:
        close(shots)
