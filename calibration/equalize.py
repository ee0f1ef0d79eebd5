"""Make a layer's inputs alike in size before they share one 8-bit scale.

What an input is divided by, its column of the weight can be multiplied with:
s_j = max |x_j|^a / max |W_j|^a moves the unevenness from the one to the other (SmoothQuant, arXiv
2211.10438, equation 4, with the same exponent for both). In float32 the result is the same but for
rounding. Which exponent loses least differs from layer to layer: an input that is nearly always 0
on these images would be enlarged by it, and swamp the others on an image where it is not 0. So
each weight's exponent is chosen by the error on images that its divisors were not measured on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tqdm import tqdm

from calibration.graph import PredictorGraph, copied, fully_connected, put_nodes
from calibration.inputs import Feed
from calibration.ranges import open_session, run_tensors, with_outputs
from calibration.rewrite import EXPONENTS, LEVELS, quantize_weight

SMALLEST = 1e-3
"""Smallest magnitude of an input, as a share of the layer's largest, that its divisor follows: an
input that is 0 on all calibration images need not be 0 on others."""

Array = NDArray[np.float32]


def equalize(graph: PredictorGraph, feeds: Sequence[Feed]) -> PredictorGraph:
    """A predictor that computes the same, its fully connected layers' inputs scaled alike.

    Args:
        graph: The float32 predictor; convolutions stay as they are.
        feeds: Two images or more, on which the inputs' magnitudes are measured.

    Returns:
        The new graph with the same blocks. A weight whose inputs are divided has their factors
        beside it, under `inverse_name`.
    """
    layers = fully_connected(graph)
    inputs = _inputs(graph, sorted({layer.activation for layer in layers}), feeds)
    weights, inverses = dict(graph.weights), {}
    for name, axis in {layer.weight: layer.axis for layer in layers}.items():
        rows = np.stack([inputs[layer.activation] for layer in layers if layer.weight == name])
        weight = np.moveaxis(graph.weights[name], axis, 0)
        exponent = min(EXPONENTS, key=lambda each: _held_out_error(weight, rows, each))
        if exponent:
            divisor = divisors(weight, rows, exponent)
            inverses[name] = (1 / divisor).astype(np.float32)
            weights[name] = np.ascontiguousarray(np.moveaxis(weight * divisor, 0, axis))
    model = copied(graph.model)
    for tensor in model.graph.initializer:
        if tensor.name in inverses:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    for name, inverse in inverses.items():
        weights[inverse_name(name)] = inverse
        model.graph.initializer.append(numpy_helper.from_array(inverse, inverse_name(name)))
    divided = {layer.node: layer for layer in layers if layer.weight in inverses}
    nodes = []
    for node in model.graph.node:
        layer = divided.get(node.output[0])
        if layer is not None:
            node.input[0] = f"{layer.node}.equalized"
            factors = inverse_name(layer.weight)
            nodes.append(helper.make_node("Mul", [layer.activation, factors], [node.input[0]]))
        nodes.append(node)
    put_nodes(model, nodes)
    changed = tuple(
        replace(layer, activation=f"{layer.node}.equalized") if layer.node in divided else layer
        for layer in graph.layers
    )
    return replace(graph, model=model, weights=weights, layers=changed)


def inverse_name(weight: str) -> str:
    """The initializer that multiplies the inputs of an equalised weight's layers."""
    return f"{weight}.inverse"


def divisors(weight: Array, rows: Array, exponent: float) -> Array:
    """What each input is divided by.

    Args:
        weight: (outputs, inputs).
        rows: (looks, images, inputs).
        exponent: How much of the unevenness goes to the weight.

    Returns:
        (inputs,), above 0.
    """
    seen, own = np.abs(rows).max(axis=(0, 1)), np.abs(weight).max(axis=0)
    seen, own = (np.maximum(peaks, SMALLEST * peaks.max()) for peaks in (seen, own))
    result: Array = ((seen / own) ** exponent).astype(np.float32)
    return result


def _held_out_error(weight: Array, rows: Array, exponent: float) -> float:
    """Mean squared error of the rounded product, on each half with the other half's divisors."""
    halves = (rows[:, ::2], rows[:, 1::2])
    total = 0.0
    for measured, judged in (halves, halves[::-1]):
        divisor = divisors(weight, measured, exponent)
        values, scales = quantize_weight(weight * divisor, 0)
        flat = judged.reshape(-1, judged.shape[-1])
        scaled = flat / divisor
        step = np.maximum(np.abs(scaled).max(axis=1, keepdims=True), 1e-6) / LEVELS
        rounded = (np.rint(scaled / step) * step) @ (values * scales[:, None]).T
        total += float(((rounded - flat @ weight.T) ** 2).mean())
    return total


def _inputs(graph: PredictorGraph, names: Sequence[str], feeds: Sequence[Feed]) -> dict[str, Array]:
    """What fully connected layers read on each image: by activation, (images, inputs)."""
    if not names:
        return {}
    session = open_session(with_outputs(graph.model, names))
    inputs = {value.name for value in session.get_inputs()}
    rows: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for feed in tqdm(feeds, "inputs of layers", disable=None, unit="image"):
        for name, values in run_tensors(session, names, feed, inputs):
            rows[name].append(values)
    return {name: np.concatenate(values) for name, values in rows.items()}
