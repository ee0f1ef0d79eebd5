"""A frame that stays on a GPU from upload to download; `residency` keeps several in flight."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.errors import ModelError
from harmonizer.plan import Plan
from harmonizer.values import stages_of

if TYPE_CHECKING:
    from harmonizer.cuda.device import Device
    from harmonizer.cuda.frames import FrameRunner
    from harmonizer.cuda.predictor import DevicePredictor
    from harmonizer.cuda.slot import Slot
    from harmonizer.pipeline import Harmonizer

Array = NDArray[Any]
Thumbnail = NDArray[np.float32]


class Lodging(Protocol):
    """What a frame needs of the one who keeps it there."""

    frames: "FrameRunner"
    device: "Device"
    predictor: "DevicePredictor | None"

    def release(self, resident: "Resident", slot: "Slot") -> None:
        """Give the frame's slot back, once."""


def reads_thumbnails(harmonizer: "Harmonizer") -> bool:
    """Whether the network reads the thumbnails of whole frames that cuts are found in."""
    return bool(harmonizer.predictor.contract.model == "harmonizer")


class Resident:
    """One frame on the GPU: measured and predicted when it arrives, drawn when a plan is there.

    The methods are called in their order, each by one thread at a time.

    Args:
        residency: Who keeps it.
        slot: Its stream and memory; the device's context is current.
        image: (H, W, 3), upright.
        mask: (H, W).

    Raises:
        TypeError, ValueError, DeviceError: As `CudaRenderer.thumbnail` does.
        ModelError: If the network cannot be run.
    """

    def __init__(self, residency: Lodging, slot: "Slot", image: Array, mask: Array) -> None:
        from harmonizer import _native
        from harmonizer.cuda.frames import Job
        from harmonizer.cuda.transfer import bind

        self._residency, self._slot = residency, slot
        self._bound = bound = bind(slot, residency.device, 0, image, mask)
        predictor = residency.predictor
        self._contract = None if predictor is None else predictor.contract
        filters = ("brightness",) if predictor is None else predictor.filters
        scratch = residency.frames.queue(
            slot,
            [Job(bound.image, bound.mask, None, filters)],
            _native.PHASE_MEASURE,
            predictor,
            thumbnails=True,
        )
        kind = np.float16 if scratch.size == 2 else np.float32
        self._composite = np.empty((1, 3, 256, 256), kind)
        self._coverage = np.empty((1, 1, 256, 256), kind)
        self._arrivals: list[Callable[[], None]] = [
            slot.download("composite", scratch.composite, self._composite),
            slot.download("coverage", scratch.coverage, self._coverage),
        ]
        self._answer: NDArray[np.uint8] | None = None
        if predictor is not None:
            self._answer = slot.staging("arguments", 4 * predictor.contract.count)
            slot.copy_to_host(self._answer, scratch.arguments)

    def thumbnail(self) -> tuple[Thumbnail, Thumbnail]:
        """What `CudaRenderer.thumbnail` gives; waits for it, and for the prediction."""
        with self._residency.device.current():
            self._slot.wait()
            for arrive in self._arrivals:
                arrive()
        self._arrivals.clear()
        return self._composite.astype(np.float32), self._coverage.astype(np.float32)

    def arguments(self) -> Arguments:
        """What the network answered, after `thumbnail`.

        Raises:
            ModelError: If it is not finite.
        """
        if self._answer is None or self._contract is None:
            raise ValueError("`harmonizer` must be there to predict; only a renderer is.")
        numbers = self._answer.view(np.float32).astype(np.float64)
        if not np.isfinite(numbers).all():
            raise ModelError(
                "the model must answer with finite numbers; it does not. It is damaged or "
                "overflows in its precision: use the FP32 export."
            )
        return Arguments.from_array(numbers, self._contract.filters, self._contract.sizes)

    def prepare(self, arguments: Arguments) -> Plan:
        """As `CudaRenderer.prepare`, of the picture that is there already.

        Raises:
            DeviceError: If the GPU fails.
        """
        from harmonizer import _native
        from harmonizer.cuda.frames import Job
        from harmonizer.cuda.renderer import plan_of, read_reports, unmeasured

        filters, stages = arguments.filters, stages_of(arguments.values())
        phases = _native.PHASE_MEASURE | _native.PHASE_PREPARE
        with self._residency.device.current():
            job = Job(self._bound.image, None, None, filters, stages)
            steps = unmeasured(arguments)
            scratch = self._residency.frames.queue(self._slot, [job], phases, programs=[steps])
            reports = read_reports(self._slot, scratch)
            self._slot.wait()
            return plan_of(filters, reports[0])

    def draw(self, plan: Plan) -> None:
        """Queue the drawing and the way back.

        Raises:
            DeviceError: If the GPU fails.
        """
        from harmonizer import _native
        from harmonizer.cuda.frames import Job

        bound = self._bound
        stages = stages_of(step.argument for step in plan.steps)
        with self._residency.device.current():
            job = Job(bound.image, bound.mask, bound.out, plan.filters, stages)
            self._residency.frames.queue(
                self._slot,
                [job],
                _native.PHASE_DRAW,
                programs=[plan.steps],
                statistics_given=True,
            )
            self._arrivals.append(bound.collect(self._slot, 0))

    def result(self) -> Array:
        """Wait for what `draw` queued: (H, W, 3) in memory of its own."""
        with self._residency.device.current():
            for arrive in self._arrivals:
                arrive()
        self._arrivals.clear()
        drawn: Array = self._bound.result
        return drawn

    def release(self) -> None:
        """Give the slot back; a second time does nothing."""
        self._residency.release(self, self._slot)
