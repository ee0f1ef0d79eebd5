"""The gate: what it measures, when it passes, what it writes, and what it refuses."""

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_folder import write_benchmark
from calibration_data import CONTRACT
from gpu_device import require, require_gpu
from skimage.color import deltaE_ciede2000, rgb2lab
from tiny_predictor import write_predictor
from training_data import truncate, write_photos

from calibration.gate import PARTLY, main
from calibration.judging import Limits, judge, verdict
from calibration.models import open_model
from calibration.pictures import compare, contrast_steps, percentile_level
from export.metadata import file_sha256
from harmonizer.contract import Contract
from harmonizer.errors import DeviceError, ModelError
from train.evaluation.triplets import validation_triplets

Gate = Callable[..., int]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A predictor, the same a little and far off, its photographs and a small benchmark."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "val").mkdir()
    return {
        "model": write_predictor(folder / "model.onnx"),
        "near": write_predictor(folder / "near.onnx", offset=2e-4),
        "far": write_predictor(folder / "far.onnx", offset=0.2),
        "val": write_photos(folder / "val"),
        "iharmony4": write_benchmark(folder / "ihd"),
    }


@pytest.fixture
def gate(files: dict[str, Path]) -> Gate:
    """Run the command on the small sets."""
    sets = ["--val", str(files["val"]), "--iharmony4", str(files["iharmony4"])]
    return lambda *words: main([*map(str, words), *sets])


# What is measured.


def test_compare_counts_levels_and_delta_e_in_the_foreground_alone() -> None:
    reference = np.full((8, 8, 3), 100 / 255, np.float32)
    candidate = reference.copy()
    candidate[0, 0, 1] = 103 / 255  # inside
    candidate[7, 7] = 1  # outside
    mask = np.zeros((1, 1, 8, 8), np.float32)
    mask[..., :4, :] = 1
    mask[..., 3, :] = 0.01
    found = compare(reference, candidate, mask)
    assert found.levels_max == 3 and found.levels[3] == 1 and found.levels.sum() == 32 * 3
    assert found.squared == pytest.approx(9 / 96)
    lab = [rgb2lab(np.array([[p]]) / 255) for p in ((100, 100, 100), (100, 103, 100))]
    expected = float(deltaE_ciede2000(*lab)[0, 0])
    assert found.delta_e_max == pytest.approx(expected)
    assert found.delta_e_mean == pytest.approx(expected / 32)


def test_percentile_level_is_the_smallest_that_covers_the_share() -> None:
    levels = np.zeros(256, np.int64)
    levels[[0, 2, 9]] = 9980, 19, 1
    assert [percentile_level(levels, s) for s in (0.9, 0.999, 1.0)] == [0, 2, 9]


def test_contrast_steps_counts_images_on_another_step() -> None:
    before = np.array([[0, 10.0], [0, 10.4], [0, -3.0], [0, 300.0]], np.float32) / np.float32(255)
    after = before + np.array([[0, -0.01 / 255]], np.float32)
    assert contrast_steps(Contract("harmonizer", ("tint", "contrast"), (1, 1)), before, after) == 1
    assert contrast_steps(Contract("harmonizer", ("tint", "shadow"), (1, 1)), before, after) == 0


def test_judge_a_model_with_itself_differs_in_nothing(files: dict[str, Path]) -> None:
    model = open_model(files["model"])
    triplets = validation_triplets(files["val"])
    found = judge(model, model, [("val", triplets)])
    summary = found.summary("val")
    assert summary["images"] == len(triplets) and summary["psnr"] is None
    assert summary["levels_max"] == summary["delta_e_max"] == summary["fmse_change"] == 0
    assert found.arguments()["max"] == 0
    assert all(row["passed"] for row in verdict(found, Limits(0, 0, 0)))


def test_judge_offset_is_found_in_every_argument(files: dict[str, Path]) -> None:
    pair = [open_model(files[name]) for name in ("model", "far")]
    found = judge(pair[0], pair[1], [("val", validation_triplets(files["val"]))], worst=2)
    for row in found.arguments()["filters"].values():
        assert row["max"] == pytest.approx(0.2, abs=1e-5)
    assert len(found.worst()) == 2
    means = [case.delta_e_mean for case in found.cases]
    assert found.worst()[0].delta_e_mean == max(means) > 1


def test_verdict_of_nan_fails(files: dict[str, Path]) -> None:
    model = open_model(files["model"])
    found = judge(model, model, [("val", validation_triplets(files["val"])[:1])])
    found.cases[0].fmse_candidate = float("nan")
    assert not verdict(found, Limits(fmse_change=9.0))[0]["passed"]


# The command.


def test_gate_passes_a_near_model_and_writes_json(
    gate: Gate, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "made" / "gate.json"
    assert gate(files["model"], files["near"], "--budget", "fp16", "--json", path) == 0
    assert "PASSED: budget fp16\n" in capsys.readouterr().out
    document = json.loads(path.read_text())
    assert document["passed"] and document["complete"]
    assert document["candidate"]["sha256"] == file_sha256(files["near"])
    assert set(document["sets"]) == {"val", "iharmony4"}
    assert {(c["set"], c["check"]) for c in document["checks"]} == {
        (name, check) for name in ("val", "iharmony4") for check in ("levels_max", "fmse_change")
    }
    assert len(document["images"]) == sum(row["images"] for row in document["sets"].values())
    assert document["arguments"]["max"] == pytest.approx(2e-4, rel=0.01)


def test_gate_fails_a_far_model_and_says_what_and_by_how_much(
    gate: Gate, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(files["model"], files["far"], "--budget", "int8") == 1
    out = capsys.readouterr().out
    assert re.search(r"failed: val: delta_e_mean is [\d.]+, allowed is 0\.5\n", out)
    assert out.endswith("FAILED: budget int8\n")


def test_gate_own_limits_replace_the_budgets(gate: Gate, files: dict[str, Path]) -> None:
    wide = ("--levels", 255, "--fmse-change", 100)
    assert gate(files["model"], files["far"], "--budget", "fp16", *wide) == 0
    assert gate(files["model"], files["far"], "--budget", "fp16", "--levels", 255) == 1


def test_gate_part_of_the_images_is_no_proof(
    gate: Gate, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(files["model"], files["near"], "--limit", 1, "--budget", "fp16") == 3
    assert "on a part of the images only: no proof" in capsys.readouterr().out


def test_gate_torch_against_its_export_keeps_the_fp32_budget(small_model: Path, gate: Gate) -> None:
    checkpoint = small_model.with_suffix(".safetensors")
    opened = open_model(checkpoint)
    assert (opened.kind, opened.precision, opened.contract) == ("torch", "fp32", CONTRACT)
    assert gate(checkpoint, small_model, "--limit", 3) == PARTLY


def test_gate_html_is_self_contained_and_shows_everything(
    gate: Gate, files: dict[str, Path], tmp_path: Path
) -> None:
    errors = {
        "arguments_max": 0.1,
        "arguments_mean": 0.05,
        "levels_max": 2,
        "delta_e_mean": 0.3,
        "delta_e_max": 1.0,
        "contrast_steps": 1,
    }
    report: dict[str, Any] = {
        "format": "harmonizer-precision-report",
        "source_sha256": file_sha256(files["model"]),
        "precision": "int8",
        "probes": 24,
        "reduced_share": 0.9,
        "blocks": [{"name": f"block {i}", "macs": 9, "reduced": i > 0, **errors} for i in (0, 1)],
    }
    (tmp_path / "s.json").write_text(json.dumps(report))
    page = tmp_path / "gate.html"
    words = ("--budget", "int8", "--html", page, "--sensitivity", tmp_path / "s.json")
    assert gate(files["model"], files["far"], *words, "--worst", 2) == 1
    text = page.read_text()
    assert not re.findall(r"https?://|<script|<link|src=\"(?!data:)", text)
    assert text.count("data:image/png;base64,") == 3  # scatter, histogram, sensitivity
    assert text.count("data:image/jpeg;base64,") == 2 * 4  # two cases of four pictures
    for words_shown in ("failed", "exceeded", "far.onnx", "Sensitivity of each block", "shadow"):
        assert words_shown in text
    assert "mean delta-E 2000" in text and "delta_e_mean" not in text
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def refused(gate: Gate, capsys: pytest.CaptureFixture[str], *words: object) -> str:
    try:
        assert gate(*words) == 2
    except SystemExit as stop:
        assert stop.code == 2
    return capsys.readouterr().err


def test_gate_bad_input_exits_2_with_one_reason(
    gate: Gate, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = files["model"]
    other = write_predictor(tmp_path / "other.onnx", filters=("tint", "shadow"))
    assert "must predict the same filters" in refused(gate, capsys, model, other)
    assert "must end in .safetensors" in refused(gate, capsys, model, tmp_path / "a.txt")
    assert "does not exist" in refused(gate, capsys, model, tmp_path / "none.onnx")
    assert "no checkpoint at" in refused(gate, capsys, tmp_path / "none.pth", model)
    strange = write_predictor(tmp_path / "strange.onnx", metadata={"harmonizer.precision": "int4"})
    assert "it says 'int4'" in refused(gate, capsys, model, strange)
    assert "must be at least 0; got nan" in refused(gate, capsys, model, model, "--levels", "nan")
    assert "must be at least 1" in refused(gate, capsys, model, model, "--limit", 0)
    assert "name one with --html" in refused(
        gate, capsys, model, model, "--sensitivity", tmp_path / "s.json"
    )
    (tmp_path / "s.json").write_text("{}")
    error = refused(
        gate,
        capsys,
        *(model, model, "--html", tmp_path / "g.html", "--sensitivity", tmp_path / "s.json"),
    )
    assert "must be a report of calibration/quantize.py" in error
    assert not (tmp_path / "g.html").exists()
    (tmp_path / "file").write_text("no folder")
    error = refused(gate, capsys, model, model, "--json", tmp_path / "file" / "g.json")
    assert "g.json must lie in a folder" in error


def test_gate_outputs_never_replace_inputs_or_each_other(
    gate: Gate, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, before = files["model"], files["model"].read_bytes()
    link = tmp_path / "link.html"
    link.symlink_to(model)
    for flag, path in (("--html", model), ("--html", link), ("--json", files["near"])):
        error = refused(gate, capsys, model, files["near"], flag, path)
        assert f"{flag} {path} would replace an input; name another file" in error
    both = ("--html", tmp_path / "a.json", "--json", tmp_path / "a.json")
    assert "name the same file" in refused(gate, capsys, model, model, *both)
    report = ("--html", tmp_path / "a.html", "--json", tmp_path / "s.json")
    error = refused(gate, capsys, model, model, *report, "--sensitivity", tmp_path / "s.json")
    assert "--json" in error and "would replace an input" in error
    engine = tmp_path / "m.engine"
    error = refused(gate, capsys, model, engine, "--json", tmp_path / "m.engine.json")
    assert "would replace an input" in error
    error = refused(gate, capsys, model, model, "--html", tmp_path / "a.png")
    assert "--html must end in .html" in error
    assert "unrecognized arguments: --sens" in refused(gate, capsys, model, model, "--sens", "x")
    assert model.read_bytes() == before and not list(tmp_path.glob("a.*"))


def test_gate_sensitivity_of_other_models_is_refused(
    gate: Gate, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = {"format": "harmonizer-precision-report", "source": "s.onnx", "source_sha256": "ab"}
    (tmp_path / "s.json").write_text(json.dumps(report | {"output_sha256": "cd"}))
    words = ("--html", tmp_path / "g.html", "--sensitivity", tmp_path / "s.json")
    error = refused(gate, capsys, files["model"], files["near"], *words)
    assert (
        "must be about the reference or the candidate; it is about the reduction of s.on" in error
    )
    assert not (tmp_path / "g.html").exists()


def test_gate_a_file_with_itself_passes_any_budget_and_draws_a_report(
    gate: Gate, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = ("--levels", 0, "--delta-e", 0, "--fmse-change", 0)
    page = tmp_path / "same.html"
    assert gate(files["model"], files["model"], *nothing, "--html", page) == 0
    assert "| equal |" in capsys.readouterr().out.replace("  ", "")
    assert "kept" in page.read_text() and "exceeded" not in page.read_text()


def test_gate_corrupt_image_is_named(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncate(write_photos(tmp_path) / "coffee.png")
    assert main([str(files["model"]), str(files["near"]), "--val", str(tmp_path)]) == 2
    assert "coffee.png" in capsys.readouterr().err


def test_gate_absent_data_is_named(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HARMONIZER_DATA", str(tmp_path / "nowhere"))
    assert main([str(files["model"]), str(files["near"])]) == 2
    said = capsys.readouterr().err
    assert "val must be a folder" in said and "HARMONIZER_DATA" in said


def test_open_candidate_engine_without_gpu_says_where_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "m.engine"
    path.write_bytes(b"plan")
    with pytest.raises(DeviceError, match=r"runs on an NVIDIA GPU; .* compare the ONNX file"):
        open_model(path)


def test_open_candidate_model_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = write_predictor(tmp_path / "m.onnx", metadata={"harmonizer.format": "other"})
    with pytest.raises(ModelError, match="not written by this project"):
        open_model(path)


@pytest.mark.gpu
def test_gate_engine_on_this_gpu_keeps_the_fp32_budget(
    tmp_path: Path, small_model: Path, gate: Gate
) -> None:
    from harmonizer.engine import build_engine

    require_gpu()
    require(importlib.util.find_spec("tensorrt"), "tensorrt is not installed")
    engine = tmp_path / "small.engine"
    build_engine(small_model, engine, module="tensorrt")
    assert gate(small_model, engine, "--limit", 3) == PARTLY
