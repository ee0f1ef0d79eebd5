"""harmonizer image: standard input and output, JSON for machines, inverted masks."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import COMMAND, refused
from PIL import Image, ImageOps
from repository import ROOT

from harmonizer.cli import main


def test_image_streams(scene: Path, model: Path) -> None:
    """Composite or mask by standard input, the picture by standard output."""
    words = ["--model", str(model), "--format", "png"]
    assert main(["image", "c.jpg", "m.png", "-o", "wanted.png", "--model", str(model)]) == 0
    wanted = Path("wanted.png").read_bytes()
    for given, other in (("c.jpg", ["-", "m.png"]), ("m.png", ["c.jpg", "-"])):
        result = subprocess.run(
            [*COMMAND, "image", *other, "-o", "-", *words],
            input=Path(given).read_bytes(),
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert result.stdout == wanted
        assert b"wrote: standard output" in result.stderr


def test_image_json_says_all(scene: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["image", "c.png", "m.png", "-o", "o.png", "--model", str(model), "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    with Image.open("o.png") as image:
        assert (facts["width"], facts["height"]) == image.size
    assert facts["output"] == "o.png" and facts["backend"] == "cpu" and facts["notes"] == []
    again = {key: facts[key] for key in ("format", "version", "filters", "arguments")}
    Path("a.json").write_text(json.dumps(again))
    assert main(["image", "c.png", "m.png", "-o", "p.png", "--arguments", "a.json"]) == 0
    assert Path("p.png").read_bytes() == Path("o.png").read_bytes()


@pytest.mark.parametrize("command", ["image", "lut", "curves", "batch"])
def test_inverted_mask_is_the_mask_inverted(scene: Path, model: Path, command: str) -> None:
    with Image.open("m.png") as mask:
        ImageOps.invert(mask.convert("L")).save("not.png")
    look = ["--model", str(ROOT / "models" / "s2crnet.onnx" if command == "curves" else model)]
    if command == "batch":
        for name, mask_file in (("plain", "m.png"), ("other", "not.png")):
            for folder, source in (("composite", "c.png"), ("mask", mask_file)):
                Path(name, folder).mkdir(parents=True)
                shutil.copy(source, Path(name, folder, "a.png"))
        outputs = ["one/a.png", "two/a.png"]
        assert main(["batch", "plain", "-o", "one", *look]) == 0
        assert main(["batch", "other", "-o", "two", *look, "--invert-mask"]) == 0
    else:
        suffix = {"image": "png", "lut": "cube", "curves": "png"}[command]
        outputs = [f"one.{suffix}", f"two.{suffix}"]
        for mask_file, output, more in (
            ("m.png", outputs[0], []),
            ("not.png", outputs[1], ["--invert-mask"]),
        ):
            assert main([command, "c.png", mask_file, "-o", output, *look, *more]) == 0
    assert Path(outputs[0]).read_bytes() == Path(outputs[1]).read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("c.png m.png -o -", "-o - needs --format"),
        ("c.png m.png -o - --format png --json", "--json goes to standard output"),
        ("c.png m.png -o o.png --format png", "--format is for -o -"),
        ("- - -o o.png", "- is both"),
    ],
)
def test_streams_that_cannot_be_are_refused(
    scene: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, 2, "image", *words.split())
