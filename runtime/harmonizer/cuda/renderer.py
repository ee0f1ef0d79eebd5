"""Draw filter arguments at full resolution on a GPU; `harmonizer.renderer` on another processor.

Images and masks are numpy arrays, as there, or device arrays: anything in the memory of the same
GPU with DLPack or ``__cuda_array_interface__``, of any strides, used where it lies.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from harmonizer.arguments import Arguments
from harmonizer.contract import THUMBNAIL_SIZE
from harmonizer.cuda.device import Device
from harmonizer.cuda.frame import CudaFrame, check_strength, queue_whole
from harmonizer.cuda.predictor import DevicePredictor, open_predictor
from harmonizer.cuda.queueing import MOST_SLOTS, FrameRunner
from harmonizer.cuda.slot import Slot
from harmonizer.cuda.transfer import Bound, bind, bind_out, caller_stream, order_before
from harmonizer.errors import BusyError
from harmonizer.frame import Concerns, Network, Thumbnails, Turn
from harmonizer.plan import Plan


class CudaRenderer:
    """Opens frames on a GPU; safe in several threads. See `Renderer`.

    The results are those of `CpuRenderer` within the tolerances of docs/cuda.md, and do not depend
    on the GPU: an H100 and an H200 ran it, an emulated device runs it in every test.

    Args:
        device: Number of the GPU among the visible ones.
        graphs: Whether frames that come again are captured as CUDA graphs.

    Attributes:
        device: The GPU.
        frames: What queues frames.

    Raises:
        DeviceError: If there is no usable driver, GPU, PyCUDA or compiled kernel.
        NativeLibraryError: If the compiled library is missing.
    """

    backend: Literal["cpu", "cuda"] = "cuda"

    def __init__(self, device: int = 0, graphs: bool = True) -> None:
        self.device = Device(device)
        self.frames = FrameRunner(self.device, graphs)
        self._finalizer = weakref.finalize(self, self.frames.release)
        self._finalizer.atexit = False  # `release_at_exit` comes before the context goes

    @property
    def graph_status(self) -> str:
        """ "on", or "off: " and why frames are queued call by call."""
        return self.frames.graph_status

    def open(
        self,
        image: Any,
        mask: Any | None,
        network: Network | None = None,
        *,
        upright: Turn | None = None,
        checked: bool = False,
        brief: bool = False,
        wait: bool = True,
    ) -> CudaFrame:
        """See `Renderer`."""
        return CudaFrame(self.frames, image, mask, network, upright, checked, brief, wait)

    def open_predictor(
        self, model: str | Path | None, threads: int | None = None, allow_host_code: bool = False
    ) -> DevicePredictor:
        """See `Renderer`."""
        return open_predictor(model, self.device, threads, allow_host_code)

    def batch(
        self,
        network: Network,
        images: Sequence[Any],
        masks: Sequence[Any],
        strength: float,
        outs: Sequence[Any | None],
        stream: object | None = None,
    ) -> tuple[list[Any], Concerns]:
        """See `Renderer`; the network sees the pictures as one batch.

        With a `stream` nothing is waited for, and no concerns are known.
        """
        check_strength(strength)
        caller = caller_stream(stream, images[0])
        with self.frames.slot() as slot:
            bounds = self._bind(slot, images, masks, outs)
            concerns = queue_whole(self.frames, slot, bounds, network, strength, caller)()
        return [bound.result for bound in bounds], concerns

    def each(
        self, network: Network, pairs: Iterable[tuple[Any, Any]], strength: float
    ) -> Iterator[tuple[Any, Concerns]]:
        """See `Renderer`; several pictures are in flight."""
        check_strength(strength)
        flying: deque[tuple[Slot, Any, Callable[[], Concerns]]] = deque()
        try:
            for image, mask in pairs:
                while (slot := self._take(bool(flying))) is None:
                    yield self._land(flying)
                try:
                    with self.device.current():
                        bounds = self._bind(slot, [image], [mask], [None])
                        finish = queue_whole(self.frames, slot, bounds, network, strength)
                    flying.append((slot, bounds[0].result, finish))
                except BaseException:
                    self.frames.give(slot)
                    raise
                if len(flying) >= MOST_SLOTS - 1:
                    yield self._land(flying)
            while flying:
                yield self._land(flying)
        finally:
            for slot, *_ in flying:
                self.frames.give(slot)

    def measure(self, image: Any, arguments: Arguments) -> Plan:
        """See `Frame.measure`; waits for the GPU."""
        with self.open(image, None, brief=True) as frame:
            return frame.measure(arguments)

    def draw(
        self,
        image: Any,
        mask: Any | None,
        plan: Plan,
        out: Any | None = None,
        stream: object | None = None,
    ) -> Any:
        """See `Frame.draw`.

        Args:
            image: (H, W, 3), numpy's or a device array.
            mask: (H, W) of the same kind; None draws the whole image.
            plan: From `measure`.
            out: As there; a new array for device arrays is a `DeviceImage`.
            stream: For device arrays: the caller's stream (of torch, CuPy, PyCUDA, or a handle).
                The work comes after what it holds and before what it gets next, and the call
                returns at once. None waits for the GPU.
        """
        with self.open(image, mask, brief=True) as frame:
            return frame.draw(plan, out, stream)

    prepare, apply = measure, draw
    """Their names until now, for one release."""

    def render(
        self,
        image: Any,
        mask: Any | None,
        arguments: Arguments,
        out: Any | None = None,
        stream: object | None = None,
    ) -> Any:
        """`measure` and `draw` in one go, with one transfer and no wait between."""
        with self.open(image, mask, brief=True) as frame:
            return frame.harmonize(arguments, 1.0, out, stream)

    def thumbnail(self, image: Any, mask: Any | None, size: int = THUMBNAIL_SIZE) -> Thumbnails:
        """See `Frame.thumbnails`; waits for the GPU.

        Raises:
            ValueError: If the size is not 256, the only one that the kernels make.
        """
        if size != THUMBNAIL_SIZE:
            raise ValueError(
                f"`size` must be {THUMBNAIL_SIZE} on the GPU; got {size}. CpuRenderer makes others."
            )
        with self.open(image, mask, brief=True) as frame:
            return frame.thumbnails()

    def region_thumbnails(self, image: Any, mask: Any) -> Thumbnails:
        """See `Frame.thumbnails`, with `crops`; waits for the GPU."""
        with self.open(image, mask, brief=True) as frame:
            return frame.thumbnails(crops=True)

    def close(self, predictor: DevicePredictor | None = None) -> None:
        """Wait for the GPU; release everything, and a predictor. The methods raise afterwards."""
        self._finalizer()
        if predictor is not None:
            with self.device.current():
                predictor.close()

    def __enter__(self) -> CudaRenderer:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _bind(
        self, slot: Slot, images: Sequence[Any], masks: Sequence[Any], outs: Sequence[Any | None]
    ) -> list[Bound]:
        bounds = []
        for index, (image, mask, out) in enumerate(zip(images, masks, outs, strict=True)):
            bound = bind(slot, self.device, index, image, mask)
            order_before(slot, [bound], None)
            bounds.append(bind_out(slot, self.device, bound, image, out))
        return bounds

    def _take(self, has_others: bool) -> Slot | None:
        """A slot; None if all are taken and giving one of ours back is the way to get one."""
        try:
            return self.frames.take(wait=not has_others)
        except BusyError:
            return None

    def _land(
        self, flying: deque[tuple[Slot, Any, Callable[[], Concerns]]]
    ) -> tuple[Any, Concerns]:
        slot, result, finish = flying.popleft()
        try:
            with self.device.current():
                return result, finish()
        finally:
            self.frames.give(slot)
