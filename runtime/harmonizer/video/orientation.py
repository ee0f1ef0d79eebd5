"""How a video's stored pictures are turned and mirrored for display."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from harmonizer.video.errors import VideoError

Array = NDArray[Any]

_SKEW = 0.01


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to show a picture: rows and columns swapped first, then mirrored.

    Attributes:
        swapped: Rows become columns.
        upside_down: The rows (after swapping) are shown from the last to the first.
        mirrored: The columns (after swapping) are shown from the last to the first.
    """

    swapped: bool = False
    upside_down: bool = False
    mirrored: bool = False

    def upright(self, array: Array) -> Array:
        """A stored picture (H, W, ...) as it is displayed; a view."""
        if self.swapped:
            array = array.swapaxes(0, 1)
        return array[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]

    def stored(self, array: Array) -> Array:
        """The inverse: a displayed picture as the file stores it; a view."""
        array = array[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]
        return array.swapaxes(0, 1) if self.swapped else array

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The displayed (height, width) of a stored one, and the other way round."""
        return (width, height) if self.swapped else (height, width)


UPRIGHT = Orientation()


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The nine numbers of a frame's rotation or mirroring, or None if it has none."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return tuple(int(value) for value in np.frombuffer(bytes(data), np.int32))


def orientation_of(frame: av.VideoFrame, path: Path) -> Orientation:
    """How a frame is displayed.

    The matrix (ISO/IEC 14496-12, 6.2.2) maps x to a x + c y and y to b x + d y.

    Raises:
        VideoError: If it is turned by an angle that is no multiple of 90 degrees.
    """
    matrix = display_matrix(frame)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = matrix[:5]
    straight, crossed = min(abs(a), abs(d)), min(abs(b), abs(c))
    if max(abs(b), abs(c)) < _SKEW * straight:
        return Orientation(False, d < 0, a < 0)
    if max(abs(a), abs(d)) < _SKEW * crossed:
        return Orientation(True, b < 0, c < 0)
    raise VideoError(
        f"{path} must be turned by a multiple of 90 degrees; its rotation is {frame.rotation} "
        "degrees. Apply the rotation first."
    )
