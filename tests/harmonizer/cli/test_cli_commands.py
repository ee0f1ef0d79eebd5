"""The command line as a whole, doctor and lut: help, processes, what is imported, cold starts."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import COMMAND, refused
from PIL import Image
from tiny_predictor import write_failing_predictor

from harmonizer.arguments import Arguments
from harmonizer.cli import COMMANDS, main
from harmonizer.ops import OPERATIONS, PHOTO_FILTERS


def test_lut_writes_a_cube_and_prints_its_errors(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lut", "c.png", "m.png", "--model", str(model), "-o"]
    assert main([*words, "l.cube"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"temperature [-+]0\.\d+", out)
    assert re.search(r"trilinear: maximum \d+\.\d+, mean \d\.\d+, 99\.9 % below", out)
    assert "tetrahedral: maximum" in out
    assert "LUT_3D_SIZE 33" in Path("l.cube").read_text()[:2000]
    assert main([*words, "l.cube", "--size", "65", "--title", "My look"]) == 0
    text = Path("l.cube").read_text()
    assert 'TITLE "My look"' in text and "LUT_3D_SIZE 65" in text
    Image.new("L", (120, 90)).save("empty.png")
    capsys.readouterr()
    words[2] = "empty.png"
    assert "empty" in refused(capsys, 2, *words, "x.cube")
    assert "must end in .cube" in refused(capsys, 2, *words, "x.lut")
    assert not Path("x.cube").exists()
    assert "another file or folder" in refused(capsys, 2, "lut", "c.png", "c.png", "-o", "x.cube")
    Arguments.identity().save("a.cube")
    words = ["lut", "c.png", "m.png", "--arguments", "a.cube", "-o", "a.cube"]
    assert refused(capsys, 2, *words).endswith("replace an input; name another file.")


def test_lut_of_a_name_that_is_not_utf8_is_written(scene: Path) -> None:
    Arguments.identity().save("a.json")
    name = os.fsdecode(b"odd\xff.png")
    try:
        Path(name).write_bytes(Path("c.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert main(["lut", name, "m.png", "-o", "o.cube", "--arguments", "a.json"]) == 0
    assert 'TITLE "odd?"' in Path("o.cube").read_text()


def test_doctor_reports_and_exit_codes(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--model", str(model)]) == 0
    out = capsys.readouterr().out
    for topic in ("renderer", "model", "providers", "self-test"):
        assert re.search(rf"^ok +{topic} ", out, re.MULTILINE)
    assert "instruction set" in out and "sha256" in out
    assert main(["doctor", "--model", "absent.onnx"]) == 1
    assert re.search(r"^FAIL +model .*does not exist", capsys.readouterr().out, re.MULTILINE)


def test_doctor_survives_a_model_that_cannot_run(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = write_failing_predictor(scene / "fails.onnx")
    assert main(["doctor", "--model", str(failing)]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^FAIL +self-test .*fails\.onnx must run on thumbnails", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seconds 0", r"--seconds: must be a number of seconds above 0; got '0'"),
        ("--seconds nan", r"above 0; got 'nan'"),
        ("--threads 0", r"--threads: must be a whole number above 0; got '0'"),
        ("--threads 1.5", r"must be a whole number above 0; got '1.5'"),
        ("--seconds 9999 -o absent/x.json", r"absent/x\.json cannot be written"),
        ("--seconds 9999 --model c.json -o c.json", r"--output c\.json would replace an input"),
    ],
)
def test_bench_bad_command_line_is_refused(
    capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert re.search(message, refused(capsys, 2, "bench", *words.split()))


def test_bench_times_networks_of_other_inputs(
    curves_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "--model",
        str(curves_model),
        "--size",
        "64x64",
        "--seconds",
        "0.01",
        "--backend",
        "cpu",
    ]
    assert main(["bench", *words]) == 0
    assert re.search(r"^network +64x64", capsys.readouterr().out, re.MULTILINE)


def test_help_names_every_filter_of_the_registry(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("image", "batch", "lut"):
        assert main([command, "--help"]) == 0
        out = capsys.readouterr().out
        for operation in map(OPERATIONS.__getitem__, PHOTO_FILTERS):
            assert re.search(
                rf"^  {operation.name} .*{re.escape(operation.effect)}$", out, re.MULTILINE
            )


def test_main_help_version_and_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^ +{name} ", out, re.MULTILINE) for name in COMMANDS)
    assert main(["--version"]) == 0
    capsys.readouterr()
    assert "required: COMMAND" in refused(capsys, 2)
    assert "invalid choice: 'paint'" in refused(capsys, 2, "paint")


def test_command_line_in_its_own_process(scene: Path, model: Path) -> None:
    words = [*COMMAND, "image", "c.png", "m.png", "--model", str(model), "-o"]
    done = subprocess.run([*words, "o.jpg"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("temperature")
    bad = subprocess.run([*words, "o.gif"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert bad.stderr.startswith("harmonizer: error: o.gif must end in one of")
    assert "Traceback" not in bad.stderr


@pytest.mark.parametrize("command", ["image", "doctor"])
def test_command_leaves_the_home_folder_empty(
    scene: Path, model: Path, tmp_path_factory: pytest.TempPathFactory, command: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    words = {"image": ["c.png", "m.png", "-o", "o.png"], "doctor": []}[command]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))}
    done = subprocess.run(
        [*COMMAND, command, *words, "--model", str(model)],
        env={**kept, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []


def test_image_never_imports_what_it_does_not_need(scene: Path, model: Path) -> None:
    code = (
        "import sys; from harmonizer.cli import main; "
        f"assert main(['image', 'c.jpg', 'm.png', '-o', 'o.jpg', '--model', {str(model)!r}]) == 0; "
        "heavy = {'torch', 'tqdm', 'tifffile', 'imagecodecs', 'onnx', 'scipy', 'skimage'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_image_1080p_jpeg_from_cold_start_is_quick(scene: Path, model: Path) -> None:
    """Against what nothing spares, in alternating rounds: starting ONNX Runtime with the model.

    The stated limit, 1.5 s, is that of `harmonizer bench` on an idle machine, where it takes 1.0 s;
    here, on a machine with other work, the start with a tiny model is about a third of it.
    """
    big = Image.open("c.png").resize((1920, 1080))
    big.save("big.jpg", quality=92)
    Image.open("m.png").resize((1920, 1080)).save("bigm.png")
    start = "import sys, numpy, onnxruntime as o; o.InferenceSession(sys.argv[1])"
    commands = (
        [*COMMAND, "image", "big.jpg", "bigm.png", "-o", "o.jpg", "--model", str(model)],
        [sys.executable, "-c", start, str(model)],
    )
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(4):
        for words, taken in zip(commands, seconds, strict=True):
            began = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            taken.append(time.perf_counter() - began)
    assert min(seconds[0]) < 4.5 * min(seconds[1]), seconds


def test_flags_are_not_guessed_from_their_beginnings(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (scene / "c.png").read_bytes()
    words = ["image", "c.png", "m.png", "-o", "c.png", "--model", str(model), "--overwrite"]
    assert main(words) == 2
    assert "unrecognized arguments: --overwrite" in capsys.readouterr().err
    assert (scene / "c.png").read_bytes() == before
