"""A frame's planes as arrays: the foreground is pasted there, and the rest keeps its samples.

A round trip through RGB is exact only to about a level. Therefore a drawn frame is the decoded one
with the drawn samples put where the mask is not 0: luma by pixel, chroma where any of the pixels
that share the sample is foreground. Everywhere else the encoder gets what the decoder gave.
"""

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Mask = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Box:
    """Rows top..bottom and columns left..right (ends not included) around a foreground."""

    top: int
    bottom: int
    left: int
    right: int

    def of(self, array: Array) -> Array:
        """The part of (H, W, ...) inside the box."""
        return array[self.top : self.bottom, self.left : self.right]


_ALIGNMENT = 4
"""Boxes begin at multiples of it, so that they cut no chroma sample of any format."""


def foreground_box(mask: Mask) -> Box | None:
    """The box around the pixels that are not 0, aligned outwards to 4; None for an empty mask."""
    rows = np.flatnonzero(mask.max(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].max(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    height, width = mask.shape

    def up(value: int, limit: int) -> int:
        return min(-(-value // _ALIGNMENT) * _ALIGNMENT, limit)

    def down(value: int) -> int:
        return value // _ALIGNMENT * _ALIGNMENT

    return Box(down(top), up(bottom, height), down(left), up(right, width))


def plane_array(plane: Any, deep: bool) -> Array:
    """The bytes of a plane as uint8, or uint16 for more than 8 bits; writable where it is."""
    flat: Array = np.frombuffer(plane, np.uint16 if deep else np.uint8)
    return flat


def views(frame: av.VideoFrame) -> list[Array]:
    """The planes of a planar frame, (h, w) uint8 or uint16 each, where they lie in memory."""
    arrays = []
    parts = {part.plane: part for part in frame.format.components}
    for index, plane in enumerate(frame.planes):
        deep = parts[index].bits > 8
        flat = plane_array(plane, deep)
        rows = flat.reshape(-1, plane.line_size // (2 if deep else 1))
        arrays.append(rows[: plane.height, : plane.width])
    return arrays


def paste(base: av.VideoFrame, drawn: av.VideoFrame, mask: Mask, box: Box) -> None:
    """Put the drawn samples of the foreground into a frame.

    Args:
        base: Changed in place; alpha stays as it is.
        drawn: What was drawn inside the box, in the base's format.
        mask: (H, W) of the base's size.
        box: From `foreground_box`.
    """
    inside = box.of(mask) != 0
    parts = {part.plane: part for part in base.format.components}
    for index, (target, source) in enumerate(zip(views(base), views(drawn), strict=True)):
        if parts[index].is_alpha:
            continue
        part, where = _part(target, box, mask.shape), _any(inside, source.shape)
        np.copyto(part, source, where=where)


def blend(
    own: av.VideoFrame, other: av.VideoFrame, mask: Mask, box: Box | None, below: bool
) -> None:
    """Compose M * over + (1 - M) * base, sample by sample; the matrix is linear, so this is RGB's.

    Args:
        own: Becomes the composition, and keeps its time, tags and side data (captions). Its memory
            must be its own: a decoded frame may be a reference for the next ones.
        other: Of the same size and planar format.
        mask: (H, W), 255 stands for 1.
        box: From `foreground_box`.
        below: Whether `own` is the base, and `other` over it; else the other way round. The
            result's alpha is the base's.
    """
    parts = {part.plane: part for part in own.format.components}
    for index, (target, source) in enumerate(zip(views(own), views(other), strict=True)):
        if box is None or parts[index].is_alpha:
            if not below:
                np.copyto(target, source)
            continue
        over = _part(source if below else target, box, mask.shape)
        if not below:
            over = over.copy()
            np.copyto(target, source)
        part = _part(target, box, mask.shape)
        weight = _mean(box.of(mask), part.shape)
        np.copyto(part, over, where=weight == 255)
        soft = np.nonzero((weight != 0) & (weight != 255))
        m = weight[soft].astype(np.uint32)
        mixed = over[soft] * m + part[soft] * (255 - m)
        part[soft] = ((mixed + 127) // 255).astype(part.dtype)


def _part(plane: Array, box: Box, size: tuple[int, ...]) -> Array:
    """The part of a plane under a box of the whole picture's rows and columns."""
    down, across = (-(-full // own) for full, own in zip(size, plane.shape, strict=True))
    return plane[
        box.top // down : -(-box.bottom // down), box.left // across : -(-box.right // across)
    ]


def _pairs(array: Array, axis: int) -> tuple[Array, Array]:
    """Even and odd rows or columns; the last of an odd count is paired with itself."""
    if array.shape[axis] % 2:
        last = array[-1:] if axis == 0 else array[:, -1:]
        array = np.concatenate([array, last], axis=axis)
    return (array[0::2], array[1::2]) if axis == 0 else (array[:, 0::2], array[:, 1::2])


def _any(inside: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Halve rows and columns down to a shape; a sample counts if any of its pixels does."""
    for axis in (0, 1):
        while inside.shape[axis] > shape[axis]:
            even, odd = _pairs(inside, axis)
            inside = even | odd
    return inside


def _mean(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """Halve rows and columns down to a shape by means, rounded half up."""
    for axis in (0, 1):
        while mask.shape[axis] > shape[axis]:
            even, odd = _pairs(mask, axis)
            total = even.astype(np.uint16)
            total += odd
            total += 1
            mask = (total >> 1).astype(np.uint8)
    return mask
