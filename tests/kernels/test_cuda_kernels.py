"""The CUDA kernels, compiled by g++ and run on the CPU, draw what CPU renderer and oracle draw."""

import itertools

import numpy as np
import parity
import pytest
from cuda_emulation.frames import DRAW_GIVEN, EmulatedDevice
from cuda_emulation.pictures import (
    FULL_SCALE,
    LAYOUTS,
    USUAL,
    assert_close,
    assert_parity_with_oracle,
    expected_by_cpu,
    laid_out,
    masks,
    photograph,
)

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, OPERATIONS, PHOTO_FILTERS
from harmonizer.renderer import CpuRenderer

MEASURE, DRAW, PREPARE = _native.PHASE_MEASURE, _native.PHASE_DRAW, _native.PHASE_PREPARE


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_drawing_any_layout_in_place_and_out_of_place_matches_cpu(
    device: EmulatedDevice, cpu: CpuRenderer, layout: str, dtype: str
) -> None:
    image = photograph(19, 571, dtype)
    for kind, mask in masks(19, 571):
        expected = expected_by_cpu(cpu, image, mask, USUAL)
        source, target = laid_out(image, layout), laid_out(image * 0, layout)
        around = None if target.base is None else np.array(target.base)
        device.draw(source, mask, USUAL, target)
        story = f"{layout} {dtype} {kind}"
        assert_close(target, expected, image, mask, story)
        assert np.array_equal(source, image), f"source changed, {story}"
        if around is not None:  # nothing but the pixels is written
            target[...] = 0
            assert np.array_equal(np.asarray(target.base), around), story
        device.draw(source, mask, USUAL, source)
        assert_close(source, expected, image, mask, f"in place, {story}")


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_drawing_between_layouts_matches_cpu(
    device: EmulatedDevice, cpu: CpuRenderer, dtype: str
) -> None:
    image = photograph(7, 130, dtype)
    mask = parity.soft_mask(image)
    expected = expected_by_cpu(cpu, image, mask, USUAL)
    for first, second in itertools.permutations(("RGB", "BGR", "RGBA", "shifted", "planar"), 2):
        target = laid_out(image * 0, second)
        device.draw(laid_out(image, first), mask, USUAL, target)
        assert_close(target, expected, image, mask, f"{first} to {second}")


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_drawing_odd_sizes_matches_cpu(
    device: EmulatedDevice, cpu: CpuRenderer, dtype: str
) -> None:
    for height, width in ((1, 1), (1, 2), (3, 1), (2, 15), (5, 16), (3, 17), (1, 511), (2, 513)):
        image = photograph(height, width, dtype)
        for (kind, mask), layout in itertools.product(masks(height, width), ("RGB", "shifted")):
            expected = expected_by_cpu(cpu, image, mask, USUAL)
            drawn = device.draw(laid_out(image, layout), mask, USUAL)
            assert_close(drawn, expected, image, mask, f"{height}x{width} {kind} {layout}")


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("name", OPERATIONS)
def test_single_operation_matches_oracle(device: EmulatedDevice, name: str, dtype: str) -> None:
    for argument in parity.sides(name):
        for image in (parity.IMAGES["corners"], parity.IMAGES["coffee"]):
            converted = parity.as_dtype(image, dtype)
            assert_parity_with_oracle(device, converted, Arguments((name,), (argument,)))


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("image", parity.IMAGES)
def test_any_filters_in_any_order_match_oracle(
    device: EmulatedDevice, image: str, dtype: str
) -> None:
    generator = np.random.default_rng(parity.seed_of("cuda", image, dtype))
    pixels = parity.as_dtype(parity.IMAGES[image], dtype)
    for attempt in range(6):
        filters = parity.random_filters(generator) if attempt % 3 else DEFAULT_FILTERS
        arguments = parity.random_arguments(generator, filters, attempt % 2 == 0)
        assert_parity_with_oracle(device, pixels, arguments)


def test_channel_means_of_a_picture_near_black_are_exact_enough_to_divide_by(
    device: EmulatedDevice,
) -> None:
    """Highlight computes 1 - (1 - v)^g: float leaves 6e-8 of black, means here are 2e-4."""
    filters = ("brightness", "highlight", "hue", "temperature")
    arguments = Arguments(filters, (-0.961, -0.491, -0.4, 0.915))
    assert_parity_with_oracle(
        device, parity.as_dtype(parity.IMAGES["near black"], "uint8"), arguments
    )


@pytest.mark.slow
def test_many_random_programs_match_oracle(device: EmulatedDevice) -> None:
    generator = np.random.default_rng(43)
    for attempt in range(3000):
        image = parity.IMAGES[list(parity.IMAGES)[attempt % len(parity.IMAGES)]]
        image = parity.as_dtype(image, list(FULL_SCALE)[attempt % 3])
        filters = parity.random_filters(generator)
        arguments = parity.random_arguments(generator, filters, attempt % 2 == 0)
        assert_parity_with_oracle(device, image, arguments)


@pytest.mark.parametrize("filters", [DEFAULT_FILTERS, ("saturation", "contrast", "temperature")])
def test_steep_arguments_are_drawn_in_double(
    device: EmulatedDevice, cpu: CpuRenderer, filters: tuple[str, ...]
) -> None:
    steep = {"saturation": 0.9999, "contrast": 0.5, "temperature": 0.2, "shadow": 0.97}
    arguments = Arguments(filters, tuple(steep.get(name, 0.1) for name in filters))
    for dtype, layout in itertools.product(FULL_SCALE, ("RGB", "planar")):
        image = photograph(3, 530, dtype)
        for kind, mask in masks(3, 530):
            drawn = device.draw(laid_out(image, layout), mask, arguments, laid_out(image, layout))
            assert device.report.in_double == 1
            expected = expected_by_cpu(cpu, image, mask, arguments)
            assert_close(drawn, expected, image, mask, f"{dtype} {layout} {kind}")


def test_arguments_within_synthesis_ranges_are_drawn_in_float(device: EmulatedDevice) -> None:
    for dtype, sign in itertools.product(FULL_SCALE, (-1, 1)):
        limits = [OPERATIONS[name].synthesis_range * sign for name in DEFAULT_FILTERS]
        device.draw(photograph(4, 60, dtype), None, Arguments(DEFAULT_FILTERS, tuple(limits)))
        assert device.report.in_double == 0, (dtype, sign)


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_identity_arguments_draw_nothing(device: EmulatedDevice, dtype: str) -> None:
    image = photograph(6, 700, dtype)
    for layout in ("RGB", "RGBA", "shifted"):
        for kind, mask in masks(6, 700):
            nothing = Arguments.identity(PHOTO_FILTERS[:MAX_FILTERS])
            drawn = device.draw(laid_out(image, layout), mask, nothing)
            assert np.array_equal(drawn, image), (layout, kind)
    assert all(step.statistics in ((), (0,), (0, 0, 0)) for step in device.plan().steps)


def test_no_operations_copy(device: EmulatedDevice) -> None:
    image, out = photograph(6, 700), np.zeros((6, 700, 3), np.uint8)
    device.run(device.frame(image, None, out, ()), DRAW_GIVEN)
    assert np.array_equal(out, image)


def test_uncovered_pixels_beside_a_covered_one_are_untouched(device: EmulatedDevice) -> None:
    image = photograph(4, 512)
    mask = np.zeros((4, 512), np.uint8)
    mask[2, 100] = 255
    before = image.copy()
    device.draw(image, mask, USUAL, image)
    changed = (image != before).any(axis=2)
    assert changed[2, 100] and changed.sum() == 1
