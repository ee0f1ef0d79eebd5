"""The image pipeline: thumbnail -> predictor -> arguments -> plan -> renderer."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.errors import HarmonizerWarning, NativeLibraryError
from harmonizer.predictor import OnnxPredictor, default_model

if TYPE_CHECKING:
    from harmonizer.plan import Plan
    from harmonizer.renderer import CpuRenderer

Backend = Literal["auto", "cpu", "cuda"]
BACKENDS: tuple[Backend, ...] = ("auto", "cpu", "cuda")

Array = NDArray[Any]

EMPTY_MASK = "the mask is empty: there is no foreground, and the image stays as it is."


def build_renderer(backend: Backend = "auto", threads: int | None = None) -> "CpuRenderer":
    """Make the renderer that a backend names; "auto" is the CPU in this build.

    Raises:
        ValueError: If the backend is unknown.
        NativeLibraryError: If this build has none, or the compiled renderer is missing.
    """
    if backend not in BACKENDS:
        raise ValueError(f"`backend` must be one of {', '.join(BACKENDS)}; got {backend!r}.")
    if backend == "cuda":
        raise NativeLibraryError(
            "backend `cuda` must be part of the build; this one draws on the CPU only. Use "
            "backend `cpu` or `auto`."
        )
    from harmonizer.renderer import CpuRenderer

    return CpuRenderer(threads)


class Harmonizer:
    """Harmonize composites: predict a few filter arguments, draw them at full resolution.

    Safe to call from several threads. Images are numpy (H, W, 3) RGB uint8, uint16 or float32 in
    [0, 1], display-referred; masks are (H, W) bool, uint8, uint16 or float32 in [0, 1], where the
    largest value is foreground.

    Args:
        model: A predictor ONNX file; None for the one that ships with the package.
        backend: "cpu", "cuda" or "auto".
        threads: Threads of the predictor and of the renderer; None for their own choice.

    Attributes:
        filters: The model's filters, in drawing order.

    Raises:
        ModelError: If the model is missing, damaged or keeps another contract.
        NativeLibraryError: If the backend is not available.
        TypeError: If `threads` is not a whole number.
        ValueError: If the backend is unknown or `threads` is below 1.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        backend: Backend = "auto",
        threads: int | None = None,
    ) -> None:
        self.renderer = build_renderer(backend, threads)
        self.predictor = OnnxPredictor(default_model() if model is None else model, threads)
        self.filters = self.predictor.filters

    def predict(self, image: Array, mask: Array) -> Arguments:
        """Predict the arguments for a composite.

        Without a foreground that the network can see, these are the identity arguments.

        Raises:
            TypeError: If an array's type is not supported; a mask is always needed.
            ValueError: If a shape does not fit, or floats are not finite and within [0, 1].
            ModelError: If the network's answer is not finite.

        Warns:
            HarmonizerWarning: If the mask is empty, full, or vanishes in the thumbnail.
        """
        arguments, concerns = self.examine(image, mask)
        for concern in concerns:
            warnings.warn(concern, HarmonizerWarning, stacklevel=2)
        return arguments

    def examine(self, image: Array, mask: Array) -> tuple[Arguments, tuple[str, ...]]:
        """Predict the arguments, and return what `predict` would warn of instead of warning.

        Raises:
            TypeError, ValueError, ModelError: As `predict` does.
        """
        if mask is None:
            raise TypeError(
                "`mask` must be a numpy array to predict with; got None. Pass one that is 1 in the "
                "foreground and 0 elsewhere."
            )
        composite, small_mask = self.renderer.thumbnail(image, mask)
        if not mask.any():
            return Arguments.identity(self.filters), (EMPTY_MASK,)
        if not small_mask.any():
            return Arguments.identity(self.filters), (
                "the foreground vanishes in the network's thumbnail of "
                f"{composite.shape[3]}x{composite.shape[2]}: the image stays as it is. Crop around "
                "the foreground.",
            )
        arguments = Arguments(self.filters, tuple(self.predictor.predict(composite, small_mask)[0]))
        highest = np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1
        if bool((mask == highest).all()):
            return arguments, (
                "the mask covers the whole image: there is no background to harmonize with, and "
                "the arguments are a guess.",
            )
        return arguments, ()

    def prepare(self, image: Array, arguments: Arguments | Mapping[str, float]) -> "Plan":
        """Combine arguments with the image's statistics; the plan can be saved and drawn again.

        Raises:
            ArgumentsError: If a mapping does not name each of the model's filters once, with a
                finite value in range.
            TypeError: If `arguments` are neither an `Arguments` nor a mapping with names as keys.
            TypeError, ValueError: If the image is not supported.
        """
        return self.renderer.prepare(image, self._checked(arguments))

    def render(
        self,
        image: Array,
        mask: Array | None,
        arguments: Arguments | Mapping[str, float],
        out: Array | None = None,
    ) -> Array:
        """Draw the filters on the foreground: out = M F(I) + (1-M) I.

        Args:
            image: (H, W, 3).
            mask: (H, W); None draws the whole image.
            arguments: Drawn in their own order; a mapping in the model's. Clamped to their ranges.
            out: Where to write, of the image's shape and type; may be the image. None for a new
                array.

        Returns:
            (H, W, 3) of the image's type; `out` if it was given. Pixels with mask 0 are
            bit-identical to the input.

        Raises:
            ArgumentsError, TypeError: As `prepare` does.
            TypeError, ValueError: If an array is not supported or its shape does not fit.
        """
        return self.renderer.apply(image, mask, self.prepare(image, arguments), out)

    def __call__(self, image: Array, mask: Array, strength: float = 1.0) -> Array:
        """Predict and draw.

        Args:
            image: (H, W, 3).
            mask: (H, W).
            strength: 0 gives the composite, 1 the prediction, up to 1.5 beyond it.

        Returns:
            A new array of the image's shape and type.

        Raises:
            ArgumentsError: If strength is not in [0, 1.5].
            TypeError: If strength is not a number.
            TypeError, ValueError, ModelError: As `predict` does.

        Warns:
            HarmonizerWarning: As `predict` does.
        """
        arguments, concerns = self.examine(image, mask)
        for concern in concerns:
            warnings.warn(concern, HarmonizerWarning, stacklevel=2)
        return self.render(image, mask, arguments.scaled(strength))

    def close(self) -> None:
        """Release the predictor's session."""
        self.predictor.close()

    def __enter__(self) -> "Harmonizer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _checked(self, arguments: Arguments | Mapping[str, float]) -> Arguments:
        if isinstance(arguments, Arguments):
            return arguments
        return Arguments.from_mapping(arguments, self.filters)
