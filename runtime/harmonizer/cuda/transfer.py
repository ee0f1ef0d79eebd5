"""Bring a frame's arrays to the GPU and back: host arrays by copies, device arrays as they lie."""

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harmonizer import _native
from harmonizer.arrays import IMAGE_TYPES, MASK_TYPES, check_out
from harmonizer.cuda.arrays import (
    ITEM_SIZES,
    Borrowed,
    View,
    borrow_image,
    borrow_mask,
    borrow_out,
    is_device_array,
    packed,
    stream_handle,
)
from harmonizer.cuda.device import Device
from harmonizer.cuda.slot import Slot
from harmonizer.cuda.surfaces import Surface, SurfaceView, borrow_surface, borrow_surface_out
from harmonizer.frame import check_pair

_TYPE_STRINGS = {_native.U8: "|u1", _native.U16: "<u2", _native.F32: "<f4"}


class DeviceImage:
    """An array in GPU memory that this package allocated: an image, or a plane of one.

    ``torch.as_tensor(image, device="cuda")`` and ``cupy.asarray(image)`` take it without a copy and
    keep it alive. Its memory is freed with it, which waits for the GPU: in a loop, pass `out`.

    Args:
        device: The GPU.
        shape: (H, W, 3) of an image.
        kind: `hz_type` of its values.
        row: Values from row to row; None for rows without gaps.

    Attributes:
        shape: As given.
        pointer: Its address.
    """

    def __init__(
        self, device: Device, shape: tuple[int, ...], kind: int, row: int | None = None
    ) -> None:
        self.shape = shape
        size = ITEM_SIZES[kind]
        stride = (math.prod(shape[1:]) if row is None else row) * size
        inner = [math.prod(shape[axis + 1 :]) * size for axis in range(1, len(shape))]
        self._type, self._strides = _TYPE_STRINGS[kind], None if row is None else (stride, *inner)
        try:
            allocation = device.pycuda.mem_alloc(shape[0] * stride)
        except device.pycuda.MemoryError as error:
            raise device.out_of_memory(f"an output of {shape[0] * stride / 1e6:.0f} MB") from error
        self.pointer = int(allocation)
        self._finalizer = weakref.finalize(self, _free, device, allocation)
        self._finalizer.atexit = (
            False  # PyCUDA's contexts are gone by then, and the memory with them
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3; no stream to wait for: whoever made the image has ordered that."""
        return {
            "shape": self.shape,
            "typestr": self._type,
            "data": (self.pointer, False),
            "strides": self._strides,
            "version": 3,
            "stream": None,
        }


def _surface_like(device: Device, image: Surface, view: SurfaceView) -> tuple[Surface, SurfaceView]:
    """Planes like a picture's; rows begin at multiples of two samples, as they must."""
    kind = _native.U8 if view.bits == 8 else _native.U16
    rows, columns = (view.height + 1) // 2, (view.width + 1) // 2
    luma = DeviceImage(device, (view.height, view.width), kind, 2 * columns)
    chroma = DeviceImage(device, (rows, columns, 2), kind)
    stride = 2 * columns * ITEM_SIZES[kind]
    made = replace(image, luma=luma, chroma=chroma)
    return made, replace(
        view, luma=luma.pointer, chroma=chroma.pointer, luma_stride=stride, chroma_stride=stride
    )


def _free(device: Device, allocation: Any) -> None:
    with device.current():
        allocation.free()


@dataclass(slots=True)
class Bound:
    """One frame's arrays, ready for the kernels.

    Attributes:
        image, mask, out: Where they lie on the GPU; `out` None until `bind_out`.
        result: What the caller gets: its own `out`, or a new array.
        owners: What must stay alive until the stream has passed.
        producers: Handles of streams to wait for.
        host: Whether the arrays are numpy's.
        lasting: Whether they have memory of their own on the GPU, and not the slot's.
    """

    image: View | SurfaceView
    mask: View | None = None
    out: View | SurfaceView | None = None
    result: Any = None
    owners: list[object] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)
    host: bool = False
    lasting: bool = False

    def collect(self, slot: Slot, index: int) -> Callable[[], None]:
        """Queue the way back to the host, where there is one; returns what completes it."""
        if not self.host or not isinstance(self.out, View):
            return _nothing
        return slot.download(f"out{index}", self.out.pointer, self.result)


def _nothing() -> None:
    pass


def caller_stream(stream: object | None, image: object) -> int | None:
    """The handle of the stream that a caller names, None for none.

    Raises:
        TypeError, ValueError: As in `stream_handle`, or if the image is no device array.
    """
    if stream is None:
        return None
    if not is_device_array(image) and not isinstance(image, Surface):
        raise ValueError(
            "`stream` orders work on device arrays; the image is on the host. Leave it out: the "
            "result is complete when the call returns."
        )
    return stream_handle(stream)


def bind(
    slot: Slot,
    device: Device,
    index: int,
    image: Any,
    mask: Any | None,
    checked: bool = False,
    lasting: bool = False,
) -> Bound:
    """Check a frame's arrays and bring them to the GPU.

    Args:
        slot: Whose stream will use them.
        device: The GPU; its context is current.
        index: The frame's place in the batch.
        image: (H, W, 3), numpy's or a device array; or a `Surface`.
        mask: (H, W) of the same kind (a device array for a `Surface`); None for the whole image.
        checked: Whether host arrays have been checked.
        lasting: Whether host arrays get memory of their own, which stays when the slot goes on.

    Raises:
        TypeError, ValueError: If an array is not supported or does not fit.
        DeviceMemoryError: If there is no memory for a copy.
    """
    if not isinstance(image, Surface) and not is_device_array(image):
        if not checked:
            check_pair(image, mask)
        return _upload(slot, device, index, image, mask, lasting)
    stream = slot.handle
    if isinstance(image, Surface):
        surface = borrow_surface(image, "image", device, stream)
        bound = Bound(surface.view, owners=[*surface.owners], producers=[*surface.streams])
    else:
        source = borrow_image(image, "image", device, stream)
        bound = Bound(source.view, owners=[source.owner], producers=_streams(source))
    if mask is not None:
        coverage = borrow_mask(mask, bound.image, device, stream)
        bound.mask = coverage.view
        bound.owners.append(coverage.owner)
        bound.producers += _streams(coverage)
    return bound


def bind_out(slot: Slot, device: Device, bound: Bound, image: Any, out: Any | None) -> Bound:
    """Add an output to a frame's arrays; what writes it is all that is left to wait for.

    Args:
        slot: Whose stream will write it.
        device: The GPU; its context is current.
        bound: From `bind`.
        image: What was bound.
        out: Where to write; None for a new array of the same kind.

    Raises:
        TypeError, ValueError: If the output does not fit.
        DeviceMemoryError: If there is no memory for it.
    """
    made = replace(bound, owners=[*bound.owners], producers=[])
    view = bound.image
    if bound.host:
        if out is not None:
            check_out(out, image)
        made.out, made.result = view, np.empty(image.shape, image.dtype) if out is None else out
        if bound.lasting and isinstance(view, View):
            own = OwnMemory(slot, device, image.nbytes)
            made.out = replace(view, pointer=own.pointer)
            made.owners.append(own)
        return made
    if isinstance(view, SurfaceView):
        if out is None:
            made.result, made.out = _surface_like(device, image, view)
        else:
            surface = borrow_surface_out(out, view, device, slot.handle)
            made.out, made.result, made.producers = surface.view, out, [*surface.streams]
            made.owners += surface.owners
    elif out is None:
        made.result = image = DeviceImage(device, (view.height, view.width, 3), view.type)
        made.out = packed(image.pointer, view.height, view.width, 3, view.type)
    else:
        target = borrow_out(out, view, device, slot.handle)
        made.out, made.result, made.producers = target.view, out, _streams(target)
        made.owners.append(target.owner)
    made.owners.append(made.result)
    return made


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


class OwnMemory:
    """Device memory that goes back to the pool with this object; `pointer` is its address."""

    def __init__(self, slot: Slot, device: Device, size: int) -> None:
        allocation = slot.memory.allocate(size)
        self.pointer = int(allocation)
        self._finalizer = weakref.finalize(self, _free, device, allocation)
        self._finalizer.atexit = (
            False  # PyCUDA's contexts are gone by then, and the memory with them
        )


def _streams(borrowed: Borrowed) -> list[int]:
    return [] if borrowed.stream is None else [borrowed.stream]


def _upload(
    slot: Slot, device: Device, index: int, image: Any, mask: Any | None, lasting: bool
) -> Bound:
    if index == 0:
        slot.wait()  # the staging memory of the frame before may still be in use
    owners: list[object] = []

    def place(name: str, size: int) -> int:
        if not lasting:
            return slot.buffer(f"{name}{index}", size)[0]
        own = OwnMemory(slot, device, size)
        owners.append(own)
        return own.pointer

    height, width = image.shape[:2]
    kind = IMAGE_TYPES[image.dtype.type]
    view = packed(place("image", image.nbytes), height, width, 3, kind)
    bound = Bound(view, owners=owners, host=True, lasting=lasting)
    if mask is not None:
        kind = MASK_TYPES[mask.dtype.type]
        bound.mask = packed(place("mask", mask.nbytes), height, width, 1, kind)
        slot.upload(f"mask{index}", mask, bound.mask.pointer)
    slot.upload(f"image{index}", image, view.pointer)
    return bound


def pinned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """A page-locked numpy array: transfers read and write it directly, without staging.

    Frames that come back and forth in such arrays move at the speed of the bus. Allocating one is
    slow: keep and reuse them.

    Raises:
        DeviceError: If there is no usable GPU.
        DeviceMemoryError: If there is not enough memory.
    """
    device = Device()
    with device.current():
        array: np.ndarray[Any, Any] = device.pycuda.pagelocked_empty(shape, np.dtype(dtype))
    return array
