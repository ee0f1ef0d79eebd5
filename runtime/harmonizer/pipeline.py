"""The image pipeline: thumbnail -> predictor -> arguments -> plan -> renderer."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.backends import Backend, build_renderer
from harmonizer.checks import check_threads
from harmonizer.concerns import EMPTY_MASK, FULL_MASK, VANISHED_MASK
from harmonizer.contract import LABELS, Contract, find_label
from harmonizer.errors import DeviceError, HarmonizerWarning, MaskError, ModelError
from harmonizer.masks import Levels, settled
from harmonizer.predictor import OnnxPredictor, default_model
from harmonizer.renderer import check_image, check_mask

if TYPE_CHECKING:
    from harmonizer.cuda.pipeline import CudaPipeline
    from harmonizer.plan import Plan

Array = NDArray[Any]


class Harmonizer:
    """Harmonize composites: predict a few filter arguments, draw them at full resolution.

    Safe to call from several threads. Images are numpy (H, W, 3) RGB uint8, uint16 or float32 in
    [0, 1], display-referred; masks are (H, W) bool, uint8, uint16 or float32 in [0, 1], where the
    largest value is foreground. Backend "cuda" takes device arrays as well (docs/cuda.md).

    Args:
        model: A predictor ONNX file, or a TensorRT .engine file for "cuda"; None for the model
            that ships with the package.
        backend: "cpu", "cuda", or "auto": the GPU where there is a usable one, else the CPU.
        threads: Threads of the predictor and of the renderer; None for their own choice.
        device: For "cuda": number of the GPU among the visible ones.
        label: What the foreground shows, for a model that asks for it: person, animal, food,
            vehicle or other; None for other.
        allow_host_code: Run code for the host that an engine holds, as `EnginePredictor` has it.
        mask_levels: (black, white): the values of masks that count as no and as full foreground,
            such as (0, 1) for labels in uint8. None for 0 and the largest value of the mask's type;
            masks that nowhere reach half of that are then refused. Not for arrays on a GPU, which
            are taken as they are.

    Attributes:
        filters: The model's filters, in drawing order.
        backend: The one in use, "cpu" or "cuda".
        mask_levels: As given, or None.

    Raises:
        ModelError: If the model is missing, damaged or keeps another contract.
        EngineError: If an .engine file is missing or none.
        DeviceError: If the backend is "cuda" and there is no usable GPU.
        NativeLibraryError: If the compiled library is missing.
        TypeError: If `threads` is not a whole number.
        ValueError: If the backend is unknown, `threads` is below 1, or the label is unknown or
            given to a model that asks for none.
        MaskError: If the mask levels are not 0 <= black < white.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        backend: Backend = "auto",
        threads: int | None = None,
        device: int = 0,
        label: str | None = None,
        allow_host_code: bool = False,
        mask_levels: tuple[float, float] | None = None,
    ) -> None:
        check_threads(threads)
        self.mask_levels = None if mask_levels is None else Levels(*mask_levels)
        is_engine = model is not None and Path(model).suffix.lower() == ".engine"
        if is_engine and backend == "auto":
            backend = "cuda"
        if is_engine:
            _check_engine(Path(str(model)), backend)
        try:
            self.renderer: Any = build_renderer(backend, threads, device)
        except DeviceError as error:
            if not is_engine:
                raise
            raise DeviceError(
                f"{model} is a TensorRT engine, which runs on a GPU alone: {error} On the CPU, use "
                "the .onnx file that it was built from."
            ) from error
        self._cuda: CudaPipeline | None = None
        self.backend: Literal["cpu", "cuda"] = "cpu"
        self.predictor: Any
        self._label: tuple[NDArray[np.float32], ...] = ()
        if _is_cuda(self.renderer):
            self.backend = "cuda"
            self.predictor, self._cuda = _open_cuda(
                self.renderer, model, threads, label, allow_host_code
            )
        else:
            self.predictor = OnnxPredictor(default_model() if model is None else model, threads)
            shown = find_label(self.predictor.contract, label)
            if shown is not None:
                self._label = (np.eye(len(LABELS), dtype=np.float32)[shown : shown + 1],)
        self.filters: tuple[str, ...] = self.predictor.filters

    def predict(self, image: Array, mask: Array) -> Arguments:
        """Predict the arguments for a composite.

        Without a foreground that the network can see, these are the identity arguments.

        Raises:
            TypeError: If an array's type is not supported; a mask is always needed.
            ValueError: If a shape does not fit, or floats are not finite and within [0, 1].
            MaskError: If the mask's values are of another scale, or the model crops to the
                foreground (S2CRNet) and that is 1 pixel wide.
            ModelError: If the network's answer is not finite.

        Warns:
            HarmonizerWarning: If the mask is empty, full, or vanishes in the thumbnail.
        """
        arguments, concerns = self.examine(image, settled(mask, self.mask_levels))
        for concern in concerns:
            warnings.warn(concern, HarmonizerWarning, stacklevel=2)
        return arguments

    def examine(self, image: Array, mask: Array) -> tuple[Arguments, tuple[str, ...]]:
        """Predict the arguments, and return what `predict` would warn of instead of warning.

        The mask is taken as it is, without `mask_levels`.

        Raises:
            TypeError, ValueError, ModelError: As `predict` does.
        """
        if self._cuda is not None:
            return self._cuda.examine(image, mask)
        if mask is None:
            raise TypeError(
                "`mask` must be a numpy array to predict with; got None. Pass one that is 1 in the "
                "foreground and 0 elsewhere."
            )
        contract: Contract = self.predictor.contract
        unmoved = Arguments.identity(self.filters, contract.sizes)
        if contract.model == "s2crnet":
            check_image(image, "image")
            check_mask(mask, image)
            if not mask.any():
                return unmoved, (EMPTY_MASK,)
            thumbnails = self._regions(image, mask)
        else:
            thumbnails = self.renderer.thumbnail(image, mask)
            if not mask.any():
                return unmoved, (EMPTY_MASK,)
            if not thumbnails[1].any():
                return unmoved, (VANISHED_MASK,)
        predicted = self.predictor.predict(*thumbnails, *self._label)[0]
        arguments = Arguments.from_array(predicted, self.filters, contract.sizes)
        highest = np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1
        if bool((mask == highest).all()):
            return arguments, (FULL_MASK,)
        return arguments, ()

    def prepare(self, image: Array, arguments: Arguments | Mapping[str, float]) -> "Plan":
        """Combine arguments with the image's statistics; the plan can be saved and drawn again.

        Raises:
            ArgumentsError: If a mapping does not name each of the model's filters once, with a
                finite value in range.
            TypeError: If `arguments` are neither an `Arguments` nor a mapping with names as keys.
            TypeError, ValueError: If the image is not supported.
        """
        plan: Plan = self.renderer.prepare(image, self._checked(arguments))
        return plan

    def render(
        self,
        image: Array,
        mask: Array | None,
        arguments: Arguments | Mapping[str, float],
        out: Array | None = None,
        stream: object | None = None,
    ) -> Array:
        """Draw the filters on the foreground: out = M F(I) + (1-M) I.

        Args:
            image: (H, W, 3).
            mask: (H, W); None draws the whole image.
            arguments: Drawn in their own order; a mapping in the model's. Clamped to their ranges.
            out: Where to write, of the image's shape and type; may be the image. None for a new
                array.
            stream: For device arrays: the caller's stream; the call returns without waiting.

        Returns:
            (H, W, 3) of the image's type; `out` if it was given. Pixels with mask 0 are
            bit-identical to the input.

        Raises:
            ArgumentsError, TypeError: As `prepare` does.
            TypeError, ValueError: If an array is not supported or its shape does not fit.
            MaskError: If the mask's values are of another scale.
        """
        checked = self._checked(arguments)
        mask = settled(mask, self.mask_levels)
        if self._cuda is not None:
            drawn: Array = self.renderer.render(image, mask, checked, out, stream)
            return drawn
        _refuse_stream(stream)
        drawn = self.renderer.apply(image, mask, self.renderer.prepare(image, checked), out)
        return drawn

    def __call__(
        self,
        image: Array,
        mask: Array,
        strength: float = 1.0,
        out: Array | None = None,
        stream: object | None = None,
    ) -> Array:
        """Predict and draw.

        Args:
            image: (H, W, 3).
            mask: (H, W).
            strength: 0 gives the composite, 1 the prediction, up to 1.5 beyond it.
            out: As in `render`.
            stream: For device arrays: the caller's stream. The call returns without waiting, and
                warns of nothing; a model whose answer is not finite draws the composite.

        Returns:
            A new array of the image's shape and type; `out` if it was given.

        Raises:
            ArgumentsError: If strength is not in [0, 1.5].
            TypeError: If strength is not a number.
            TypeError, ValueError, ModelError: As `predict` does.

        Warns:
            HarmonizerWarning: As `predict` does.
        """
        results, concerns = self._harmonize([image], [mask], strength, [out], stream)
        for concern in concerns:
            warnings.warn(concern, HarmonizerWarning, stacklevel=2)
        return results[0]

    def batch(
        self,
        images: Sequence[Array],
        masks: Sequence[Array],
        strength: float = 1.0,
        outs: Sequence[Array | None] | None = None,
        stream: object | None = None,
    ) -> list[Array]:
        """Predict and draw several composites; on a GPU the network sees them as one batch.

        Args:
            images: (H, W, 3) each, of any sizes.
            masks: One for each.
            strength, stream: As in `__call__`.
            outs: As `out` in `render`, one for each; None for new arrays.

        Returns:
            One result for each, in order.

        Raises:
            ValueError: If the sequences are empty or of different lengths.
            ArgumentsError, TypeError, ValueError, ModelError: As `__call__` does.
            DeviceMemoryError: If the GPU has no room for the batch.

        Warns:
            HarmonizerWarning: As `predict` does.
        """
        targets = [None] * len(images) if outs is None else list(outs)
        if not len(images) == len(masks) == len(targets) or not len(images):
            raise ValueError(
                "`images`, `masks` and `outs` must have the same length, at least 1; got "
                f"{len(images)}, {len(masks)} and {len(targets)}. Pass one of each for a frame."
            )
        results, concerns = self._harmonize(images, masks, strength, targets, stream)
        for concern in concerns:
            warnings.warn(concern, HarmonizerWarning, stacklevel=2)
        return results

    def stream(
        self, frames: Iterable[tuple[Array, Array]], strength: float = 1.0
    ) -> Iterator[Array]:
        """Predict and draw frame after frame; on a GPU several are on their way at a time.

        Args:
            frames: (image, mask) pairs; read ahead by a few. They must not change until their
                result has come.
            strength: As in `__call__`.

        Yields:
            One new array for each frame, in order.

        Raises:
            ArgumentsError, TypeError, ValueError, ModelError: As `__call__` does.

        Warns:
            HarmonizerWarning: As `predict` does.
        """
        if self._cuda is not None:
            level = ((image, settled(mask, self.mask_levels)) for image, mask in frames)
            results = self._cuda.stream(level, strength)
        else:
            results = (
                (drawn[0], concerns)
                for image, mask in frames
                for drawn, concerns in (self._harmonize([image], [mask], strength, [None], None),)
            )
        for result, concerns in results:
            for concern in concerns:
                warnings.warn(concern, HarmonizerWarning, stacklevel=2)
            yield result

    def close(self) -> None:
        """Release the predictor's session, and what is held on a GPU."""
        if self._cuda is not None:
            self._cuda.close()
        else:
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

    def _harmonize(
        self,
        images: Sequence[Array],
        masks: Sequence[Array],
        strength: float,
        outs: Sequence[Array | None],
        stream: object | None,
    ) -> tuple[list[Array], tuple[str, ...]]:
        masks = [settled(mask, self.mask_levels) for mask in masks]
        if self._cuda is not None:
            return self._cuda.harmonize(images, masks, strength, outs, stream)
        _refuse_stream(stream)
        results: list[Array] = []
        said: dict[str, None] = {}
        for image, mask, out in zip(images, masks, outs, strict=True):
            arguments, concerns = self.examine(image, mask)
            plan = self.renderer.prepare(image, arguments.scaled(strength))
            results.append(self.renderer.apply(image, mask, plan, out))
            said |= dict.fromkeys(concerns)
        return results, tuple(said)

    def _regions(self, image: Array, mask: Array) -> tuple[Array, Array]:
        try:
            regions: tuple[Array, Array] = self.renderer.region_thumbnails(image, mask)
        except ValueError as error:
            raise MaskError(str(error)) from error
        return regions

    def _checked(self, arguments: Arguments | Mapping[str, float]) -> Arguments:
        if isinstance(arguments, Arguments):
            return arguments
        return Arguments.from_mapping(arguments, self.filters)


def _check_engine(engine: Path, backend: Backend) -> None:
    """Refuse what cannot be an engine, and engines on the CPU, before a GPU is looked for."""
    from harmonizer.engine.files import read_plan

    read_plan(engine)
    if backend == "cpu":
        raise ModelError(
            f"backend `cpu` must have an ONNX model; {engine} is a TensorRT engine, which runs "
            "on a GPU. Use backend `cuda`, or the .onnx file that it was built from."
        )


def _is_cuda(renderer: object) -> bool:
    return type(renderer).__name__ == "CudaRenderer"


def _open_cuda(
    renderer: Any,
    model: str | Path | None,
    threads: int | None,
    label: str | None,
    allow_host_code: bool,
) -> "tuple[Any, CudaPipeline]":
    """The predictor for a GPU, and what joins it with the renderer; closes that on failure."""
    from harmonizer.cuda.pipeline import CudaPipeline
    from harmonizer.cuda.predictor import open_predictor

    try:
        predictor = open_predictor(model, renderer.device, threads, allow_host_code)
        try:
            pipeline = CudaPipeline(renderer, predictor, find_label(predictor.contract, label))
        except BaseException:
            with renderer.device.current():
                predictor.close()
            raise
    except BaseException:
        renderer.close()
        raise
    return predictor, pipeline


def _refuse_stream(stream: object | None) -> None:
    if stream is not None:
        raise ValueError(
            "`stream` orders work on a GPU; backend `cpu` draws at once. Leave it out, or use "
            "backend `cuda`."
        )
