"""Ask the CUDA driver, through ctypes, whether there is a GPU to use; imports no GPU library.

Without a driver some GPU libraries do not raise but crash the process (TensorRT does), so nothing
of theirs is imported before this has answered.
"""

import ctypes
import importlib.util
from dataclasses import dataclass
from functools import cache

from harmonizer.errors import DeviceError

LIBRARY = "libcuda.so.1"

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
        name: The product, such as "NVIDIA H200".
        compute_capability: Such as "9.0".
        ordinal: Its number among the visible ones.
        driver: Newest CUDA version that the driver supports, such as (13, 0).
    """

    name: str
    compute_capability: str
    ordinal: int = 0
    driver: tuple[int, int] = OLDEST_DRIVER

    @property
    def capability(self) -> tuple[int, int]:
        """The compute capability as two numbers."""
        major, minor = map(int, self.compute_capability.split("."))
        return major, minor

    def kind(self) -> dict[str, str]:
        """What an engine depends on: the same for every GPU of the product."""
        return {"name": self.name, "compute_capability": self.compute_capability}

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


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
    return Gpu(text, dotted(capability), ordinal, driver_version(library))


def current_gpu(cuda: int | None = None) -> Gpu:
    """Describe the GPU that TensorRT would use: of the current CUDA context, or the first one.

    TensorRT must not be asked: without a driver its objects are made all the same, and the process
    crashes when they are used.

    Args:
        cuda: The major CUDA version that the driver must support; None for any.

    Raises:
        DeviceError: If there is no driver, it is too old or does not start, or it has no GPU.
    """
    library = open_driver("TensorRT")
    version = driver_version(library)
    if cuda is not None and version[0] < cuda:
        raise DeviceError(
            f"this TensorRT needs a driver for CUDA {cuda} or newer; the one installed supports "
            f"{dotted(version)}. Update the driver, or install TensorRT for that CUDA."
        )
    device = ctypes.c_int()
    # An error here says that no context is current: CUDA then takes the first device.
    if library.cuCtxGetDevice(ctypes.byref(device)) and library.cuDeviceGet(
        ctypes.byref(device), 0
    ):
        raise DeviceError("TensorRT needs a GPU; the driver has none. Check `nvidia-smi`.")
    name, capability = describe(library, device)
    return Gpu(name, dotted(capability))


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


def has_gpu() -> bool:
    """Whether there is a driver with a GPU."""
    try:
        current_gpu()
    except DeviceError:
        return False
    return True


def dotted(version: tuple[int, int]) -> str:
    """A version or compute capability as it is written."""
    return f"{version[0]}.{version[1]}"
