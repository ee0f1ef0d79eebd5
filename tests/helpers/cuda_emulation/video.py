"""Video pictures in host memory, and their conversion written plainly in numpy."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cuda_emulation.frames import Array, EmulatedDevice, Thumbnail
from harmonizer import _native

MATRICES = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Kr and Kb by the code of the matrix, from ITU-T H.273, table 4."""


@dataclass
class VideoPicture:
    """Planes of any strides: luma (H, W), chroma (ceil(H/2), ceil(W/2), 2)."""

    luma: Array
    chroma: Array
    bits: int = 8
    matrix: int = 1
    full_range: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.luma.shape

    def native(self) -> _native.Surface:
        """As `hz_surface`; the arrays must outlive it."""
        height, width = self.luma.shape
        return _native.Surface(
            self.luma.ctypes.data,
            self.chroma.ctypes.data,
            width,
            height,
            self.luma.strides[0],
            self.chroma.strides[0],
            self.bits,
            self.matrix,
            int(self.full_range),
        )

    def copy(self, pitch: int = 0) -> VideoPicture:
        """The same picture in memory of its own, filled with 7.

        Args:
            pitch: Samples by which rows are longer than they must be; even.
        """
        planes: list[Array] = []
        for plane in (self.luma, self.chroma):
            row = plane[0].size + plane[0].size % 2 + pitch
            memory = np.full(len(plane) * row, 7, plane.dtype)
            strides = (
                row * plane.itemsize,
                *np.empty((1, *plane.shape[1:]), plane.dtype).strides[1:],
            )
            view = np.lib.stride_tricks.as_strided(memory, plane.shape, strides)
            view[...] = plane
            planes.append(view)
        luma, chroma = planes
        return VideoPicture(luma, chroma, self.bits, self.matrix, self.full_range)

    def around(self) -> Array:
        """What lies between the luma's rows."""
        rows, columns = self.shape
        step = self.luma.strides[0] // self.luma.itemsize
        whole = np.lib.stride_tricks.as_strided(
            self.luma, (rows - 1, step), (self.luma.strides[0], self.luma.itemsize)
        )
        return whole[:, columns:]

    def scales(self) -> tuple[float, float, float, float]:
        """Zero and range of luma and of chroma, in codes."""
        unit = 2 ** (self.bits - 8)
        if self.full_range:
            return 0, 2**self.bits - 1, 128 * unit, 2**self.bits - 1
        return 16 * unit, 219 * unit, 128 * unit, 224 * unit

    def codes(self) -> tuple[Array, Array]:
        """Luma and chroma without the low bits, float64."""
        shift = 16 - self.bits if self.bits > 8 else 0
        return (self.luma >> shift).astype(np.float64), (self.chroma >> shift).astype(np.float64)

    def upsampled(self, chroma: Array) -> Array:
        """A chroma plane with the sample of its block for each pixel."""
        height, width = self.shape
        return chroma.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]

    def rgb(self) -> Array:
        """(H, W, 3) float64 in [0, 1]."""
        kr, kb = MATRICES[self.matrix]
        zero, span, chroma_zero, chroma_span = self.scales()
        luma, chroma = self.codes()
        y = (luma - zero) / span
        cb, cr = np.moveaxis(self.upsampled((chroma - chroma_zero) / chroma_span), 2, 0)
        r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
        g = (y - kr * r - kb * b) / (1 - kr - kb)
        return np.stack([r, g, b], axis=2).clip(0, 1)

    def drawn(self, filtered: Array, coverage: Array) -> tuple[Array, Array]:
        """What luma and chroma become, in codes that are not rounded.

        Args:
            filtered: (H, W, 3), what the filters made of `rgb()`.
            coverage: (H, W) in [0, 1].
        """
        kr, kb = MATRICES[self.matrix]
        zero, span, chroma_zero, chroma_span = self.scales()
        luma, chroma = self.codes()
        r, g, b = np.moveaxis(filtered, 2, 0)
        y = kr * r + (1 - kr - kb) * g + kb * b
        parts = [
            chroma_zero + chroma_span * difference / (2 * (1 - k))
            for difference, k in ((b - y, kb), (r - y, kr))
        ]
        m = coverage[..., None]
        by_pixel = m * np.stack(parts, axis=2) + (1 - m) * self.upsampled(chroma)
        height, width = self.shape
        mean = np.empty_like(chroma)
        for row, column in np.ndindex(chroma.shape[:2]):
            block = by_pixel[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            mean[row, column] = block.mean(axis=(0, 1))
        assert by_pixel.shape == (height, width, 2)
        return coverage * (zero + span * y) + (1 - coverage) * luma, mean


def frame_of(
    device: EmulatedDevice,
    picture: VideoPicture,
    out: VideoPicture | None,
    mask: Array | None,
    filters: Sequence[str],
    predicted: Array | None = None,
    strength: float = 1.0,
    thumbnail: Thumbnail | None = None,
    *,
    stages: int = 0,
) -> _native.Frame:
    """A frame of a video's picture; the arrays must outlive it. The rest as in `frame`."""
    nowhere = np.empty((*picture.shape, 3), np.uint8)
    frame = device.frame(
        nowhere, mask, nowhere, filters, predicted, strength, thumbnail, stages=stages
    )
    frame.image.data = frame.out.data = None
    frame.surface = ctypes.pointer(picture.native())
    if out is not None:
        frame.surface_out = ctypes.pointer(out.native())
    return frame
