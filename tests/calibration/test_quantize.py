"""Reduced precision: the graph as layers and blocks, and the graph written again."""

import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from calibration_data import answers
from onnx import TensorProto, numpy_helper
from tiny_predictor import write_predictor

from calibration.errors import CalibrationError, QuantizedModelError
from calibration.graph import PredictorGraph, block_of, load_graph
from calibration.images import ImageSet
from calibration.ranges import calibrate
from calibration.rewrite import halve_blocks, quantize_blocks, quantize_weight
from harmonizer.errors import ModelError


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_load_graph_names_looks_and_counts_their_products(statistics: PredictorGraph) -> None:
    assert statistics.blocks == tuple(
        f"{name}@look{look}"
        for look in (1, 2)
        for name in ("statistics.hidden", "statistics.middle", "statistics.output", "regressor")
    )
    assert statistics.macs("statistics.middle@look1") == 512 * 512


def test_load_graph_encoder_blocks_are_separate_from_squeeze_and_excite(
    encoder: PredictorGraph,
) -> None:
    expected = ["encoder.stem"]
    for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)):
        for index in range(count):
            name = f"encoder.blocks.{stage}.{index}"
            expected += [name, f"{name}.se"]
    assert encoder.blocks == (*expected, "encoder.conv_head", "regressor")
    assert encoder.macs("encoder.stem") == 2 * 16 * 4 * 9 * 128 * 128


def test_block_of_an_unfolded_cascade_is_one() -> None:
    assert block_of("regressor.steps.3.weight") == block_of("regressor.weight") == "regressor"


def test_quantize_weight_is_within_half_a_step_per_channel_and_keeps_zeros() -> None:
    weight = np.random.default_rng(1).normal(size=(5, 3, 3, 3)).astype(np.float32)
    weight *= np.logspace(-3, 3, 5)[:, None, None, None].astype(np.float32)
    weight[2] = 0
    for axis in (0, 1):
        values, scales = quantize_weight(weight, axis)
        shape = [1] * 4
        shape[axis] = -1
        steps = scales.reshape(shape)
        assert values.dtype == np.int8 and np.abs(values.astype(int)).max() == 127
        assert (np.abs(values * steps - weight) <= steps * 0.5001).all()
    assert not quantize_weight(weight, 0)[0][2].any()


def test_quantize_blocks_none_computes_the_same(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    model = quantize_blocks(statistics, [], {})
    assert np.array_equal(answers(model, images), answers(statistics.model, images))


def test_quantize_blocks_follows_tensorrts_rules(encoder: PredictorGraph, images: ImageSet) -> None:
    ranges = calibrate(encoder, images, "minmax")
    model = quantize_blocks(encoder, encoder.blocks, ranges)
    onnx.checker.check_model(model, full_check=True)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    producers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            zero = constants[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
        if node.op_type in ("Conv", "Gemm"):
            assert [producers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
            assert all(constants[name].dtype == np.float32 for name in node.input[2:])
            weight = producers[node.input[1]]
            assert constants[weight.input[0]].dtype == np.int8
            assert constants[weight.input[1]].shape == (len(constants[weight.input[0]]),)
    # Of every residual sum, one side is a convolution and the other a dequantised shortcut.
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    assert len(sums) == 9
    for node in sums:
        kinds = sorted(producers[name].op_type for name in node.input)
        assert kinds == ["Conv", "DequantizeLinear"]
    # Pairs are shared, float weights are gone.
    assert ops(model).count("QuantizeLinear") == len({la.activation for la in encoder.layers})
    assert not {layer.weight for layer in encoder.layers} & set(constants)


def test_quantize_blocks_missing_range_is_refused(statistics: PredictorGraph) -> None:
    with pytest.raises(CalibrationError, match=r"range of activation .* above 0; got nan"):
        quantize_blocks(statistics, statistics.blocks[:1], {})


def test_quantize_one_look_keeps_the_others_weights_in_float(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    ranges = calibrate(statistics, images, "minmax")
    model = quantize_blocks(statistics, ["statistics.hidden@look1"], ranges)
    names = {tensor.name for tensor in model.graph.initializer}
    assert {"statistics.hidden.weight", "statistics.hidden.weight.int8"} <= names
    assert ops(model).count("QuantizeLinear") == 1
    apart = np.abs(answers(model, images) - answers(statistics.model, images)).max()
    assert 0 < apart < 0.05


@pytest.mark.parametrize("network", ["statistics", "encoder"])
def test_halve_blocks_is_near_and_keeps_statistics_and_means_in_float(
    network: str, images: ImageSet, request: pytest.FixtureRequest
) -> None:
    graph: PredictorGraph = request.getfixturevalue(network)
    blocks = [block for block in graph.blocks if not block.startswith("regressor")]
    model = halve_blocks(graph, blocks)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    for node in model.graph.node:
        if node.op_type in ("ReduceMean", "ReduceSum", "MatMul", "AveragePool"):
            assert kinds.get(node.output[0], TensorProto.FLOAT) == TensorProto.FLOAT
    halves = [
        n for n in model.graph.node if n.op_type in ("Conv", "Gemm") and ".half" in n.input[1]
    ]
    assert len(halves) == len(graph.layers) - sum(
        layer.block.startswith("regressor") for layer in graph.layers
    )
    # Between two halved layers nothing goes through float32 but means and what they scale.
    apart = np.abs(answers(model, images) - answers(graph.model, images)).max()
    assert 0 < apart < 3e-3
    assert {v.type.tensor_type.elem_type for v in model.graph.output} == {TensorProto.FLOAT}


def test_halve_blocks_too_large_weight_is_refused(statistics: PredictorGraph) -> None:
    weights = dict(statistics.weights)
    weights["statistics.hidden.weight"] = weights["statistics.hidden.weight"] * np.float32(1e9)
    fields = {name: getattr(statistics, name) for name in PredictorGraph.__dataclass_fields__}
    damaged = PredictorGraph(**(fields | {"weights": weights}))
    with pytest.raises(CalibrationError, match=r"must not exceed 65504; statistics\.hidden.weight"):
        halve_blocks(damaged, ["statistics.hidden@look1"])


def test_load_graph_quantised_and_half_models_are_refused(
    statistics: PredictorGraph, images: ImageSet, tmp_path: Path
) -> None:
    ranges = calibrate(statistics, images, "minmax")
    for name, model, words in (
        ("int8", quantize_blocks(statistics, statistics.blocks, ranges), "QuantizeLinear"),
        ("fp16", halve_blocks(statistics, statistics.blocks[:2]), "half-precision weights"),
    ):
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        with pytest.raises(QuantizedModelError, match=f"float32 export; it has .*{words}"):
            load_graph(path)


def test_load_graph_foreign_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model at all")
    with pytest.raises(ModelError, match=r"must be a complete ONNX model; it is not"):
        load_graph(path)
    foreign = onnx.load(write_predictor(path))
    del foreign.metadata_props[:]
    onnx.save(foreign, path)
    with pytest.raises(ModelError, match="not written by this project"):
        load_graph(path)
    write_predictor(path, metadata={"harmonizer.format": "harmonizer-end-to-end"})
    with pytest.raises(ModelError, match="end-to-end graph"):
        load_graph(path)
    write_predictor(path, metadata={"harmonizer.model": "other"})
    with pytest.raises(ModelError, match=r"must be one of harmonizer, s2crnet .* is 'other'"):
        load_graph(path)
    with pytest.raises(ModelError, match=r"absent.onnx does not exist\. Check the path"):
        load_graph(tmp_path / "absent.onnx")
    path.write_bytes(struct.pack("<Q", 60) + b'{"__metadata__":{}}')
    with pytest.raises(ModelError, match=r"it is a safetensors checkpoint\. Export one with"):
        load_graph(path)
