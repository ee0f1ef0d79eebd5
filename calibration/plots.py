"""The plots of the gate's report, as PNG files' bytes."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np

from calibration.judging import Judgement, Row
from calibration.pictures import columns

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOTS = 150
"""Dots per inch of the files."""

BLOCKS_SHOWN = 60

_BLUE, _ORANGE, _GREEN = "#1f5fa8", "#d98324", "#5f8f3e"


def plot_scatter(judgement: Judgement) -> bytes:
    """How far the candidate's arguments are from the reference's, a panel for each operation.

    Plain values would all lie on the diagonal: what is lost is small beside what is predicted.
    """
    panels = list(columns(judgement.contract))
    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    figure, axes = plt.subplots(
        down, across, figsize=(max(3.6 * across, 5), 3.4 * down), squeeze=False
    )
    reference = np.stack([case.reference for case in judgement.cases])
    candidate = np.stack([case.candidate for case in judgement.cases])
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (name, place) in zip(axes.flat, panels, strict=False):
        x = reference[:, place].ravel()
        apart = candidate[:, place].ravel() - x
        size, alpha = (9, 0.6) if len(x) == len(reference) else (2, 0.2)
        axis.axhline(0, color="#b0b8c0", linewidth=1, zorder=1)
        axis.scatter(x, apart, s=size, color=_BLUE, alpha=alpha, linewidths=0, zorder=2)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("reference", fontsize=8)
        axis.set_ylabel("candidate - reference", fontsize=8)
        axis.tick_params(labelsize=8)
    return _png(figure)


def plot_histogram(judgement: Judgement) -> bytes:
    """How many images lose how much, by set."""
    figure, axis = plt.subplots(figsize=(7.5, 2.6))
    names = list(judgement.levels)
    values = [[c.delta_e_mean for c in judgement.cases if c.set == name] for name in names]
    axis.hist(values, bins=30, label=names, color=[_BLUE, _ORANGE, _GREEN][: len(names)])
    axis.set_xlim(left=0)
    axis.set_xlabel("mean delta-E 2000 of an image's foreground", fontsize=9)
    axis.set_ylabel("images", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=8, frameon=False)
    return _png(figure)


def plot_blocks(blocks: Sequence[Row]) -> bytes:
    """What each block loses alone, in the order of execution; the worst, if there are many."""
    shown = sorted(blocks, key=lambda b: float(b["delta_e_mean"]), reverse=True)[:BLOCKS_SHOWN]
    names = {block["name"] for block in shown}
    shown = [block for block in blocks if block["name"] in names]  # the order of execution
    figure, axis = plt.subplots(figsize=(8.5, 0.6 + 0.22 * len(shown)))
    places = np.arange(len(shown))
    colours = [_BLUE if block["reduced"] else _ORANGE for block in shown]
    bars = axis.barh(places, [float(block["delta_e_mean"]) for block in shown], color=colours)
    labels = [f"{block['delta_e_mean']:.3f}, {_count(block['macs'])}" for block in shown]
    axis.bar_label(bars, labels, padding=3, fontsize=7, color="#4a545e")
    axis.margins(x=0.2, y=0.01)
    axis.set_yticks(places, [block["name"] for block in shown], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(
        "mean delta-E, and multiplications (blue: reduced in the result, orange: float32)",
        fontsize=9,
    )
    axis.tick_params(axis="x", labelsize=8)
    return _png(figure)


def _count(number: int) -> str:
    """Multiplications, short."""
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} M"
    return f"{number / 1e3:.3g} k"


def _png(figure: Any) -> bytes:
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.tight_layout()
    figure.savefig(buffer, format="png", dpi=DOTS, metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()
