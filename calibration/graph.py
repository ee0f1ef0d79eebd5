"""A predictor's ONNX graph as the precision tools see it: weighted layers, named and in blocks.

A block is what changes its precision as one: an EfficientNet block without its squeeze-and-excite
layers, those by themselves, the two stems, the head, a SqueezeNet Fire, a layer of the MLP, the
regressor, each part of a curve module. Names are those of the weights in the file. Where a weight
serves several looks, or S2CRNet's background and stages, each use is a block of its own: errors of
a look are corrected by the looks that follow it, so the last one is the delicate one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from calibration.errors import QuantizedModelError
from harmonizer.contract import REMEDY, THUMBNAIL_SIZE, Contract, read_contract
from harmonizer.errors import ModelError
from harmonizer.onnx_files import load_onnx

WEIGHTED = ("Conv", "Gemm")
"""Operators whose weights dominate; the MatMuls of the statistics have none."""

_QUANTIZED = re.compile(r"QuantizeLinear|DynamicQuantize|QLinear|QGemm|Integer$")


@dataclass(frozen=True)
class Layer:
    """One use of a weight.

    Attributes:
        node: The node's output, which names it uniquely.
        block: Which block it belongs to.
        activation, weight: Names of the two tensors that are multiplied.
        axis: The weight's axis of output channels.
        macs: Multiplications for one image.
    """

    node: str
    block: str
    activation: str
    weight: str
    axis: int
    macs: int


@dataclass(frozen=True)
class PredictorGraph:
    """A float32 predictor.

    Attributes:
        path: The file.
        model: Its content, or what was made of it; never changed, `rewrite` works on copies.
        sha256: Of the file.
        metadata: What it says of itself.
        contract: What it reads and answers with.
        layers: In the order of execution.
        weights: Initializers by name.
    """

    path: Path
    model: onnx.ModelProto
    sha256: str
    metadata: Mapping[str, str]
    contract: Contract
    layers: tuple[Layer, ...]
    weights: Mapping[str, NDArray[Any]]

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks, in the order of execution."""
        return tuple(dict.fromkeys(layer.block for layer in self.layers))

    def macs(self, block: str) -> int:
        """Multiplications of a block for one image."""
        return sum(layer.macs for layer in self.layers if layer.block == block)


def load_graph(path: str | Path) -> PredictorGraph:
    """Read a predictor whose precision is to be reduced.

    Args:
        path: A float32 ``.onnx`` file of ``export/to_onnx.py --variant predictor``.

    Raises:
        QuantizedModelError: If it holds Q/DQ or integer nodes, or half-precision weights.
        ModelError: If it is missing, not ONNX, not a predictor of ours, or has no weighted layer.
    """
    path = Path(path)
    file = load_onnx(path)
    try:
        model = onnx.load_from_string(file.data)
    except DecodeError as error:
        raise ModelError(
            f"{path} must be a complete ONNX model; it cannot be parsed ({error}). {REMEDY}"
        ) from error
    contract = read_contract(path, file.metadata)
    _check_precision(path, model)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    layers = _layers(model, weights)
    if not layers:
        raise ModelError(
            f"{path} must have {' or '.join(WEIGHTED)} layers with constant weights; it has none, "
            "so there is nothing whose precision could be reduced. Export it again."
        )
    return PredictorGraph(path, model, file.sha256, file.metadata, contract, layers, weights)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy to change, without the shapes that the file notes of tensors inside."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    return copy


def put_nodes(model: onnx.ModelProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Give a model these nodes in place of its own, of which they may be some."""
    kept = list(nodes)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def fully_connected(graph: PredictorGraph) -> list[Layer]:
    """The layers that read one row of each image: all but the convolutions."""
    gemms = {node.output[0] for node in graph.model.graph.node if node.op_type == "Gemm"}
    return [layer for layer in graph.layers if layer.node in gemms]


def _check_precision(path: Path, model: onnx.ModelProto) -> None:
    quantized = [n.op_type for n in model.graph.node if _QUANTIZED.search(n.op_type)]
    half = [t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT16]
    if quantized or half:
        found = (
            f"{len(quantized)} nodes such as {quantized[0]}"
            if quantized
            else f"{len(half)} half-precision weights such as {half[0]}"
        )
        raise QuantizedModelError(
            f"{path} must be a float32 export; it has {found}: its precision is reduced already. "
            "Give the float32 file that it was made from: python export/to_onnx.py --checkpoint "
            "CKPT --output FILE.onnx"
        )


def _layers(model: onnx.ModelProto, weights: Mapping[str, NDArray[Any]]) -> tuple[Layer, ...]:
    sized = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*sized.value_info, *sized.input, *sized.output)
    }
    nodes = [n for n in model.graph.node if n.op_type in WEIGHTED and n.input[1] in weights]
    uses = Counter(node.input[1] for node in nodes)
    sources = _sources(model)
    seen: Counter[str] = Counter()
    layers = []
    for node in nodes:
        activation, weight = node.input[:2]
        look = ""
        if uses[weight] > 1:
            look = "@background"
            if sources[activation] != {"background"}:
                seen[weight] += 1
                word = "stage" if "foreground" in sources[activation] else "look"
                look = f"@{word}{seen[weight]}"
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Conv":
            axis = 0
            pixels = int(np.prod(shapes.get(node.output[0], [0])[2:])) or THUMBNAIL_SIZE**2
        else:
            axis = 0 if options.get("transB", 0) else 1
            pixels = 1
        macs = int(weights[weight].size) * pixels
        block = block_of(weight) + look
        layers.append(Layer(node.output[0], block, activation, weight, axis, macs))
    return tuple(layers)


def _sources(model: onnx.ModelProto) -> dict[str, set[str]]:
    """Which of the graph's inputs each tensor follows from."""
    sources = {value.name: {value.name} for value in model.graph.input}
    for node in model.graph.node:
        read = set().union(*(sources.get(name, set()) for name in node.input))
        sources.update(dict.fromkeys(node.output, read))
    return sources


def block_of(weight: str) -> str:
    """The block of a weight, from its name in the file."""
    name = weight.removesuffix(".weight")
    if re.fullmatch(r"encoder\.stem_[a-z]+", name):
        return "encoder.stem"
    match = re.fullmatch(r"(encoder\.blocks\.\d+\.\d+)\.(\w+).*", name)
    if match:
        return f"{match[1]}.se" if match[2] == "se" else match[1]
    match = re.fullmatch(r"(encoder\.\d+)\.(squeeze|expand1x1|expand3x3)", name)
    if match:
        return f"{match[1]}.fire"
    match = re.fullmatch(r"(curves\.\d+\.label)\.\d+", name)
    if match:
        return match[1]
    # Folded into one layer, as exports are, or not: it is one block.
    return "regressor" if name.startswith("regressor.") else name
