"""Latencies for benchmarks: of which calls, on which pictures, with which arguments."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS

TYPICAL = Arguments(DEFAULT_FILTERS, (0.12, -0.15, 0.2, 0.25, -0.1, 0.15))
"""Arguments of an ordinary correction; every filter has work to do."""

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Measurement:
    """Latencies of one operation.

    Attributes:
        name: What was timed.
        width, height: Of the image, in pixels.
        foreground: Share of the image under the mask.
        dtype: Of the image.
        runs: How many calls were timed, after warm-up.
        min_ms, p50_ms, p90_ms, p99_ms: Latency of a call.
    """

    name: str
    width: int
    height: int
    foreground: float
    dtype: str
    runs: int
    min_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float


def time_calls(
    function: Callable[[], object], seconds: float = 1.0, at_least: int = 10
) -> list[float]:
    """Call a function repeatedly and return each call's time in milliseconds.

    Two calls warm caches and threads and are not counted.
    """
    for _ in range(2):
        function()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < at_least or time.perf_counter() < end:
        began = time.perf_counter()
        function()
        times.append((time.perf_counter() - began) * 1e3)
    return times


def summarize(name: str, image: Array, foreground: float, times: list[float]) -> Measurement:
    """Percentiles of measured times; `image` gives size and type."""
    ordered = sorted(times)

    def percentile(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)

    return Measurement(
        name=name,
        width=image.shape[1],
        height=image.shape[0],
        foreground=foreground,
        dtype=str(image.dtype),
        runs=len(times),
        min_ms=round(ordered[0], 4),
        p50_ms=round(statistics.median(ordered), 4),
        p90_ms=percentile(0.9),
        p99_ms=percentile(0.99),
    )


def picture(width: int, height: int, dtype: str = "uint8") -> Array:
    """A picture with a photograph's traits: soft shapes, many colours, a little sensor noise."""
    random = np.random.default_rng(11)
    y = np.linspace(0, 7, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 9, width, dtype=np.float32)[None, :]
    channels = [
        0.5 + 0.45 * np.sin(x + phase + np.sin(y * 1.3)) * np.cos(y * 0.7 - phase)
        for phase in (0.0, 0.6, 1.5)
    ]
    colours = np.stack(channels, axis=2)
    colours += random.standard_normal(colours.shape, np.float32) * 0.015
    colours = colours.clip(0, 1)
    if dtype == "float32":
        return colours
    return (colours * np.iinfo(dtype).max + 0.5).astype(dtype)


def rectangle(width: int, height: int, share: float) -> NDArray[np.uint8]:
    """A mask whose foreground is a centred rectangle of a share of the area."""
    mask = np.zeros((height, width), np.uint8)
    side = share**0.5
    top, left = round(height * (1 - side) / 2), round(width * (1 - side) / 2)
    mask[top : height - top, left : width - left] = 255
    return mask
