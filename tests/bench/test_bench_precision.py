"""The comparison of CPU variants: all run, times are paired, no win is lightly declared."""

import json
from pathlib import Path

import numpy as np
import pytest
from calibration_data import write_photographs

from bench.precision import CLEARLY, Variant, main, measure_times, summarise
from export.tolerances import CALIBRATION_IMAGES

ERROR = {"arguments_max": 0.0, "levels_max": 0.0, "delta_e_mean": 0.0, "delta_e_max": 0.0}


def timed(name: str, times: list[float]) -> Variant:
    return Variant(name, lambda feed: np.zeros(1, np.float32), times)


def test_summarise_ratio_is_of_the_rounds_not_of_the_medians() -> None:
    base = [10.0, 100.0, 10.0, 100.0]  # another program came and went
    rows = summarise(
        [timed("base", base), timed("half", [5.0, 50.0, 5.0, 50.0]), timed("same", base)],
        [ERROR] * 3,
    )
    assert [row["ratio"] for row in rows] == [1, 0.5, 1]
    assert [row["clearly_faster"] for row in rows] == [False, True, False]


def test_summarise_uneven_gain_is_no_clear_win() -> None:
    ratios = np.linspace(0.5, 1.1, 40)
    rows = summarise([timed("base", [1.0] * 40), timed("v", list(ratios))], [ERROR] * 2)
    assert rows[1]["ratio"] < CLEARLY + 0.01 and not rows[1]["clearly_faster"]


def test_measure_times_gives_every_variant_every_round() -> None:
    variants = [timed("a", []), timed("b", [])]
    measure_times(variants, [{}], 0.0)
    assert len(variants[0].times_ms) == len(variants[1].times_ms) == 20


def test_cpu_command_measures_onnx_runtimes_variants(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    photos = write_photographs(tmp_path / "photos", CALIBRATION_IMAGES)
    output = tmp_path / "cpu.json"
    words = ["--images", str(photos), "--seconds", "0", "--threads", "1", "--json", str(output)]
    assert main([str(small_model), *words]) == 0, capsys.readouterr().err
    rows = json.loads(output.read_text())["rows"]
    assert [row["variant"] for row in rows][:3] == [
        "ONNX Runtime float32",
        "ONNX Runtime u8s8 static",
        "ONNX Runtime dynamic INT8",
    ]
    assert rows[0]["ratio"] == 1 and rows[0]["delta_e_max"] == 0
    assert all(row["rounds"] >= 20 and row["arguments_max"] < 0.2 for row in rows)
    assert "clearly faster than float32" in capsys.readouterr().out


def test_cpu_command_foreign_model_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.onnx"), "--images", str(tmp_path)]) == 2
    assert "does not exist. Check the path." in capsys.readouterr().err
    assert main(["m.onnx", "--images", str(tmp_path), "--count", "4"]) == 2
    assert "--count must be at least 32; got 4" in capsys.readouterr().err


def test_cpu_command_never_replaces_its_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "static.onnx"
    model.write_bytes(b"mine")
    for words in (["--json", str(model)], ["--save", str(tmp_path)]):
        assert main([str(model), "--images", str(tmp_path), *words]) == 2
        assert "static.onnx would replace an input; name another" in capsys.readouterr().err
    assert model.read_bytes() == b"mine"
