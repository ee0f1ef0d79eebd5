"""Frames for the GPU's tests, and how near to the CPU's they must be drawn."""

import numpy as np

from harmonizer.measuring import picture, rectangle

LEVELS = 1


def scene(width: int = 131, height: int = 90) -> tuple[np.ndarray, np.ndarray]:
    return picture(width, height), rectangle(width, height, 0.4)


def assert_close(drawn: np.ndarray, expected: np.ndarray) -> None:
    assert drawn.shape == expected.shape and drawn.dtype == expected.dtype
    difference = np.abs(drawn.astype(int) - expected)
    assert difference.max() <= LEVELS and (difference > 0).mean() < 1e-3
