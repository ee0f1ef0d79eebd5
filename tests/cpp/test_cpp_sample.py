"""The sample application: files and raw streams, bit for bit what Python draws; clear errors."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cpp_package import read_netpbm, run, sample, succeed, write_netpbm
from curves import random_slopes
from numpy.typing import NDArray
from PIL import Image

from harmonizer import Arguments
from harmonizer.renderer import CpuRenderer
from harmonizer.values import of_numbers

Array = NDArray[Any]

LOOK = Arguments(
    ("temperature", "brightness", "contrast", "saturation", "highlight", "shadow"),
    (0.15, -0.1, 0.25, -0.3, 0.2, -0.4),
)
PAIRS = ",".join(f"{name}={value}" for name, value in LOOK.items())


@pytest.fixture(scope="module")
def foreground() -> NDArray[np.uint8]:
    """A mask of (90, 120) with soft edges."""
    mask = np.zeros((90, 120), np.uint8)
    mask[20:70, 50:110] = 255
    mask[20:70, 45:50] = 128
    return mask


@pytest.fixture
def picture(photograph: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A crop of a photograph, (90, 120, 3)."""
    return np.ascontiguousarray(photograph[100:190, 200:320])


def drawn(image: Array, mask: Array, arguments: Arguments = LOOK) -> Array:
    renderer = CpuRenderer()
    return renderer.draw(image, mask, renderer.measure(image, arguments))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", [".ppm", ".pam"])
def test_sample_draws_what_python_draws(
    depth: int, suffix: str, picture: Array, foreground: Array, tmp_path: Path
) -> None:
    image = picture if depth == 8 else picture.astype(np.uint16) * 257 - 100 * (picture > 4)
    image = image.astype(np.uint8 if depth == 8 else np.uint16)
    source = write_netpbm(tmp_path / f"c{suffix}", image)
    mask = write_netpbm(tmp_path / "m.pgm", foreground)
    out = tmp_path / f"out{suffix}"
    result = run(sample(), source, mask, "-o", out, "--arguments", PAIRS, "--repeat", 3)
    assert result.returncode == 0, result.stderr
    assert np.array_equal(read_netpbm(out, image), drawn(image, foreground))
    assert "temperature +0.150" in result.stderr
    assert "p90" in result.stderr


def test_saved_arguments_are_drawn_in_their_order(
    picture: Array, foreground: Array, tmp_path: Path
) -> None:
    arguments = Arguments(("shadow", "temperature", "hue"), (0.3, -0.5, 0.125))
    arguments.save(tmp_path / "look.json")
    source = write_netpbm(tmp_path / "c.ppm", picture)
    mask = write_netpbm(tmp_path / "m.pgm", foreground)
    out = tmp_path / "out.ppm"
    succeed(sample(), source, mask, "-o", out, "--arguments", tmp_path / "look.json")
    assert np.array_equal(read_netpbm(out, picture), drawn(picture, foreground, arguments))


def test_strength_scales_the_arguments(picture: Array, foreground: Array, tmp_path: Path) -> None:
    source = write_netpbm(tmp_path / "c.ppm", picture)
    mask = write_netpbm(tmp_path / "m.pgm", foreground)
    out = tmp_path / "out.ppm"
    succeed(sample(), source, mask, "-o", out, "--arguments", PAIRS, "--strength", 0.7)
    wanted = drawn(picture, foreground, LOOK.scaled(0.7))
    assert np.array_equal(read_netpbm(out, picture), wanted)


@pytest.mark.parametrize("stages", [1, 3])
def test_saved_curves_are_drawn_at_their_strength(
    stages: int, picture: Array, foreground: Array, tmp_path: Path
) -> None:
    slopes = of_numbers(random_slopes(np.random.default_rng(stages), stages).reshape(-1))
    arguments = Arguments(("shadow", "piecewise_curve"), (0.3, slopes)).clamped()
    arguments.save(tmp_path / "look.json")
    source = write_netpbm(tmp_path / "c.ppm", picture)
    mask = write_netpbm(tmp_path / "m.pgm", foreground)
    out = tmp_path / "out.ppm"
    words = [source, mask, "-o", out, "--arguments", tmp_path / "look.json", "--strength", 0.7]
    result = run(sample(), *words)
    assert f"piecewise_curve of {stages} stages" in result.stderr
    wanted = drawn(picture, foreground, arguments.scaled(0.7))
    assert np.array_equal(read_netpbm(out, picture), wanted)
    assert not np.array_equal(wanted, drawn(picture, foreground, arguments))


def test_alpha_is_the_mask_and_stays(picture: Array, foreground: Array, tmp_path: Path) -> None:
    rgba = np.dstack([picture, foreground])
    source = write_netpbm(tmp_path / "c.pam", rgba)
    out = tmp_path / "out.pam"
    succeed(sample(), source, "-o", out, "--arguments", PAIRS)
    wanted = np.dstack([drawn(picture, foreground), foreground])
    assert np.array_equal(read_netpbm(out, rgba), wanted)


def test_png_is_read_and_written_where_libpng_is(
    picture: Array, foreground: Array, tmp_path: Path
) -> None:
    Image.fromarray(picture).save(tmp_path / "c.png")
    Image.fromarray(foreground).save(tmp_path / "m.png")
    out = tmp_path / "out.png"
    result = run(sample(), tmp_path / "c.png", tmp_path / "m.png", "-o", out, "--arguments", PAIRS)
    if "or PNG" not in result.stderr and "it is none" in result.stderr:
        pytest.skip("the sample was built without libpng")
    assert result.returncode == 0, result.stderr
    assert np.array_equal(np.asarray(Image.open(out)), drawn(picture, foreground))


@pytest.mark.parametrize("masks", ["one", "each"])
def test_stream_is_harmonized_frame_by_frame(
    masks: str, photograph: Array, foreground: Array, tmp_path: Path
) -> None:
    frames = [np.ascontiguousarray(photograph[i : i + 90, 3 * i : 3 * i + 120]) for i in range(5)]
    coverage = [np.roll(foreground, 7 * i if masks == "each" else 0, axis=1) for i in range(5)]
    stored = coverage if masks == "each" else coverage[:1]
    (tmp_path / "m.gray").write_bytes(b"".join(mask.tobytes() for mask in stored))
    command = [str(sample()), "--raw", "120x90", str(tmp_path / "m.gray"), "--arguments", PAIRS]
    result = subprocess.run(
        command,
        input=b"".join(frame.tobytes() for frame in frames),
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    wanted = [drawn(frame, mask) for frame, mask in zip(frames, coverage, strict=True)]
    assert result.stdout == b"".join(frame.tobytes() for frame in wanted)
    assert b"5 frames in" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("", 2, "an IMAGE is needed"),
        ("c.ppm m.pgm", 2, "-o OUT is needed"),
        ("c.ppm m.pgm -o o.ppm", 2, "exactly one of --arguments and --engine"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --engine e", 2, "exactly one of"),
        ("c.ppm m.pgm -o o.ppm --engine e", 2, "--backend cuda"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --backend gpu", 2, "cpu or cuda"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --strength 2", 2, "from 0 to 1.5; got `2`"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --threads 1.5", 2, "from 1 to 256; got `1.5`"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --repeat 0", 2, "from 1 to 1000000; got"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --fast", 2, "no option --fast"),
        ("c.ppm m.pgm -o o.ppm --arguments", 2, "needs a value"),
        ("--raw 12 m.pgm --arguments hue=0", 2, "WIDTHxHEIGHT"),
        ("--raw 12x9 m.pgm -o x --arguments hue=0", 2, "stdout"),
        ("c.ppm m.pgm -o ./c.ppm --arguments hue=0", 2, "would replace an input, c.ppm"),
        ("c.ppm m.pgm -o link.pgm --arguments hue=0", 2, "would replace an input, m.pgm"),
        ("c.ppm m.pgm -o broken.json --arguments broken.json", 2, "would replace an input, b"),
        ("c.ppm m.pgm -o o.ppm --arguments hue", 1, "name=number"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=x", 1, "name=number"),
        ("c.ppm m.pgm -o o.ppm --arguments glow=0.1", 1, "must be one of temperature"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=1.1", 1, "must lie in [-1"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=nan", 1, "must lie in [-1"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0,hue=0", 1, "twice"),
        ("c.ppm m.pgm -o o.ppm --arguments none.json", 1, "readable file of arguments"),
        ("c.ppm m.pgm -o o.ppm --arguments broken.json", 1, "expected"),
        ("c.ppm m.pgm -o o.ppm --arguments other.json", 1, 'format "harmonizer-arguments"'),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --label food", 2, "--label belongs to --engine"),
        ("c.ppm m.pgm -o o.ppm --arguments piecewise_curve=1", 1, "192, 384 or 576 numbers"),
        ("c.ppm m.pgm -o o.ppm --arguments curves.json", 1, "for piecewise_curve; got 2"),
        ("c.ppm m.pgm -o o.ppm --arguments short.json", 1, "a number for the filter `hue`"),
        ("none.ppm m.pgm -o o.ppm --arguments hue=0", 1, "No such file"),
        ("broken.json m.pgm -o o.ppm --arguments hue=0", 1, "PPM, PGM or PAM"),
        ("cut.ppm m.pgm -o o.ppm --arguments hue=0", 1, "cut short"),
        ("depth.ppm m.pgm -o o.ppm --arguments hue=0", 1, "255 or 65535"),
        ("m.pgm m.pgm -o o.ppm --arguments hue=0", 1, "must have colours"),
        ("c.ppm c.ppm -o o.ppm --arguments hue=0", 1, "must be grey"),
        ("c.ppm small.pgm -o o.ppm --arguments hue=0", 1, "width and height"),
        ("c.ppm -o o.ppm --arguments hue=0", 1, "alpha channel"),
        ("c.ppm m.pgm -o o.jpg --arguments hue=0", 1, "must end in .ppm"),
        ("c.ppm m.pgm -o no/o.ppm --arguments hue=0", 1, "must be writable"),
        ("c.ppm m.pgm -o o.ppm --arguments hue=0 --backend cuda", 1, "NVIDIA driver"),
        ("--raw 120x90 none --arguments hue=0", 1, "No such file"),
        ("--raw 120x90 short.json --arguments hue=0", 1, "one mask, or one for each frame"),
        ("--raw 120x91 m.gray --arguments hue=0", 1, "frame 1 has 32400"),
        ("--raw 120x45 m.gray --arguments hue=0", 0, "2 frames"),
        ("--raw 120x30 m.gray --arguments hue=0", 0, "3 frames"),
        ("--raw 40x30 m.gray --arguments hue=0", 0, "9 frames"),
    ],
)
def test_wrong_use_is_refused_with_the_reason(
    words: str,
    code: int,
    message: str,
    picture: Array,
    foreground: Array,
    tmp_path: Path,
) -> None:
    ppm = write_netpbm(tmp_path / "c.ppm", picture).read_bytes()
    write_netpbm(tmp_path / "m.pgm", foreground)
    (tmp_path / "link.pgm").symlink_to("m.pgm")
    write_netpbm(tmp_path / "small.pgm", foreground[1:])
    (tmp_path / "m.gray").write_bytes(foreground.tobytes())
    (tmp_path / "cut.ppm").write_bytes(ppm[:-1])
    (tmp_path / "depth.ppm").write_bytes(ppm.replace(b"\n255\n", b"\n100\n", 1))
    document = '{"format": "%s", "version": 1, "filters": ["hue"], "arguments": {%s}}'
    (tmp_path / "broken.json").write_text("{]")
    (tmp_path / "other.json").write_text(document % ("another", '"hue": 0'))
    (tmp_path / "curves.json").write_text(document % ("harmonizer-arguments", '"hue": [1, 1]'))
    (tmp_path / "short.json").write_text(document % ("harmonizer-arguments", ""))
    result = subprocess.run(
        [str(sample()), *words.split()],
        input=picture.tobytes(),
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    said = result.stderr.decode()
    assert message in said
    assert result.returncode == code
    assert code == 0 or said.startswith("harmonize: error: ")
    assert not (tmp_path / "o.ppm").exists()
    assert (tmp_path / "c.ppm").read_bytes() == ppm


@pytest.mark.parametrize(("white", "depth"), [(1, 8), (15, 8), (255, 16)])
def test_mask_of_another_scale_is_refused_and_levels_spread_it(
    white: int, depth: int, picture: Array, foreground: Array, tmp_path: Path
) -> None:
    kind = np.uint8 if depth == 8 else np.uint16
    labels = (foreground == 255).astype(kind) * kind(white)
    source = write_netpbm(tmp_path / "c.ppm", picture)
    mask = write_netpbm(tmp_path / "m.pgm", labels)
    rgba = write_netpbm(tmp_path / "c.pam", np.dstack([picture.astype(kind), labels]))
    full = np.iinfo(kind).max
    out = tmp_path / "o.ppm"
    for words in ((source, mask, "-o", out), (rgba, "-o", tmp_path / "o.pam")):
        result = run(sample(), *words, "--arguments", PAIRS)
        assert result.returncode == 1 and not words[-1].exists()
        assert f"must have {full} where the foreground is full" in result.stderr
        assert f"its largest value is {white}," in result.stderr
        assert f"--mask-levels 0,{white};" in result.stderr
    levels = ["--mask-levels", f"0,{white}"]
    succeed(sample(), source, mask, "-o", out, "--arguments", PAIRS, *levels)
    spread = np.where(labels == white, 255, 0).astype(np.uint8)
    assert np.array_equal(read_netpbm(out, picture), drawn(picture, spread))
    succeed(sample(), rgba, "-o", tmp_path / "o.pam", "--arguments", PAIRS, *levels)
    read = read_netpbm(tmp_path / "o.pam", np.dstack([picture.astype(kind), labels]))
    assert np.array_equal(read[..., 3], labels)
    for wrong in ("1", "5,5", "0,70000", "0,1x"):
        refused = run(
            sample(), source, mask, "-o", out, "--arguments", PAIRS, "--mask-levels", wrong
        )
        assert refused.returncode == 1 and "0 <= black < white" in refused.stderr


def test_stream_of_dark_masks_is_refused_and_levels_spread_it(
    picture: Array, foreground: Array, tmp_path: Path
) -> None:
    labels = (foreground == 255).astype(np.uint8)
    (tmp_path / "m.gray").write_bytes(labels.tobytes() + labels.tobytes())
    command = [str(sample()), "--raw", "120x90", str(tmp_path / "m.gray"), "--arguments", PAIRS]
    frames = picture.tobytes() * 2
    result = subprocess.run(command, input=frames, capture_output=True, check=False)
    assert result.returncode == 1 and b"its largest value is 1," in result.stderr
    command += ["--mask-levels", "0,1"]
    result = subprocess.run(command, input=frames, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == drawn(picture, labels * 255).tobytes() * 2


def test_help_names_every_option() -> None:
    text = succeed(sample(), "--help")
    for option in ("--arguments", "--engine", "--raw", "--backend", "--kernels", "--label"):
        assert option in text
