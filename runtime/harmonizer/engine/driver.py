"""Find the GPU that TensorRT would use, through the driver's own library.

TensorRT must not be asked: without a driver its objects are made all the same, and the process
crashes when they are used.
"""

import ctypes
from dataclasses import dataclass

from harmonizer.cuda.probe import describe, dotted, driver_version, open_driver
from harmonizer.errors import DeviceError


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


def has_gpu() -> bool:
    """Whether there is a driver with a GPU."""
    try:
        find_gpu()
    except DeviceError:
        return False
    return True
