"""Find scene cuts in the thumbnails that the network reads anyway."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HISTOGRAM_LIMIT = 0.35
CHANGE_LIMIT = 0.06
JUMP = 3.0
"""A cut: the share of colours that moved to other bins is above the first, the mean change of a
32x32 picture above the second, and both stand out from the last frames by the third. Measured on
five sample clips: within them at most 0.059 and 0.062, at the 20 cuts between them at least 0.472
and 0.144."""

_GRID = 32
_BINS = 6
_MEMORY = 0.8


class CutDetector:
    """Compares each thumbnail with the one before."""

    def __init__(self) -> None:
        self._histogram: NDArray[np.float64] | None = None
        self._picture: NDArray[np.float32] | None = None
        self._usual = np.zeros(2)
        self.distances = np.zeros(2)

    def is_cut(self, thumbnail: NDArray[np.float32]) -> bool:
        """Whether a new scene begins with this frame; the first frame begins none.

        Args:
            thumbnail: (1, 3, S, S) in [0, 1], S a multiple of 32.
        """
        histogram, picture = _describe(thumbnail)
        before, last = self._histogram, self._picture
        self._histogram, self._picture = histogram, picture
        if before is None or last is None:
            return False
        moved = 0.5 * np.abs(histogram - before).sum()
        change = np.abs(picture - last).mean()
        self.distances = np.array([moved, change])
        limits = np.maximum((HISTOGRAM_LIMIT, CHANGE_LIMIT), JUMP * self._usual)
        cut = bool((self.distances > limits).all())
        # The distance of a cut says nothing of what is usual in the new scene.
        self._usual = np.zeros(2) if cut else _MEMORY * self._usual + (1 - _MEMORY) * self.distances
        return cut


def _describe(thumbnail: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Joint colour histogram that sums to 1, and a (3, 32, 32) picture of means."""
    size = thumbnail.shape[-1]
    side = size // _GRID
    blocks = thumbnail[0].reshape(3, _GRID, side, _GRID, side)
    picture = blocks.mean(axis=(2, 4), dtype=np.float32)
    sparse = thumbnail[0, :, ::4, ::4]
    levels = np.minimum((sparse * _BINS).astype(np.int64), _BINS - 1)
    codes = (levels[0] * _BINS + levels[1]) * _BINS + levels[2]
    counts = np.bincount(codes.ravel(), minlength=_BINS**3)
    return counts / counts.sum(), picture
