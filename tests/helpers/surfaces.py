"""Decoder surfaces as the tests make them, and what drawing must leave in them."""

import numpy as np
import torch
from cuda_emulation.frames import Array
from cuda_emulation.video import VideoPicture
from parity import filtered_by_oracle

from export import tolerances
from harmonizer.arguments import Arguments


def picture(height: int, width: int, bits: int = 8, matrix: int = 1, full: int = 0) -> VideoPicture:
    """Smooth luma with noise, and chroma from its middle half; some codes mean no colour."""
    generator = np.random.default_rng(1000 * height + width)
    highest = 2**bits - 1
    ramp = np.linspace(0.05, 0.95, width)[None] * highest
    luma = (ramp + generator.integers(-20, 20, (height, width))).clip(0, highest)
    size = ((height + 1) // 2, (width + 1) // 2, 2)
    chroma = generator.integers(highest // 4, highest * 3 // 4, size)
    kind, shift = (np.uint8, 0) if bits == 8 else (np.uint16, 16 - bits)
    planes = [(plane.astype(np.uint16) << shift).astype(kind) for plane in (luma, chroma)]
    return VideoPicture(planes[0], planes[1], bits, matrix, bool(full)).copy()


def mask_of(height: int, width: int) -> Array:
    """Full, soft and empty parts, whose edges cut blocks of 2x2."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 3 :, width // 4 : width - width // 5] = 255
    mask[: height // 3, width // 4 : width // 2 + 1] = 77
    return mask


def filtered(source: VideoPicture, arguments: Arguments) -> Array:
    tensor = torch.from_numpy(source.rgb()).permute(2, 0, 1)[None]
    return filtered_by_oracle(tensor, arguments)[0].permute(1, 2, 0).numpy()


def assert_drawn(
    source: VideoPicture, mask: Array | None, arguments: Arguments, out: VideoPicture
) -> None:
    coverage = np.ones(source.shape) if mask is None else mask / 255
    wanted = source.drawn(filtered(source, arguments), coverage)
    levels = tolerances.CUDA_VIDEO * 2**source.bits
    for plane, expected, drawn in zip(("luma", "chroma"), wanted, out.codes(), strict=True):
        error = np.abs(drawn - expected).max()
        assert error <= 0.5 + levels, f"{plane} is off by {error} of {source.bits} bits"
    uncovered = coverage == 0
    assert np.array_equal(out.luma[uncovered], source.luma[uncovered])
    rows, columns = source.chroma.shape[:2]
    touched = np.zeros((rows, columns), bool)
    for row, column in np.ndindex(rows, columns):
        touched[row, column] = coverage[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].any()
    assert np.array_equal(out.chroma[~touched], source.chroma[~touched])
    if source.bits > 8:
        assert not (out.luma & ((1 << (16 - source.bits)) - 1)).any()
