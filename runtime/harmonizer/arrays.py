"""What numpy arrays may be images and outputs: their types, shapes and values; `masks` has masks.

Images are display-referred sRGB, (H, W, 3) in channel order R, G, B: uint8 (255 stands for 1),
uint16 (65535 stands for 1) or float32 in [0, 1]. They may have any strides - flips, crops,
``rgba[..., :3]``, ``bgr[..., ::-1]`` - and are used where they lie: nothing is cast or copied.
"""

from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native

Array = NDArray[Any]

IMAGE_TYPES: dict[Any, int] = {
    np.uint8: _native.U8,
    np.uint16: _native.U16,
    np.float32: _native.F32,
}
MASK_TYPES: dict[Any, int] = {np.bool_: _native.BOOL, **IMAGE_TYPES}

_ONE = np.float32(1).view(np.uint32)

_ON_THE_CPU = 1
"""DLPack's kDLCPU."""


def size_of(array: Array) -> str:
    """Height and width, as messages say them."""
    return f"{array.shape[0]}x{array.shape[1]}"


def check_type(array: object, name: str, types: dict[Any, int]) -> None:
    """Refuse what is no plain numpy array of one of these types.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"`{name}` must be a numpy array; got {type(array).__name__}.{_way_to_numpy(array)}"
        )
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError(
            f"`{name}` must be a plain numpy array; got a masked one, whose masked values are "
            "unknown. Pass its filled(...)."
        )
    if array.dtype.type not in types or not array.dtype.isnative:
        allowed = ", ".join(np.dtype(kind).name for kind in types)
        remedy = "Convert it, and scale it to the new dtype's range."
        if types is MASK_TYPES and array.dtype.kind in "iu":
            remedy = (
                f"Of labels pass where the foreground is, such as {name} == 1; or name the values "
                "of no and of full foreground, mask_levels=(0, 1), to Harmonizer or to `place`."
            )
        raise TypeError(
            f"`{name}` must have dtype {allowed} in native byte order; got {array.dtype!r}. "
            + remedy
        )


def _way_to_numpy(array: object) -> str:
    """What to do with a file or another library's array, a sentence; empty for anything else."""
    if hasattr(array, "getbands"):  # of Pillow
        return " Pass np.asarray(image), or the picture itself to `harmonizer.open`."
    if isinstance(array, str | bytes | PathLike):
        return " Files, as paths or bytes, go to `harmonizer.open` or `Harmonizer.harmonize_file`."
    if is_on_cpu(array):
        return (
            " Pass np.asarray(array), which shares its memory (of a torch tensor that needs a "
            "gradient: tensor.detach().numpy()); a (3, H, W) one as array.permute(1, 2, 0) first."
        )
    if hasattr(array, "__dlpack_device__") or hasattr(array, "__cuda_array_interface__"):
        return (
            ' backend="cuda" takes arrays on a GPU, image and mask alike; else copy it to the CPU.'
        )
    return ""


def is_on_cpu(array: object) -> bool:
    """Whether it is an array of another library, in the memory of the CPU."""
    place = getattr(array, "__dlpack_device__", None)
    return not isinstance(array, np.ndarray) and callable(place) and place()[0] == _ON_THE_CPU


def _is_planar(shape: tuple[int, ...]) -> bool:
    """Whether three or four channels come first, as torch has them."""
    return len(shape) == 3 and shape[0] in (3, 4) and shape[2] not in (3, 4)


def check_unit_range(array: Array, name: str) -> None:
    """Refuse NaN and values outside [0, 1]; the first look at the array makes no copy of it.

    Raises:
        ValueError: If it is float32 and has some.
    """
    if array.dtype.type is not np.float32:
        return
    # Numpy reads backwards many times slower, and the order does not matter.
    plain = array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]
    # As whole numbers, floats of [0, 1] rise up to that of 1, and all others, -0 among them, lie
    # above it: one reading of the array instead of two.
    if plain.view(np.uint32).max() <= _ONE or (plain.min() >= 0 and plain.max() <= 1):
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
    check_type(image, name, IMAGE_TYPES)
    if image.ndim != 3 or image.shape[2] != 3:
        remedy = "Take the three colour channels, such as rgba[..., :3]."
        if image.ndim == 2 or image.shape[2:] == (1,):
            remedy = "Repeat grey, as np.dstack([grey] * 3)."
        elif _is_planar(image.shape):
            remedy = "Pass a planar one as image[:3].transpose(1, 2, 0)."
        elif image.ndim == 4:
            remedy = "Pass one picture, or each of them to `Harmonizer.batch`."
        raise ValueError(f"`{name}` must have shape (H, W, 3); got {image.shape}. {remedy}")
    if 0 in image.shape:
        raise ValueError(f"`{name}` must have at least one pixel; got {size_of(image)}.")
    check_unit_range(image, name)


def check_out(out: Array, image: Array) -> None:
    """Refuse what cannot be drawn to; memory shared with image and mask the library refuses.

    Raises:
        TypeError, ValueError: If it has not the image's shape and type, is read-only, or its
            elements overlap.
    """
    check_type(out, "out", IMAGE_TYPES)
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
