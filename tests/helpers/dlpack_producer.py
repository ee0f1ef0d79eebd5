"""A DLPack producer of device memory: what torch and CuPy do, in ctypes."""

import ctypes
from typing import Any

import numpy as np
from gpu_device import OnDevice

from harmonizer.cuda.dlpack import _Tensor, _Versioned

_CODES = {"u": 1, "f": 2, "b": 6}
_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    """`DLManagedTensor` of dlpack.h."""

    _fields_ = (("tensor", _Tensor), ("manager", ctypes.c_void_p), ("deleter", _DELETER))


class Producer:
    """A device array with `__dlpack__` only.

    Args:
        array: What it holds.
        versioned: Whether it knows DLPack 1.0.
        read_only: Sets the flag of that.
        device_id: What it says of its GPU.

    Attributes:
        asked: The streams that consumers named.
        released: How many capsules have been given back.
    """

    def __init__(
        self,
        array: np.ndarray,
        versioned: bool = True,
        read_only: bool = False,
        device_id: int = 0,
    ) -> None:
        self.memory = OnDevice(array)
        self.versioned, self.read_only, self.device_id = versioned, read_only, device_id
        self.asked: list[int] = []
        self.made = self.released = 0
        self._alive: list[Any] = []

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device_id

    def __dlpack__(self, stream: int, **options: Any) -> object:
        if options and not self.versioned:
            raise TypeError("unexpected keyword argument 'max_version'")
        self.asked.append(stream)
        array = self.memory.array
        size = array.itemsize
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        strides = (ctypes.c_int64 * array.ndim)(*(step // size for step in array.strides))
        tensor = _Tensor(
            self.memory.pointer,
            2,
            self.device_id,
            array.ndim,
            _CODES[array.dtype.kind],
            8 * size,
            1,
            shape,
            strides,
            0,
        )
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        managed = (
            _Versioned(1, 0, None, None, int(self.read_only), tensor)
            if self.versioned
            else _Managed(tensor, None, _DELETER())
        )

        def release(_: int) -> None:
            self.released += 1

        deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(release)
        self._alive += [shape, strides, managed, deleter]
        self.made += 1
        make = ctypes.pythonapi.PyCapsule_New
        make.restype = ctypes.py_object
        make.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return make(ctypes.addressof(managed), name, ctypes.cast(deleter, ctypes.c_void_p))
