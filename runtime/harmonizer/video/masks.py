"""Masks out of video frames: luma or alpha to coverage, with the coder's noise taken off."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from harmonizer.video.colour import FULL, LIMITED, colour_of
from harmonizer.video.errors import VideoError
from harmonizer.video.planes import Mask, views

Table = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Levels:
    """Values that count as no and as full foreground, 0 to 255; between them it is linear.

    Lossy coding leaves noise of a few levels where a mask is black or white; without these limits
    it would be drawn on, and the background would not stay as it is.

    Raises:
        VideoError: If they are not 0 <= black < white <= 255.
    """

    black: int = 8
    white: int = 247

    def __post_init__(self) -> None:
        if not 0 <= self.black < self.white <= 255:
            raise VideoError(
                "mask levels must be two numbers, 0 <= black < white <= 255; got "
                f"{self.black}, {self.white}. 0,255 takes the mask as it is."
            )


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


def _look_up(plane: NDArray[Any], bits: int, color_range: int, levels: Levels) -> Mask:
    table = _table(bits, color_range, levels)
    if bits == 8:
        # Five times as fast as numpy's indexing.
        data = plane.tobytes().translate(table.tobytes())
        return np.frombuffer(data, np.uint8).reshape(plane.shape)
    mask: Mask = table[plane]
    return mask


def luma_mask(frame: av.VideoFrame, levels: Levels, size: tuple[int, int] | None = None) -> Mask:
    """The coverage that a black-and-white frame shows.

    Args:
        frame: Any format; colours count by their luma.
        levels: What is black and white.
        size: (height, width) to scale to, or None.

    Returns:
        (H, W) uint8, 255 is full foreground; read-only. Deeper masks are rounded to 8 bits.
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
    return _look_up(views(frame)[0], frame.format.components[0].bits, color_range, levels)


def has_alpha(frame: av.VideoFrame) -> bool:
    """Whether a frame's format has an alpha channel."""
    return any(part.is_alpha for part in frame.format.components)


def alpha_mask(frame: av.VideoFrame, levels: Levels) -> Mask:
    """The coverage in a frame's alpha channel, which is always full range.

    Returns:
        (H, W) uint8, 255 is full foreground.
    """
    parts = list(frame.format.components)
    index = next(i for i, part in enumerate(parts) if part.is_alpha)
    if frame.format.name.endswith("be") or len({part.plane for part in parts}) < len(parts):
        deep = parts[index].bits > 8
        frame = frame.reformat(format="gbrap16le" if deep else "gbrap")
        parts = list(frame.format.components)
        index = next(i for i, part in enumerate(parts) if part.is_alpha)
    return _look_up(views(frame)[parts[index].plane], parts[index].bits, FULL, levels)
