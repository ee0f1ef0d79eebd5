"""Arrays in device memory, read through DLPack or ``__cuda_array_interface__`` without a copy.

Images are (H, W, 3) and masks (H, W), of any strides, as on the CPU: a planar torch tensor
(3, H, W) is passed as ``tensor.permute(1, 2, 0)``, which moves nothing.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harmonizer import _native
from harmonizer.cuda.device import Device
from harmonizer.cuda.dlpack import Tensor, borrow

_TYPES = {
    "u1": _native.U8,
    "u2": _native.U16,
    "f4": _native.F32,
    "b1": _native.BOOL,
}
ITEM_SIZES = {_native.U8: 1, _native.U16: 2, _native.F32: 4, _native.BOOL: 1}
TYPE_NAMES = {
    _native.U8: "uint8",
    _native.U16: "uint16",
    _native.F32: "float32",
    _native.BOOL: "bool",
}

LEGACY_STREAM, PER_THREAD_STREAM = 1, 2
"""Handles of CUDA's two default streams; 0 would leave open which is meant."""


@dataclass(frozen=True, slots=True)
class View:
    """Where a picture or mask lies in device memory; strides in bytes, `channel` 0 for masks."""

    pointer: int
    height: int
    width: int
    row: int
    pixel: int
    channel: int
    type: int

    def image(self) -> _native.Image:
        """As `hz_image`."""
        return _native.Image(
            self.pointer, self.width, self.height, self.row, self.pixel, self.channel, self.type
        )

    def mask(self) -> _native.Mask:
        """As `hz_mask`."""
        return _native.Mask(self.pointer, self.width, self.height, self.row, self.pixel, self.type)


def packed(pointer: int, height: int, width: int, channels: int, kind: int) -> View:
    """The view of rows without gaps."""
    size = ITEM_SIZES[kind]
    step = size * channels
    return View(pointer, height, width, width * step, step, size if channels > 1 else 0, kind)


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A view with what must stay alive while it is used, and the stream that wrote it.

    Attributes:
        view: Where it lies.
        owner: Keeps the memory alive.
        stream: Handle of a stream whose work must be waited for; None if there is none to wait
            for.
    """

    view: View
    owner: object
    stream: int | None


def is_device_array(array: object) -> bool:
    """Whether an array says that it lies in a GPU's memory."""
    place = getattr(array, "__dlpack_device__", None)
    if callable(place):  # first: torch's other interface raises where a gradient is wanted
        return place()[0] in _DEVICE_MEMORY
    return getattr(array, "__cuda_array_interface__", None) is not None


_DEVICE_MEMORY = (2, 13)  # kDLCUDA, kDLCUDAManaged


def stream_handle(stream: object) -> int:
    """The handle of a caller's stream: an int, or a stream of torch, CuPy, PyCUDA or CUDA Python.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is 0: which default stream is meant would be left open.
    """
    protocol = getattr(stream, "__cuda_stream__", None)
    handle: object = stream
    if protocol is not None:
        answer = protocol() if callable(protocol) else protocol
        handle = answer[1]
    else:
        for name in ("cuda_stream", "ptr", "handle"):
            handle = getattr(handle, name, handle)
    if isinstance(handle, bool) or not hasattr(handle, "__index__"):
        raise TypeError(
            "`stream` must be a stream of torch, CuPy, PyCUDA or CUDA Python, or its handle as an "
            f"int; got {type(stream).__name__}."
        )
    number = int(handle.__index__())
    if number == 0 and handle is stream:
        raise ValueError(
            "`stream` must name a stream; 0 leaves open which default stream is meant. Pass 1 for "
            "the legacy default stream, 2 for the per-thread one, or the stream object."
        )
    return number or LEGACY_STREAM


def borrow_image(array: object, name: str, device: Device, stream: int) -> Borrowed:
    """Check an (H, W, 3) device array of uint8, uint16 or float32.

    Args:
        array: Of torch, CuPy, PyCUDA or any other library with one of the two protocols.
        name: What to call it in messages.
        device: The GPU that it must lie on; its context must be current.
        stream: Handle of the stream that will use it: DLPack's producer makes it wait.

    Raises:
        TypeError: If it is no device array or its type is another.
        ValueError: If its shape or device is another.
    """
    tensor, owner, producer = read_array(array, name, stream)
    check_device(tensor, name, device)
    if len(tensor.shape) != 3 or tensor.shape[2] != 3:
        raise ValueError(
            f"`{name}` must have shape (H, W, 3); got {tensor.shape}. Pass a planar tensor as "
            "tensor.permute(1, 2, 0), and take the three colour channels of four."
        )
    kind = kind_of(tensor, name, ("u1", "u2", "f4"))
    if 0 in tensor.shape:
        raise ValueError(f"`{name}` must have at least one pixel; got {tensor.shape}.")
    height, width, _ = tensor.shape
    row, pixel, channel = tensor.strides
    view = View(tensor.pointer, height, width, row, pixel, channel, kind)
    return Borrowed(view, owner, producer)


class Sized(Protocol):
    """Whose height and width a mask must have."""

    @property
    def height(self) -> int:
        """In pixels."""

    @property
    def width(self) -> int:
        """In pixels."""


def borrow_mask(array: object, image: Sized, device: Device, stream: int) -> Borrowed:
    """Check an (H, W) device array of bool, uint8, uint16 or float32 for an image.

    Raises:
        TypeError, ValueError: As in `borrow_image`, or if its size is not the image's.
    """
    tensor, owner, producer = read_array(array, "mask", stream)
    check_device(tensor, "mask", device)
    if len(tensor.shape) != 2:
        raise ValueError(
            f"`mask` must have shape (H, W); got {tensor.shape}. Take one channel, such as "
            "mask[0] of (1, H, W)."
        )
    if tensor.shape != (image.height, image.width):
        raise ValueError(
            "`mask` must have the composite's height and width; got "
            f"{tensor.shape[0]}x{tensor.shape[1]} for a {image.height}x{image.width} composite. "
            "Resize it."
        )
    kind = kind_of(tensor, "mask", ("b1", "u1", "u2", "f4"))
    row, pixel = tensor.strides
    view = View(tensor.pointer, image.height, image.width, row, pixel, 0, kind)
    return Borrowed(view, owner, producer)


def borrow_out(array: object, image: View, device: Device, stream: int) -> Borrowed:
    """Check an output for an image: of its shape and type, and writable.

    Raises:
        TypeError, ValueError: As in `borrow_image`, or if it does not fit the image.
    """
    borrowed = borrow_image(array, "out", device, stream)
    view = borrowed.view
    if (view.height, view.width, view.type) != (image.height, image.width, image.type):
        raise ValueError(
            "`out` must have the image's shape and dtype; got "
            f"{view.height}x{view.width} {TYPE_NAMES[view.type]} for an image of "
            f"{image.height}x{image.width} {TYPE_NAMES[image.type]}. Allocate it like the image."
        )
    if is_read_only(array, borrowed.owner):
        raise ValueError("`out` must be writable; it is read-only. Pass a copy of it.")
    return borrowed


def read_array(array: object, name: str, stream: int) -> tuple[Tensor, object, int | None]:
    """Read pointer, shape, strides and type; DLPack first, for its producers order the streams.

    Returns:
        These, what keeps the memory alive, and a stream to wait for, if any.

    Raises:
        TypeError: If it is no plain array in GPU memory.
        ValueError: If the stream that it names is forbidden.
    """
    place = getattr(array, "__dlpack_device__", None)
    if callable(place) and place()[0] in _DEVICE_MEMORY and hasattr(array, "__dlpack__"):
        tensor, owner = borrow(array, name, stream)
        return tensor, owner, None
    interface = getattr(array, "__cuda_array_interface__", None)
    if interface is None:
        raise TypeError(
            f"`{name}` must lie in GPU memory like the other arrays; got {type(array).__name__} "
            "on the host. Copy it to the GPU, or pass numpy arrays only."
        )
    return _from_interface(interface, name), array, _producer(interface, name)


def _from_interface(interface: Mapping[str, Any], name: str) -> Tensor:
    shape = tuple(int(size) for size in interface["shape"])
    kind = str(interface["typestr"])
    if kind[0] == ">" or interface.get("mask") is not None:
        raise TypeError(
            f"`{name}` must be a plain array in native byte order; got {kind} "
            f"{'with a mask' if interface.get('mask') is not None else ''}. Convert it."
        )
    strides = interface.get("strides")
    if strides is None:
        size = int(kind[2:])
        steps = [size]
        for length in reversed(shape[1:]):
            steps.append(steps[-1] * length)
        strides = tuple(reversed(steps))[-len(shape) :] if shape else ()
    pointer = interface["data"][0]
    return Tensor(int(pointer or 0), shape, tuple(int(s) for s in strides), kind[1:], None)


def _producer(interface: Mapping[str, Any], name: str) -> int | None:
    stream = interface.get("stream")
    if stream is None:
        return None
    if int(stream) == 0:
        raise ValueError(
            f"`{name}` must name the stream that writes it; its __cuda_array_interface__ says 0, "
            "which the protocol forbids. Use 1 or 2 for the default streams, None for none."
        )
    return int(stream)


def is_read_only(array: object, owner: object) -> bool:
    """Whether an array, or what `read_array` gave as its owner, says not to be written."""
    if getattr(owner, "read_only", False):
        return True
    interface = getattr(array, "__cuda_array_interface__", None)
    return interface is not None and bool(interface["data"][1])


def check_device(tensor: Tensor, name: str, device: Device) -> None:
    """Refuse memory that does not lie on a GPU.

    Raises:
        ValueError: If it lies elsewhere.
    """
    if tensor.device not in (None, device.gpu.ordinal):
        found: int | None = tensor.device
    elif 0 in tensor.shape:
        return
    else:
        found = device.owner(tensor.pointer)
    if found is None:
        raise ValueError(
            f"`{name}` must lie in GPU memory; its address {tensor.pointer:#x} does not. It may "
            "have been freed: keep the array alive until the work is done."
        )
    if found != device.gpu.ordinal:
        raise ValueError(
            f"`{name}` must lie on GPU {device.gpu.ordinal}, which this renderer uses; it is on "
            f"GPU {found}. Move it, or make a renderer with device={found}."
        )


def kind_of(tensor: Tensor, name: str, allowed: tuple[str, ...]) -> int:
    """The `hz_type` of an array.

    Raises:
        TypeError: If it is none of those allowed.
    """
    if tensor.type not in allowed:
        wanted = ", ".join(TYPE_NAMES[_TYPES[kind]] for kind in allowed)
        raise TypeError(
            f"`{name}` must be one of {wanted}; got {tensor.type} (a letter for the kind and the "
            "number of bytes). Convert it."
        )
    return _TYPES[tensor.type]


def address_of(buffer: Any) -> int:
    """The address of a numpy array's first byte."""
    return int(buffer.ctypes.data_as(ctypes.c_void_p).value or 0)
