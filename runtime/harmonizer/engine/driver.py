"""Find the GPU that TensorRT would use, through the driver's own library and ctypes.

TensorRT must not be asked: without a driver its objects are made all the same, and the process
crashes when they are used.
"""

import ctypes
import os
from dataclasses import dataclass

from harmonizer.errors import DeviceError

LIBRARY = "nvcuda.dll" if os.name == "nt" else "libcuda.so.1"

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True, slots=True)
class Gpu:
    """What an engine depends on.

    Attributes:
        name: The product, such as "NVIDIA H200".
        compute_capability: Such as "9.0".
    """

    name: str
    compute_capability: str

    def __str__(self) -> str:
        return f"{self.name} (compute capability {self.compute_capability})"


def find_gpu(cuda: int | None = None) -> Gpu:
    """Describe the GPU of the current CUDA context, or the first one.

    Args:
        cuda: The major CUDA version that the driver must support; None for any.

    Raises:
        DeviceError: If there is no driver, it is too old or does not start, or it has no GPU.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DeviceError(
            f"TensorRT needs an NVIDIA driver; {LIBRARY} cannot be loaded ({error}). Run this on a "
            "machine with a GPU."
        ) from error
    status = int(library.cuInit(0))
    if status:
        raise DeviceError(
            f"TensorRT needs a working NVIDIA driver with a GPU; cuInit gives error {status}. "
            "`nvidia-smi` must list the GPU, also inside a container (--gpus)."
        )
    version, device = ctypes.c_int(), ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    if cuda is not None and version.value // 1000 < cuda:
        raise DeviceError(
            f"this TensorRT needs a driver for CUDA {cuda} or newer; the one installed supports "
            f"{version.value // 1000}.{version.value % 1000 // 10}. Update the driver, or install "
            "TensorRT for that CUDA."
        )
    # An error here says that no context is current: CUDA then takes the first device.
    if library.cuCtxGetDevice(ctypes.byref(device)) and library.cuDeviceGet(
        ctypes.byref(device), 0
    ):
        raise DeviceError("TensorRT needs a GPU; the driver has none. Check `nvidia-smi`.")
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), device)
    parts = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(str(value.value))
    return Gpu(name.value.decode(errors="replace"), ".".join(parts))


def has_gpu() -> bool:
    """Whether there is a driver with a GPU."""
    try:
        find_gpu()
    except DeviceError:
        return False
    return True
