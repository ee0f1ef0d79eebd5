"""Make a layer's inputs alike in size before they share one 8-bit scale.

The statistics that the MLP reads are normalised by their variance over the training images: those
that are nearly always 0 are large when they are not. One scale for all of them either clips these
or is too coarse for the others. What an input is divided by, its column of the weight can be
multiplied with: s_j = sqrt(max |x_j| / max |W_j|) balances both (SmoothQuant, arXiv 2211.10438,
equation 4 with alpha = 1/2). In float32 the result is the same but for rounding.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from tqdm import tqdm

from calibration.graph import PredictorGraph
from calibration.images import Feed
from calibration.ranges import open_session, run_tensors, with_outputs

SMALLEST = 1e-3
"""Smallest magnitude of an input, as a share of the layer's largest, that its factor follows: an
input that is 0 on all calibration images need not be 0 on others."""


def equalize(graph: PredictorGraph, feeds: Sequence[Feed]) -> PredictorGraph:
    """A predictor that computes the same, its fully connected layers' inputs scaled alike.

    Args:
        graph: The float32 predictor; convolutions stay as they are.
        feeds: Images on which the inputs' magnitudes are measured.

    Returns:
        The new graph; block names are the same, `sha256` is of its content.
    """
    weighted = {layer.node: layer for layer in graph.layers}
    gemms = {n.output[0]: n for n in graph.model.graph.node if n.op_type == "Gemm"}
    layers = [layer for name, layer in weighted.items() if name in gemms]
    if not layers:
        return graph
    peaks = _peaks(graph, sorted({layer.activation for layer in layers}), feeds)
    by_weight: dict[str, NDArray[np.float32]] = {}
    for layer in layers:
        seen = peaks[layer.activation]
        by_weight[layer.weight] = np.maximum(by_weight.get(layer.weight, seen), seen)
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    weights, divisors = dict(graph.weights), {}
    for layer in layers:
        if layer.weight not in divisors:
            weight = graph.weights[layer.weight]
            own = np.abs(weight).max(axis=layer.axis)
            inputs = by_weight[layer.weight]
            inputs = np.maximum(inputs, SMALLEST * inputs.max())
            divisor = np.sqrt(inputs / np.maximum(own, SMALLEST * own.max())).astype(np.float32)
            divisors[layer.weight] = divisor
            weights[layer.weight] = weight * np.expand_dims(divisor, layer.axis)
    for tensor in model.graph.initializer:
        if tensor.name in divisors:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    nodes, changed = [], []
    for node in model.graph.node:
        found = weighted.get(node.output[0])
        if found is not None and node.output[0] in gemms:
            scaled = f"{node.output[0]}.equalized"
            nodes.append(
                helper.make_node("Mul", [found.activation, f"{found.weight}.inverse"], [scaled])
            )
            node.input[0] = scaled
            found = replace(found, activation=scaled)
        if found is not None:
            changed.append(found)
        nodes.append(node)
    for name, divisor in divisors.items():
        inverse = (1 / divisor).astype(np.float32)
        weights[f"{name}.inverse"] = inverse
        model.graph.initializer.append(numpy_helper.from_array(inverse, f"{name}.inverse"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    digest = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    return replace(graph, model=model, weights=weights, layers=tuple(changed), sha256=digest)


def _peaks(
    graph: PredictorGraph, names: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each input of each activation (N, C)."""
    session = open_session(with_outputs(graph.model, names))
    inputs = {value.name for value in session.get_inputs()}
    peaks: dict[str, NDArray[np.float32]] = {}
    for feed in tqdm(feeds, "inputs of layers", disable=None, unit="image"):
        for name, values in run_tensors(session, names, feed, inputs):
            largest = np.abs(values).max(axis=0)
            peaks[name] = np.maximum(peaks.get(name, largest), largest)
    return peaks
