"""The C++ renderer against the float64 oracle: every operation, order, dtype and mask."""

import itertools

import numpy as np
import pytest
from parity import (
    FULL_SCALE,
    IMAGES,
    as_dtype,
    assert_parity,
    hard_mask,
    random_arguments,
    random_filters,
    seed_of,
    sides,
    soft_mask,
)
from repository import shared_data

from export import tolerances
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from harmonizer.renderer import CpuRenderer


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("name", OPERATIONS)
def test_single_operation_matches_oracle(name: str, dtype: str) -> None:
    for argument in sides(name):
        for image in IMAGES.values():
            converted = as_dtype(image, dtype)
            masks = (None, hard_mask(image), soft_mask(image))
            assert_parity(converted, masks, Arguments((name,), (argument,)))


@pytest.mark.parametrize("synthesis", [True, False], ids=["synthesis ranges", "all arguments"])
@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("image", IMAGES)
def test_default_filters_match_oracle(image: str, dtype: str, synthesis: bool) -> None:
    generator = np.random.default_rng(seed_of(image, dtype, synthesis))
    pixels = as_dtype(IMAGES[image], dtype)
    for _ in range(6):
        arguments = random_arguments(generator, DEFAULT_FILTERS, synthesis)
        assert_parity(pixels, (None, hard_mask(pixels), soft_mask(pixels)), arguments)


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("image", IMAGES)
def test_any_filters_in_any_order_match_oracle(image: str, dtype: str) -> None:
    generator = np.random.default_rng(seed_of(image, dtype))
    pixels = as_dtype(IMAGES[image], dtype)
    for attempt in range(8):
        arguments = random_arguments(generator, random_filters(generator), attempt % 2 == 0)
        assert_parity(pixels, (None, soft_mask(pixels)), arguments)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_before_the_steepest_curve_matches_oracle(name: str) -> None:
    """Rounding errors near black and white become whole levels unless they are drawn again."""
    for argument, steep in itertools.product(sides(name), (0.9, 0.995)):
        for last, sign in (("shadow", 1), ("highlight", -1)):
            if last == name:
                continue
            for image in ("corners", "near black", "near white"):
                arguments = Arguments((name, last), (argument, sign * steep))
                assert_parity(IMAGES[image], (None, soft_mask(IMAGES[image])), arguments)


def test_identity_beside_steep_steps_matches_oracle() -> None:
    for steep in (("shadow", 0.95), ("highlight", -0.95)):
        for idle in OPERATIONS:
            if idle == steep[0]:
                continue
            value = Arguments.identity((idle,)).numbers[0]
            arguments = Arguments((idle, steep[0]), (value, steep[1]))
            for image in ("corners", "near black", "near white"):
                assert_parity(IMAGES[image], (None,), arguments)


@pytest.mark.slow
def test_many_random_programs_match_oracle() -> None:
    generator = np.random.default_rng(42)
    for attempt in range(20000):
        image = IMAGES[list(IMAGES)[attempt % len(IMAGES)]]
        arguments = random_arguments(generator, random_filters(generator), attempt % 2 == 0)
        masks = (None, soft_mask(image)) if attempt % 5 == 0 else (None,)
        assert_parity(as_dtype(image, list(FULL_SCALE)[attempt % 3]), masks, arguments)


def test_contrast_on_both_sides_of_its_steps_matches_oracle() -> None:
    for step in (1, 51, 128, 254):
        for nudge in (-1e-12, 0.0, 1e-12):
            arguments = Arguments(("contrast",), (step / 255 + nudge,))
            assert_parity(IMAGES["coffee"], (None,), arguments)


def test_arguments_beyond_the_range_are_drawn_clamped() -> None:
    arguments = Arguments(DEFAULT_FILTERS, (1.5, -0.2, 0.1, -3.0, 0.2, 0.1))
    assert_parity(IMAGES["coffee"], (None,), arguments)


@pytest.mark.parametrize("name", ["x86-64-v4", "x86-64-v3", "x86-64", "generic"])
def test_instruction_set_matches_oracle(name: str) -> None:
    try:
        _native.set_isa(name)
    except ValueError as refusal:
        pytest.skip(str(refusal))
    try:
        assert _native.isa() == name
        generator = np.random.default_rng(7)
        for image, dtype in itertools.product(IMAGES.values(), FULL_SCALE):
            for filters in (DEFAULT_FILTERS, random_filters(generator)):
                arguments = random_arguments(generator, filters, False)
                masks = (hard_mask(image), soft_mask(image))
                assert_parity(as_dtype(image, dtype), masks, arguments)
    finally:
        _native.set_isa(None)


def test_golden_cases_match() -> None:
    golden = np.load(shared_data("golden", "filters.npz"))
    filters = tuple(map(str, golden["order"]))
    renderer = CpuRenderer()
    off, total = 0, 0
    for case, values in enumerate(golden["case_args"]):
        index = golden["case_image"][case]
        image = np.ascontiguousarray(golden["comp"][index].transpose(1, 2, 0))
        mask = golden["mask"][index, 0]
        for stage, expected in enumerate(golden["stage_outputs"][case], start=1):
            arguments = Arguments(filters[:stage], tuple(map(float, values[:stage])))
            drawn = renderer.draw(image, mask, renderer.measure(image, arguments))
            difference = np.abs(drawn.transpose(2, 0, 1) - expected)
            assert difference.max() <= tolerances.GOLDEN_STAGES_MAX, (case, stage)
            off += int((difference > tolerances.GOLDEN_STAGES).sum())
            total += difference.size
    assert off / total <= tolerances.GOLDEN_STAGES_SHARE
