"""Which renderer draws: the CPU's or the GPU's."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.errors import DeviceError

if TYPE_CHECKING:
    from harmonizer.frame import Frame, Network, Thumbnails, Turn
    from harmonizer.plan import Plan

Array = NDArray[Any]

Backend = Literal["auto", "cpu", "cuda"]
BACKENDS: tuple[Backend, ...] = ("auto", "cpu", "cuda")

_log = logging.getLogger(__name__)


class Renderer(Protocol):
    """What `CpuRenderer` and `CudaRenderer` can do; safe in several threads.

    Attributes:
        backend: Where its frames lie.
    """

    backend: Literal["cpu", "cuda"]

    def open(
        self,
        image: Array,
        mask: Array | None,
        network: "Network | None" = None,
        *,
        upright: "Turn | None" = None,
        checked: bool = False,
        brief: bool = False,
        wait: bool = True,
    ) -> "Frame":
        """Check a picture and its mask, and bring them to where they are drawn.

        Args:
            image: (H, W, 3), as `harmonizer.arrays` says; on a GPU also a device array.
            mask: (H, W) of the same kind, the foreground's coverage; None draws the whole image.
            network: Predicts; None where arguments are given.
            upright: How the network sees the picture, if not as it is stored. For host arrays.
            checked: Whether the arrays have been checked.
            brief: Optional: the frame is drawn once at most and closed soon. On a GPU it holds one
                of a few places, which are used again, until it is closed.
            wait: Optional: whether to wait for such a place.

        Raises:
            TypeError, ValueError: If an array is not as said above.
            DeviceError: If the GPU fails or runs out of memory.
            BusyError: If there is no place, without `wait`.
        """

    def open_predictor(
        self, model: str | Path | None, threads: int | None = None, allow_host_code: bool = False
    ) -> Any:
        """Load a predictor for the frames: a file, or None for the shipped model.

        Raises:
            ModelError: If it is none, or cannot run here.
        """

    def batch(
        self,
        network: "Network",
        images: Sequence[Array],
        masks: Sequence[Array],
        strength: float,
        outs: Sequence[Array | None],
        stream: object | None = None,
    ) -> tuple[list[Array], tuple[str, ...]]:
        """Harmonize several pictures at a time; returns the results and all concerns."""

    def each(
        self, network: "Network", pairs: Iterable[tuple[Array, Array]], strength: float
    ) -> Iterator[tuple[Array, tuple[str, ...]]]:
        """Harmonize picture after picture; yields each result with its concerns."""

    def measure(self, image: Array, arguments: Arguments) -> "Plan":
        """`Frame.measure` of one picture."""

    def draw(
        self, image: Array, mask: Array | None, plan: "Plan", out: Array | None = None
    ) -> Array:
        """`Frame.draw` of one picture."""

    def thumbnail(self, image: Array, mask: Array | None, size: int = 256) -> "Thumbnails":
        """`Frame.thumbnails` of one picture."""

    def region_thumbnails(self, image: Array, mask: Array) -> "Thumbnails":
        """`Frame.thumbnails` of one picture, with `crops`."""

    def close(self, predictor: Any = None) -> None:
        """Release what is held, and a predictor that `open_predictor` made."""


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
    from harmonizer.gpu import check_packages, has_driver

    if not has_driver():
        _log.info("drawing on the CPU: there is no NVIDIA driver.")
        return False
    try:
        check_packages()
    except DeviceError as error:
        _log.info("drawing on the CPU: %s", error)
        return False
    return True
