"""A frame on a GPU: uploaded once, its result fetched once; see `harmonizer.frame.Frame`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.concerns import EMPTY_MASK, FULL_MASK, VANISHED_MASK
from harmonizer.contract import THUMBNAIL_SIZE, Contract
from harmonizer.cuda.queueing import FrameRunner, FrameTask, read_reports
from harmonizer.cuda.slot import Slot
from harmonizer.cuda.transfer import (
    Bound,
    bind,
    bind_out,
    caller_stream,
    order_after,
    order_before,
)
from harmonizer.errors import MaskError, ModelError
from harmonizer.frame import (
    CLOSED,
    NO_MASK,
    Concerns,
    Network,
    Thumbnails,
    Turn,
    check_network,
    unmeasured,
)
from harmonizer.plan import Plan, Step
from harmonizer.values import stages_of

_WHOLE = _native.PHASE_MEASURE | _native.PHASE_DRAW


@dataclass(frozen=True, slots=True)
class _Look:
    """What came of thumbnails and, with a network, of a prediction."""

    thumbnails: tuple[NDArray[Any], ...]
    seen: int
    numbers: NDArray[np.float32]


class CudaFrame:
    """A picture in a GPU's memory; see `Frame`.

    Args:
        runner: Queues its work.
        image: (H, W, 3), numpy's or a device array; or a `Surface`.
        mask: (H, W) of the same kind (a device array for a `Surface`); None for the whole image.
        network: Predicts; None for frames whose arguments are given.
        upright: How the network sees a host array, if not as it is stored.
        checked: Whether host arrays have been checked.
        brief: It is drawn at most once, and holds a slot of the runner's until it is closed. Other
            frames have memory of their own, and borrow a slot for each call.
        wait: Whether to wait for a slot to hold.

    Raises:
        TypeError, ValueError: If an array is not supported or does not fit.
        BusyError: If there is no slot, without `wait`.
        DeviceError: If the GPU fails or runs out of memory.
    """

    def __init__(
        self,
        runner: FrameRunner,
        image: Any,
        mask: Any | None,
        network: Network | None = None,
        upright: Turn | None = None,
        checked: bool = False,
        brief: bool = False,
        wait: bool = True,
    ) -> None:
        self._runner, self._network, self._image = runner, network, image
        self._upright = upright or (lambda array: array)
        self._whole: Callable[[], _Look] | None = None
        self._forecast: Callable[[], _Look] | None = None
        self._sent: Callable[[], Any] | None = None
        self.concerns: Concerns = ()
        self.closed = False
        self._slot: Slot | None = runner.take(wait) if brief else None
        try:
            with self._place() as slot:
                if upright is not None:
                    image, mask = upright(image), None if mask is None else upright(mask)
                self._bound = bind(slot, runner.device, 0, image, mask, checked, lasting=not brief)
                order_before(slot, [self._bound], None)
                if not brief:
                    slot.wait()  # another slot may be the next
        except BaseException:
            self.close()
            raise

    def thumbnails(self, crops: bool = False) -> Thumbnails:
        """See `Frame`."""
        if crops and self._bound.mask is None:
            raise TypeError(NO_MASK)
        with self._place() as slot:
            look = None if crops else self._whole
            found = (look or self._look(slot, crops, None))()
        if crops:
            check_region(found.seen)
        first, second = found.thumbnails
        return first, second

    def predict(self) -> Arguments:
        """See `Frame`."""
        network = check_network(self._network)
        if self._bound.mask is None:
            raise TypeError(NO_MASK)
        with self._place() as slot:
            found = (self._forecast or self._look(slot, network.contract.crops, network))()
        finite = bool(np.isfinite(found.numbers).all())
        seen = found.seen | (0 if finite else _native.SEEN_NOT_FINITE)
        self.concerns = judge(seen, network.contract)
        if EMPTY_MASK in self.concerns or VANISHED_MASK in self.concerns:
            return network.identity()
        return network.arguments(found.numbers)

    def measure(self, arguments: Arguments) -> Plan:
        """See `Frame`."""
        steps = unmeasured(arguments)
        task = FrameTask(self._bound.image, None, None, arguments.filters, _stages(steps))
        phases = _native.PHASE_MEASURE | _native.PHASE_PREPARE
        with self._place() as slot:
            scratch = self._runner.queue(slot, [task], phases, programs=[steps])
            reports = read_reports(slot, scratch)
            slot.wait()
            return Plan(reports[0].program.steps_of(arguments.filters))

    def draw(self, plan: Plan, out: Any | None = None, stream: object | None = None) -> Any:
        """See `Frame`."""
        if self._sent is not None:
            with self._place():
                return self._sent()
        return self._draw(plan.steps, True, out, stream)

    def harmonize(
        self,
        arguments: Arguments | None = None,
        strength: float = 1.0,
        out: Any | None = None,
        stream: object | None = None,
    ) -> Any:
        """See `Frame`."""
        if arguments is not None:
            return self._draw(unmeasured(arguments), False, out, stream)
        check_strength(strength)
        network = check_network(self._network)
        caller = caller_stream(stream, self._image)
        with self._place() as slot:
            result, bound = self._target(slot, out)
            finish = queue_whole(self._runner, slot, [bound], network, strength, caller)
            self.concerns = finish()
        return result

    def start(self, predicts: bool) -> None:
        """See `Frame`; a frame that holds no slot has nowhere to queue it."""
        if self._slot is None:
            return
        network = self._network if predicts else None
        with self._place() as slot:
            together = None if network is None or network.contract.crops else network
            self._whole = self._look(slot, False, together)
            if network is not None:
                self._forecast = (
                    self._look(slot, True, network) if together is None else self._whole
                )

    def send(self, plan: Plan, out: Any | None = None) -> None:
        """See `Frame` and `start`."""
        if self._slot is not None:
            with self._place() as slot:
                self._sent = self._queue_drawing(slot, plan.steps, True, out, None)

    def close(self) -> None:
        """See `Frame`; what is queued goes on."""
        self.closed = True
        slot, self._slot = self._slot, None
        if slot is not None:
            self._runner.give(slot)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    @contextmanager
    def _place(self) -> Iterator[Slot]:
        """The slot that is held, or one for the time of a call; with the context made current."""
        if self.closed:
            raise ValueError(CLOSED)
        if self._slot is None:
            with self._runner.slot() as slot:
                yield slot
        else:
            with self._runner.device.current():
                yield self._slot

    def _look(self, slot: Slot, crops: bool, network: Network | None) -> Callable[[], _Look]:
        """Queue thumbnails and, with a network, a prediction; what is returned waits for them."""
        bound, count = self._bound, 0 if network is None else network.contract.count
        filters = ("brightness",) if network is None else network.contract.filters
        stages = 0 if network is None else stages_of(network.identity().values())
        scratch = self._runner.queue(
            slot,
            [FrameTask(bound.image, bound.mask, None, filters, stages)],
            _native.PHASE_MEASURE,
            network,
            thumbnails=True,
            crops=crops,
        )
        kind = np.float16 if scratch.size == 2 else np.float32
        shape = (1, 3, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        pair = np.empty(shape, kind), np.empty(shape if crops else (1, 1, *shape[2:]), kind)
        arrivals = [
            slot.download("composite", scratch.composite, pair[0]),
            slot.download("coverage", scratch.coverage, pair[1]),
        ]
        reports = read_reports(slot, scratch)
        answer = slot.staging("arguments", 4 * count) if count else np.empty(0, np.uint8)
        if count:
            slot.copy_to_host(answer, scratch.arguments)

        @cache
        def finish() -> _Look:
            slot.wait()
            for arrive in arrivals:
                arrive()
            small = tuple(array.astype(np.float32, copy=False) for array in pair)
            return _Look(small, reports[0].seen, answer.view(np.float32).copy())

        return finish

    def _target(self, slot: Slot, out: Any | None) -> tuple[Any, Bound]:
        """What the caller gets, and the arrays to draw with."""
        if not self._bound.host:
            bound = bind_out(slot, self._runner.device, self._bound, self._image, out)
            return bound.result, bound
        # In the image's own orientation.
        result = np.empty(self._image.shape, self._image.dtype) if out is None else out
        seen = self._upright(result) if isinstance(result, np.ndarray) else result
        image = self._upright(self._image)
        return result, bind_out(slot, self._runner.device, self._bound, image, seen)

    def _draw(
        self, steps: Sequence[Step], given: bool, out: Any | None, stream: object | None
    ) -> Any:
        caller = caller_stream(stream, self._image)
        with self._place() as slot:
            return self._queue_drawing(slot, steps, given, out, caller)()

    def _queue_drawing(
        self, slot: Slot, steps: Sequence[Step], given: bool, out: Any | None, caller: int | None
    ) -> Callable[[], Any]:
        """Queue a drawing and the way back; what is returned gives the result.

        Args:
            slot: Where.
            steps: Of the plan.
            given: Whether they hold the image's statistics.
            out: Where to draw.
            caller: Handle of the caller's stream.
        """
        result, bound = self._target(slot, out)
        order_before(slot, [bound], caller)
        filters = tuple(step.operation for step in steps)
        task = FrameTask(bound.image, bound.mask, bound.out, filters, _stages(steps))
        phases = _native.PHASE_DRAW | (0 if given else _native.PHASE_MEASURE)
        programs = [tuple(steps)]
        self._runner.queue(slot, [task], phases, programs=programs, statistics_given=given)
        finish = bound.collect(slot, 0)

        def give() -> Any:
            order_after(slot, [bound], caller)
            finish()
            return result

        return give


def queue_whole(
    runner: FrameRunner,
    slot: Slot,
    bounds: Sequence[Bound],
    network: Network,
    strength: float,
    caller: int | None = None,
) -> Callable[[], Concerns]:
    """Queue prediction as one batch and drawing; what is returned waits, and says what it found.

    Args:
        runner: Queues it.
        slot: Where; its context is current.
        bounds: Each frame's arrays, with an output.
        network: Predicts.
        strength: Of the prediction.
        caller: Handle of the caller's stream; then nothing is waited for, and nothing found.

    Raises:
        TypeError: If a mask is missing.
    """
    if any(bound.mask is None for bound in bounds):
        raise TypeError(NO_MASK)
    order_before(slot, bounds, caller)
    stages = stages_of(network.identity().values())
    filters = network.contract.filters
    tasks = [FrameTask(b.image, b.mask, b.out, filters, stages, strength) for b in bounds]
    scratch = runner.queue(slot, tasks, _WHOLE, network)
    if caller is not None:
        order_after(slot, bounds, caller)
        return lambda: ()
    reports = read_reports(slot, scratch)
    completions = [bound.collect(slot, index) for index, bound in enumerate(bounds)]

    def finish() -> Concerns:
        if not all(bound.host for bound in bounds):
            slot.wait()
        for complete in completions:
            complete()
        concerns: dict[str, None] = {}
        for report in reports:
            concerns |= dict.fromkeys(judge(report.seen, network.contract))
        return tuple(concerns)

    return finish


def judge(seen: int, contract: Contract) -> Concerns:
    """What a frame's report says of its mask.

    Raises:
        MaskError: If the network looks at the foreground's box, and that is 1 pixel wide.
        ModelError: If the network's answer is not finite.
    """
    if not seen & _native.SEEN_FOREGROUND:
        return (EMPTY_MASK,)
    if not seen & _native.SEEN_THUMBNAIL:
        if not contract.crops:
            return (VANISHED_MASK,)
        try:
            check_region(seen)
        except ValueError as error:
            raise MaskError(str(error)) from error
    if seen & _native.SEEN_NOT_FINITE:
        raise ModelError(
            "the model must answer with finite numbers; it does not. It is damaged or "
            "overflows in its precision: use the FP32 export."
        )
    return () if seen & _native.SEEN_BACKGROUND else (FULL_MASK,)


def check_region(seen: int) -> None:
    """Refuse a frame whose foreground cannot be looked at on its own.

    Args:
        seen: Of the frame's report.

    Raises:
        ValueError: If the bounding box of its mask is empty, or one pixel wide or high.
    """
    if not seen & _native.SEEN_FOREGROUND:
        raise ValueError(
            "`mask` must cover something, whose bounding box is looked at on its own; got an "
            "empty mask. Select the foreground."
        )
    if not seen & _native.SEEN_THUMBNAIL:
        raise ValueError(
            "`mask` must cover a region 2 pixels high and wide or more, whose bounding box is "
            "looked at on its own; got one that is 1 pixel high or wide. Select the whole "
            "foreground."
        )


def check_strength(strength: object) -> None:
    """Refuse what `Arguments.scaled` refuses.

    Raises:
        TypeError: If it is not a number.
        ArgumentsError: If it is not in [0, 1.5].
    """
    Arguments(("brightness",), (0.0,)).scaled(strength)  # type: ignore[arg-type]


def _stages(steps: Sequence[Step]) -> int:
    return stages_of(step.argument for step in steps)
