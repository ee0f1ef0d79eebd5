"""Draw filter arguments at full resolution on the CPU, with the compiled renderer.

Images are display-referred sRGB, channel order R, G, B: uint8 (255 stands for 1), uint16 (65535
stands for 1) or float32 in [0, 1]. They may have any strides - flips, crops, ``rgba[..., :3]``,
``bgr[..., ::-1]`` - and are used where they lie: nothing is cast or copied.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.checks import check_threads
from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS, Plan, Step

Array = NDArray[Any]

IMAGE_TYPES: dict[Any, int] = {
    np.uint8: _native.U8,
    np.uint16: _native.U16,
    np.float32: _native.F32,
}
MASK_TYPES: dict[Any, int] = {np.bool_: _native.BOOL, **IMAGE_TYPES}


class CpuRenderer:
    """Measures images and draws plans; holds no state but the number of threads.

    Args:
        threads: How many threads a call may use; None for as many as the process may run on.
            The result does not depend on it.

    Raises:
        TypeError, ValueError: If `threads` is not a whole number, or below 1.
        NativeLibraryError: If the compiled library is missing or cannot be loaded.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = check_threads(threads) or 0
        _native.load_library()

    def prepare(self, image: Array, arguments: Arguments) -> Plan:
        """Clamp the arguments to their ranges and measure what the operations read of the image.

        Args:
            image: (H, W, 3), the whole composite: statistics are not limited to the foreground.
            arguments: In drawing order.

        Returns:
            The plan with which `apply` draws this image, or others with this one's statistics.

        Raises:
            TypeError: If `arguments` are not an `Arguments`.
            TypeError, ValueError: If the image is not as this module says.
        """
        if not isinstance(arguments, Arguments):
            raise TypeError(
                f"`arguments` must be an Arguments; got {type(arguments).__name__}. Make one with "
                "Arguments.from_mapping."
            )
        check_image(image, "image")
        clamped = arguments.clamped()
        program = _native.Program.of([Step(n, v, _zeros(n)) for n, v in clamped.items()])
        _native.call(
            "hz_measure",
            ctypes.byref(_image_at(image)),
            ctypes.byref(program),
            self._threads,
        )
        return Plan(
            tuple(
                Step(name, value, tuple(step.statistics[: len(_zeros(name))]))
                for (name, value), step in zip(clamped.items(), program.steps, strict=False)
            )
        )

    def apply(
        self, image: Array, mask: Array | None, plan: Plan, out: Array | None = None
    ) -> Array:
        """Draw out = M*F(I) + (1-M)*I (Harmonizer, arXiv 2207.01322, section 3.2).

        Args:
            image: (H, W, 3).
            mask: (H, W), bool, uint8, uint16 or float32 in [0, 1]: the foreground's coverage.
                None draws the whole image.
            plan: From `prepare`.
            out: Where to draw: an array of the image's shape and dtype, each element with memory
                of its own, that shares none with image and mask; or `image` itself to draw in
                place. None allocates one.

        Returns:
            `out`, or a new C-contiguous array. Integers are rounded half up; pixels where the mask
            is 0 are the image's bit for bit.

        Raises:
            TypeError, ValueError: If an array is not as said above.
        """
        check_image(image, "image")
        if mask is not None:
            check_mask(mask, image)
        if out is None:
            out = np.empty(image.shape, image.dtype)
        else:
            check_out(out, image)
        _native.call(
            "hz_render",
            ctypes.byref(_image_at(image)),
            None if mask is None else ctypes.byref(_mask_at(mask)),
            ctypes.byref(_native.Program.of(plan.steps)),
            ctypes.byref(_image_at(out)),
            self._threads,
        )
        return out

    def thumbnail(
        self, image: Array, mask: Array | None, size: int = 256
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resize image and mask to what a predictor reads.

        Bilinear, half-pixel centres, no antialiasing: what PyTorch calls
        ``interpolate(mode="bilinear", align_corners=False, antialias=False)``.

        Args:
            image: (H, W, 3).
            mask: (H, W) as in `apply`; None stands for 1 everywhere.
            size: Height and width of the results, 1 to 16384.

        Returns:
            Composite (1, 3, size, size) and mask (1, 1, size, size), float32 in [0, 1].

        Raises:
            TypeError, ValueError: If an array or the size is not as said above.
        """
        check_image(image, "image")
        if mask is not None:
            check_mask(mask, image)
        if not 1 <= size <= 16384:
            raise ValueError(f"`size` must be 1 to 16384; got {size}.")
        composite = np.empty((1, 3, size, size), np.float32)
        coverage = np.empty((1, 1, size, size), np.float32)
        floats = ctypes.POINTER(ctypes.c_float)
        _native.call(
            "hz_thumbnail",
            ctypes.byref(_image_at(image)),
            None if mask is None else ctypes.byref(_mask_at(mask)),
            size,
            composite.ctypes.data_as(floats),
            coverage.ctypes.data_as(floats),
        )
        return composite, coverage

    def region_thumbnails(
        self, image: Array, mask: Array
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Resize foreground and background to what a predictor of separate regions reads.

        Bilinear with antialiasing, the aspect not kept: what PyTorch calls
        ``interpolate(mode="bilinear", align_corners=False, antialias=True)`` on values in [0, 1].

        Args:
            image: (H, W, 3).
            mask: (H, W) as in `apply`.

        Returns:
            Foreground and background, (1, 3, 256, 256) float32 in [0, 1]: image and mask, cut to
            the bounding box of mask > 0 and resized, multiplied; the whole image, resized, times
            one minus the mask, resized.

        Raises:
            TypeError, ValueError: If an array is not as said above, or the mask's bounding box is
                empty, or one pixel wide or high.
        """
        check_image(image, "image")
        check_mask(mask, image)
        foreground, background = np.empty((2, 1, 3, 256, 256), np.float32)
        floats = ctypes.POINTER(ctypes.c_float)
        _native.call(
            "hz_region_thumbnails",
            ctypes.byref(_image_at(image)),
            ctypes.byref(_mask_at(mask)),
            foreground.ctypes.data_as(floats),
            background.ctypes.data_as(floats),
            self._threads,
        )
        return foreground, background


def _zeros(operation: str) -> tuple[float, ...]:
    return (0.0,) * STATISTICS_COUNTS[OPERATIONS[operation].statistics]


def _image_at(image: Array) -> _native.Image:
    height, width = image.shape[:2]
    kind = IMAGE_TYPES[image.dtype.type]
    return _native.Image(image.ctypes.data, width, height, *image.strides, kind)


def _mask_at(mask: Array) -> _native.Mask:
    height, width = mask.shape
    kind = MASK_TYPES[mask.dtype.type]
    return _native.Mask(mask.ctypes.data, width, height, *mask.strides, kind)


def _size(array: Array) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _check_array(array: object, name: str, types: dict[Any, int]) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"`{name}` must be a numpy array; got {type(array).__name__}.")
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must be a plain numpy array; got a masked one, whose masked values are "
            "unknown. Pass its filled(...)."
        )
    if array.dtype.type not in types or not array.dtype.isnative:
        allowed = ", ".join(np.dtype(kind).name for kind in types)
        raise TypeError(
            f"`{name}` must have dtype {allowed} in native byte order; got {array.dtype!r}. "
            "Convert it, and scale it to the new dtype's range."
        )


def _check_unit_range(array: Array, name: str) -> None:
    """Refuse NaN and values outside [0, 1]; the first look at the array makes no copy of it."""
    if array.dtype.type is not np.float32 or (array.min() >= 0 and array.max() <= 1):
        return
    for row, values in enumerate(array):
        wrong = np.argwhere(~((values >= 0) & (values <= 1)))
        if len(wrong):
            position = (row, *map(int, wrong[0]))
            raise ValueError(
                f"`{name}` must have float values in [0, 1] without NaN; got "
                f"{array[position]:g} at position {position}. Scale or clip it."
            )


def check_image(image: Array, name: str) -> None:
    """Refuse what is no (H, W, 3) numpy image as this module says.

    Raises:
        TypeError, ValueError: If it is not.
    """
    _check_array(image, name, IMAGE_TYPES)
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"`{name}` must have shape (H, W, 3); got {image.shape}. Take the three colour "
            "channels, such as rgba[..., :3]."
        )
    if 0 in image.shape:
        raise ValueError(f"`{name}` must have at least one pixel; got {_size(image)}.")
    _check_unit_range(image, name)


def check_mask(mask: Array, image: Array) -> None:
    """Refuse what is no (H, W) numpy mask of an image's size.

    Raises:
        TypeError, ValueError: If it is not.
    """
    _check_array(mask, "mask", MASK_TYPES)
    if mask.ndim != 2:
        raise ValueError(
            f"`mask` must have shape (H, W); got {mask.shape}. Take one channel, such as "
            "mask[..., 0]."
        )
    if mask.shape != image.shape[:2]:
        raise ValueError(
            "`mask` must have the composite's height and width; got "
            f"{_size(mask)} for a {_size(image)} composite. Resize it."
        )
    _check_unit_range(mask, "mask")


def check_out(out: Array, image: Array) -> None:
    """All but memory shared with image and mask, which the library refuses."""
    _check_array(out, "out", IMAGE_TYPES)
    if out.shape != image.shape or out.dtype != image.dtype:
        raise ValueError(
            f"`out` must have the image's shape and dtype; got {out.shape} {out.dtype} for an "
            f"image of {image.shape} {image.dtype}. Allocate it with np.empty_like(image)."
        )
    if not out.flags.writeable:
        raise ValueError("`out` must be writable; it is read-only. Pass a copy of it.")
    extent = out.itemsize
    for stride, size in sorted(zip(map(abs, out.strides), out.shape, strict=True)):
        if size > 1 and stride < extent:
            raise ValueError(
                "`out` must have memory of its own for each element; its elements overlap (shape "
                f"{out.shape}, strides {out.strides}). Allocate it with np.empty_like(image)."
            )
        extent += (size - 1) * stride
