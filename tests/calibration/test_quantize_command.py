"""The command calibration/quantize.py: what it writes, and what it refuses."""

import json
from pathlib import Path

import pytest
from calibration_data import write_photographs

from calibration import quantize
from calibration.graph import PredictorGraph
from calibration.quantize import main
from calibration.search import BUDGETS, Budget
from export.metadata import file_sha256
from export.tolerances import CALIBRATION_IMAGES

PROBES = 4


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images to judge by than a real search has."""
    monkeypatch.setattr(quantize, "PROBES", PROBES)


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
    assert report["source_sha256"] == file_sha256(statistics.path)
    assert report["output_sha256"] == file_sha256(output)
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
    monkeypatch.setitem(BUDGETS, "int8", Budget(delta_e_mean=-1.0))
    output = tmp_path / "m.onnx"
    words = [str(statistics.path), "--images", str(photographs), "--output", str(output)]
    words += ["--count", str(CALIBRATION_IMAGES), "--method", "minmax"]
    assert main(words) == 1
    assert "no file written: no graph with a block" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_quantize_command_interrupted_writes_nothing_and_says_so(
    statistics: PredictorGraph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(quantize, "load_images", interrupt)
    words = [str(statistics.path), "--images", "any", "--output", str(tmp_path / "m.onnx")]
    assert main(words) == 130
    assert "interrupted; nothing written" in capsys.readouterr().err
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
    assert "m.onnx does not exist. Check the path." in refused(words, capsys)


def test_quantize_command_what_would_fail_late_is_refused_before_any_work(
    statistics: PredictorGraph,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("images are read first")

    monkeypatch.setattr(quantize, "load_images", never)
    (tmp_path / "file").write_text("no folder")
    words = [str(statistics.path), "--images", "any", "--output"]
    (tmp_path / "o.onnx").mkdir()
    assert "it is a folder" in refused([*words, str(tmp_path / "o.onnx")], capsys)
    error = refused([*words, str(tmp_path / "file" / "o.onnx")], capsys)
    assert "o.onnx must lie in a folder" in error
    words.append(str(tmp_path / "new.onnx"))
    cache = ["--method", "mse", "--cache", str(tmp_path / "new.onnx.report.json")]
    assert "--cache (mse) name the same file" in refused([*words, *cache], capsys)
    assert "--cache must end in .json" in refused([*words, "--cache", words[-1]], capsys)
    error = refused([*words, "--cache", str(tmp_path / "file" / "c.json")], capsys)
    assert "c.minmax.json must lie in a folder" in error
    error = refused([*words, "--keep", "regressor"], capsys)
    assert "must be some, not all, of statistics.hidden@look1" in error
    assert "got regressor. Leave out what" in error


def test_quantize_command_too_few_images_says_how_many_and_why(
    statistics: PredictorGraph, photo_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(statistics.path), "--images", str(photo_folder)]
    error = refused([*words, "--output", "never.onnx"], capsys)
    assert "wants 36 images or more: 32 for the ranges, because" in error
    assert "and 4 others to judge the result by; " in error and "gives 4." in error
