"""Read DLPack capsules: the arrays of other libraries, without importing one of them."""

import ctypes
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """What both array protocols say of an array.

    Attributes:
        pointer: Address of the first element.
        shape, strides: In elements and bytes.
        type: Kind and bytes, such as "u1", "f4", "b1".
        device: Ordinal of its GPU; None if the protocol does not say.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    type: str
    device: int | None


class Capsule:
    """An unconsumed capsule: when it goes, its producer releases the array.

    Attributes:
        read_only: Whether the producer forbids writing.
    """

    def __init__(self, capsule: object, read_only: bool) -> None:
        self._capsule = capsule
        self.read_only = read_only


class _Tensor(ctypes.Structure):
    """`DLTensor` of dlpack.h."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Versioned(ctypes.Structure):
    """`DLManagedTensorVersioned` of dlpack.h 1.0."""

    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_READ_ONLY = 1
_KINDS = {0: "i", 1: "u", 2: "f", 4: "bf", 5: "c", 6: "b"}

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
_is_valid = ctypes.pythonapi.PyCapsule_IsValid
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, (ctypes.py_object, ctypes.c_char_p)


def borrow(array: Any, name: str, stream: int) -> tuple[Tensor, Capsule]:
    """Ask an array for a capsule and read it.

    Args:
        array: Has ``__dlpack__``.
        name: What to call it in messages.
        stream: Handle of the stream that will use the array; the producer makes it wait.

    Raises:
        TypeError: If the capsule is none that this reads.
        ValueError: If the producer refuses (a tensor that requires gradients, say).
    """
    try:
        try:
            capsule = array.__dlpack__(stream=stream, max_version=(1, 0))
        except TypeError:  # a producer from before DLPack 1.0
            capsule = array.__dlpack__(stream=stream)
    except (BufferError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be exportable through DLPack; {type(array).__name__} refuses "
            f"({error}). Pass tensor.detach(), or a copy."
        ) from error
    if _is_valid(capsule, b"dltensor_versioned"):
        managed = _Versioned.from_address(_pointer_of(capsule, b"dltensor_versioned"))
        if managed.major != 1:
            raise TypeError(
                f"`{name}` must use DLPack 1; its capsule has version {managed.major}. Update "
                "harmonizer."
            )
        return _read(managed.tensor), Capsule(capsule, bool(managed.flags & _READ_ONLY))
    if not _is_valid(capsule, b"dltensor"):
        raise TypeError(f"`{name}` must give an unused DLPack capsule; got {capsule!r}.")
    return _read(_Tensor.from_address(_pointer_of(capsule, b"dltensor"))), Capsule(capsule, False)


def _read(tensor: _Tensor) -> Tensor:
    shape = tuple(tensor.shape[: tensor.ndim])
    size = tensor.bits // 8
    if tensor.strides:
        strides = tuple(step * size for step in tensor.strides[: tensor.ndim])
    else:
        steps = [size]
        for length in reversed(shape[1:]):
            steps.append(steps[-1] * length)
        strides = tuple(reversed(steps[: len(shape)]))
    kind = _KINDS.get(tensor.code, "?") + str(size)
    if tensor.lanes != 1:
        kind += f"x{tensor.lanes}"
    pointer = (tensor.data or 0) + tensor.byte_offset
    return Tensor(pointer, shape, strides, kind, tensor.device_id)
