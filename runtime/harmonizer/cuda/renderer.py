"""Draw filter arguments at full resolution on a GPU; `harmonizer.renderer` on another processor.

Images and masks are numpy arrays, as there, or device arrays: anything in the memory of the same
GPU with DLPack or ``__cuda_array_interface__``, of any strides, used where it lies.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.cuda.device import Device
from harmonizer.cuda.frames import FrameRunner, Job
from harmonizer.cuda.scratch import Scratch
from harmonizer.cuda.slot import Slot
from harmonizer.cuda.transfer import Bound, bind, caller_stream
from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS, Plan, Step
from harmonizer.values import stages_of

THUMBNAIL_SIZE = 256


class CudaRenderer:
    """Measures images and draws plans on a GPU; `CpuRenderer`'s methods, safe in several threads.

    The results are those of `CpuRenderer` within the tolerances of docs/cuda.md, and do not depend
    on the GPU. Not run on a GPU yet: checked on an emulated device.

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

    def __init__(self, device: int = 0, graphs: bool = True) -> None:
        self.device = Device(device)
        self.frames = FrameRunner(self.device, graphs)
        self._finalizer = weakref.finalize(self, self.frames.release)
        self._finalizer.atexit = False  # `release_at_exit` comes before the context goes

    @property
    def graph_status(self) -> str:
        """ "on", or "off: " and why frames are queued call by call."""
        return self.frames.graph_status

    def prepare(self, image: Any, arguments: Arguments) -> Plan:
        """Clamp the arguments to their ranges and measure what the operations read of the image.

        Args:
            image: (H, W, 3), numpy's or a device array.
            arguments: In drawing order.

        Returns:
            As `CpuRenderer.prepare`. Waits for the GPU.

        Raises:
            TypeError: If `arguments` are not an `Arguments`.
            TypeError, ValueError: If the image is not as this module says.
            DeviceError: If the GPU fails or runs out of memory.
        """
        steps = unmeasured(arguments)
        phases = _native.PHASE_MEASURE | _native.PHASE_PREPARE
        with self.frames.slot() as slot:
            bound = bind(slot, self.device, 0, image, None, draws=False)
            order_before(slot, [bound], None)
            stages = stages_of(arguments.values())
            job = Job(bound.image, None, None, arguments.filters, stages)
            scratch = self.frames.queue(slot, [job], phases, programs=[steps])
            reports = read_reports(slot, scratch)
            slot.wait()
            return plan_of(arguments.filters, reports[0])

    def apply(
        self,
        image: Any,
        mask: Any | None,
        plan: Plan,
        out: Any | None = None,
        stream: object | None = None,
    ) -> Any:
        """Draw out = M*F(I) + (1-M)*I (Harmonizer, arXiv 2207.01322, section 3.2).

        Args:
            image: (H, W, 3), numpy's or a device array.
            mask: (H, W) of the same kind; None draws the whole image.
            plan: From `prepare`.
            out: Where to draw, of the image's shape, type and kind; may be `image` itself. None
                allocates one.
            stream: For device arrays: the caller's stream (of torch, CuPy, PyCUDA, or a handle).
                The work comes after what it holds and before what it gets next, and the call
                returns at once. None waits for the GPU.

        Returns:
            `out`, or a new array of the image's kind: a `DeviceImage` for device arrays.

        Raises:
            TypeError, ValueError: If an array or the stream is not as said above.
            DeviceError: If the GPU fails or runs out of memory.
        """
        return self._draw(image, mask, plan.steps, True, out, stream)

    def render(
        self,
        image: Any,
        mask: Any | None,
        arguments: Arguments,
        out: Any | None = None,
        stream: object | None = None,
    ) -> Any:
        """`prepare` and `apply` in one go, with one transfer and no wait between.

        Args:
            image, mask, out, stream: As in `apply`.
            arguments: In drawing order; clamped to their ranges.

        Returns:
            As `apply`.

        Raises:
            TypeError, ValueError, DeviceError: As `prepare` and `apply` do.
        """
        return self._draw(image, mask, unmeasured(arguments), False, out, stream)

    def thumbnail(
        self, image: Any, mask: Any | None, size: int = THUMBNAIL_SIZE
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resize image and mask to what a predictor reads, as `CpuRenderer.thumbnail` does.

        Args:
            image: (H, W, 3), numpy's or a device array.
            mask: (H, W) of the same kind; None stands for 1 everywhere.
            size: 256, the only one that the kernels make.

        Returns:
            Composite (1, 3, 256, 256) and mask (1, 1, 256, 256), new numpy float32 arrays in
            [0, 1]. Waits for the GPU.

        Raises:
            TypeError, ValueError: If an array or the size is not as said above.
            DeviceError: If the GPU fails or runs out of memory.
        """
        if size != THUMBNAIL_SIZE:
            raise ValueError(
                f"`size` must be {THUMBNAIL_SIZE} on the GPU; got {size}. CpuRenderer makes others."
            )
        composite = np.empty((1, 3, size, size), np.float32)
        coverage = np.empty((1, 1, size, size), np.float32)
        with self.frames.slot() as slot:
            bound = bind(slot, self.device, 0, image, mask, draws=False)
            order_before(slot, [bound], None)
            job = Job(bound.image, bound.mask, None, ("brightness",))
            scratch = self.frames.queue(slot, [job], _native.PHASE_MEASURE, thumbnails=True)
            first = slot.download("composite", scratch.composite, composite)
            second = slot.download("coverage", scratch.coverage, coverage)
            slot.wait()
            first()
            second()
        return composite, coverage

    def region_thumbnails(
        self, image: Any, mask: Any
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resize foreground and background, as `CpuRenderer.region_thumbnails` does.

        Args:
            image: (H, W, 3), numpy's or a device array.
            mask: (H, W) of the same kind.

        Returns:
            Foreground and background (1, 3, 256, 256), new numpy float32 arrays in [0, 1]. Waits
            for the GPU.

        Raises:
            TypeError, ValueError: If an array is not as said above, or the mask's bounding box is
                empty, or one pixel wide or high.
            DeviceError: If the GPU fails or runs out of memory.
        """
        shape = (1, 3, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
        foreground, background = np.empty(shape, np.float32), np.empty(shape, np.float32)
        with self.frames.slot() as slot:
            bound = bind(slot, self.device, 0, image, mask, draws=False)
            order_before(slot, [bound], None)
            job = Job(bound.image, bound.mask, None, ("brightness",))
            scratch = self.frames.queue(
                slot, [job], _native.PHASE_MEASURE, thumbnails=True, regions=True
            )
            first = slot.download("composite", scratch.composite, foreground)
            second = slot.download("coverage", scratch.coverage, background)
            reports = read_reports(slot, scratch)
            slot.wait()
            first()
            second()
            check_region(reports[0].seen)
        return foreground, background

    def close(self) -> None:
        """Wait for the GPU and release everything; the methods raise afterwards."""
        self._finalizer()

    def __enter__(self) -> CudaRenderer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(
        self,
        image: Any,
        mask: Any | None,
        steps: tuple[Step, ...],
        statistics_given: bool,
        out: Any | None,
        stream: object | None,
    ) -> Any:
        caller = caller_stream(stream, image)
        phases = _native.PHASE_DRAW | (0 if statistics_given else _native.PHASE_MEASURE)
        with self.frames.slot() as slot:
            bound = bind(slot, self.device, 0, image, mask, out)
            order_before(slot, [bound], caller)
            filters = tuple(step.operation for step in steps)
            stages = stages_of(step.argument for step in steps)
            job = Job(bound.image, bound.mask, bound.out, filters, stages)
            self.frames.queue(
                slot, [job], phases, programs=[steps], statistics_given=statistics_given
            )
            finish = bound.collect(slot, 0)
            order_after(slot, [bound], caller)
            finish()
        return bound.result


def unmeasured(arguments: Arguments) -> tuple[Step, ...]:
    """The steps of a program, clamped, with zeros for the statistics.

    Raises:
        TypeError: If `arguments` are not an `Arguments`.
    """
    if not isinstance(arguments, Arguments):
        raise TypeError(
            f"`arguments` must be an Arguments; got {type(arguments).__name__}. Make one with "
            "Arguments.from_mapping."
        )
    return tuple(
        Step(name, value, (0.0,) * STATISTICS_COUNTS[OPERATIONS[name].statistics])
        for name, value in arguments.clamped().items()
    )


def order_before(slot: Slot, bounds: Sequence[Bound], caller: int | None) -> None:
    """Have the slot's stream wait for those that wrote the arrays, and for the caller's."""
    streams = {stream for bound in bounds for stream in bound.producers}
    if caller is not None:
        streams.add(caller)
    for stream in streams:
        slot.fence.order(stream, slot.handle)


def order_after(slot: Slot, bounds: Sequence[Bound], caller: int | None) -> None:
    """Have the caller's stream wait for the slot's; without one, the host waits for it.

    Host arrays are waited for by what brings them back.
    """
    if caller is not None:
        slot.fence.order(slot.handle, caller)
        # A tensor may be dropped before the GPU comes to it.
        slot.borrowed += [owner for bound in bounds for owner in bound.owners]
    elif not all(bound.host for bound in bounds):
        slot.wait()


def read_reports(slot: Slot, scratch: Scratch) -> ctypes.Array[_native.Report]:
    """Queue the copies of the frames' reports; they can be read when the stream has passed."""
    size = ctypes.sizeof(_native.Report)
    staged = slot.staging("reports", scratch.count * size)
    for index in range(scratch.count):
        slot.copy_to_host(staged[index * size : (index + 1) * size], scratch.report(index))
    return (_native.Report * scratch.count).from_buffer(staged.data)


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


def plan_of(filters: tuple[str, ...], report: _native.Report) -> Plan:
    """The plan that a frame was drawn with."""
    return Plan(report.program.steps_of(filters))
