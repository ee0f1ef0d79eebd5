"""Write a graph again with some of its blocks in INT8 (Q/DQ) or in half precision.

INT8 is placed as TensorRT 10.12 and newer fuse it: symmetric signed 8 bits, one scale for an
activation and one for each output channel of a weight, Q/DQ before weighted layers and never
behind them, biases in float, and the shortcut of a residual sum quantised so that the sum joins the
convolution. Everything is said in the graph, since TensorRT 11 takes a precision from nowhere else.
"""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from calibration.errors import CalibrationError
from calibration.graph import Layer, PredictorGraph, copied, put_nodes

LEVELS = 127
"""Largest magnitude of a symmetric signed 8-bit value; -128 is left unused."""

EXPONENTS = (0.0, 0.25, 0.5)
"""Of the divisors that `equalize` tries for each weight; 0 leaves it as it is."""

HALF_LARGEST = float(np.finfo(np.float16).max)

_FOLLOWING = ("Sigmoid", "Mul", "Add", "Relu", "Concat", "MaxPool")
"""Operators that stay in half precision between two layers that are. Means are not among them: sums
over thousands of pixels do not bear 11 bits, for statistics and pooling alike."""


def quantize_blocks(
    graph: PredictorGraph, blocks: Collection[str], ranges: Mapping[str, float]
) -> onnx.ModelProto:
    """A copy of the model with Q/DQ pairs around the layers of some blocks.

    Args:
        graph: The float32 predictor.
        blocks: Which of its blocks.
        ranges: Largest magnitude that each activation of those blocks is to hold.

    Returns:
        The model; with no blocks, one that computes the same.

    Raises:
        CalibrationError: If a range is missing, 0 or not finite.
    """
    return _Quantizer(graph, ranges).rewrite(blocks)


class _Quantizer:
    """One rewriting: what is added, and which nodes read what instead."""

    def __init__(self, graph: PredictorGraph, ranges: Mapping[str, float]) -> None:
        self.graph, self.ranges = graph, ranges
        self.initializers: list[TensorProto] = []
        self.pairs: dict[str, tuple[NodeProto, ...]] = {}

    def rewrite(self, blocks: Collection[str]) -> onnx.ModelProto:
        chosen = {layer.node: layer for layer in self.graph.layers if layer.block in blocks}
        model = copied(self.graph.model)
        nodes: list[NodeProto] = []
        emitted: set[str] = set()

        def emit(tensor: str, pair: tuple[NodeProto, ...]) -> str:
            if tensor not in emitted:
                emitted.add(tensor)
                nodes.extend(pair)
            return str(pair[-1].output[0])

        for node in model.graph.node:
            layer = chosen.get(node.output[0])
            if layer is not None:
                node.input[0] = emit(layer.activation, self._activation(layer.activation))
                node.input[1] = emit(layer.weight, self._weight(layer))
            elif node.op_type == "Add":
                # Of a residual sum one side is a quantised layer's output that nothing else reads,
                # the other the shortcut, which that block's first layer has quantised already.
                first, second = node.input
                for place, side, other in ((0, first, second), (1, second, first)):
                    if side in self.pairs and other in chosen and other not in self.pairs:
                        node.input[place] = self.pairs[side][-1].output[0]
            nodes.append(node)
        put_nodes(model, nodes)
        _drop_unused(model.graph, self.initializers)
        return model

    def _activation(self, tensor: str) -> tuple[NodeProto, ...]:
        if tensor not in self.pairs:
            largest = self.ranges.get(tensor, float("nan"))
            if not (0 < largest < float("inf")):  # written so that NaN fails too
                raise CalibrationError(
                    f"the range of activation {tensor} must be finite and above 0; got {largest}. "
                    "If the images are photographs, the model is damaged; export it again."
                )
            scale, zero = f"{tensor}.scale", f"{tensor}.zero"
            self._constant(scale, np.float32(largest / LEVELS))
            self._constant(zero, np.int8(0))
            self.pairs[tensor] = (
                helper.make_node(
                    "QuantizeLinear", [tensor, scale, zero], [f"{tensor}.q"], f"{tensor}.quantize"
                ),
                helper.make_node(
                    "DequantizeLinear",
                    [f"{tensor}.q", scale, zero],
                    [f"{tensor}.dq"],
                    f"{tensor}.dequantize",
                ),
            )
        return self.pairs[tensor]

    def _weight(self, layer: Layer) -> tuple[NodeProto, ...]:
        name = layer.weight
        if name not in self.pairs:
            values, scales = quantize_weight(self.graph.weights[name], layer.axis)
            self._constant(f"{name}.int8", values)
            self._constant(f"{name}.scale", scales)
            self._constant(f"{name}.zero", np.zeros(len(scales), np.int8))
            self.pairs[name] = (
                helper.make_node(
                    "DequantizeLinear",
                    [f"{name}.int8", f"{name}.scale", f"{name}.zero"],
                    [f"{name}.dq"],
                    f"{name}.dequantize",
                    axis=layer.axis,
                ),
            )
        return self.pairs[name]

    def _constant(self, name: str, value: object) -> None:
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))


def quantize_weight(
    weight: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric 8-bit values of a weight, and the scale of each output channel.

    Args:
        weight: Any shape.
        axis: Of the output channels.

    Returns:
        int8 in [-127, 127] of the weight's shape, and one float32 scale a channel; a channel of
        zeros has scale 1, with which they stay zeros.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scales = np.where(largest > 0, largest / LEVELS, 1).astype(np.float32)
    values = np.clip(np.rint(weight / scales), -LEVELS, LEVELS).astype(np.int8)
    return values, scales.reshape(-1)


def halve_blocks(graph: PredictorGraph, blocks: Collection[str]) -> onnx.ModelProto:
    """A copy of the model with some blocks, and what lies between them, in half precision.

    Args:
        graph: The float32 predictor.
        blocks: Which of its blocks.

    Raises:
        CalibrationError: If a weight exceeds half precision's range.
    """
    model = copied(graph.model)
    half = _half_nodes(graph, blocks)
    halved = {output for node in half.values() for output in node.output}
    outputs = {value.name for value in model.graph.output}
    read_as_float = outputs | {
        name for n in model.graph.node if n.output[0] not in half for name in n.input
    }
    constants: dict[str, TensorProto] = {}
    nodes: list[NodeProto] = []
    cast: set[str] = set()
    for node in model.graph.node:
        if node.output[0] not in half:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            node.input[place] = f"{name}.half"
            if name in graph.weights:
                constants[name] = _halved(name, graph.weights[name])
            elif name not in halved and name not in cast:
                cast.add(name)
                nodes.append(_cast(name, f"{name}.half", TensorProto.FLOAT16))
        plain = list(node.output)
        node.output[:] = [f"{name}.half" for name in plain]
        nodes.append(node)
        nodes.extend(
            _cast(f"{name}.half", name, TensorProto.FLOAT)
            for name in plain
            if name in read_as_float
        )
    put_nodes(model, nodes)
    _drop_unused(model.graph, list(constants.values()))
    return model


def _half_nodes(graph: PredictorGraph, blocks: Collection[str]) -> dict[str, NodeProto]:
    """The nodes in half precision, by their first output."""
    chosen = {layer.node for layer in graph.layers if layer.block in blocks}
    half: dict[str, NodeProto] = {}
    for node in graph.model.graph.node:
        name = node.output[0]
        data = [source for source in node.input if source not in graph.weights]
        follows = node.op_type in _FOLLOWING and data and all(source in half for source in data)
        if name in chosen or follows:
            half[name] = node
    return half


def _halved(name: str, weight: NDArray[np.float32]) -> TensorProto:
    largest = float(np.abs(weight).max(initial=0))
    if not largest <= HALF_LARGEST:  # written so that NaN fails too
        raise CalibrationError(
            f"weights in half precision must not exceed {HALF_LARGEST:g}; {name} has {largest:g}. "
            "Keep its block in float32 with --keep."
        )
    return numpy_helper.from_array(weight.astype(np.float16), f"{name}.half")


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], f"{target}.cast", to=kind)


def _drop_unused(graph: onnx.GraphProto, added: list[TensorProto]) -> None:
    """Keep the initializers, old and added, that some node still reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in (*graph.initializer, *added) if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
