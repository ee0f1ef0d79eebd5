"""S2CRNet through the precision tools: its thumbnails, blocks, ranges, search and gate."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from calibration_data import CURVES_CONTRACT, answers, feeds
from tiny_predictor import write_predictor
from training_data import write_photos

from calibration import quantize
from calibration.candidates import open_candidate
from calibration.gate import main
from calibration.graph import PredictorGraph, load_graph
from calibration.images import ImageSet, check_likeness
from calibration.inputs import has_region, model_inputs, perturbing_filters
from calibration.quantize import reduce_precision
from calibration.ranges import calibrate
from calibration.rewrite import halve_blocks, quantize_blocks
from calibration.rows import scale_rows
from calibration.search import Budget
from export import tolerances
from harmonizer.contract import LABELS
from harmonizer.ops import DEFAULT_FILTERS
from train.checkpoints import load_checkpoint
from train.s2crnet import S2CRNet

FIRES = (3, 4, 6, 7, 9, 10, 11)
PROBES = 3


@pytest.fixture(scope="module")
def graph(curves_model: Path) -> PredictorGraph:
    return load_graph(curves_model)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return feeds(4, CURVES_CONTRACT)


def test_model_inputs_are_the_networks_own_and_labels_take_turns(
    curves_model: Path, images: ImageSet
) -> None:
    network = load_checkpoint(curves_model.with_suffix(".safetensors"))
    assert isinstance(network, S2CRNet)
    scene = images.scenes[0]
    pair = [torch.from_numpy(scene[name]) for name in ("composite", "mask")]
    for turn, labels in ((None, None), (1, [LABELS[1]]), (len(LABELS) + 2, [LABELS[2]])):
        found = model_inputs(CURVES_CONTRACT, scene["composite"], scene["mask"], turn)
        expected = network.prepare(pair[0], pair[1], labels)
        assert list(found) == list(CURVES_CONTRACT.inputs)
        for array, tensor in zip(found.values(), expected, strict=True):
            np.testing.assert_array_equal(array, tensor.numpy())
    shown = [int(feed["label"].argmax()) for feed in images.feeds]
    assert shown == [0, 1, 2, 3]
    assert perturbing_filters(CURVES_CONTRACT) == DEFAULT_FILTERS


def test_has_region_wants_two_pixels_for_curves_alone(images: ImageSet) -> None:
    mask = np.zeros((1, 1, 256, 256), np.float32)
    assert not has_region(CURVES_CONTRACT, mask)
    mask[..., 5:9, 7] = 1
    assert not has_region(CURVES_CONTRACT, mask)
    assert has_region(feeds(1).contract, mask)
    mask[..., 5:9, 8] = 0.01
    assert has_region(CURVES_CONTRACT, mask)
    thin = {**images.scenes[0], "mask": np.where(np.arange(256) == 9, mask + 1, 0)[..., :, :]}
    thin["mask"] = np.minimum(thin["mask"], 1).astype(np.float32)
    with pytest.raises(quantize.CalibrationError, match="foreground of a single row or column"):
        check_likeness(ImageSet(("thin",), (thin,), CURVES_CONTRACT))


def test_load_graph_names_fires_by_what_they_look_at(graph: PredictorGraph) -> None:
    encoder = ("encoder.0", *(f"encoder.{index}.fire" for index in FIRES))
    expected = [f"{name}@background" for name in encoder]
    for stage in (1, 2):
        expected += [f"{name}@stage{stage}" for name in encoder]
        expected += [f"statistics.{name}@stage{stage}" for name in ("hidden", "middle", "output")]
        expected += [f"curves.{stage - 1}.{n}" for n in ("background", "foreground", "label")]
    assert sorted(graph.blocks) == sorted(expected)
    assert graph.contract == CURVES_CONTRACT
    # encoder.0: 64 filters of 3x3x3 at stride 2 without padding on 64x64.
    assert graph.macs("encoder.0@background") == 64 * 27 * 31 * 31


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_reduced_curves_are_valid_and_near(
    graph: PredictorGraph, images: ImageSet, precision: str
) -> None:
    wanted = answers(graph.model, images)
    if precision == "int8":
        scaled = scale_rows(graph, graph.blocks)
        model = quantize_blocks(scaled, scaled.blocks, calibrate(scaled, images, "minmax"))
        limit = 0.05
    else:
        blocks = [block for block in graph.blocks if not block.startswith("curves.")]
        model, limit = halve_blocks(graph, blocks), tolerances.ONNX_FP16_SLOPES
    onnx.checker.check_model(model, full_check=True)
    apart = np.abs(answers(model, images) - wanted)
    assert apart.max() > 0 and apart.mean() < limit
    if precision == "fp16":  # concatenations and poolings do not go through float32 and back
        kinds = {node.op_type for node in model.graph.node if node.output[0].endswith(".half")}
        assert {"Conv", "Relu", "Concat", "MaxPool"} <= kinds


def test_reduce_precision_keeps_curve_modules_in_float_for_fp16(
    graph: PredictorGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "PROBES", PROBES)
    budget = Budget(delta_e_mean=50)
    found, report = reduce_precision(
        graph, feeds(PROBES + 2, CURVES_CONTRACT), "fp16", budget=budget
    )
    curves = {block for block in graph.blocks if block.startswith("curves.")}
    assert set(report["kept"]) == curves == set(graph.blocks) - set(found.blocks)
    assert len(report["blocks"]) == len(found.blocks) and report["error"]["levels_max"] <= 2


def test_gate_compares_slopes_by_operation_and_draws_the_curves(
    curves_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "val").mkdir()
    words = ["--val", str(write_photos(tmp_path / "val")), "--limit", "3"]
    checkpoint = curves_model.with_suffix(".safetensors")
    page = tmp_path / "gate.html"
    assert main([str(checkpoint), str(curves_model), *words, "--html", str(page)]) == 3
    out = capsys.readouterr().out
    assert "piecewise_curve (384 numbers)" in out and "contrast" not in out
    assert "piecewise_curve" in page.read_text()
    other = write_predictor(tmp_path / "other.onnx")
    assert main([str(curves_model), str(other), *words]) == 2
    assert "piecewise_curve (384 numbers), the candidate temp" in capsys.readouterr().err
    assert open_candidate(other).contract.model == "harmonizer"
