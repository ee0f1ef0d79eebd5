"""What a mask may be, what its values mean, and what a lossy file did to them.

One rule for files, arrays and videos: the largest value of the mask's type is full foreground, and
a mask whose brightest value is below half of that is refused, because it nearly always has another
scale (labels 0 and 1, classes, percent, 8-bit values in a 16-bit file). `Levels` say what is black
and white in such a mask, or that a faint one is meant as it is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.arrays import MASK_TYPES, Array, check_type, check_unit_range, is_on_cpu, size_of
from harmonizer.checks import is_number
from harmonizer.errors import MaskError

BRIGHT = 0.5
"""Part of full foreground that the brightest value of a mask must reach."""

FAINT_REMEDY = (
    "Multiply it by {factor} (of several labels, write the foreground's as {full} and the others "
    "as 0), or name its own black and white, `mask_levels=(0, {brightest})`; `mask_levels=(0, "
    "{full})` takes it as it is."
)
"""For mask files; `faintness` fills it in."""

ARRAY_REMEDY = (
    "Pass mask_levels=(0, {brightest}), to Harmonizer or to `place`, to have it spread to {full}, "
    "or (0, {full}) to take faint masks as they are."
)
"""For masks that are arrays."""

_LARGEST = 65535
"""The largest value of any mask."""

_CERTAIN = 5.0
"""Ringing beside an edge stays below this many standard deviations of a file's noise: measured on
hard edges, lines and ellipses, JPEG of quality 10 to 100, WebP of 50 to 100."""

_MOST_NOISE = 64
"""Above this level noise cannot be told from soft edges."""

_HARD_STEP = 128
"""Difference of two neighbours that is a hard edge."""

_FLAT = 0.05
"""Part of the noise of a hard edge that is left where there is none: a whole block is off by it."""

_BLOCK = 8
"""Side of a JPEG's blocks, in pixels; ringing does not reach further."""


def check_mask(mask: Array, image: Array) -> None:
    """Refuse what is no (H, W) numpy mask of an image's size.

    Raises:
        TypeError, ValueError: If it is not.
    """
    check_type(mask, "mask", MASK_TYPES)
    if mask.ndim != 2:
        channel = "mask[0]" if mask.shape[:1] == (1,) else "mask[..., 0]"
        raise ValueError(
            f"`mask` must have shape (H, W); got {mask.shape}. Take one channel, such as {channel}."
        )
    if mask.shape != image.shape[:2]:
        raise ValueError(
            "`mask` must have the composite's height and width; got "
            f"{size_of(mask)} for a {size_of(image)} composite. Resize it."
        )
    check_unit_range(mask, "mask")


@dataclass(frozen=True, slots=True)
class Levels:
    """Values that count as no and as full foreground, in the mask's own units; linear between.

    Lossy video leaves noise of a few levels where a mask is black or white; the defaults, for 8
    bits, take it off.

    Attributes:
        black: Up to here there is no foreground.
        white: From here on it is full.

    Raises:
        TypeError: If they are not numbers.
        MaskError: If they are not 0 <= black < white.
    """

    black: float = 8
    white: float = 247

    def __post_init__(self) -> None:
        if not is_number(self.black) or not is_number(self.white):
            raise TypeError(
                f"mask levels must be two numbers; got {self.black!r} and {self.white!r}."
            )
        if not 0 <= self.black < self.white <= _LARGEST:
            came = f"{str(self.black)[:20]},{str(self.white)[:20]}"
            raise MaskError(
                f"mask levels must be two numbers, 0 <= black < white <= {_LARGEST}; got {came}. "
                "For labels 0 and 1 they are 0,1."
            )

    def apply(self, mask: Array) -> Array:
        """The mask with these values spread over its type's whole range.

        Args:
            mask: (H, W) bool, float, or whole numbers of any type.

        Returns:
            (H, W) of the same type, uint16 for whole numbers beside uint8 and uint16; a new array,
            but for levels that change nothing.

        Raises:
            MaskError: If white is more than the type's largest value.
        """
        if mask.dtype.kind in "iu" and mask.dtype not in (np.uint8, np.uint16):
            spread = np.clip((mask - self.black) / (self.white - self.black), 0, 1)
            return np.floor(spread * 65535 + 0.5).astype(np.uint16)
        full = full_value(mask.dtype)
        if self.white > full:
            raise MaskError(
                f"the white of mask levels must be at most {full:g}, the largest value of "
                f"{mask.dtype}; got {self.white:g}. Name the mask's own value for full foreground."
            )
        if (self.black, self.white) == (0, full) or mask.dtype == np.bool_:
            return mask
        if mask.dtype.kind == "f":
            return np.clip((mask - self.black) / (self.white - self.black), 0, 1).astype(mask.dtype)
        codes = np.arange(int(full) + 1, dtype=np.float64)
        spread = np.clip((codes - self.black) / (self.white - self.black), 0, 1)
        table = np.floor(spread * full + 0.5).astype(mask.dtype)
        result: Array = table[mask]
        return result


def levels_of(pair: tuple[float, float] | None) -> Levels | None:
    """Mask levels as a caller of the Python interface passed them.

    Raises:
        TypeError: If they are not two numbers.
        MaskError: If they are not 0 <= black < white.
    """
    if pair is None:
        return None
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(
            f"`mask_levels` must be two numbers, (black, white), or None; got {pair!r}. For labels "
            "0 and 1 they are (0, 1)."
        )
    return Levels(*pair)


def settled(mask: Any, levels: Levels | None) -> Any:
    """A mask as a caller of the Python interface passed it, with its levels applied.

    What is no (H, W) host array of a mask's type is given back: the renderer says what is wrong
    with it, and an array on a GPU is not looked at.

    Args:
        mask: Anything.
        levels: What is black and white in it; None for 0 and the largest value of its type.

    Raises:
        MaskError: If it is faint and there are no levels, or these are beyond its type.
        TypeError: If there are levels for an array on a GPU.
    """
    if not isinstance(mask, np.ndarray):
        if levels is not None and mask is not None and not is_on_cpu(mask):
            raise TypeError(
                f"a mask with mask levels must be a numpy array; got {type(mask).__name__}. Spread "
                "its values to 0 and its type's largest before, and leave `mask_levels` out."
            )
        return mask
    if mask.ndim != 2 or not mask.size:
        return mask
    if levels is not None and (mask.dtype.kind in "iu" or mask.dtype == np.float32):
        return levels.apply(mask)
    if mask.dtype not in (np.uint8, np.uint16, np.float32):
        return mask
    complaint = faintness(float(mask.max()), full_value(mask.dtype), "`mask`", ARRAY_REMEDY)
    if complaint:
        raise MaskError(complaint)
    return mask


def inverted(mask: Array) -> Array:
    """What is foreground as background, and the other way round."""
    result: Array = np.asarray(full_value(mask.dtype)).astype(mask.dtype) - mask
    return result


def full_value(dtype: "np.dtype[Any]") -> float:
    """The value that is full foreground in a mask of a type: 255, 65535, or 1."""
    return float(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def faintness(brightest: float, full: float, name: str, remedy: str) -> str:
    """What is wrong with a mask that has a foreground but nothing bright; empty if nothing is.

    Args:
        brightest: The mask's largest value.
        full: The value of full foreground in its type, as `full_value` says.
        name: What the message calls the mask.
        remedy: A sentence; `{brightest}`, `{full}` and `{factor}`, the one through the other, in
            it stand for these numbers.
    """
    if not 0 < brightest < BRIGHT * full:
        return ""
    factor = f"{full / brightest:.6g}"
    numbers = {"brightest": f"{brightest:.6g}", "full": f"{full:g}", "factor": factor}
    return (
        f"{name} must have {full:g} where the foreground is full, and reach half of it somewhere; "
        f"its largest value is {numbers['brightest']}, as in labels or in values of another scale. "
        + remedy.format(**numbers)
    )


def without_noise(mask: Array, noise: float) -> tuple[Array, int]:
    """Take off what lossy coding left where a mask was black or white.

    A hard edge leaves ringing around it, as strong as the edge is hard and as the file's noise; in
    a smooth gradient there is hardly any. With the largest step s between two neighbours around a
    pixel, values up to T = 5 noise h, h = s / 128 within [0.05, 1], count as black, from there to
    2 T they rise to what they are, and alike at the white end; those between stay as they are.

    Args:
        mask: (H, W) uint8, as the file stores it.
        noise: Standard deviation that the coding leaves, in levels.

    Returns:
        A new mask, and how many of its values are others.
    """
    hardness = np.clip(_spread(_steps(mask)) / _HARD_STEP, _FLAT, 1)
    limits = np.ceil(np.minimum(_CERTAIN * noise * hardness, _MOST_NOISE)).astype(np.int16)
    result = np.empty_like(mask)
    changed = 0
    for row, limit in enumerate(limits):
        rows = slice(row * _BLOCK, (row + 1) * _BLOCK)
        values = mask[rows].astype(np.int16)
        own = np.repeat(limit, _BLOCK)[: mask.shape[1]]
        risen = np.minimum(values, np.maximum(2 * (values - own), 0))
        fallen = 255 - np.minimum(255 - values, np.maximum(2 * (255 - values - own), 0))
        result[rows] = np.where(values < 128, risen, fallen)
        changed += int(np.count_nonzero(result[rows] != mask[rows]))
    return result, changed


def noise_note(form: str, noise: float) -> str:
    """What a person should know of a mask that `without_noise` changed."""
    said = (
        f"it is {form} with loss, and what that left beside its edges, where it was black or "
        "white, is taken off; save masks as PNG, or give mask levels to decide yourself"
    )
    if _CERTAIN * noise > _MOST_NOISE:
        said += ". Its quality is so low that some may be left, and be drawn on in the background"
    return said


def _steps(mask: Array) -> NDArray[np.int16]:
    """The largest difference of two neighbours in each block of 8x8 pixels."""
    height, width = mask.shape
    starts = np.arange(0, width, _BLOCK)
    result = np.empty((-(-height // _BLOCK), len(starts)), np.int16)
    for row in range(len(result)):
        top = row * _BLOCK
        values = mask[max(top - 1, 0) : top + _BLOCK].astype(np.int16)
        steps = np.zeros_like(values)
        steps[:, 1:] = np.abs(np.diff(values, axis=1))
        steps[1:] = np.maximum(steps[1:], np.abs(np.diff(values, axis=0)))
        result[row] = np.maximum.reduceat(steps[min(top, 1) :].max(axis=0), starts)
    return result


def _spread(values: NDArray[np.int16]) -> NDArray[np.int16]:
    """Each value's largest among itself and its eight neighbours."""
    padded = np.pad(values, 1)
    rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    result: NDArray[np.int16] = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return result
