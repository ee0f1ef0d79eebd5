"""Reduced precision: rewritten graphs, the search, the command, and real builds of the result."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from calibration_data import feeds, small_predictor, write_photographs
from conftest import ROOT
from onnx import TensorProto, numpy_helper
from tiny_predictor import write_predictor

from calibration import quantize
from calibration.cache import calibrate
from calibration.equalize import equalize
from calibration.errors import BudgetError, CalibrationError, QuantizedModelError
from calibration.graph import PredictorGraph, block_of, load_graph
from calibration.images import ImageSet
from calibration.quantize import main, reduce_precision
from calibration.ranges import METHODS, open_session
from calibration.rewrite import halve_blocks, quantize_blocks, quantize_weight
from calibration.search import Budget, Error, Judge, search
from export.to_onnx import export
from export.tolerances import CALIBRATION_IMAGES
from harmonizer.errors import ModelError
from train.model import save_checkpoint
from train.network import HarmonizerNet, NetworkConfig

PROBES = 4


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images to judge by than a real search has."""
    monkeypatch.setattr(quantize, "PROBES", PROBES)


@pytest.fixture(scope="module")
def statistics(tmp_path_factory: pytest.TempPathFactory) -> PredictorGraph:
    """Colour statistics and two looks, random weights, two filters."""
    return load_graph(small_predictor(tmp_path_factory.mktemp("statistics")))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> PredictorGraph:
    """The published configuration, EfficientNet-B0, random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("encoder")
    save_checkpoint(HarmonizerNet(NetworkConfig()), folder / "b0.safetensors")
    export(folder / "b0.safetensors", folder / "b0.onnx")
    return load_graph(folder / "b0.onnx")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return feeds(4)


def ops(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def answers(model: onnx.ModelProto, images: ImageSet) -> np.ndarray:
    session = open_session(model)
    return np.concatenate([session.run(["arguments"], feed)[0] for feed in images.feeds])


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


def test_equalize_computes_the_same_and_makes_an_uneven_input_bear_8_bits(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    uneven = onnx.ModelProto()
    uneven.CopyFrom(statistics.model)
    weights = dict(statistics.weights)
    name = "statistics.hidden.weight"
    factors = np.logspace(-2, 2, weights[name].shape[1]).astype(np.float32)
    weights[name] = weights[name] * factors
    for tensor in uneven.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(weights[name], name))
    graph = replace(statistics, model=uneven, weights=weights)
    equal = equalize(graph, images.feeds)
    assert equal.blocks == graph.blocks and equal.sha256 != graph.sha256
    reference = answers(graph.model, images)
    np.testing.assert_allclose(answers(equal.model, images), reference, rtol=0, atol=1e-5)
    errors = []
    for each in (graph, equal):
        ranges = calibrate(each, images, "minmax")
        model = quantize_blocks(each, each.blocks, ranges)
        onnx.checker.check_model(model, full_check=True)
        errors.append(np.abs(answers(model, images) - reference).mean())
    assert errors[1] < 0.7 * errors[0]


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


class CountedJudge:
    """Answers with made-up errors: each block adds its own, and the pair (0, 1) adds more."""

    def __init__(self, harm: dict[str, float], pair: float) -> None:
        self.harm, self.pair, self.calls = harm, pair, 0

    def __call__(self, model: onnx.ModelProto) -> Error:
        self.calls += 1
        blocks = json.loads(model.doc_string)
        total = sum(self.harm[name] for name in blocks)
        if set(list(self.harm)[:2]) <= set(blocks):
            total += self.pair
        return Error(total, total, int(total * 10), total, total, 0)


def named(blocks: Collection[str]) -> onnx.ModelProto:
    return onnx.ModelProto(doc_string=json.dumps(list(blocks)))


def test_search_takes_the_cheapest_graph_that_is_measured_to_fit(
    statistics: PredictorGraph,
) -> None:
    harm = dict(zip(statistics.blocks, (0.2, 0.1, 0.01, 0.02, 0.03, 0.01, 0.01, 0.9), strict=True))
    judge = CountedJudge(harm, pair=1.0)
    found = search(statistics, named, judge, Budget(delta_e_mean=0.4))  # type: ignore[arg-type]
    # The two first fit alone but not together; the last one does not fit at all.
    assert found.blocks == tuple(b for b in statistics.blocks[:7] if b != statistics.blocks[1])
    assert found.error.delta_e_mean == pytest.approx(0.28)
    assert judge.calls == 8 + 1 + 8 and found.tried == 9
    report = found.report(statistics)
    assert [row["reduced"] for row in report["blocks"]].count(True) == 6
    assert 0.5 < report["reduced_share"] < 1


def test_search_everything_fits_stops_at_once_and_keeps_what_is_kept(
    statistics: PredictorGraph,
) -> None:
    harm = dict.fromkeys(statistics.blocks, 0.01)
    judge = CountedJudge(harm, pair=0)
    keep = [statistics.blocks[3]]
    found = search(
        statistics,
        named,
        judge,  # type: ignore[arg-type]
        Budget(levels_max=2),
        keep,
    )
    assert len(found.blocks) == 7 and keep[0] not in found.blocks and judge.calls == 8
    with pytest.raises(ValueError, match=r"some, not all, of .*; got nonsense"):
        search(statistics, named, judge, Budget(), ["nonsense"])  # type: ignore[arg-type]


def test_search_hopeless_budget_names_the_closest(statistics: PredictorGraph) -> None:
    harm = dict.fromkeys(statistics.blocks, 0.7) | {statistics.blocks[4]: 0.5}
    with pytest.raises(BudgetError, match=r"closest reduces statistics.hidden@look2 alone: mean"):
        search(
            statistics,
            named,
            CountedJudge(harm, 0),  # type: ignore[arg-type]
            Budget(delta_e_mean=0.4),
        )


def test_judge_measures_nothing_for_the_same_graph_and_all_for_a_broken_one(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    judge = Judge(statistics, images)
    assert judge(statistics.model) == Error(0.0, 0.0, 0, 0.0, 0.0, 0)
    broken = onnx.ModelProto()
    broken.CopyFrom(statistics.model)
    for tensor in broken.graph.initializer:
        if tensor.name == "regressor.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), tensor.name))
    error = judge(broken)
    assert error.delta_e_mean == float("inf")
    assert not Budget(delta_e_mean=1e9).allows(error)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_reduce_precision_result_is_valid_and_says_what_was_done(
    statistics: PredictorGraph, precision: str
) -> None:
    images = feeds(PROBES + 4)
    found, report = reduce_precision(  # "auto": every method is tried
        statistics,
        images,
        precision,  # type: ignore[arg-type]
        budget=Budget(delta_e_mean=50),
    )
    onnx.checker.check_model(found.model, full_check=True)
    facts = {p.key: p.value for p in found.model.metadata_props}
    assert facts["harmonizer.precision"] == precision
    reduction = json.loads(facts["harmonizer.reduction"])
    assert reduction["source_sha256"] == statistics.sha256
    assert reduction["blocks"] == list(found.blocks)
    if precision == "int8":
        assert report["methods"][report["method"]] == min(report["methods"].values())
        assert set(report["methods"]) == set(METHODS)
    floats = {"regressor@look1", "regressor@look2"} if precision == "fp16" else set()
    assert set(report["kept"]) == floats
    assert set(found.blocks) == set(statistics.blocks) - floats


# The command line.


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"), CALIBRATION_IMAGES + PROBES)


def test_quantize_command_writes_graph_report_and_cache(
    statistics: PredictorGraph,
    photographs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, cache = tmp_path / "out" / "m.int8.onnx", tmp_path / "cache.json"
    words = [str(statistics.path), "--images", str(photographs), "--output", str(output)]
    words += ["--cache", str(cache), "--count", str(CALIBRATION_IMAGES), "--delta-e", "9"]
    assert main([*words, "--method", "mse"]) == 0, capsys.readouterr().err
    assert "of the multiplications" in capsys.readouterr().out
    report = json.loads(output.with_name("m.int8.onnx.report.json").read_text())
    assert report["precision"] == "int8" and report["images"] == CALIBRATION_IMAGES
    assert len(report["blocks"]) == len(statistics.blocks)
    before = cache.read_bytes()
    # Another method must not use that cache.
    assert main([*words, "--method", "minmax"]) == 2
    error = capsys.readouterr().err
    assert "its method (mse) is not this run's (minmax)" in error and cache.read_bytes() == before


def test_quantize_command_hopeless_budget_exits_1_and_writes_nothing(
    statistics: PredictorGraph,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(quantize.BUDGETS, "int8", Budget(delta_e_mean=-1.0))
    output = tmp_path / "m.onnx"
    words = [str(statistics.path), "--images", str(photographs), "--output", str(output)]
    assert main([*words, "--count", str(CALIBRATION_IMAGES)]) == 1
    assert "no file written: no graph with a block" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        assert main(words) == 2
    except SystemExit as stop:
        assert stop.code == 2
    return capsys.readouterr().err


def test_quantize_command_bad_flags_are_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["m.onnx", "--images", "absent", "--output", str(tmp_path / "o.onnx")]
    assert "must end in .onnx; got o.trt" in refused([*words[:3], "--output", "o.trt"], capsys)
    assert "must be another file" in refused([*words[:3], "--output", "m.onnx"], capsys)
    assert "must be at least 32, because" in refused([*words, "--count", "8"], capsys)
    fp16 = [*words, "--precision", "fp16"]
    assert "--cache is for the ranges of int8" in refused([*fp16, "--cache", "c"], capsys)
    assert "must be at least 0; got nan" in refused([*words, "--delta-e", "nan"], capsys)
    assert "there is none at m.onnx" in refused(words, capsys)


def test_quantize_command_too_few_images_says_how_many_and_why(
    statistics: PredictorGraph, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(statistics.path), "--images", str(photo_folder)]
    error = refused([*words, "--output", "never.onnx"], capsys)
    assert "wants 32 images or more, because" in error and "gives 4" in error


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
    with pytest.raises(ModelError, match=r"must be an ONNX file|must say harmonizer\.format"):
        load_graph(path)
    foreign = onnx.load(write_predictor(path))
    del foreign.metadata_props[:]
    onnx.save(foreign, path)
    with pytest.raises(ModelError, match="not written by this project"):
        load_graph(path)
    write_predictor(path, metadata={"harmonizer.format": "harmonizer-end-to-end"})
    with pytest.raises(ModelError, match="end-to-end graph"):
        load_graph(path)
    with pytest.raises(ModelError, match="there is none at"):
        load_graph(tmp_path / "absent.onnx")


# Real builds: TensorRT-RTX's parser and builder need no GPU.


@pytest.mark.parametrize("network", ["statistics", "encoder"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_tensorrt_rtx_builds_the_graph(
    network: str,
    precision: str,
    images: ImageSet,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    graph: PredictorGraph = request.getfixturevalue(network)
    if precision == "int8":
        model = quantize_blocks(graph, graph.blocks, calibrate(graph, images, "minmax"))
    else:
        model = halve_blocks(graph, [b for b in graph.blocks if not b.startswith("regressor")])
    onnx.save(model, tmp_path / "m.onnx")
    # In a process of its own: TensorRT's libraries stay loaded, and a crash is reported as one.
    script = (
        "import json, sys; from harmonizer.engine import build_engine; "
        "print(json.dumps(build_engine(sys.argv[1], sys.argv[2], module='tensorrt_rtx')))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.onnx"), str(tmp_path / "m.engine")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    layers = json.loads(result.stdout.splitlines()[-1])["network"]["by_type_and_precision"]
    if precision == "int8":
        assert layers["QUANTIZE"]["INT8"] == len({la.activation for la in graph.layers})
    else:
        kind = "CONVOLUTION" if network == "encoder" else "MATRIX_MULTIPLY"
        assert layers[kind]["HALF"] == 81 + 1 if network == "encoder" else layers[kind]["HALF"] > 0
    assert (tmp_path / "m.engine").stat().st_size > 0
