"""Ask the CUDA driver, through ctypes, whether there is a GPU to use; imports no GPU library.

Without a driver some GPU libraries do not raise but crash the process (TensorRT does), so nothing
of theirs is imported before this has answered.
"""

import ctypes
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache

from harmonizer.errors import DeviceError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

OLDEST_DRIVER = (12, 0)
"""Oldest CUDA version of a driver that is tried; the kernels' own compiler may ask for more."""

OLDEST_GPU = (7, 5)
"""Oldest compute capability that the kernels are compiled for (Turing)."""

_NO_DEVICE, _STUB, _MISMATCH = 100, 34, 803
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU, as the driver describes it.

    Attributes:
        ordinal: Its number among the visible ones.
        name: Of the product.
        capability: Compute capability, such as (9, 0).
        driver: Newest CUDA version that the driver supports, such as (13, 0).
    """

    ordinal: int
    name: str
    capability: tuple[int, int]
    driver: tuple[int, int]


@cache
def load_driver() -> ctypes.CDLL:
    """Load the driver's library for backend `cuda`, and start it.

    Raises:
        DeviceError: As `open_driver` does.
    """
    return open_driver("backend `cuda`", "Use backend `cpu`, or")


def open_driver(user: str, remedy: str = "To use it,") -> ctypes.CDLL:
    """Load the driver's library and start it.

    Args:
        user: What needs it, for the messages.
        remedy: How the sentence with the remedy begins.

    Raises:
        DeviceError: If there is none, it is too old, or it finds no GPU.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DeviceError(
            f"{user} needs an NVIDIA driver; none can be loaded ({error}). {remedy} install the "
            "driver."
        ) from error
    status = int(library.cuInit(0))
    if status == _NO_DEVICE:
        raise DeviceError(
            f"{user} needs an NVIDIA GPU; the driver finds none. {remedy} make one visible "
            "(CUDA_VISIBLE_DEVICES, the container's own settings)."
        )
    if status != 0:
        cause = {
            _STUB: "it is the toolkit's stub, not a driver",
            _MISMATCH: "its parts have different versions",
        }.get(status, "it does not start")
        raise DeviceError(
            f"{user} needs a working NVIDIA driver; {cause} (cuInit gives {status}). {remedy} "
            "install the driver again and restart the machine."
        )
    version = driver_version(library)
    if version < OLDEST_DRIVER:
        raise DeviceError(
            f"{user} needs a driver for CUDA {dotted(OLDEST_DRIVER)} or newer; this one supports "
            f"{dotted(version)}. {remedy} update the driver."
        )
    return library


def driver_version(library: ctypes.CDLL) -> tuple[int, int]:
    """The newest CUDA version that a loaded driver supports."""
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    return version.value // 1000, version.value % 1000 // 10


def describe(library: ctypes.CDLL, device: ctypes.c_int) -> tuple[str, tuple[int, int]]:
    """Name and compute capability of a device."""
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), device)
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(value.value)
    return name.value.decode(errors="replace"), (numbers[0], numbers[1])


def find_gpu(ordinal: int = 0) -> Gpu:
    """Describe a GPU.

    Raises:
        DeviceError: As in `load_driver`, or if there is no such GPU or it is too old.
    """
    library = load_driver()
    count, device = ctypes.c_int(), ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    if not 0 <= ordinal < count.value or library.cuDeviceGet(ctypes.byref(device), ordinal):
        raise DeviceError(
            f"`device` must be the number of a visible GPU, 0 to {count.value - 1}; got {ordinal}. "
            "Choose another, or change CUDA_VISIBLE_DEVICES."
        )
    text, capability = describe(library, device)
    if capability < OLDEST_GPU:
        raise DeviceError(
            f"backend `cuda` needs a GPU of compute capability {dotted(OLDEST_GPU)} (Turing) or "
            f"newer; {text} has {dotted(capability)}. Use backend `cpu`."
        )
    return Gpu(ordinal, text, capability, driver_version(library))


def check_packages() -> None:
    """Refuse to go on without PyCUDA, before anything of it is loaded.

    Raises:
        DeviceError: If it is not installed.
    """
    if importlib.util.find_spec("pycuda") is None:
        raise DeviceError(
            "backend `cuda` needs PyCUDA; it is not installed. Use backend `cpu`, or run `pip "
            "install pycuda` where a CUDA toolkit is installed to build it with (docs/cuda.md)."
        )


def has_driver() -> bool:
    """Whether a driver's library can be loaded at all: whether this is a machine with a GPU."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def dotted(version: tuple[int, int]) -> str:
    """A version or compute capability as it is written."""
    return f"{version[0]}.{version[1]}"
