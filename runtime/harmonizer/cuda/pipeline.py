"""Whole frames on the GPU: thumbnail, network, plan and drawing without a way over the host."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.concerns import EMPTY_MASK, FULL_MASK, VANISHED_MASK
from harmonizer.cuda.frames import MOST_SLOTS, Job
from harmonizer.cuda.predictor import DevicePredictor
from harmonizer.cuda.renderer import (
    CudaRenderer,
    check_region,
    order_after,
    order_before,
    read_reports,
)
from harmonizer.cuda.scratch import Scratch
from harmonizer.cuda.slot import Slot
from harmonizer.cuda.transfer import Bound, bind, caller_stream
from harmonizer.errors import DeviceError, MaskError, ModelError
from harmonizer.values import stages_of

Concerns = tuple[str, ...]

_NO_MASK = (
    "`mask` must be an array to predict with; got None. Pass one that is 1 in the foreground and 0 "
    "elsewhere."
)
_WHOLE = _native.PHASE_MEASURE | _native.PHASE_DRAW


class CudaPipeline:
    """A renderer and a predictor that share a GPU's streams; safe to use from several threads.

    Args:
        renderer: Draws.
        predictor: Predicts.
        label: Index into `LABELS` of what the foregrounds show, for a predictor that asks.
    """

    def __init__(
        self, renderer: CudaRenderer, predictor: DevicePredictor, label: int | None = None
    ) -> None:
        self._renderer, self._predictor = renderer, predictor
        self._frames, self._device = renderer.frames, renderer.device
        self._contract, self._label = predictor.contract, label
        self._unmoved = Arguments.identity(self._contract.filters, self._contract.sizes)
        self._stages = stages_of(self._unmoved.values())

    def examine(self, image: Any, mask: Any) -> tuple[Arguments, Concerns]:
        """Predict, wait, and say what may not be as meant; see `Harmonizer.examine`."""
        if mask is None:
            raise TypeError(_NO_MASK)
        filters, sizes = self._contract.filters, self._contract.sizes
        with self._frames.slot() as slot:
            bound = bind(slot, self._device, 0, image, mask, draws=False)
            order_before(slot, [bound], None)
            # PREPARE checks that the prediction is finite.
            phases = _native.PHASE_MEASURE | _native.PHASE_PREPARE
            job = Job(bound.image, bound.mask, None, filters, self._stages)
            scratch = self._frames.queue(slot, [job], phases, self._predictor, label=self._label)
            reports = read_reports(slot, scratch)
            predicted = slot.staging("arguments", 4 * self._contract.count)
            slot.copy_to_host(predicted, scratch.arguments)
            slot.wait()
            seen = reports[0].seen
            numbers = predicted.view(np.float32).copy()
        concerns = self._judge(seen)
        if EMPTY_MASK in concerns or VANISHED_MASK in concerns:
            return self._unmoved, concerns
        return Arguments.from_array(numbers, filters, sizes), concerns

    def harmonize(
        self,
        images: Sequence[Any],
        masks: Sequence[Any],
        strength: float,
        outs: Sequence[Any | None],
        stream: object | None = None,
    ) -> tuple[list[Any], Concerns]:
        """Predict for frames as one batch and draw them; see `Harmonizer.__call__`.

        Returns:
            The results, and what may not be as meant; nothing of the latter with a `stream`, for
            which nothing is waited for.
        """
        check_strength(strength)
        caller = caller_stream(stream, images[0])
        with self._frames.slot() as slot:
            bounds, scratch = self._queue(slot, images, masks, strength, outs, caller)
            if caller is not None:
                order_after(slot, bounds, caller)
                return [bound.result for bound in bounds], ()
            return self._finish(slot, bounds, scratch)()

    def stream(
        self, frames: Iterable[tuple[Any, Any]], strength: float
    ) -> Iterator[tuple[Any, Concerns]]:
        """Harmonize frames of host arrays, several in flight; see `Harmonizer.stream`."""
        check_strength(strength)
        flying: deque[tuple[Slot, Callable[[], tuple[list[Any], Concerns]]]] = deque()
        try:
            for image, mask in frames:
                while (slot := self._take(bool(flying))) is None:
                    yield self._land(flying)
                try:
                    with self._device.current():
                        bounds, scratch = self._queue(slot, [image], [mask], strength, [None], None)
                        flying.append((slot, self._finish(slot, bounds, scratch)))
                except BaseException:
                    self._frames.give(slot)
                    raise
                if len(flying) >= MOST_SLOTS - 1:
                    yield self._land(flying)
            while flying:
                yield self._land(flying)
        finally:
            for slot, _ in flying:
                self._frames.give(slot)

    def close(self) -> None:
        """Wait for what is queued, and release renderer and predictor."""
        self._renderer.close()
        with self._device.current():
            self._predictor.close()

    def _take(self, has_others: bool) -> Slot | None:
        """A slot; None if all are taken and giving one of ours back is the way to get one."""
        try:
            return self._frames.take(wait=not has_others)
        except DeviceError:
            if has_others:
                return None
            raise

    def _land(
        self, flying: deque[tuple[Slot, Callable[[], tuple[list[Any], Concerns]]]]
    ) -> tuple[Any, Concerns]:
        slot, finish = flying.popleft()
        try:
            with self._device.current():
                results, concerns = finish()
        finally:
            self._frames.give(slot)
        return results[0], concerns

    def _queue(
        self,
        slot: Slot,
        images: Sequence[Any],
        masks: Sequence[Any],
        strength: float,
        outs: Sequence[Any | None],
        caller: int | None,
    ) -> tuple[list[Bound], Scratch]:
        if any(mask is None for mask in masks):
            raise TypeError(_NO_MASK)
        bounds = [
            bind(slot, self._device, index, image, mask, out)
            for index, (image, mask, out) in enumerate(zip(images, masks, outs, strict=True))
        ]
        order_before(slot, bounds, caller)
        filters = self._contract.filters
        jobs = [Job(b.image, b.mask, b.out, filters, self._stages, strength) for b in bounds]
        scratch = self._frames.queue(slot, jobs, _WHOLE, self._predictor, label=self._label)
        return bounds, scratch

    def _finish(
        self, slot: Slot, bounds: list[Bound], scratch: Scratch
    ) -> Callable[[], tuple[list[Any], Concerns]]:
        """Queue the way back; what is returned waits for it, checks, and gives the results."""
        reports = read_reports(slot, scratch)
        completions = [bound.collect(slot, index) for index, bound in enumerate(bounds)]

        def finish() -> tuple[list[Any], Concerns]:
            if not all(bound.host for bound in bounds) or not completions:
                slot.wait()
            for complete in completions:
                complete()
            concerns: dict[str, None] = {}
            for report in reports:
                concerns |= dict.fromkeys(self._judge(report.seen))
            return [bound.result for bound in bounds], tuple(concerns)

        return finish

    def _judge(self, seen: int) -> Concerns:
        """What a frame's report says of its mask.

        Raises:
            MaskError: If the network looks at the foreground's box, and that is 1 pixel wide.
            ModelError: If the network's answer is not finite.
        """
        if not seen & _native.SEEN_FOREGROUND:
            return (EMPTY_MASK,)
        if not seen & _native.SEEN_THUMBNAIL:
            if self._contract.model != "s2crnet":
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


def check_strength(strength: object) -> None:
    """Refuse what `Arguments.scaled` refuses.

    Raises:
        TypeError: If it is not a number.
        ArgumentsError: If it is not in [0, 1.5].
    """
    Arguments(("brightness",), (0.0,)).scaled(strength)  # type: ignore[arg-type]
