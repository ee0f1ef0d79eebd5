"""What one frame in flight owns: a stream, scratch memory, page-locked staging, recordings."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.cuda.arrays import address_of
from harmonizer.cuda.device import Device, Fence
from harmonizer.cuda.graph import Graph
from harmonizer.cuda.ranges import Call, call_in_range
from harmonizer.errors import DeviceMemoryError

MOST_RECORDINGS = 16
"""Frames of which a slot remembers the launches; tensors that move at each call would fill it."""

_CHUNK = 4 << 20

_WITHOUT_TIMING = 2  # pycuda.driver.event_flags.DISABLE_TIMING


class Memory:
    """Device and page-locked memory in pools: what one slot gives back, the next one gets.

    The device's context must be current for every method.
    """

    def __init__(self, device: Device) -> None:
        from pycuda.tools import DeviceMemoryPool, PageLockedMemoryPool

        self._device = device
        self._pool: Any = DeviceMemoryPool()
        self._pinned: Any = PageLockedMemoryPool()

    def allocate(self, size: int) -> Any:
        """Device memory of PyCUDA: ``int(...)`` is its address, ``free()`` gives it back.

        Raises:
            DeviceMemoryError: If there is not enough.
        """
        try:
            return self._pool.allocate(size)
        except self._device.pycuda.MemoryError as error:
            self._pool.free_held()
            raise self._device.out_of_memory(f"{size / 1e6:.0f} MB more") from error

    def allocate_pinned(self, size: int) -> NDArray[np.uint8]:
        """Page-locked host memory; goes back to the pool with the array.

        Raises:
            DeviceMemoryError: If the driver has none.
        """
        try:
            array: NDArray[np.uint8] = self._pinned.allocate((size,), np.uint8)
        except self._device.pycuda.MemoryError as error:
            raise DeviceMemoryError(
                f"the driver must have {size / 1e6:.0f} MB of page-locked host memory; it has "
                "not. Use fewer frames in flight, or smaller images."
            ) from error
        return array

    def release(self) -> None:
        """Give everything that is not in use back to the driver."""
        self._pool.stop_holding()
        self._pinned.stop_holding()


class Recording:
    """A frame's calls, stage by stage, and their graph once it has been captured."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, list[Call]]] = []
        self.graph: Graph | None = None
        self.plays = 0

    def add(self, stage: str, calls: Iterable[Call]) -> None:
        """Calls that come next, under the name that a profile shows."""
        if queued := list(calls):
            self.stages.append((stage, queued))

    def play(self) -> None:
        """Queue the calls one by one."""
        for stage, calls in self.stages:
            call_in_range(stage, calls)

    def release(self) -> None:
        """Destroy the graph."""
        if self.graph is not None:
            self.graph.release()


class Slot:
    """One frame's (or batch's) resources; used by one thread at a time.

    The device's context must be current for every method. Memory is named, grows when a larger
    frame comes, and is kept for the next frame.

    Args:
        device: The GPU.
        memory: Where memory comes from.

    Attributes:
        memory: As given.
        stream: PyCUDA's stream; it does not wait for the default stream.
        recordings: By what makes a frame's calls the same; emptied when memory moves.
        damaged: Whether a frame failed midway, so that the workspace has to be zeroed.
    """

    def __init__(self, device: Device, memory: Memory) -> None:
        self._device, self.memory = device, memory
        non_blocking = 1
        self.stream: Any = device.pycuda.Stream(non_blocking)
        self._buffers: dict[str, tuple[Any, int]] = {}
        self._staging: dict[str, NDArray[np.uint8]] = {}
        self._arrivals: list[Any] = []
        self.recordings: OrderedDict[Hashable, Recording] = OrderedDict()
        self.damaged = False
        self.borrowed: list[object] = []
        self.fence = Fence()

    @property
    def handle(self) -> int:
        """The stream's handle."""
        return int(self.stream.handle)

    def buffer(self, name: str, size: int) -> tuple[int, bool]:
        """Device memory of at least `size` bytes.

        Returns:
            Its address, and whether it is new (its content is undefined then).

        Raises:
            DeviceMemoryError: If there is not enough; the slot stays usable.
        """
        held = self._buffers.get(name)
        if held is not None and held[1] >= size:
            return int(held[0]), False
        self.forget_recordings()
        if held is not None:
            del self._buffers[name]
            held[0].free()
        allocation = self.memory.allocate(size)
        self._buffers[name] = (allocation, size)
        return int(allocation), True

    def staging(self, name: str, size: int) -> NDArray[np.uint8]:
        """Page-locked memory of at least `size` bytes, as an array of exactly `size`.

        The stream may still be using it: `wait` first.

        Raises:
            DeviceMemoryError: If there is not enough; the slot stays usable.
        """
        held = self._staging.get(name)
        if held is None or len(held) < size:
            self.forget_recordings()
            self._staging.pop(name, None)
            held = self._staging[name] = self.memory.allocate_pinned(size)
        return held[:size]

    def forget_recordings(self) -> None:
        """Wait for the stream and drop the recordings: they hold addresses."""
        self.stream.synchronize()
        for recording in self.recordings.values():
            recording.release()
        self.recordings.clear()

    def wait(self) -> None:
        """Wait for everything queued, and let go of what it was reading and writing."""
        self.stream.synchronize()
        self.borrowed.clear()

    def upload(self, name: str, array: NDArray[Any], target: int) -> None:
        """Queue the copy of a host array, of any strides, to packed device memory.

        Page-locked arrays without gaps go as they are (and must stay as they are until the stream
        has passed); others through staging, in pieces, so that copying and sending overlap.
        """
        copy = self._device.pycuda.memcpy_htod_async
        if array.flags.c_contiguous and self._device.is_pinned(address_of(array)):
            copy(target, array, self.stream)
            return
        staged = self.staging(name, array.nbytes).view(array.dtype).reshape(array.shape)
        for rows in _pieces(array):
            np.copyto(staged[rows], array[rows])
            offset = rows.start * staged.strides[0]
            copy(target + offset, staged[rows], self.stream)

    def download(self, name: str, source: int, array: NDArray[Any]) -> Callable[[], None]:
        """Queue the copy of packed device memory to a host array of any strides.

        Returns:
            What to call to have the array complete; it waits for the copy.
        """
        pycuda = self._device.pycuda
        if array.flags.c_contiguous and self._device.is_pinned(address_of(array)):
            pycuda.memcpy_dtoh_async(array, source, self.stream)
            return self.stream.synchronize  # type: ignore[no-any-return]
        staged = self.staging(name, array.nbytes).view(array.dtype).reshape(array.shape)
        pieces = _pieces(array)
        self._arrivals += [
            pycuda.Event(_WITHOUT_TIMING) for _ in range(len(pieces) - len(self._arrivals))
        ]
        for rows, event in zip(pieces, self._arrivals, strict=False):
            offset = rows.start * staged.strides[0]
            pycuda.memcpy_dtoh_async(staged[rows], source + offset, self.stream)
            event.record(self.stream)

        def finish() -> None:
            for rows, event in zip(pieces, self._arrivals, strict=False):
                event.synchronize()
                np.copyto(array[rows], staged[rows])

        return finish

    def copy_to_host(self, target: NDArray[np.uint8], source: int) -> None:
        """Queue the copy of device memory to page-locked memory."""
        self._device.pycuda.memcpy_dtoh_async(target, source, self.stream)

    def release(self) -> None:
        """Give everything back; what a broken context no longer takes is dropped."""
        with suppress(self._device.pycuda.Error):
            self.forget_recordings()
        self.recordings.clear()
        self.borrowed.clear()
        for allocation, _ in self._buffers.values():
            allocation.free()
        self._buffers.clear()
        self._staging.clear()
        self._arrivals.clear()
        self.fence.release()
        self.stream = None


def _pieces(array: NDArray[Any]) -> list[slice]:
    """Rows of about `_CHUNK` bytes."""
    rows = len(array)
    step = max(1, _CHUNK * rows // max(1, array.nbytes))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
