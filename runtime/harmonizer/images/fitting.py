"""Whether a mask of another size can be scaled to a picture, what is said of it, and how it is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16]

_SAME = 0.01
"""Relative difference of two aspect ratios that counts as rounding of sizes."""


_NEARLY_SQUARE = 1.05
"""Up to this ratio of its sides nothing is upright or lies on its side."""


_TURNED = 1.5
"""Beyond this ratio of two aspects, one of them turned, it is not turning that is amiss."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A mask's size beside that of the picture that it is for.

    Attributes:
        came: The mask, as messages call it.
        size: The mask's (height, width).
        picture: What the mask is for, such as "composite" or "video".
        wanted: The picture's (height, width) as it is displayed.
        stored: The same before an orientation or rotation was applied.
    """

    came: str
    size: tuple[int, int]
    picture: str
    wanted: tuple[int, int]
    stored: tuple[int, int]

    def refusal(self, may_scale: bool) -> str:
        """Why the mask cannot be used; empty if its size is right or it may be scaled.

        A mask whose sides are swapped was made for the picture in another orientation: scaled, it
        would lie on another place.

        Args:
            may_scale: Whether the caller asked for it to be scaled.
        """
        if self.size == self.wanted:
            return ""
        rule = f"the mask must have the {self.picture}'s size; {self._sizes()}. "
        if self._is_swapped():
            if self.size == self.stored:
                return rule + (
                    f"It has the size that the {self.picture} has before its EXIF orientation or "
                    "rotation is applied: turn the mask likewise."
                )
            return rule + "One is upright, the other lies on its side: turn the mask first."
        return "" if may_scale else rule + "Resize it, or pass `fit_mask=True`."

    def note(self) -> str:
        """What is said of scaling it."""
        said = f"{self._sizes()}; it is scaled to fit"
        (rows, columns), (height, width) = self.size, self.wanted
        stretch = (width / columns) / (height / rows)
        if abs(stretch - 1) > _SAME:
            said += (
                f", {stretch:.2f} times as much in width as in height: is it a mask of the whole "
                f"{self.picture}?"
            )
        return said

    def doubt(self, own_orientation: bool) -> str:
        """What is said where sizes fit, but do not tell whether the mask is turned alike.

        Args:
            own_orientation: Whether the mask's file says an orientation of its own.
        """
        if own_orientation or self.size != self.wanted or self.stored != self.wanted:
            return ""
        return (
            f"{self.came} is taken as made for the {self.picture} as it is displayed, after its "
            "EXIF orientation or rotation is applied"
        )

    def _sizes(self) -> str:
        (rows, columns), (height, width) = self.size, self.wanted
        return f"{self.came} is {columns}x{rows} for a {width}x{height} {self.picture}"

    def _is_swapped(self) -> bool:
        (rows, columns), (height, width) = self.size, self.wanted
        if (rows, columns) == (width, height):
            return True
        slender = min(max(rows / columns, columns / rows), max(height / width, width / height))
        turned = (width / rows) / (height / columns)
        fits = max(turned, 1 / turned) < _TURNED
        return fits and slender > _NEARLY_SQUARE and (rows > columns) != (height > width)


def scaled(mask: Pixels, height: int, width: int) -> Pixels:
    """Scale bilinearly (antialiased when shrinking), back to the mask's dtype by rounding."""
    from PIL import Image

    image = Image.fromarray(mask.astype(np.float32))
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    result: Pixels = np.rint(resized).astype(mask.dtype)
    return result
