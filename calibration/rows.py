"""Give each row of a fully connected layer's input a scale of its own: the image's.

In colours that the calibration images hardly show, an activation reaches values that no fixed scale
holds without being too coarse for all others. What a layer reads of one image is one row: divided
by its largest magnitude it lies in [-1, 1], where a fixed scale fits every image, and the product
is multiplied back. These are ordinary operators around the layer, so that TensorRT, which has no
dynamic scales for 8-bit integers, takes them too; for a convolution's input, which is thousands of
times larger than a row, they would cost more than they bring.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calibration.graph import PredictorGraph, copied, fully_connected, put_nodes

SMALLEST = 1e-6
"""Smallest magnitude that a row is divided by: a row of zeros stays one."""


def scale_rows(graph: PredictorGraph, blocks: Collection[str]) -> PredictorGraph:
    """A predictor that computes the same, with rows of [-1, 1] before fully connected layers.

    Args:
        graph: A float32 predictor.
        blocks: Those whose fully connected layers are meant; others stay as they are.

    Returns:
        The new graph with the same blocks; its scaled layers read other activations.
    """
    chosen = {layer.node: layer for layer in fully_connected(graph) if layer.block in blocks}
    if not chosen:
        return graph
    model = copied(graph.model)
    constants = {"rows.axis": np.array([1]), "rows.smallest": np.array(SMALLEST, np.float32)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in constants.items()
    )
    nodes: list[onnx.NodeProto] = []
    changed = {}
    for node in model.graph.node:
        layer = chosen.get(node.output[0])
        if layer is None:
            nodes.append(node)
            continue
        size, peak, bounded, scaled, product, sized = (
            f"{layer.node}.{name}"
            for name in ("size", "peak", "bounded", "scaled", "product", "sized")
        )
        bias = list(node.input[2:])
        del node.input[2:]
        node.input[0], node.output[0] = scaled, product
        nodes += [
            helper.make_node("Abs", [layer.activation], [size]),
            helper.make_node("ReduceMax", [size, "rows.axis"], [peak], keepdims=1),
            helper.make_node("Max", [peak, "rows.smallest"], [bounded]),
            helper.make_node("Div", [layer.activation, bounded], [scaled]),
            node,
            helper.make_node("Mul", [product, bounded], [sized if bias else layer.node]),
        ]
        if bias:
            nodes.append(helper.make_node("Add", [sized, *bias], [layer.node]))
        changed[layer.node] = replace(layer, node=product, activation=scaled)
    put_nodes(model, nodes)
    layers = tuple(changed.get(layer.node, layer) for layer in graph.layers)
    return replace(graph, model=model, weights={**graph.weights, **constants}, layers=layers)
