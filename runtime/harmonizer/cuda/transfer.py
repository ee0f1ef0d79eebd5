"""Bring a frame's arrays to the GPU and back: host arrays by copies, device arrays as they lie."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harmonizer import _native
from harmonizer.cuda.arrays import (
    ITEM_SIZES,
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
from harmonizer.renderer import IMAGE_TYPES, MASK_TYPES, check_image, check_mask, check_out

_TYPE_STRINGS = {_native.U8: "|u1", _native.U16: "<u2", _native.F32: "<f4"}


class DeviceImage:
    """An (H, W, 3) image in GPU memory that this package allocated.

    ``torch.as_tensor(image, device="cuda")`` and ``cupy.asarray(image)`` take it without a copy and
    keep it alive. Its memory is freed with it, which waits for the GPU: in a loop, pass `out`.

    Attributes:
        shape: (H, W, 3).
    """

    def __init__(self, device: Device, like: View) -> None:
        self.shape = (like.height, like.width, 3)
        size = math.prod(self.shape) * ITEM_SIZES[like.type]
        try:
            allocation = device.pycuda.mem_alloc(size)
        except device.pycuda.MemoryError as error:
            raise device.out_of_memory(f"an output of {size / 1e6:.0f} MB") from error
        self.view = packed(int(allocation), like.height, like.width, 3, like.type)
        self._finalizer = weakref.finalize(self, _free, device, allocation)

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        """Version 3; no stream to wait for: whoever made the image has ordered that."""
        return {
            "shape": self.shape,
            "typestr": _TYPE_STRINGS[self.view.type],
            "data": (self.view.pointer, False),
            "strides": None,
            "version": 3,
            "stream": None,
        }


def _free(device: Device, allocation: Any) -> None:
    with device.current():
        allocation.free()


@dataclass(slots=True)
class Bound:
    """One frame's arrays, ready for the kernels.

    Attributes:
        image, mask, out: Where they lie on the GPU; `out` None where nothing is drawn.
        result: What the caller gets: its own `out`, or a new array.
        owners: What must stay alive until the stream has passed.
        producers: Handles of streams to wait for.
        host: Whether the arrays are numpy's.
    """

    image: View
    mask: View | None
    out: View | None
    result: Any = None
    owners: list[object] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)
    host: bool = False

    def collect(self, slot: Slot, index: int) -> Callable[[], None]:
        """Queue the way back to the host, where there is one; returns what completes it."""
        if not self.host or self.out is None:
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
    if not is_device_array(image):
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
    out: Any | None = None,
    draws: bool = True,
) -> Bound:
    """Check a frame's arrays and bring them to the GPU.

    Args:
        slot: Whose stream will use them.
        device: The GPU; its context is current.
        index: The frame's place in the batch.
        image: (H, W, 3), numpy's or a device array.
        mask: (H, W) of the same kind; None for the whole image.
        out: Where to write; None for a new array of the same kind.
        draws: Whether there is an output at all.

    Raises:
        TypeError, ValueError: If an array is not supported or does not fit.
        DeviceMemoryError: If there is no memory for a copy or an output.
    """
    if not is_device_array(image):
        return _upload(slot, index, image, mask, out, draws)
    stream = slot.handle
    source = borrow_image(image, "image", device, stream)
    borrowed = [source]
    bound = Bound(source.view, None, None)
    if mask is not None:
        borrowed.append(borrow_mask(mask, source.view, device, stream))
        bound.mask = borrowed[-1].view
    if draws and out is None:
        bound.result = DeviceImage(device, source.view)
        bound.out = bound.result.view
    elif draws:
        borrowed.append(borrow_out(out, source.view, device, stream))
        bound.out, bound.result = borrowed[-1].view, out
    bound.owners = [entry.owner for entry in borrowed] + [bound.result]
    bound.producers = [entry.stream for entry in borrowed if entry.stream is not None]
    return bound


def _upload(
    slot: Slot, index: int, image: Any, mask: Any | None, out: Any | None, draws: bool
) -> Bound:
    check_image(image, "image")
    if mask is not None:
        check_mask(mask, image)
    if draws and out is not None:
        check_out(out, image)
    if index == 0:
        slot.wait()  # the staging memory of the frame before may still be in use
    height, width = image.shape[:2]
    pointer, _ = slot.buffer(f"image{index}", image.nbytes)
    view = packed(pointer, height, width, 3, IMAGE_TYPES[image.dtype.type])
    bound = Bound(view, None, view if draws else None, host=True)
    if mask is not None:
        pointer, _ = slot.buffer(f"mask{index}", mask.nbytes)
        bound.mask = packed(pointer, height, width, 1, MASK_TYPES[mask.dtype.type])
        slot.upload(f"mask{index}", mask, bound.mask.pointer)
    slot.upload(f"image{index}", image, view.pointer)
    if draws:
        bound.result = np.empty(image.shape, image.dtype) if out is None else out
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
