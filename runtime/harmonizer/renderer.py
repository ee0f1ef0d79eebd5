"""Draw filter arguments at full resolution on the CPU, with the compiled renderer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.checks import check_threads
from harmonizer.contract import THUMBNAIL_SIZE
from harmonizer.frame import Concerns, CpuFrame, Network, Thumbnails, Turn
from harmonizer.plan import Plan
from harmonizer.predictor import OnnxPredictor, default_model


class CpuRenderer:
    """Opens frames on the CPU; holds no state but the number of threads. See `Renderer`.

    Args:
        threads: How many threads a call may use; None for as many as the process may run on.
            The result does not depend on it.

    Raises:
        TypeError, ValueError: If `threads` is not a whole number, or below 1.
        NativeLibraryError: If the compiled library is missing or cannot be loaded.
    """

    backend: Literal["cpu", "cuda"] = "cpu"

    def __init__(self, threads: int | None = None) -> None:
        self._threads = check_threads(threads) or 0
        _native.load_library()

    def open(
        self,
        image: Array,
        mask: Array | None,
        network: Network | None = None,
        *,
        upright: Turn | None = None,
        checked: bool = False,
        brief: bool = False,
        wait: bool = True,
    ) -> CpuFrame:
        """See `Renderer`."""
        return CpuFrame(image, mask, self._threads, network, upright, checked)

    def open_predictor(
        self, model: str | Path | None, threads: int | None = None, allow_host_code: bool = False
    ) -> OnnxPredictor:
        """See `Renderer`."""
        return OnnxPredictor(default_model() if model is None else model, threads)

    def batch(
        self,
        network: Network,
        images: Sequence[Array],
        masks: Sequence[Array],
        strength: float,
        outs: Sequence[Array | None],
        stream: object | None = None,
    ) -> tuple[list[Array], Concerns]:
        """See `Renderer`."""
        results: list[Array] = []
        said: dict[str, None] = {}
        for image, mask, out in zip(images, masks, outs, strict=True):
            with self.open(image, mask, network) as frame:
                results.append(frame.harmonize(None, strength, out, stream))
                said |= dict.fromkeys(frame.concerns)
        return results, tuple(said)

    def each(
        self, network: Network, pairs: Iterable[tuple[Array, Array]], strength: float
    ) -> Iterator[tuple[Array, Concerns]]:
        """See `Renderer`."""
        for image, mask in pairs:
            (result,), concerns = self.batch(network, [image], [mask], strength, [None])
            yield result, concerns

    def measure(self, image: Array, arguments: Arguments) -> Plan:
        """See `Frame.measure`."""
        with self.open(image, None) as frame:
            return frame.measure(arguments)

    def draw(self, image: Array, mask: Array | None, plan: Plan, out: Array | None = None) -> Array:
        """See `Frame.draw`."""
        with self.open(image, mask) as frame:
            return frame.draw(plan, out)

    prepare, apply = measure, draw
    """Their names until now, for one release."""

    def thumbnail(self, image: Array, mask: Array | None, size: int = THUMBNAIL_SIZE) -> Thumbnails:
        """See `Frame.thumbnails`; of any size, 1 to 16384."""
        with self.open(image, mask) as frame:
            return frame.resized(size)

    def region_thumbnails(self, image: Array, mask: Array) -> Thumbnails:
        """See `Frame.thumbnails`, with `crops`."""
        with self.open(image, mask) as frame:
            return frame.thumbnails(crops=True)

    def close(self, predictor: OnnxPredictor | None = None) -> None:
        """Release a predictor; the renderer itself holds nothing."""
        if predictor is not None:
            predictor.close()
