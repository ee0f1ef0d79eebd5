"""The tone curves of a plan that keeps the channels apart: as a table and as a picture."""

import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from harmonizer.errors import ArgumentsError
from harmonizer.ops import OPERATIONS

if TYPE_CHECKING:
    from harmonizer.backends import Renderer
    from harmonizer.plan import Plan

TABLE_SIZE = 4096
"""Entries of a saved table: 64 between two knots of a curve."""

_COLOURS = ("#d42a2a", "#1f9d3a", "#2456d6")
_SIDE, _MARGIN, _FINER = 640, 48, 3


def tabulate(renderer: "Renderer", plan: "Plan", size: int = TABLE_SIZE) -> NDArray[np.float32]:
    """What each channel becomes.

    Args:
        renderer: Draws the values.
        plan: Of operations that keep the channels apart.
        size: How many values from 0 to 1.

    Returns:
        (size, 3) float32 in [0, 1], R, G, B.

    Raises:
        ArgumentsError: If an operation of the plan mixes the channels: there are no curves then.
    """
    mixing = [name for name in plan.filters if OPERATIONS[name].scope == "pixel"]
    if mixing:
        raise ArgumentsError(
            f"curves must come from filters that keep the channels apart; {', '.join(mixing)} "
            "mixes them. Use a model that predicts curves, or save the look with `harmonizer lut`."
        )
    ramp = np.repeat(np.linspace(0, 1, size, dtype=np.float32)[None, :, None], 3, axis=2)
    drawn: NDArray[np.float32] = renderer.draw(ramp, None, plan)[0]
    return drawn


def plot(table: NDArray[np.float32], title: str) -> bytes:
    """Draw a table's three curves over a grid, the identity as a thin line.

    Args:
        table: (n, 3) in [0, 1].
        title: Written above.

    Returns:
        A PNG file's bytes.
    """
    side, margin = _SIDE * _FINER, _MARGIN * _FINER
    picture = Image.new("RGB", (side + 2 * margin, side + 2 * margin), "white")
    pen = ImageDraw.Draw(picture)

    def at(x: float, y: float) -> tuple[float, float]:
        return margin + x * side, margin + (1 - y) * side

    font = ImageFont.load_default(12 * _FINER)
    for quarter in np.linspace(0, 1, 5):
        pen.line([at(quarter, 0), at(quarter, 1)], "#d8d8d8", _FINER)
        pen.line([at(0, quarter), at(1, quarter)], "#d8d8d8", _FINER)
        x, y = at(quarter, 0)
        pen.text((x, y + 6 * _FINER), f"{quarter:g}", "#606060", font, anchor="mt")
        x, y = at(0, quarter)
        pen.text((x - 6 * _FINER, y), f"{quarter:g}", "#606060", font, anchor="rm")
    pen.line([at(0, 0), at(1, 1)], "#909090", _FINER)
    positions = np.linspace(0, 1, len(table))
    for channel, colour in enumerate(_COLOURS):
        points = [at(*point) for point in zip(positions, table[:, channel], strict=True)]
        pen.line(points, colour, 2 * _FINER, joint="curve")
    pen.text((margin, margin // 2), title, "#202020", font, anchor="lm")
    small = picture.resize((picture.width // _FINER,) * 2, Image.Resampling.LANCZOS)
    target = io.BytesIO()
    small.save(target, "PNG", optimize=True)
    return target.getvalue()
