"""The command line: what it writes, what it says, what it refuses, and its exit codes."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import pixels, refused
from PIL import Image

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.harmonizer import Harmonizer
from harmonizer.images.files import load_photo, save_photo
from harmonizer.plan import Plan
from harmonizer.renderer import CpuRenderer


def test_image_draws_what_the_library_draws(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "c.png", "m.png", "-o", "o.png", "--model", str(model)]) == 0
    harmonizer = Harmonizer(model)
    image, mask = pixels("c.png"), np.asarray(Image.open("m.png"))
    np.testing.assert_array_equal(pixels("o.png"), harmonizer(image, mask))
    captured = capsys.readouterr()
    assert captured.out.strip() == str(harmonizer.predict(image, mask))
    assert re.fullmatch(
        r"harmonizer: wrote: o.png \(120x90, on the CPU, \d+ ms .*\)\n", captured.err
    )


def test_image_saved_arguments_and_plan_draw_the_same(scene: Path, model: Path) -> None:
    words = ["image", "c.png", "m.png", "--strength", "0.7"]
    saved = ["--save-arguments", "a.json", "--save-plan", "p.json"]
    assert main([*words, "-o", "o.png", "--model", str(model), *saved]) == 0
    assert main(["image", "c.png", "m.png", "-o", "o2.png", "--arguments", "a.json"]) == 0
    np.testing.assert_array_equal(pixels("o.png"), pixels("o2.png"))
    plan = Plan.from_document(json.loads(Path("p.json").read_text()))
    mask = np.asarray(Image.open("m.png"))
    drawn = CpuRenderer().draw(pixels("c.png"), mask, plan)
    np.testing.assert_array_equal(drawn, pixels("o.png"))


def test_image_set_overrides_after_strength(scene: Path, model: Path) -> None:
    words = ["image", "c.png", "m.png", "-o", "o.png", "--model", str(model), "--strength", "0"]
    assert main([*words, "--set", "shadow=0.4", "--save-arguments", "a.json"]) == 0
    expected = {**Arguments.identity(), "shadow": 0.4}
    assert dict(Arguments.load("a.json")) == expected


def test_image_alpha_is_the_mask_and_is_kept(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "rgba.png", "-o", "o.png", "--model", str(model)]) == 0
    assert "its alpha channel is the mask" in capsys.readouterr().err
    main(["image", "c.png", "m.png", "-o", "p.png", "--model", str(model)])
    np.testing.assert_array_equal(pixels("o.png"), pixels("p.png"))
    alpha = load_photo("o.png").alpha
    assert alpha is not None
    np.testing.assert_array_equal(alpha, np.asarray(Image.open("m.png")))


def test_image_16_bit_depths(scene: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = pixels("c.png").astype(np.uint16) * 257 + 3
    save_photo("deep.tif", np.minimum(deep, 65535))
    words = ["image", "deep.tif", "m.png", "--model", str(model), "-o"]
    assert main([*words, "o.png"]) == 0
    assert pixels("o.png").dtype == np.uint16
    mask = np.asarray(Image.open("m.png"))
    np.testing.assert_array_equal(pixels("o.png")[mask == 0], pixels("deep.tif")[mask == 0])
    capsys.readouterr()
    assert "JPEG holds 8 bits" in refused(capsys, 2, *words, "o.jpg")
    assert main([*words, "o.jpg", "--depth", "8"]) == 0
    assert pixels("o.jpg").dtype == np.uint8
    assert (
        main(["image", "c.png", "m.png", "--model", str(model), "-o", "w.tif", "--depth", "16"])
        == 0
    )
    assert pixels("w.tif").dtype == np.uint16
    assert "widened to 16 bits" in capsys.readouterr().err


def test_image_empty_and_full_mask_are_said(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (120, 90)).save("empty.png")
    Image.new("L", (120, 90), 255).save("full.png")
    assert main(["image", "c.png", "empty.png", "-o", "o.png", "--model", str(model)]) == 0
    assert "the mask is empty" in capsys.readouterr().err
    np.testing.assert_array_equal(pixels("o.png"), pixels("c.png"))
    assert main(["image", "c.png", "full.png", "-o", "o.png", "--model", str(model)]) == 0
    assert "covers the whole image" in capsys.readouterr().err


def test_image_nothing_drawn_copies_the_file_or_says_it_is_reencoded(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (120, 90)).save("empty.png")
    Image.open("c.png").convert("L").save("grey.jpg", comment="kept")
    turned = Image.Exif()
    turned[0x0112] = 3
    Image.open("c.png").save("turned.jpg", exif=turned)
    chosen = ["--model", str(model)]
    copied = "nothing is drawn; the file is a copy"
    for words in ("grey.jpg empty.png", "grey.jpg m.png --strength 0"):
        assert main(["image", *words.split(), "-o", "o.jpg", *chosen]) == 0
        said = capsys.readouterr().err
        assert copied in said and "converted to RGB" not in said
        assert Path("o.jpg").read_bytes() == Path("grey.jpg").read_bytes()
    for words, reason in (
        ("grey.jpg empty.png -o o.png", "the composite is JPEG and the output PNG"),
        ("turned.jpg empty.png -o o.jpg", "EXIF orientation 3 is applied"),
        ("grey.jpg empty.png -o o.jpg --quality 90", "depth or quality was asked for"),
        ("c.png empty.png -o o.png --depth 8", "depth or quality was asked for"),
    ):
        assert main(["image", *words.split(), *chosen]) == 0
        assert re.search(
            f"nothing is drawn, but the file is re-enc.*{reason}", capsys.readouterr().err
        )
    replacing = ["image", "c.jpg", "empty.png", "-o", "c.jpg", "--overwrite-input", *chosen]
    before = Path("c.jpg").read_bytes()
    assert main(replacing) == 0
    assert Path("c.jpg").read_bytes() == before


def test_image_clamped_argument_in_the_saved_file_is_said(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Arguments.from_mapping({**Arguments.identity(), "shadow": 0.8}).save("a.json")
    words = ["image", "c.png", "m.png", "-o", "o.png", "--arguments", "a.json"]
    assert main([*words, "--strength", "1.5", "--save-arguments", "b.json"]) == 0
    assert "b.json: shadow +1.200 is stored as it is drawn, +1\n" in capsys.readouterr().err
    assert main(["image", "c.png", "m.png", "-o", "p.png", "--arguments", "b.json"]) == 0
    np.testing.assert_array_equal(pixels("o.png"), pixels("p.png"))


def test_image_greyscale_is_said(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open("c.png").convert("L").save("grey.png")
    assert main(["image", "grey.png", "m.png", "-o", "o.png", "--model", str(model)]) == 0
    assert "grey.png: it is greyscale and is converted to RGB" in capsys.readouterr().err


def test_image_mask_of_another_size(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open("m.png").resize((60, 45)).save("small.png")
    words = ["image", "c.png", "small.png", "-o", "o.png", "--model", str(model)]
    assert re.search(r"60x45 for a 120x90 composite.*--fit-mask", refused(capsys, 2, *words))
    assert main([*words, "--fit-mask"]) == 0
    assert "scaled to fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("c.png m.png -o o.gif", r"o\.gif must end in one of \.jpg.*Rename"),
        ("c.png m.png -o absent/o.png", r"cannot be written: No such file.*folder exists"),
        ("c.png m.png -o c.png", r"--output c.png would replace an input.*--overwrite-input"),
        ("c.png m.png -o m.png", r"--output m.png would replace an input"),
        (
            "c.png m.png -o o.png --arguments bad.json --save-arguments bad.json",
            r"--save-arguments bad.json would replace an input; name another file\.$",
        ),
        ("c.png ./c.png -o o.png", r"mask must be another file.*alpha channel is the mask"),
        ("loop.png m.png -o o.png", r"loop.png cannot be read: Too many levels"),
        ("c.png loop.png -o o.png", r"loop.png cannot be read: Too many levels"),
        ("c.png m.png -o o.png --save-arguments o.json --save-plan o.json", r"same file.*two"),
        ("c.png m.png -o o.png --save-arguments c.png", r"must end in \.json; got c.png"),
        ("c.png -o o.png --fit-mask", r"--fit-mask scales a MASK; there is none"),
        ("c.png -o o.png", r"must have an alpha channel when no mask is given"),
        (
            "c.png m.png -o o.png --quality 90",
            r"--quality is for JPEG, WebP, AVIF and JPEG XL; PNG",
        ),
        ("c.png m.png -o o.webp --subsampling 4:2:0", "--subsampling is for JPEG"),
        (
            "c.png m.png -o o.jpg --lossless",
            "--lossless is for WebP and JPEG XL; the output is JPEG",
        ),
        ("c.png m.png -o o.webp --lossless --quality 9", "--lossless has no --quality"),
        ("c.png m.png -o o.jpg --depth 16", r"--depth 16 needs PNG, TIFF or JPEG XL.*\.tif"),
        ("c.png m.png -o o.jpg --quality 101", r"must lie in 1\.\.100; got '101'"),
        ("c.png m.png -o o.png --strength 1.6", r"must lie in \[0, 1\.5\]; got '1\.6'"),
        ("c.png m.png -o o.png --strength nan", r"must lie in \[0, 1\.5\]"),
        ("c.png m.png -o o.png --threads 0", "whole number above 0"),
        ("c.png m.png -o o.png --set sepia=1", r"name among temperature.*got 'sepia=1'"),
        ("c.png m.png -o o.png --set shadow=2", r"shadow must lie in \[-1, 1\]; got '2'"),
        ("c.png m.png -o o.png --set shadow=", r"shadow must lie in \[-1, 1\]; got ''"),
        ("c.png m.png -o o.png --set shadow", r"must be NAME=VALUE .*got 'shadow'"),
        ("c.png m.png -o o.png --set shadow=0 --set shadow=1", "each filter once"),
        ("c.png m.png -o o.png --set hue=0.1", r"a filter that is drawn .*got hue"),
        ("c.png m.png -o o.png --max-pixels 9999", r"at most 9,999.*--max-pixels 10800"),
        ("absent.png m.png -o o.png", r"absent.png cannot be read: No such file"),
        ("text.png m.png -o o.png", r"text.png must be a JPEG, PNG, TIFF, WebP"),
        ("cut.jpg m.png -o o.png", r"cut.jpg must be a complete JPEG file.*truncated"),
        ("c.png cut.jpg -o o.png", r"cut.jpg must be a complete JPEG file"),
        ("c.png m.png -o o.png --arguments bad.json", r"bad.json must be a JSON file"),
        ("c.png m.png", r"required: -o/--output"),
        ("c.png m.png -o o.png --bogus", "unrecognized arguments: --bogus"),
    ],
)
def test_image_bad_input_is_refused(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    Path("text.png").write_text("hello")
    Path("cut.jpg").write_bytes(Path("c.jpg").read_bytes()[:900])
    Path("bad.json").write_text("{")
    before = {path: path.read_bytes() for path in scene.iterdir()}
    Path("loop.png").symlink_to("loop.png")
    choice = [] if "--arguments" in words else ["--model", str(model)]
    assert re.search(message, refused(capsys, 2, "image", *words.split(), *choice))
    Path("loop.png").unlink()
    assert {path: path.read_bytes() for path in scene.iterdir()} == before


def test_image_model_with_arguments_is_refused(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Arguments.identity().save("a.json")
    words = ["image", "c.png", "m.png", "-o", "o.png", "--arguments", "a.json", "--model", "x.onnx"]
    assert "drop one of the two" in refused(capsys, 2, *words)
    words = ["image", "c.png", "m.png", "-o", "o.png", "--model", "c.png"]
    assert re.search("must be a complete ONNX model", refused(capsys, 2, *words))


def test_image_overwrite_input_when_asked_and_other_outputs_always(
    scene: Path, model: Path
) -> None:
    expected_words = ["image", "c.png", "m.png", "--model", str(model), "-o"]
    Path("o.png").write_bytes(b"old")
    assert main([*expected_words, "o.png"]) == 0
    assert main([*expected_words, "c.png", "--overwrite-input"]) == 0
    np.testing.assert_array_equal(pixels("c.png"), pixels("o.png"))


def test_image_input_behind_a_link_is_protected(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link.png").symlink_to("c.png")
    words = ["image", "c.png", "m.png", "-o", "link.png", "--model", str(model)]
    assert "would replace an input" in refused(capsys, 2, *words)
