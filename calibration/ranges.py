"""Ranges of activations: how far the 8-bit scale of each tensor is to reach.

Four methods, all from the same histogram of magnitudes, since the scale is symmetric:

- minmax: the largest magnitude seen.
- percentile: the magnitude that `PERCENTILE` of the values stay below.
- entropy: the threshold whose quantised distribution has the smallest Kullback-Leibler divergence
  from the measured one (Migacz, "8-bit Inference with TensorRT", GTC 2017).
- mse: the threshold with the smallest mean squared error of rounding and clipping.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.cache import Key, read_cache, write_cache
from calibration.errors import CalibrationError
from calibration.graph import PredictorGraph
from calibration.images import ImageSet
from calibration.inputs import Feed
from calibration.rewrite import EXPONENTS, LEVELS
from harmonizer.predictor import plain_session

Method = Literal["minmax", "percentile", "entropy", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)

BINS = 2048
PERCENTILE = 99.99
STEPS = 16
"""Bins between two thresholds that entropy tries."""

SMALLEST = 0.2
"""Smallest threshold that mse tries, as a share of the largest magnitude."""

Counts = NDArray[np.float64]


def open_session(model: onnx.ModelProto) -> Any:
    """ONNX Runtime on a model in memory, with Q/DQ computed as written, in float.

    ONNX Runtime would fuse Q/DQ into its own integer kernels, whose rounding is not TensorRT's.
    """
    return plain_session(model.SerializeToString(), 1, disable_quant_qdq="1")


def calibrate(
    graph: PredictorGraph, images: ImageSet, method: Method, cache: Path | None = None
) -> dict[str, float]:
    """The ranges of every activation that a weighted layer reads, from the cache if it is there.

    Args:
        graph: The float32 predictor.
        images: What to run it on.
        method: How ranges follow from histograms.
        cache: File to read, or to write if there is none; None measures without one.

    Returns:
        By tensor, the largest magnitude to represent.

    Raises:
        CacheError: If the file belongs to another model, other images or another method.
        CalibrationError: As `collect_ranges` does.
    """
    settings = f"bins {BINS}, percentile {PERCENTILE}, exponents {EXPONENTS}"
    key = Key(graph.sha256, images.sha256, len(images.feeds), method, settings)
    tensors = sorted({layer.activation for layer in graph.layers})
    if cache is not None and cache.exists():
        return read_cache(cache, key, tensors)
    ranges = collect_ranges(graph.model, tensors, images.feeds, method)
    if cache is not None:
        write_cache(cache, key, ranges)
    return ranges


def collect_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed], method: Method
) -> dict[str, float]:
    """The range of each tensor over a set of images.

    Runs the model twice over the images: for the largest magnitudes, and (but for minmax) for
    histograms up to these.

    Args:
        model: Float32.
        tensors: Names of activations.
        feeds: The images.
        method: How a range follows from a histogram.

    Returns:
        By tensor, the largest magnitude to represent, above 0.

    Raises:
        CalibrationError: If a tensor is not finite, or 0 on all images.
    """
    names = sorted(set(tensors))
    session = open_session(with_outputs(model, names))
    inputs = {value.name for value in session.get_inputs()}
    largest = dict.fromkeys(names, 0.0)
    for feed in tqdm(feeds, "largest magnitudes", disable=None, unit="image"):
        for name, values in run_tensors(session, names, feed, inputs):
            peak = float(np.abs(values).max(initial=0))
            largest[name] = peak if not peak <= largest[name] else largest[name]
    for name, peak in largest.items():
        if not 0 < peak < float("inf"):  # written so that NaN fails too
            raise CalibrationError(
                f"activation {name} must vary and be finite on the calibration images; its largest "
                f"magnitude is {peak}. The model is damaged, or the images are unlike its input."
            )
    if method == "minmax":
        return largest
    histograms = {name: np.zeros(BINS) for name in names}
    for feed in tqdm(feeds, "histograms", disable=None, unit="image"):
        for name, values in run_tensors(session, names, feed, inputs):
            magnitudes = np.abs(values).ravel().astype(np.float32)
            histograms[name] += np.histogram(magnitudes, BINS, (0, largest[name]))[0]
    return {name: largest[name] * RULES[method](histograms[name]) for name in names}


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of the model that also answers with these tensors."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    present = {value.name for value in (*wider.graph.output, *wider.graph.input)}
    wider.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
    return wider


def run_tensors(
    session: Any, names: Sequence[str], feed: Feed, inputs: set[str]
) -> list[tuple[str, NDArray[Any]]]:
    """The tensors' values on one image; those that are inputs come from the feed."""
    wanted = [name for name in names if name not in inputs]
    results: Mapping[str, NDArray[Any]] = dict(
        zip(wanted, session.run(wanted, feed) if wanted else [], strict=True)
    )
    return [(name, feed[name] if name in inputs else results[name]) for name in names]


def percentile_threshold(histogram: Counts) -> float:
    """Share of the largest magnitude that `PERCENTILE` of the values stay below, in (0, 1]."""
    cumulated = np.cumsum(histogram) / histogram.sum()
    return float(np.searchsorted(cumulated, PERCENTILE / 100) + 1) / len(histogram)


def entropy_threshold(histogram: Counts) -> float:
    """Share of the largest magnitude with the least divergence when quantised, in (0, 1].

    The bin next to 0 is left out: 0 is exact on every scale, and what rectifiers pile up there
    would outweigh all else.
    """
    counts = histogram.copy()
    counts[0] = 0
    best, chosen = float("inf"), len(counts)
    for length in range(LEVELS + 1, len(counts) + 1, STEPS):
        inner = counts[:length]
        clipped = inner.copy()
        clipped[-1] += counts[length:].sum()
        group = np.arange(length) * (LEVELS + 1) // length
        filled = inner > 0
        totals = np.bincount(group, inner, LEVELS + 1)
        members = np.bincount(group, filled, LEVELS + 1)
        spread = np.where(filled, totals[group] / np.maximum(members[group], 1), 0)
        divergence = _divergence(clipped, spread)
        if divergence < best:
            best, chosen = divergence, length
    return chosen / len(counts)


def _divergence(p: Counts, q: Counts) -> float:
    """Kullback-Leibler divergence of q from p, both normalised here; bins that q lacks count."""
    if not p.any() or not q.any():
        return float("inf")
    p, q = p / p.sum(), np.maximum(q / q.sum(), 1e-9)
    held = p > 0
    return float((p[held] * np.log(p[held] / q[held])).sum())


def mse_threshold(histogram: Counts) -> float:
    """Share of the largest magnitude with the least squared error when quantised, in (0, 1]."""
    centres = (np.arange(len(histogram)) + 0.5) / len(histogram)
    candidates = np.linspace(SMALLEST, 1, 161)
    errors = []
    for threshold in candidates:
        step = threshold / LEVELS
        quantised = np.minimum(np.rint(centres / step), LEVELS) * step
        errors.append(float((histogram * (centres - quantised) ** 2).sum()))
    return float(candidates[int(np.argmin(errors))])


RULES: Mapping[str, Callable[[Counts], float]] = {
    "percentile": percentile_threshold,
    "entropy": entropy_threshold,
    "mse": mse_threshold,
}
