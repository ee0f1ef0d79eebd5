"""What the GPU tests share: they run on a real GPU, and on the emulated one of `cuda_driver`.

`make gpu-test` runs them on a GPU; test_cuda_runtime.py runs them on the emulated device.
"""

import ctypes
import gc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from harmonizer.errors import DeviceError
from harmonizer.gpu import find_gpu

EMULATED = "HZ_EMULATION_LIBRARY" in os.environ
"""Whether the driver is the emulated one."""

EMULATED_ONLY = "needs the emulated device, which counts, and whose memory can be limited"
"""Why a test skips on a real GPU; no piece is missing there."""

NOT_FOR_THIS_GPU = "is not for this GPU"
"""Why a test skips on some GPUs; no piece is missing there either."""


def require(condition: object, what: str) -> None:
    """Skip the test, or fail it on a machine that is meant to have everything."""
    if not condition:
        required = os.environ.get("HARMONIZER_GPU_TESTS") == "required"
        (pytest.fail if required else pytest.skip)(what)


def require_gpu() -> None:
    """Skip without a GPU or PyCUDA; nothing that could crash is imported before."""
    try:
        find_gpu()
    except DeviceError as error:
        require(False, f"no GPU: {error}")
    require(importlib.util.find_spec("pycuda"), "PyCUDA is not installed")


class Counts(ctypes.Structure):
    """`emulator::Counts` of tests/helpers/cuda_driver/emulator.h."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            "device_allocations",
            "device_bytes",
            "pinned_allocations",
            "streams",
            "events",
            "modules",
            "graphs",
            "launches",
            "graph_launches",
            "copies",
            "pageable_copies",
            "busy_frees",
            "primary_retained",
            "peak",
        )
    )


HELD = ("device_allocations", "pinned_allocations", "streams", "events", "modules", "graphs")


def emulator() -> ctypes.CDLL:
    """The emulated driver's own functions."""
    library = ctypes.CDLL("libcuda.so.1")
    library.hz_driver_set_memory.argtypes = (ctypes.c_int64,)
    library.hz_driver_fail_after.argtypes = (ctypes.c_int64,)
    return library


def counts() -> Counts:
    """What the emulated device holds and has done."""
    found = Counts()
    emulator().hz_driver_counts(ctypes.byref(found))
    return found


def held() -> dict[str, int]:
    """What has been allocated and not been freed."""
    gc.collect()
    found = counts()
    return {name: getattr(found, name) for name in HELD}


@contextmanager
def nothing_left() -> Iterator[None]:
    """Check, on the emulated device, that everything allocated inside is freed at the end."""
    before = held() if EMULATED else {}
    yield
    assert not EMULATED or held() == before


class OnDevice:
    """A host array copied to the GPU with its strides kept: what torch or CuPy would pass.

    Args:
        array: Any strides, negative ones too.
        stream: What the interface says of a stream.
        read_only: What the interface says of writing.
    """

    def __init__(self, array: np.ndarray, stream: int | None = None, read_only: bool = False):
        import pycuda.driver as cuda

        self._cuda = cuda
        self.array, self.stream, self.read_only = array, stream, read_only
        low, high = np.lib.array_utils.byte_bounds(array)
        self._offset = array.ctypes.data - low
        self._low, self._size = low, high - low
        self.allocation = cuda.mem_alloc(self._size)
        block = np.ctypeslib.as_array((ctypes.c_uint8 * self._size).from_address(low))
        cuda.memcpy_htod(self.allocation, block)
        # The call may return before the last bytes are there, and streams read them that do not
        # wait for the default one.
        cuda.Context.synchronize()

    @property
    def pointer(self) -> int:
        return int(self.allocation) + self._offset

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.array.shape,
            "typestr": self.array.dtype.str,
            "data": (self.pointer, self.read_only),
            "strides": self.array.strides,
            "version": 3,
            "stream": self.stream,
        }

    def fetch(self) -> np.ndarray:
        """The values, after everything has finished."""
        self._cuda.Context.synchronize()
        block = np.empty(self._size, np.uint8)
        self._cuda.memcpy_dtoh(block, self.allocation)
        base = block.ctypes.data + self._offset
        kind = np.ctypeslib.as_ctypes_type(self.array.dtype)
        first = np.ctypeslib.as_array((kind * 1).from_address(base))
        view = np.lib.stride_tricks.as_strided(first, self.array.shape, self.array.strides)
        return view.copy()


def fetch(array: Any) -> np.ndarray:
    """A device array without gaps, on the host."""
    import pycuda.driver as cuda

    interface = array.__cuda_array_interface__
    host = np.empty(interface["shape"], interface["typestr"])
    cuda.memcpy_dtoh(host, interface["data"][0])
    return host
