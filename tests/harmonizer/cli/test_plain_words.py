"""What is printed is what is drawn; warnings where a result misleads; pipes that close early."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cpp_package import run, sample, write_netpbm
from curves import random_slopes
from PIL import Image
from repository import ROOT

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.values import of_numbers

NAMES = ("temperature", "brightness")


def test_arguments_print_what_is_drawn_and_from_what() -> None:
    arguments = Arguments(NAMES, (-1.238, 0.25))
    assert str(arguments) == "temperature -1.000 (clamped from -1.238)  brightness +0.250"
    slopes = 3 * random_slopes(np.random.default_rng(0), 1).reshape(-1)
    curves = Arguments(("piecewise_curve",), (of_numbers(slopes),))
    assert str(curves.clamped()) in str(curves).split(" (clamped")[0]


@pytest.mark.parametrize("command", ["image", "lut"])
def test_command_prints_what_is_drawn(
    command: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Arguments(NAMES, (0.9, -0.9)).save("a.json")
    output = {"image": "o.png", "lut": "o.cube"}[command]
    words = [command, "c.png", "m.png", "-o", output, "--arguments", "a.json"]
    assert main([*words, "--strength", "1.5"]) == 0
    said = capsys.readouterr().out
    assert "temperature +1.000 (clamped from +1.350)" in said
    assert "brightness -1.000 (clamped from -1.350)" in said
    if command == "lut":
        assert "temperature +1.000" in Path("o.cube").read_text().splitlines()[0]


def test_sample_prints_what_is_drawn(photograph: np.ndarray, tmp_path: Path) -> None:
    source = write_netpbm(tmp_path / "c.ppm", np.ascontiguousarray(photograph[:20, :30]))
    mask = write_netpbm(tmp_path / "m.pgm", np.full((20, 30), 255, np.uint8))
    words = [source, mask, "-o", tmp_path / "o.ppm", "--arguments", "brightness=0.9"]
    result = run(sample(), *words, "--strength", 1.5)
    assert "brightness +1.000 " in result.stderr


@pytest.mark.parametrize(("setting", "warned"), [("contrast=1", True), ("shadow=0.2", False)])
def test_lut_that_does_not_show_the_look_is_warned_of(
    setting: str, warned: bool, scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lut", "c.png", "m.png", "-o", "o.cube", "--model", str(model), "--strength", "0"]
    assert main([*words, "--set", setting]) == 0
    captured = capsys.readouterr()
    largest = max(float(number) for number in re.findall(r"maximum ([\d.]+)", captured.out))
    assert (largest > 4) == warned
    warning = [line for line in captured.err.splitlines() if ": warning: " in line]
    assert len(warning) == warned
    if warned:
        assert f"off by up to {largest:.0f} levels of 255" in warning[0]
        assert "Pass --size 65" in warning[0]


@pytest.mark.parametrize(
    "words",
    [
        ["harmonizer", "doctor"],
        ["harmonizer", "--help"],
        ["harmonizer", "image", "--help"],
        ["harmonizer", "image", "c.png", "m.png", "-o", "o.png", "--set", "shadow=0.1"],
        ["train", "--help"],
        ["train", "check-data", "photos"],
    ],
)
def test_reader_that_has_gone_is_no_error(words: list[str], scene: Path) -> None:
    Path("photos").mkdir()
    Image.open("c.png").save("photos/a.png")
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    os.close(writer)
    # argparse swallows it for --help.
    assert result.returncode in ((0, 141) if "--help" in words else (141,))
    for word in ("Broken pipe", "BrokenPipeError", "Traceback", "error:"):
        assert word not in result.stderr
    assert ("-o" not in words) or Path("o.png").exists()
