"""Which renderer draws: the CPU's or the GPU's."""

import logging
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.errors import DeviceError

if TYPE_CHECKING:
    from harmonizer.plan import Plan

Array = NDArray[Any]

Backend = Literal["auto", "cpu", "cuda"]
BACKENDS: tuple[Backend, ...] = ("auto", "cpu", "cuda")

_log = logging.getLogger(__name__)


class Renderer(Protocol):
    """What `CpuRenderer` and `CudaRenderer` have in common."""

    def prepare(self, image: Array, arguments: Arguments) -> "Plan":
        """Measure an image for arguments."""

    def apply(
        self, image: Array, mask: Array | None, plan: "Plan", out: Array | None = None
    ) -> Array:
        """Draw a plan."""

    def thumbnail(
        self, image: Array, mask: Array | None, size: int = 256
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resize to what Harmonizer reads."""

    def region_thumbnails(
        self, image: Array, mask: Array
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Crop and resize to what S2CRNet reads."""


def build_renderer(
    backend: Backend = "auto", threads: int | None = None, device: int = 0
) -> "Renderer":
    """Make the renderer that a backend names.

    "auto" is the GPU where a driver, a GPU and PyCUDA are there, else the CPU. Which one, and why,
    is logged: as a warning only where PyCUDA is installed, for then a GPU was meant.

    Raises:
        TypeError: If `device` is no number.
        ValueError: If the backend is unknown.
        DeviceError: If it is "cuda" and there is no usable GPU.
        NativeLibraryError: If the compiled library is missing.
    """
    if backend not in BACKENDS:
        raise ValueError(f"`backend` must be one of {', '.join(BACKENDS)}; got {backend!r}.")
    if not isinstance(device, int) or isinstance(device, bool):
        raise TypeError(f"`device` must be the number of a GPU; got {device!r}. Pass 0, say.")
    if backend == "cuda" or (backend == "auto" and _gpu_is_meant()):
        from harmonizer.cuda.renderer import CudaRenderer

        try:
            return CudaRenderer(device)
        except DeviceError as error:
            if backend == "cuda":
                raise
            _log.warning("drawing on the CPU, for the GPU cannot be used: %s", str(error))
    from harmonizer.renderer import CpuRenderer

    return CpuRenderer(threads)


def _gpu_is_meant() -> bool:
    """Whether a driver and PyCUDA are installed; loads neither PyCUDA nor a context."""
    from harmonizer.cuda.probe import check_packages, has_driver

    if not has_driver():
        _log.info("drawing on the CPU: there is no NVIDIA driver.")
        return False
    try:
        check_packages()
    except DeviceError as error:
        _log.info("drawing on the CPU: %s", error)
        return False
    return True
