"""A frame: one picture at work, wherever it lies. It is opened, checked and uploaded once.

`Frame` is what every backend's frames can do; `CpuFrame` draws with the compiled library, and
`harmonizer.cuda.frame` with a GPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.arrays import IMAGE_TYPES, MASK_TYPES, Array, check_image, check_out
from harmonizer.concerns import EMPTY_MASK, FULL_MASK, VANISHED_MASK
from harmonizer.contract import LABELS, THUMBNAIL_SIZE, Contract
from harmonizer.errors import MaskError
from harmonizer.masks import check_mask
from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS, Plan, Step

Turn = Callable[[Array], Array]
"""Gives a picture (H, W, ...) as it is displayed: a view of the same values."""

Thumbnails = tuple[NDArray[np.float32], NDArray[np.float32]]

Concerns = tuple[str, ...]


class Frame(Protocol):
    """What is done with one picture; the methods are called by one thread at a time.

    Attributes:
        closed: Whether it is.
        concerns: What may not be as meant, after `predict` or `harmonize`: sentences.
    """

    @property
    def closed(self) -> bool:
        """See the class."""

    @property
    def concerns(self) -> Concerns:
        """See the class."""

    def thumbnails(self, crops: bool = False) -> Thumbnails:
        """Resize image and mask to what a predictor reads.

        Bilinear, half-pixel centres, no antialiasing: what PyTorch calls
        ``interpolate(mode="bilinear", align_corners=False, antialias=False)``.

        Args:
            crops: Give foreground and background instead: image and mask, cut to the bounding box
                of mask > 0, resized and multiplied; the whole image, resized, times one minus the
                mask, resized. With antialiasing, the aspect not kept.

        Returns:
            Composite (1, 3, 256, 256) and mask (1, 1, 256, 256), or foreground and background,
            (1, 3, 256, 256) each; float32 in [0, 1]. A mask of None stands for 1 everywhere.

        Raises:
            TypeError: If crops are asked for without a mask.
            ValueError: If the mask's bounding box is asked for and is empty, or one pixel wide or
                high.
        """

    def predict(self) -> Arguments:
        """Predict the arguments; the identity where the network can see no foreground.

        Raises:
            TypeError: If there is no mask.
            ValueError: If there is no network.
            MaskError: If the network crops to a foreground that is 1 pixel wide or high.
            ModelError: If the network cannot be run, or its answer is not finite.
        """

    def measure(self, arguments: Arguments) -> Plan:
        """Clamp the arguments to their ranges and measure what the operations read of the image.

        The statistics are those of the whole image, not of the foreground.

        Raises:
            TypeError: If `arguments` are not an `Arguments`.
        """

    def draw(self, plan: Plan, out: Array | None = None, stream: object | None = None) -> Array:
        """Draw out = M*F(I) + (1-M)*I (Harmonizer, arXiv 2207.01322, section 3.2).

        Args:
            plan: From `measure`, of this image or of another one.
            out: Where to draw: of the image's shape, type and kind; may be the image. None for a
                new one.
            stream: Optional, for device arrays alone: the caller's stream, after whose work this
                comes; the call returns without waiting.

        Returns:
            `out`, or a new array. Integers are rounded half up; pixels where the mask is 0 are the
            image's bit for bit.

        Raises:
            TypeError, ValueError: If `out` or `stream` is not as said above.
        """

    def harmonize(
        self,
        arguments: Arguments | None = None,
        strength: float = 1.0,
        out: Array | None = None,
        stream: object | None = None,
    ) -> Array:
        """`predict`, `measure` and `draw` in one go; on a GPU without a wait between.

        Args:
            arguments: Drawn as they are in place of a prediction.
            strength: Of the prediction: 0 gives the composite, up to 1.5.
            out, stream: As in `draw`. With a `stream` nothing is known of concerns, and a model
                whose answer is not finite draws the composite.

        Raises:
            ArgumentsError: If strength is not in [0, 1.5].
            TypeError, ValueError, MaskError, ModelError: As the three do.
        """

    def start(self, predicts: bool) -> None:
        """Optional: queue what `thumbnails` and, with `predicts`, `predict` will give."""

    def send(self, plan: Plan, out: Array | None = None) -> None:
        """Optional: queue the drawing that `draw`, called with the same, will wait for."""

    def close(self) -> None:
        """Let go of the picture; a second time does nothing. The other methods raise then."""

    def __enter__(self) -> Self:
        """The frame."""

    def __exit__(self, *ended: object) -> None:
        """Close it."""


@dataclass(frozen=True, slots=True)
class Network:
    """A predictor, and what it is told of every foreground.

    Attributes:
        predictor: Of the backend that the frames lie on.
        label: Index into `LABELS`; None for a predictor that does not ask.
    """

    predictor: Any
    label: int | None = None

    @property
    def contract(self) -> Contract:
        """What the predictor reads and answers with."""
        contract: Contract = self.predictor.contract
        return contract

    def arguments(self, numbers: NDArray[Any]) -> Arguments:
        """The answer for one picture, (k,), by its names."""
        return Arguments.from_array(numbers, self.contract.filters, self.contract.sizes)

    def predict(self, small: Thumbnails) -> Arguments:
        """What the predictor answers to thumbnails of one picture, and to the label."""
        inputs = [*small]
        if self.label is not None:
            inputs.append(np.eye(len(LABELS), dtype=np.float32)[self.label : self.label + 1])
        return self.arguments(self.predictor.predict(*inputs)[0])

    def identity(self) -> Arguments:
        """The arguments that change nothing."""
        return Arguments.identity(self.contract.filters, self.contract.sizes)


class CpuFrame:
    """A frame of numpy arrays, which are used where they lie; see `Frame`.

    Args:
        image: (H, W, 3).
        mask: (H, W), bool, uint8, uint16 or float32 in [0, 1]: the foreground's coverage. None
            draws the whole image.
        threads: Of a call into the library; 0 for all.
        network: Predicts; None for frames whose arguments are given.
        upright: How the network sees the picture, if not as it is stored.
        checked: Whether the arrays have been checked.

    Raises:
        TypeError, ValueError: If an array is not as `harmonizer.arrays` and `masks` say.
    """

    def __init__(
        self,
        image: Array,
        mask: Array | None,
        threads: int = 0,
        network: Network | None = None,
        upright: Turn | None = None,
        checked: bool = False,
    ) -> None:
        if not checked:
            check_pair(image, mask)
        self._held: tuple[Array, Array | None] | None = (image, mask)
        self._threads, self._network = threads, network
        self._upright = upright or (lambda array: array)
        self._thumbnails: Thumbnails | None = None
        self._predicted, self._nothing = False, ""

    @property
    def closed(self) -> bool:
        """See `Frame`."""
        return self._held is None

    @property
    def concerns(self) -> Concerns:
        """See `Frame`."""
        if self._nothing:
            return (self._nothing,)
        _, mask = self._arrays()
        if not self._predicted or mask is None:
            return ()
        highest = np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1
        return (FULL_MASK,) if (mask == highest).all() else ()

    def thumbnails(self, crops: bool = False) -> Thumbnails:
        """See `Frame`."""
        if crops:
            return self._regions()
        if self._thumbnails is None:
            self._thumbnails = self.resized(THUMBNAIL_SIZE)
        return self._thumbnails

    def resized(self, size: int) -> Thumbnails:
        """As `thumbnails`, of another height and width, 1 to 16384.

        Raises:
            ValueError: If the size is another.
        """
        if not 1 <= size <= 16384:
            raise ValueError(f"`size` must be 1 to 16384; got {size}.")
        image, mask = self._seen()
        composite = np.empty((1, 3, size, size), np.float32)
        coverage = np.empty((1, 1, size, size), np.float32)
        pointers = _image_at(image), _mask_at(mask), size, _floats(composite), _floats(coverage)
        _native.call("hz_thumbnail", *pointers)
        return composite, coverage

    def predict(self) -> Arguments:
        """See `Frame`."""
        network = check_network(self._network)
        mask = self._arrays()[1]
        if mask is None:
            raise TypeError(NO_MASK)
        self._predicted = True
        small = None if network.contract.crops else self.thumbnails()
        if small is None or not small[1].any():
            if not mask.any():
                self._nothing = EMPTY_MASK
            elif small is not None:
                self._nothing = VANISHED_MASK
            if self._nothing:
                return network.identity()
        if small is None:
            try:
                small = self._regions()
            except ValueError as error:
                raise MaskError(str(error)) from error
        return network.predict(small)

    def measure(self, arguments: Arguments) -> Plan:
        """See `Frame`."""
        steps = unmeasured(arguments)
        image, _ = self._arrays()
        program = _native.Program.of(steps)
        _native.call("hz_measure", _image_at(image), ctypes.byref(program), self._threads)
        pairs = zip(steps, program.steps, strict=False)
        return Plan(
            tuple(
                Step(step.operation, step.argument, tuple(found.statistics[: len(step.statistics)]))
                for step, found in pairs
            )
        )

    def draw(self, plan: Plan, out: Array | None = None, stream: object | None = None) -> Array:
        """See `Frame`."""
        if stream is not None:
            raise ValueError(
                "`stream` orders work on a GPU; backend `cpu` draws at once. Leave it out, or use "
                "backend `cuda`."
            )
        image, mask = self._arrays()
        if out is None:
            out = np.empty(image.shape, image.dtype)
        else:
            check_out(out, image)
        program = ctypes.byref(_native.Program.of(plan.steps))
        pointers = _image_at(image), _mask_at(mask), program, _image_at(out), self._threads
        _native.call("hz_render", *pointers)
        return out

    def harmonize(
        self,
        arguments: Arguments | None = None,
        strength: float = 1.0,
        out: Array | None = None,
        stream: object | None = None,
    ) -> Array:
        """See `Frame`."""
        if arguments is None:
            arguments = self.predict().scaled(strength)
        return self.draw(self.measure(arguments), out, stream)

    def start(self, predicts: bool) -> None:
        """Nothing: a processor works when it is asked."""

    def send(self, plan: Plan, out: Array | None = None) -> None:
        """Nothing, as `start`."""

    def close(self) -> None:
        """See `Frame`."""
        self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _arrays(self) -> tuple[Array, Array | None]:
        if self._held is None:
            raise ValueError(CLOSED)
        return self._held

    def _seen(self) -> tuple[Array, Array | None]:
        image, mask = self._arrays()
        return self._upright(image), None if mask is None else self._upright(mask)

    def _regions(self) -> Thumbnails:
        image, mask = self._seen()
        if mask is None:
            raise TypeError(NO_MASK)
        foreground, background = np.empty((2, 1, 3, THUMBNAIL_SIZE, THUMBNAIL_SIZE), np.float32)
        pointers = _image_at(image), _mask_at(mask), _floats(foreground), _floats(background)
        _native.call("hz_region_thumbnails", *pointers, self._threads)
        return foreground, background


NO_MASK = (
    "`mask` must be an array to predict with; got None. Pass one that is 1 in the foreground and 0 "
    "elsewhere."
)
CLOSED = "the frame must be open; it was closed. Open another one."


def check_pair(image: Array, mask: Array | None) -> None:
    """Refuse arrays that are no picture and its mask.

    Raises:
        TypeError, ValueError: If they are not as `harmonizer.arrays` and `masks` say.
    """
    check_image(image, "image")
    if mask is not None:
        check_mask(mask, image)


def check_network(network: Network | None) -> Network:
    """Refuse to predict without a network.

    Raises:
        ValueError: If there is none.
    """
    if network is None:
        raise ValueError("`harmonizer` must be there to predict; only a renderer is.")
    return network


def unmeasured(arguments: Arguments) -> tuple[Step, ...]:
    """The steps of a plan, clamped, with zeros for the statistics.

    Raises:
        TypeError: If `arguments` are not an `Arguments`.
    """
    if not isinstance(arguments, Arguments):
        raise TypeError(
            f"`arguments` must be an Arguments; got {type(arguments).__name__}. Make one with "
            "Arguments.from_mapping."
        )
    return tuple(
        Step(name, value, (0.0,) * STATISTICS_COUNTS[OPERATIONS[name].statistics])
        for name, value in arguments.clamped().items()
    )


def _image_at(image: Array) -> Any:
    height, width = image.shape[:2]
    kind = IMAGE_TYPES[image.dtype.type]
    return ctypes.byref(_native.Image(image.ctypes.data, width, height, *image.strides, kind))


def _mask_at(mask: Array | None) -> Any:
    if mask is None:
        return None
    height, width = mask.shape
    kind = MASK_TYPES[mask.dtype.type]
    return ctypes.byref(_native.Mask(mask.ctypes.data, width, height, *mask.strides, kind))


def _floats(array: NDArray[np.float32]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
