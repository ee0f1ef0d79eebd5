"""Real predictors of a few weights: the means of their inputs through one linear layer."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harmonizer.contract import LABELS
from harmonizer.ops import DEFAULT_FILTERS


def weights(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The layer's matrix (4, count) and offset (count,), the same every time."""
    generator = np.random.default_rng(11)
    matrix = generator.uniform(-0.3, 0.3, (4, count)).astype(np.float32)
    return matrix, generator.uniform(-0.1, 0.1, count).astype(np.float32)


def _finite(offset: float) -> float:
    return offset if np.isfinite(offset) else 0.0


def _offset_nodes(source: str, answer: str, offset: float) -> list[onnx.NodeProto]:
    """The last layer; an infinite offset, or one that is not a number, comes of running it."""
    made = ["answer", "overflow", answer] if np.isnan(offset) else ["answer", answer]
    made = [answer] if np.isfinite(offset) else made
    nodes = [helper.make_node("Gemm", [source, "matrix", "bias"], [made[0]])]
    for index, operator in enumerate(("Add", "Sub")[: len(made) - 1]):
        nodes.append(helper.make_node(operator, [made[index], "infinity"], [made[index + 1]]))
    return nodes


def write_predictor(
    path: Path,
    filters: tuple[str, ...] = DEFAULT_FILTERS,
    metadata: dict[str, str] | None = None,
    size: int = 256,
    outputs: int | None = None,
    batch: int | str = "N",
    offset: float = 0.0,
    names: tuple[str, str, str] = ("composite", "mask", "arguments"),
    external: bool = False,
) -> Path:
    """Write the model; the keywords bend one rule of the contract each."""
    count = len(filters) if outputs is None else outputs
    matrix, bias = weights(count)
    composite, mask, answer = names
    nodes = [
        helper.make_node("GlobalAveragePool", [composite], ["pooled_composite"]),
        helper.make_node("GlobalAveragePool", [mask], ["pooled_mask"]),
        helper.make_node("Concat", ["pooled_composite", "pooled_mask"], ["joined"], axis=1),
        helper.make_node("Flatten", ["joined"], ["flat"]),
        *_offset_nodes("flat", answer, offset),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(composite, TensorProto.FLOAT, [batch, 3, size, size]),
            helper.make_tensor_value_info(mask, TensorProto.FLOAT, [batch, 1, size, size]),
        ],
        [helper.make_tensor_value_info(answer, TensorProto.FLOAT, [batch, count])],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(bias + np.float32(_finite(offset)), "bias"),
            numpy_helper.from_array(np.float32(np.inf), "infinity"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = {
        "harmonizer.format": "harmonizer-predictor",
        "harmonizer.format_version": "1",
        "harmonizer.filters": json.dumps(list(filters)),
        **(metadata or {}),
    }
    helper.set_model_props(model, content)
    onnx.save(model, path, save_as_external_data=external, size_threshold=0, location="weights.bin")
    return path


def write_curve_predictor(
    path: Path, stages: int = 2, labelled: bool = True, offset: float = 0.0
) -> Path:
    """Write an S2CRNet of one layer; its slopes lie between -1 and 3, and the label moves them."""
    count, inputs = 192 * stages, {"foreground": 3, "background": 3, "label": len(LABELS)}
    if not labelled:
        del inputs["label"]
    generator = np.random.default_rng(12)
    matrix = generator.uniform(-0.4, 0.4, (sum(inputs.values()), count)).astype(np.float32)
    means = [f"mean_{name}" for name in ("foreground", "background")]
    nodes = [
        helper.make_node("GlobalAveragePool", [name.removeprefix("mean_")], [name])
        for name in means
    ]
    nodes += [helper.make_node("Flatten", [name], [f"{name}_row"]) for name in means]
    rows = [f"{name}_row" for name in means] + ["label"] * labelled
    nodes += [
        helper.make_node("Concat", rows, ["joined"], axis=1),
        *_offset_nodes("joined", "arguments", offset),
    ]
    shapes = {
        name: ["N", channels] if name == "label" else ["N", channels, 256, 256]
        for name, channels in inputs.items()
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info("arguments", TensorProto.FLOAT, ["N", count])],
        [
            numpy_helper.from_array(matrix, "matrix"),
            numpy_helper.from_array(np.full(count, 1 + _finite(offset), np.float32), "bias"),
            numpy_helper.from_array(np.float32(np.inf), "infinity"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = {
        "harmonizer.format": "harmonizer-predictor",
        "harmonizer.format_version": "1",
        "harmonizer.model": "s2crnet",
        "harmonizer.filters": json.dumps(["piecewise_curve"]),
        "harmonizer.sizes": json.dumps({"piecewise_curve": count}),
        **({"harmonizer.labels": json.dumps(LABELS)} if labelled else {}),
    }
    helper.set_model_props(model, content)
    onnx.save(model, path)
    return path


def write_failing_predictor(path: Path) -> Path:
    """Write a model that keeps the contract when loaded, and fails when it is run."""
    model = onnx.load(write_predictor(path))
    model.graph.node[-1].output[0] = "unused"
    # Three values an image, which do not fill rows of six for a batch of one.
    model.graph.node.append(
        helper.make_node("Reshape", ["pooled_composite", "rows"], ["arguments"])
    )
    rows = np.array([-1, len(DEFAULT_FILTERS)], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(rows, "rows"))
    onnx.save(model, path)
    return path
