"""The Harmonizer: a network that predicts arguments, and a renderer that draws them."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.backends import Backend, Renderer, build_renderer
from harmonizer.checks import check_threads
from harmonizer.contract import find_label
from harmonizer.errors import DeviceError, HarmonizerWarning, ModelError
from harmonizer.frame import Concerns, Frame, Network
from harmonizer.images.memory import Sink, Source
from harmonizer.limits import MAX_PIXELS
from harmonizer.masks import levels_of, settled
from harmonizer.plan import Plan
from harmonizer.values import Value

if TYPE_CHECKING:
    from harmonizer.composites import Result
    from harmonizer.images.cutouts import Placing
    from harmonizer.images.encoding import Quality


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
        TypeError: If `threads` is not a whole number, or `mask_levels` are not two numbers.
        ValueError: If the backend is unknown, `threads` is below 1, or the label is unknown or
            given to a model that asks for none; if `allow_host_code` is given to no engine.
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
        self.mask_levels = levels_of(mask_levels)
        is_engine = model is not None and Path(model).suffix.lower() == ".engine"
        if is_engine and backend == "auto":
            backend = "cuda"
        if allow_host_code and not is_engine:
            raise ValueError(
                "`allow_host_code` must go with an engine, a file that ends in .engine; got "
                f"{model or 'the shipped ONNX model'}. Leave it out."
            )
        if is_engine:
            _check_engine(Path(str(model)), backend)
        try:
            self.renderer: Renderer = build_renderer(backend, threads, device)
        except DeviceError as error:
            if not is_engine:
                raise
            raise DeviceError(
                f"{model} is a TensorRT engine, which runs on a GPU alone: {error} On the CPU, use "
                "the .onnx file that it was built from."
            ) from error
        self.backend: Literal["cpu", "cuda"] = self.renderer.backend
        self.predictor: Any = None
        try:
            self.predictor = self.renderer.open_predictor(model, threads, allow_host_code)
            self.network = Network(self.predictor, find_label(self.predictor.contract, label))
        except BaseException:
            self.close()
            raise
        self.filters: tuple[str, ...] = self.predictor.filters

    def open(self, image: Array, mask: Array | None) -> Frame:
        """Open a picture: it is checked, and on a GPU uploaded, once for all that is done with it.

        ``with harmonizer.open(image, mask) as frame``: then `frame.predict`, `frame.measure` and
        `frame.draw`, in any order and as often as you like.

        Args:
            image: (H, W, 3); it must stay as it is while the frame is open.
            mask: (H, W); None for a frame that draws the whole image and predicts nothing.

        Raises:
            TypeError, ValueError, MaskError: As `predict` does.
            DeviceMemoryError: If the GPU has no room for the picture.
        """
        return self.renderer.open(image, settled(mask, self.mask_levels), self.network)

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
        _warn(concerns)
        return arguments

    def examine(self, image: Array, mask: Array) -> tuple[Arguments, Concerns]:
        """Predict the arguments, and return what `predict` would warn of instead of warning.

        The mask is taken as it is, without `mask_levels`.

        Raises:
            TypeError, ValueError, ModelError: As `predict` does.
        """
        with self.renderer.open(image, mask, self.network, brief=True) as frame:
            return frame.predict(), frame.concerns

    def measure(self, image: Array, arguments: Arguments | Mapping[str, Value]) -> Plan:
        """Combine arguments with the image's statistics; the plan can be saved and drawn again.

        Raises:
            ArgumentsError: If a mapping does not name each of the model's filters once, with a
                finite value in range.
            TypeError: If `arguments` are neither an `Arguments` nor a mapping with names as keys.
            TypeError, ValueError: If the image is not supported.
        """
        return self.renderer.measure(image, self._checked(arguments))

    prepare = measure
    """Its name until now, for one release."""

    def render(
        self,
        image: Array,
        mask: Array | None,
        arguments: Arguments | Mapping[str, Value],
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
            ArgumentsError, TypeError: As `measure` does.
            TypeError, ValueError: If an array is not supported or its shape does not fit.
            MaskError: If the mask's values are of another scale.
        """
        checked = self._checked(arguments)
        mask = settled(mask, self.mask_levels)
        with self.renderer.open(image, mask, brief=True) as frame:
            return frame.harmonize(checked, out=out, stream=stream)

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
        level = settled(mask, self.mask_levels)
        with self.renderer.open(image, level, self.network, brief=True) as frame:
            result = frame.harmonize(None, strength, out, stream)
            _warn(frame.concerns)
        return result

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
        masks = [settled(mask, self.mask_levels) for mask in masks]
        results, concerns = self.renderer.batch(
            self.network, images, masks, strength, targets, stream
        )
        _warn(concerns)
        return results

    def each(self, frames: Iterable[tuple[Array, Array]], strength: float = 1.0) -> Iterator[Array]:
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
        level = ((image, settled(mask, self.mask_levels)) for image, mask in frames)
        for result, concerns in self.renderer.each(self.network, level, strength):
            _warn(concerns)
            yield result

    stream = each
    """Its name until now, for one release: a stream is a GPU's queue of work."""

    def harmonize_file(
        self,
        composite: Source,
        mask: Source | None = None,
        output: str | Path | None = None,
        *,
        form: str = "PNG",
        arguments: Arguments | Mapping[str, Value] | None = None,
        strength: float = 1.0,
        placing: "Placing | None" = None,
        depth: int | None = None,
        quality: "Quality | None" = None,
        fit_mask: bool = False,
        invert_mask: bool = False,
        colour_management: bool = True,
        max_pixels: int = MAX_PIXELS,
    ) -> "Result":
        """Harmonize an image file as `harmonizer image` does: all that belongs to it stays.

        Orientation, colour profile, EXIF, XMP, resolution and alpha are taken care of; what a
        person should know is in the result's notes. `docs/pictures.md` has the formats.

        Args:
            composite: Path, bytes of an image file, or a Pillow image; with `placing`, a cut-out.
            mask: The same; None if the composite's alpha channel is the mask.
            output: Path to write, whose suffix names the format; None to get the bytes.
            form: Without `output`, the format: JPEG, PNG, TIFF, WebP, AVIF, JPEG XL or OpenEXR, or
                its suffix.
            arguments: Drawn in place of a prediction.
            strength: Blend of either, 0 to 1.5.
            placing: The background of a cut-out, and where it goes.
            depth: 8 or 16 bits a channel; None for the composite's.
            quality: Settings of the lossy formats; None for 95, 4:4:4.
            fit_mask: Scale a mask of another size.
            invert_mask: What is black in the mask is the foreground.
            colour_management: Convert colours other than sRGB's for the filters, and back.
            max_pixels: Larger images are refused before they are decoded.

        Returns:
            Arguments, plan, notes, shape, and without `output` the file's bytes.

        Raises:
            TypeError: If composite, mask, output, quality or placing are none of these.
            ImageFileError: If a file cannot be read or written, the format is unknown, or the mask
                does not fit.
            MaskError, PlacementError, ArgumentsError, ModelError: As the command has them.
        """
        from harmonizer.composites import harmonize_file
        from harmonizer.picture import FileOptions, place_of
        from harmonizer.recipes import Recipe, Tools

        place = place_of(output, form)
        given = None if arguments is None else self._checked(arguments)
        options = FileOptions(
            max_pixels,
            fit_mask,
            depth,
            quality,
            self.mask_levels,
            colour_management,
            placing,
            invert_mask=invert_mask,
        )
        tools = Tools(self.renderer, self)
        result = harmonize_file(tools, composite, mask, place, Recipe(given, strength), options)
        return replace(result, data=place.data) if isinstance(place, Sink) else result

    def close(self) -> None:
        """Release the predictor's session, and what is held on a GPU."""
        self.renderer.close(self.predictor)

    def __enter__(self) -> "Harmonizer":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _checked(self, arguments: Arguments | Mapping[str, Value]) -> Arguments:
        if isinstance(arguments, Arguments):
            return arguments
        return Arguments.from_mapping(arguments, self.filters)


def _check_engine(engine: Path, backend: Backend) -> None:
    """Refuse what cannot be an engine, and engines on the CPU, before a GPU is looked for."""
    from harmonizer.engine.files import read_engine_file

    read_engine_file(engine)
    if backend == "cpu":
        raise ModelError(
            f"backend `cpu` must have an ONNX model; {engine} is a TensorRT engine, which runs "
            "on a GPU. Use backend `cuda`, or the .onnx file that it was built from."
        )


def _warn(concerns: Concerns) -> None:
    for concern in concerns:
        warnings.warn(concern, HarmonizerWarning, stacklevel=3)
