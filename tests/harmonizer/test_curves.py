"""Curves as arguments: from outside, in files, blended, plotted, saved as a LUT."""

from pathlib import Path

import numpy as np
import pytest
from command_line import refused
from curves import curves, random_slopes
from PIL import Image

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.curves import TABLE_SIZE, tabulate
from harmonizer.errors import ArgumentsError
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from harmonizer.plan import Plan, Step
from harmonizer.renderer import CpuRenderer

NAME = ("piecewise_curve",)
SLOPES = random_slopes(np.random.default_rng(3), 2)
GIVEN = Arguments.from_mapping({"piecewise_curve": SLOPES}, NAME)


def test_curves_are_flat_numbers_in_stage_channel_knot_order() -> None:
    assert GIVEN.sizes == (384,)
    np.testing.assert_array_equal(GIVEN.array(), SLOPES.reshape(-1))
    assert Arguments.from_array(GIVEN.array(), NAME, (384,)) == GIVEN
    assert Arguments.from_mapping({"piecewise_curve": SLOPES.tolist()}, NAME) == GIVEN
    assert str(GIVEN).startswith("piecewise_curve 2 curves a channel, slopes ")


def test_curves_saved_then_loaded_are_the_same(tmp_path: Path) -> None:
    mixed = Arguments((*NAME, "shadow"), (GIVEN.numbers[0], 0.25))
    for arguments in (GIVEN, mixed):
        arguments.save(tmp_path / "a.json")
        assert Arguments.load(tmp_path / "a.json") == arguments
        plan = CpuRenderer(1).measure(np.zeros((2, 2, 3), np.uint8), arguments)
        assert Plan.from_document(plan.document()) == plan


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "192, 384, 576 numbers; got 1. Write stages of 3 channels of 64 slopes"),
        ([1.0] * 191, "192, 384, 576 numbers; got 191"),
        ([[1.0] * 64] * 12, "got 768"),
        ([[1.0] * 64, [1.0] * 63], "numbers, in lists of the same length; got"),
        (["1"] * 192, "must be 192, 384, 576 numbers, in lists of the same length; got"),
        ([True] * 192, "must be 192, 384, 576 numbers, in lists"),
        ([np.nan] * 192, "must be finite numbers"),
        ([65.0] * 192, r"must lie in \[-64, 64\]; got 65"),
    ],
)
def test_bad_curves_are_refused(value: object, message: str) -> None:
    with pytest.raises(ArgumentsError, match=message):
        Arguments.from_mapping({"piecewise_curve": value}, NAME)


def test_strength_blends_from_the_identity() -> None:
    assert GIVEN.scaled(0).is_identity()
    assert not GIVEN.is_identity()
    np.testing.assert_allclose(GIVEN.scaled(0.5).array(), 0.5 + SLOPES.reshape(-1) / 2, rtol=1e-6)


def test_curves_of_no_slope_draw_nothing_new() -> None:
    """A sum of 0 has no direction: the curve is the identity, and never NaN."""
    image = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    zeros = Arguments.from_mapping({"piecewise_curve": np.zeros(192)}, NAME)
    renderer = CpuRenderer(1)
    np.testing.assert_array_equal(renderer.draw(image, None, renderer.measure(image, zeros)), image)


@pytest.mark.parametrize("index", range(len(curves())))
def test_every_curve_is_finite_and_meets_both_ends(index: int) -> None:
    table = tabulate(CpuRenderer(1), Plan((Step(NAME[0], curves()[index]),)))
    assert np.isfinite(table).all()
    assert table.min() >= 0
    assert table.max() <= 1
    np.testing.assert_allclose(table[0], 0, atol=1e-6)
    np.testing.assert_allclose(table[-1], 1, atol=1e-5)


def test_cascade_is_the_stages_one_after_the_other() -> None:
    renderer = CpuRenderer(1)
    whole = tabulate(renderer, Plan((Step(NAME[0], GIVEN.numbers[0]),)))
    first, second = (Step(NAME[0], tuple(stage.reshape(-1).tolist())) for stage in SLOPES)
    between = tabulate(renderer, Plan((first,)))
    after = renderer.draw(between[None], None, Plan((second,)))[0]
    np.testing.assert_allclose(whole, after, atol=2e-6)


def test_mixing_filters_have_no_curves() -> None:
    with pytest.raises(ArgumentsError, match="saturation mixes them"):
        tabulate(CpuRenderer(1), Plan((Step("saturation", 0.5),)))


def test_curves_command_writes_picture_lut_and_arguments(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    GIVEN.save(scene / "a.json")
    words = ["curves", "c.png", "m.png", "--arguments", "a.json", "-o", "o.png"]
    assert main([*words, "--cube", "o.cube", "--save-arguments", "b.json"]) == 0
    assert "2 curves a channel" in capsys.readouterr().out
    assert Arguments.load("b.json") == GIVEN
    lines = Path("o.cube").read_text().splitlines()
    assert f"LUT_1D_SIZE {TABLE_SIZE}" in lines
    numbers = [list(map(float, line.split())) for line in lines if line[0].isdigit()]
    expected = tabulate(CpuRenderer(1), Plan((Step(NAME[0], GIVEN.numbers[0]),)))
    np.testing.assert_allclose(numbers, expected, atol=1e-6)
    with Image.open("o.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(212, 42, 42), (31, 157, 58), (36, 86, 214)} <= colours


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-o", "o.jpg"], "--output must end in .png; got o.jpg"),
        (["-o", "o.png", "--cube", "o.txt"], "--cube must end in .cube"),
        (["-o", "c.png"], "--output c.png would replace an input"),
        (["-o", "o.png", "--arguments", "mixing.json"], "saturation mixes them"),
        (["-o", "o.png", "--arguments", "a.json", "--label", "person"], "--label helps to predict"),
        (["-o", "o.png", "--label", "tree"], "invalid choice: 'tree'"),
        (["-o", "o.png", "--label", "food"], "--label must go with a model that reads one"),
        (["-o", "o.png", "--allow-host-code"], "--allow-host-code must go with an engine"),
    ],
)
def test_curves_command_bad_input_is_one_line(
    scene: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    GIVEN.save(scene / "a.json")
    Arguments.identity(DEFAULT_FILTERS).save(scene / "mixing.json")
    before = set(scene.iterdir())
    assert complaint in refused(capsys, 2, "curves", "c.png", "m.png", *words)
    assert set(scene.iterdir()) == before


def test_curves_command_without_its_model_names_the_model_alone(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("c.png", "m.png", "-o", "o.png", "--backend", "cpu", "--model", "none.onnx")
    said = refused(capsys, 2, "curves", *words)
    assert said.startswith("harmonizer: error: the model must be an ONNX file")


def test_default_curves_of_the_registry_change_nothing() -> None:
    operation = OPERATIONS["piecewise_curve"]
    assert all(
        Arguments.identity(NAME, (size,)).array().tolist() == [1.0] * size
        for size in operation.sizes
    )
