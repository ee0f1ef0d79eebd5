"""Bring a frame's arrays to the GPU and back: host arrays by copies, device arrays as they lie."""

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
from harmonizer.cuda.video import VideoImage, VideoView, borrow_video, borrow_video_out
from harmonizer.renderer import IMAGE_TYPES, MASK_TYPES, check_image, check_mask, check_out

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


def _image_like(device: Device, view: View) -> tuple[DeviceImage, View]:
    image = DeviceImage(device, (view.height, view.width, 3), view.type)
    return image, packed(image.pointer, view.height, view.width, 3, view.type)


def _video_like(device: Device, image: VideoImage, view: VideoView) -> tuple[VideoImage, VideoView]:
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
        image, mask, out: Where they lie on the GPU; `out` None where nothing is drawn.
        result: What the caller gets: its own `out`, or a new array.
        owners: What must stay alive until the stream has passed.
        producers: Handles of streams to wait for.
        host: Whether the arrays are numpy's.
    """

    image: View | VideoView
    mask: View | None
    out: View | VideoView | None
    result: Any = None
    owners: list[object] = field(default_factory=list)
    producers: list[int] = field(default_factory=list)
    host: bool = False

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
    if not is_device_array(image) and not isinstance(image, VideoImage):
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
        image: (H, W, 3), numpy's or a device array; or a `VideoImage`.
        mask: (H, W) of the same kind (a device array for a `VideoImage`); None for the whole image.
        out: Where to write; None for a new array of the same kind.
        draws: Whether there is an output at all.

    Raises:
        TypeError, ValueError: If an array is not supported or does not fit.
        DeviceMemoryError: If there is no memory for a copy or an output.
    """
    if isinstance(image, VideoImage):
        return _bind_video(slot, device, image, mask, out, draws)
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
        bound.result, bound.out = _image_like(device, source.view)
    elif draws:
        borrowed.append(borrow_out(out, source.view, device, stream))
        bound.out, bound.result = borrowed[-1].view, out
    bound.owners = [entry.owner for entry in borrowed] + [bound.result]
    bound.producers = [entry.stream for entry in borrowed if entry.stream is not None]
    return bound


def _bind_video(
    slot: Slot, device: Device, image: VideoImage, mask: Any | None, out: Any | None, draws: bool
) -> Bound:
    source = borrow_video(image, "image", device, slot.handle)
    bound = Bound(source.view, None, None, owners=[*source.owners])
    bound.producers += source.streams
    if mask is not None:
        cover = borrow_mask(mask, source.view, device, slot.handle)
        bound.mask = cover.view
        bound.owners.append(cover.owner)
        bound.producers += [] if cover.stream is None else [cover.stream]
    if draws and out is None:
        bound.result, bound.out = _video_like(device, image, source.view)
    elif draws:
        target = borrow_video_out(out, source.view, device, slot.handle)
        bound.out, bound.result = target.view, out
        bound.owners += target.owners
        bound.producers += target.streams
    bound.owners.append(bound.result)
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
