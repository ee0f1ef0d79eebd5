"""Masks out of video frames: luma or alpha to coverage, with the coder's noise taken off."""

from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from harmonizer.masks import FAINT_REMEDY, Levels, faintness
from harmonizer.video.colour import FULL, LIMITED, colour_of
from harmonizer.video.errors import VideoError
from harmonizer.video.planes import Mask, views

Table = NDArray[np.uint8]


CODED = Levels()
"""What is black and white in a mask that comes from a video, unless the caller says."""

PATIENCE = 250
"""Frames with a foreground after which a mask that never came near white is given up."""


class Brightness:
    """Remembers how bright a moving mask has been: single frames may be faint, as in a fade.

    Args:
        name: What messages call the mask.
        given: Whether the caller said what is black and white; then nothing is refused.
        remedy: As in `faintness`.
    """

    def __init__(self, name: str, given: bool, remedy: str = FAINT_REMEDY) -> None:
        self._name, self._given, self._remedy = name, given, remedy
        self._brightest, self._full = 0.0, 255.0
        self._frames = 0

    def see(self, value: float, full: float = 255.0) -> None:
        """Take note of a frame's brightest value.

        Args:
            value: From 0.
            full: What is full foreground in the frame.

        Raises:
            VideoError: If it is the last of `PATIENCE` frames that were all faint.
        """
        if value / full > self._brightest / self._full:
            self._brightest, self._full = value, full
        self._frames += value > 0
        if self._frames >= PATIENCE:
            self.judge()
            self._frames = 0

    def judge(self) -> None:
        """Refuse a mask that has been faint in every frame so far.

        Raises:
            VideoError: If it has.
        """
        complaint = faintness(self._brightest, self._full, self._name, self._remedy)
        if complaint and not self._given:
            raise VideoError(complaint)


@lru_cache(maxsize=8)
def _table(bits: int, color_range: int, levels: Levels) -> Table:
    """Coverage for every code value: (2^bits,) uint8."""
    codes = np.arange(1 << bits, dtype=np.float64)
    if color_range == LIMITED:
        # 16..235 of 8 bits, times 2^(bits - 8) for more (ITU-R BT.2100, table 9).
        scale = 2.0 ** (bits - 8)
        shown = (codes / scale - 16) * (255 / 219)
    else:
        shown = codes * (255 / ((1 << bits) - 1))
    spread = (shown - levels.black) / (levels.white - levels.black)
    table: Table = np.floor(np.clip(spread, 0, 1) * 255 + 0.5).astype(np.uint8)
    return table


def _look_up(
    plane: NDArray[Any],
    bits: int,
    color_range: int,
    levels: Levels,
    brightness: Brightness | None,
) -> Mask:
    if brightness is not None:
        shown = _table(bits, color_range, Levels(0, 255))
        brightness.see(float(shown[plane.max()]))
    table = _table(bits, color_range, levels)
    if bits == 8:
        # Five times as fast as numpy's indexing.
        data = plane.tobytes().translate(table.tobytes())
        return np.frombuffer(data, np.uint8).reshape(plane.shape)
    mask: Mask = table[plane]
    return mask


def luma_mask(
    frame: av.VideoFrame,
    levels: Levels,
    size: tuple[int, int] | None = None,
    brightness: Brightness | None = None,
) -> Mask:
    """The coverage that a black-and-white frame shows.

    Args:
        frame: Any format; colours count by their luma.
        levels: What is black and white.
        size: (height, width) to scale to, or None.
        brightness: Is told the brightest value as the frame shows it, before levels.

    Returns:
        (H, W) uint8, 255 is full foreground; read-only. Deeper masks are rounded to 8 bits.

    Raises:
        VideoError: As `Brightness.see` does.
    """
    colour = colour_of(frame)
    name, color_range = frame.format.name, colour.range
    parts = frame.format.components
    alone = sum(part.plane == 0 for part in parts) == 1
    if size is not None or not alone or frame.format.is_rgb or name.endswith("be"):
        height, width = size or (frame.height, frame.width)
        plain = alone and not frame.format.is_rgb and not name.endswith("be")
        frame = frame.reformat(
            width=width,
            height=height,
            format=name if plain else "gray",
            src_color_range=color_range,
            dst_color_range=color_range if plain else FULL,
            interpolation=int(Interpolation.BILINEAR | Interpolation.ACCURATE_RND),
        )
        color_range = color_range if plain else FULL
    bits = frame.format.components[0].bits
    return _look_up(views(frame)[0], bits, color_range, levels, brightness)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a frame's format has an alpha channel."""
    return any(part.is_alpha for part in frame.format.components)


def alpha_mask(frame: av.VideoFrame, levels: Levels, brightness: Brightness | None = None) -> Mask:
    """The coverage in a frame's alpha channel, which is always full range.

    Args:
        frame: With alpha.
        levels, brightness: As in `luma_mask`.

    Returns:
        (H, W) uint8, 255 is full foreground.

    Raises:
        VideoError: As `Brightness.see` does.
    """
    parts = list(frame.format.components)
    index = next(i for i, part in enumerate(parts) if part.is_alpha)
    if frame.format.name.endswith("be") or len({part.plane for part in parts}) < len(parts):
        deep = parts[index].bits > 8
        frame = frame.reformat(format="gbrap16le" if deep else "gbrap")
        parts = list(frame.format.components)
        index = next(i for i, part in enumerate(parts) if part.is_alpha)
    plane = views(frame)[parts[index].plane]
    return _look_up(plane, parts[index].bits, FULL, levels, brightness)
