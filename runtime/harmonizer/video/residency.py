"""Frames that stay on a GPU from upload to download, several in flight, each on its own stream.

One upload and one download a frame, through page-locked memory: while one frame is measured and
predicted, the next is on its way to the GPU and the ones before on their way back. Not run on a GPU
yet: checked on an emulated device.
"""

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from harmonizer.errors import DeviceError
from harmonizer.jobs import Tools
from harmonizer.video.resident import Resident, reads_thumbnails
from harmonizer.video.shots import Shot
from harmonizer.video.smoothing import Smoothing
from harmonizer.video.stages import close

if TYPE_CHECKING:
    from harmonizer.cuda.predictor import DevicePredictor
    from harmonizer.cuda.slot import Slot


class Residency:
    """Lodges frames on the GPU. Close it after the threads that use its frames have ended.

    Args:
        tools: With a `CudaRenderer`.
        predicts: Whether the network is asked about the frames.
    """

    def __init__(self, tools: Tools, predicts: bool) -> None:
        renderer: Any = tools.renderer
        self.frames, self.device = renderer.frames, renderer.device
        self.predictor: DevicePredictor | None = None
        if predicts and tools.harmonizer is not None:
            self.predictor = tools.harmonizer.predictor
        self._lock = threading.Lock()
        self._held: dict[Resident, Slot] = {}

    def lodged(self, shots: Iterable[Shot], ahead: bool) -> Iterator[Shot]:
        """Send each shot's picture to the GPU; with `ahead`, the next one before this one is given.

        Raises:
            TypeError, ValueError, DeviceError, ModelError: As `Resident` does.
        """
        waiting: Shot | None = None
        try:
            for shot in shots:
                # Waiting for a slot while holding others could wait for ever, where several
                # videos share a GPU.
                early = ahead and waiting is not None and self._lodge(shot, wait=False)
                if waiting is not None:
                    yield waiting
                    waiting = None
                if not early:
                    self._lodge(shot, wait=True)
                if ahead:
                    waiting = shot
                else:
                    yield shot
            if waiting is not None:
                yield waiting
        finally:
            close(shots)

    def release(self, resident: Resident, slot: "Slot") -> None:
        """Give a frame's slot back, once."""
        with self._lock:
            if self._held.pop(resident, None) is not None:
                self.frames.give(slot)

    def close(self) -> None:
        """Give all slots back that abandoned frames still hold."""
        with self._lock:
            while self._held:
                self.frames.give(self._held.popitem()[1])

    def _lodge(self, shot: Shot, wait: bool) -> bool:
        try:
            slot = self.frames.take(wait)
        except DeviceError:
            if wait:
                raise
            return False
        upright = shot.orientation.upright
        try:
            with self.device.current():
                shot.resident = Resident(self, slot, upright(shot.image), upright(shot.mask))
        except BaseException:
            self.frames.give(slot)
            raise
        with self._lock:
            self._held[shot.resident] = slot
        return True


class HostResidency:
    """Leaves frames where they are."""

    def lodged(self, shots: Iterable[Shot], ahead: bool) -> Iterable[Shot]:
        """The shots."""
        return shots

    def close(self) -> None:
        """Nothing is held."""


def residency_for(tools: Tools, smoothing: Smoothing, predicts: bool) -> Residency | HostResidency:
    """Where a GPU draws, one that lodges frames there.

    Frames whose arguments are interpolated wait for a later one, which could need their slots:
    they are not lodged. Nor are those for S2CRNet, which does not read thumbnails of whole frames.
    """
    if type(tools.renderer).__name__ != "CudaRenderer" or smoothing.every > 1:
        return HostResidency()
    if tools.harmonizer is not None and not reads_thumbnails(tools.harmonizer):
        return HostResidency()
    return Residency(tools, predicts)


def sent(shots: Iterable[Shot]) -> Iterator[Shot]:
    """Queue the drawing of shots that are on a GPU; the result is waited for by a later stage."""
    try:
        for shot in shots:
            if shot.resident is not None and shot.plan is not None:
                shot.resident.draw(shot.plan)
            yield shot
    finally:
        close(shots)
