"""Small image-to-image ONNX graphs: what somebody else's model may look like."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Shape = list[int | str]


def write_graph(
    path: Path,
    inputs: dict[str, Shape],
    nodes: list[onnx.NodeProto],
    outputs: dict[str, Shape],
    constants: dict[str, np.ndarray] | None = None,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write a float32 graph."""
    graph = helper.make_graph(
        nodes,
        "image",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


def write_gain(
    path: Path,
    gain: float = 0.8,
    joined: bool = False,
    size: int | str = 256,
    metadata: dict[str, str] | None = None,
) -> Path:
    """A graph that multiplies the image by a gain wherever the mask is, or everywhere.

    Args:
        path: The file.
        gain: The factor.
        joined: Take image and mask as one input of four channels.
        size: Height and width.
        metadata: Properties of the file.
    """
    constants = {"gain": np.float32([gain])}
    image: Shape = [1, 3, size, size]
    if joined:
        constants |= {"from": np.array([0]), "to": np.array([3]), "axis": np.array([1])}
        nodes = [
            helper.make_node("Slice", ["both", "from", "to", "axis"], ["rgb"]),
            helper.make_node("Mul", ["rgb", "gain"], ["harmonized"]),
        ]
        inputs: dict[str, Shape] = {"both": [1, 4, size, size]}
    else:
        # The mask is used, so that a graph fed with the inputs swapped would show it.
        nodes = [
            helper.make_node("Mul", ["composite", "gain"], ["darker"]),
            helper.make_node("Greater", ["mask", "zero"], ["inside"]),
            helper.make_node("Where", ["inside", "darker", "composite"], ["harmonized"]),
        ]
        constants["zero"] = np.float32([0])
        inputs = {"mask": [1, 1, size, size], "composite": image}
    return write_graph(path, inputs, nodes, {"harmonized": image}, constants, metadata)
