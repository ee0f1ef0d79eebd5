"""The evaluation command: tables, files, parallel and resumed runs, and what it refuses."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmark_folder import COUNT, write_benchmark
from image_graphs import write_gain
from PIL import Image
from repository import ROOT
from tiny_predictor import write_predictor

from train.data.iharmony4 import SUBSETS
from train.evaluate import main
from train.evaluation.metrics import image_metrics
from train.evaluation.predictors import Harmonize, Method
from train.evaluation.report import (
    RATIO_BOUNDS,
    compare_published,
    contact_sheet,
    jsonable,
    summarise,
)
from train.evaluation.scoring import Score, Scorer, ScoringError, Task, score_all
from train.evaluation.triplets import benchmark_triplets


def made_score(name: str, fraction: float, before: float, after: float, subset: str = "") -> Score:
    figures = [value for figure in (1.0, 1.0, 30.0, 0.9) for value in (figure, figure)]
    figures[2:4] = before, after
    words = ("iharmony4", "original", "plain", "predictor", "m.onnx", "00", name, subset, "d1")
    return Score(*words, 10, 10, fraction, *figures)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path / "ihd")


@pytest.fixture
def evaluate(
    benchmark: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run the command on the small benchmark with the tiny predictor, in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    words = ["--predictor", str(model), "--iharmony4", str(benchmark)]
    return lambda *more: main([*words, *map(str, more)])


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """Run a command line that must fail before it prints a table; its one line of complaint."""
    capsys.readouterr()
    try:
        assert main(words) == 2
    except SystemExit as stop:
        assert stop.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("evaluate: error: ")
    return line


def test_summarise_splits_by_subset_and_foreground_share() -> None:
    scores = [
        made_score("a", 0.05, 100, 50, "HCOCO"),
        made_score("b", 0.1, 200, 300, "HCOCO"),
        made_score("c", 0.5, 400, 100, "unknown"),
        made_score("empty", 0.0, float("nan"), float("nan"), "HCOCO"),
    ]
    rows = {row["group"]: row for row in summarise(scores)}
    assert {name: row["images"] for name, row in rows.items()} == {
        "all": 3,
        "HCOCO": 2,
        "unknown": 1,
        "0-5 %": 1,
        "5-15 %": 1,
        "15-100 %": 1,
    }
    assert rows["all"]["fmse_before"] == pytest.approx(700 / 3)
    assert rows["all"]["fmse_median_after"] == 100
    assert rows["all"]["improved"] == pytest.approx(2 / 3)
    assert RATIO_BOUNDS[0][1] == 0.05


def test_compare_published_counts_the_common_images(tmp_path: Path) -> None:
    path = tmp_path / "published.csv"
    path.write_text("name,A_fMSE,B_fMSE\na,10,1\nb,20,\nc,40,3\nz,1,1\n")
    scores = [made_score(name, 0.5, 100 * i, 50 * i) for i, name in enumerate("abc", start=1)]
    rows = {row["model"]: row for row in compare_published(scores, path, "ours")}
    assert [row["images"] for row in rows.values()] == [2, 2, 2, 2]
    assert rows["composite"]["fmse"] == 200 and rows["ours"]["fmse_median"] == 100
    assert rows["A (published)"]["fmse"] == 25 and rows["B (published)"]["fmse"] == 2
    with pytest.raises(ValueError, match="none of its 3 names with figures"):
        compare_published([made_score("q", 0.5, 1, 1)], path, "ours")
    path.write_text("name,MSE\na,1\n")
    with pytest.raises(ValueError, match="columns MODEL_fMSE"):
        compare_published(scores, path, "ours")


def test_contact_sheet_shows_the_pictures_at_one_height() -> None:
    red = np.zeros((40, 40, 3), np.uint8)
    red[:, :, 0] = 255
    sheet = contact_sheet([(["one"], (red, np.ones((20, 40), np.float32)))])
    assert sheet.getpixel((5, sheet.height - 20)) == (255, 0, 0)
    assert sheet.getpixel((sheet.width - 5, sheet.height - 20)) == (255, 255, 255)
    assert sheet.width == 220 + 6 + 440


def test_jsonable_has_no_infinities() -> None:
    assert jsonable({"a": float("inf"), "b": 1.5, "c": "x"}) == {"a": None, "b": 1.5, "c": "x"}


def test_evaluate_writes_tables_csv_json_and_sheet(
    evaluate: Callable[..., int], benchmark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = ("--csv", "s.csv", "--json", "s.json", "--sheet", "worst.png", "--worst", "3")
    assert evaluate("--size", "256", "original", *outputs) == 0
    shown = capsys.readouterr().out
    for title in ("iharmony4, 256x256, protocol plain", "iharmony4, original size"):
        assert title in shown
    rows = list(csv.DictReader(Path("s.csv").read_text().splitlines()))
    assert len(rows) == 2 * COUNT * len(SUBSETS)
    assert [row["size"] for row in rows] == ["256"] * 8 + ["original"] * 8

    document = json.loads(
        Path("s.json").read_text(), parse_constant=lambda word: pytest.fail(f"JSON has {word}")
    )
    assert document["settings"]["protocol"] == "plain" and len(document["images"]) == 16
    whole = document["tables"][1]["rows"][0]
    assert (whole["group"], whole["images"]) == ("all", 8)
    assert whole["fmse_before"] == pytest.approx(
        np.mean([float(row["fmse_before"]) for row in rows[8:]])
    )
    assert f"{whole['fmse_before']:.1f} -> {whole['fmse_after']:.1f}" in shown

    composite, mask, real = benchmark_triplets(benchmark)[0].pixels()
    expected = image_metrics(composite, real, mask)
    for name, value in vars(expected).items():
        assert float(rows[8][f"{name}_before"]) == pytest.approx(value, abs=1e-6)
    with Image.open("worst.png") as sheet:
        assert sheet.height == 3 * (220 + 24 + 6)


def test_evaluate_sheet_begins_with_the_worst_image(
    evaluate: Callable[..., int], benchmark: Path
) -> None:
    assert evaluate("--size", "original", "--csv", "s.csv", "--sheet", "s.png", "--worst", "1") == 0
    rows = list(csv.DictReader(Path("s.csv").read_text().splitlines()))
    worst = max(rows, key=lambda row: float(row["fmse_after"]))
    assert worst is not rows[0]
    (triplet,) = (t for t in benchmark_triplets(benchmark) if t.name == worst["name"])
    composite = Image.fromarray(triplet.pixels()[0])
    scaled = composite.resize((composite.width * 220 // composite.height, 220))
    with Image.open("s.png") as sheet:
        assert np.array_equal(
            np.asarray(sheet.crop((0, 24, scaled.width, 244))), np.asarray(scaled)
        )


def test_evaluate_paper_protocol_uses_a_one_bit_mask(
    evaluate: Callable[..., int], benchmark: Path
) -> None:
    for protocol in ("plain", "paper"):
        assert evaluate("--protocol", protocol, "--size", "original", "--csv", protocol) == 0
    plain, paper = (
        next(csv.DictReader(Path(name).read_text().splitlines())) for name in ("plain", "paper")
    )
    _, mask, _ = benchmark_triplets(benchmark)[0].pixels()
    assert float(plain["fraction"]) == pytest.approx(mask.mean() / 255, abs=1e-6)
    assert float(paper["fraction"]) == pytest.approx((mask >= 128).mean(), abs=1e-6)
    assert plain["mse_before"] == paper["mse_before"]
    assert plain["fmse_before"] != paper["fmse_before"]
    assert float(paper["psnr_before"]) < float(plain["psnr_before"])


def test_evaluate_jobs_give_the_same_file(evaluate: Callable[..., int]) -> None:
    assert evaluate("--size", "original", "--csv", "one.csv") == 0
    assert evaluate("--size", "original", "--csv", "two.csv", "--jobs", "2") == 0
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()


def test_evaluate_interrupted_and_resumed_gives_the_same_file(
    evaluate: Callable[..., int], benchmark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--size", "256", "original")
    assert evaluate(*sizes, "--csv", "whole.csv") == 0
    table = capsys.readouterr().out
    broken = benchmark_triplets(benchmark)[5].real
    good = broken.read_bytes()
    broken.write_bytes(good[:500])
    assert evaluate(*sizes, "--csv", "part.csv") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{broken.name} must be an image" in line
    written = Path("part.csv").read_text()
    assert written.count("\n") == 1 + 5
    broken.write_bytes(good)
    Path("part.csv").write_text(written[:-7])  # as if killed while it wrote a line
    assert evaluate(*sizes, "--csv", "part.csv", "--resume") == 0
    assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()
    assert capsys.readouterr().out == table
    assert evaluate(*sizes, "--csv", "part.csv", "--resume") == 0
    assert capsys.readouterr().out == table


def test_evaluate_resume_of_another_run_is_refused(
    evaluate: Callable[..., int], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate("--size", "original", "--csv", "s.csv") == 0
    before = Path("s.csv").read_bytes()
    other = write_predictor(tmp_path / model.name, offset=0.01)
    for words, complaint in (
        (("--size", "original"), "there already. Pass --resume"),
        (("--size", "original", "--protocol", "paper", "--resume"), "protocol is 'plain'"),
        (("--size", "256", "--resume"), "size is 'original', this run's is '256'"),
        (("--size", "original", "--subsets", "HCOCO", "--resume"), "8 images and this run 2"),
    ):
        capsys.readouterr()
        assert evaluate(*words, "--csv", "s.csv") == 2
        assert complaint in capsys.readouterr().err
    real = benchmark_triplets(tmp_path / "ihd")[1].real
    pixels = real.read_bytes()
    with Image.open(real) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(real)
    capsys.readouterr()
    assert evaluate("--size", "original", "--csv", "s.csv", "--resume") == 2
    assert "in line 3 its data is" in capsys.readouterr().err
    real.write_bytes(pixels)
    settings = ["--iharmony4", str(tmp_path / "ihd"), "--size", "original", "--csv", "s.csv"]
    assert "its sha256 is" in refused(capsys, ["--predictor", str(other), *settings, "--resume"])
    assert Path("s.csv").read_bytes() == before
    Path("s.csv").write_text("name,figure\n1,2\n")
    assert evaluate("--size", "original", "--csv", "s.csv", "--resume") == 2
    assert "by this version's evaluation; its columns are name" in capsys.readouterr().err


def test_evaluate_empty_masks_are_skipped_and_named(
    evaluate: Callable[..., int], benchmark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = [triplet.mask for triplet in benchmark_triplets(benchmark)]
    Image.new("L", Image.open(masks[0]).size).save(masks[0])
    assert evaluate("--csv", "s.csv", "--json", "s.json", "--sheet", "s.jpg", "--worst", "99") == 0
    shown = capsys.readouterr().out
    assert "skipped for an empty mask: 1: c0_1_2 (256)" in shown
    assert "| all        | 7 " in shown
    document = json.loads(Path("s.json").read_text())
    assert document["skipped"] == ["c0_1_2 (256)"] and document["images"][0]["fmse_after"] is None
    assert evaluate("--csv", "s.csv", "--resume") == 0
    for mask in masks:
        Image.new("L", Image.open(mask).size).save(mask)
    assert evaluate() == 2
    assert "must have a foreground; all 8 masks are empty. Check" in capsys.readouterr().err


def test_evaluate_black_box_at_original_size(
    benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = write_gain(tmp_path / "box.onnx", 1 / 0.7)  # undoes what the composites were made with
    words = ["--black-box", str(box), "--iharmony4", str(benchmark), "--size", "original"]
    means = []
    for upsample in ("bilinear", "pcm"):
        path = tmp_path / f"{upsample}.csv"
        assert main([*words, "--upsample", upsample, "--csv", str(path)]) == 0
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert {row["kind"] for row in rows} == {f"black-box {upsample}"}
        means.append(np.mean([float(row["fmse_after"]) for row in rows]))
        assert means[-1] < np.mean([float(row["fmse_before"]) for row in rows]) / 5
    assert means[1] < means[0]
    assert "--upsample bilinear or pcm" in refused(capsys, words)


def test_evaluate_impossible_command_lines_are_refused(
    benchmark: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = ["--predictor", str(model)]
    names = benchmark / "HCOCO" / "HCOCO_test.txt"
    photo = next((benchmark / "HCOCO" / "real_images").glob("*.jpg"))
    files = {path: path.read_bytes() for path in (model, names, photo)}
    for words, complaint in (
        ([], "one of --checkpoint, --predictor, --end-to-end, --black-box must name"),
        ([*one, "--checkpoint", "x"], "got --checkpoint and --predictor. Give one."),
        ([*one, "--upsample", "pcm"], "--upsample is for --black-box"),
        ([*one, "--val", "v", "--size", "original"], "--val composites are made at 256x256"),
        ([*one, "--published", "p.csv"], "add --size original"),
        ([*one, "--resume"], "--resume continues the file of --csv"),
        ([*one, "--jobs", "0"], "--jobs must be at least 1; got 0. Give 1 or more."),
        ([*one, "--sheet", "x.gif"], "must end in .jpg or .png"),
        ([*one, "--csv", "x", "--json", "./x"], "--csv and --json name the same file"),
        ([*one, "--csv", str(model)], "would replace an input; name another file"),
        ([*one, "--json", "s.csv"], "--json must end in .json; got s.csv"),
        ([*one, "--work", "3"], "unrecognized arguments: --work"),
        ([*one, "--size", "512"], "invalid choice"),
        ([*one, "--subsets", "Coco", "--iharmony4", str(benchmark)], "invalid choice"),
        ([*one, "--csv", str(tmp_path), "--iharmony4", str(benchmark)], "it is a folder"),
        ([*one, "--csv", str(names), "--iharmony4", str(benchmark)], "would replace an input"),
        ([*one, "--sheet", str(photo), "--iharmony4", str(benchmark)], "would replace an input"),
        ([*one, "--val", str(tmp_path)], "must hold MANIFEST.csv"),
        ([*one, "--val", "absent"], "absent must be a folder; it is none"),
        (["--predictor", "absent.onnx", "--val", "absent"], "absent.onnx does not exist"),
        (["--predictor", "absent.onnx", "--iharmony4", str(benchmark)], "does not exist"),
        (["--checkpoint", "absent.pth", "--iharmony4", str(benchmark)], "there is no checkpoint"),
    ):
        assert complaint in refused(capsys, words)
    assert all(path.read_bytes() == data for path, data in files.items())
    for subset in SUBSETS:
        (benchmark / subset / f"{subset}_test.txt").write_text("\n")
    assert "lists are empty. Name others" in refused(capsys, [*one, "--iharmony4", str(benchmark)])


class Dying(Method):
    """A model whose process ends while it draws."""

    def open(self) -> Harmonize:
        return lambda composite, mask: os._exit(9)


@pytest.mark.slow
def test_score_all_process_that_dies_is_reported(benchmark: Path, model: Path) -> None:
    tasks = [Task("iharmony4", "original", t) for t in benchmark_triplets(benchmark)]
    with pytest.raises(ScoringError, match=r"a process died.*fewer --jobs"):
        score_all(tasks, Scorer(Dying("predictor", model), "plain"), jobs=2)


@pytest.mark.parametrize(
    "command",
    [["train/evaluate.py"], pytest.param(["-m", "train.evaluate"], marks=pytest.mark.slow)],
)
def test_evaluate_starts_as_script_and_as_module(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--predictor", "absent.onnx", "--val", "absent"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("evaluate: error: the model must be an ONNX file; absent.onnx")
