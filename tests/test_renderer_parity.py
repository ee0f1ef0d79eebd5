"""The C++ renderer against the float64 oracle: every operation, order, dtype and mask."""

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import skimage.data
import torch
from conftest import shared_data
from curves import curves, random_value
from numpy.typing import NDArray

from export import tolerances
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, OPERATIONS
from harmonizer.renderer import Array, CpuRenderer
from harmonizer.values import Value, to_numbers
from train.filters import apply_filters, blend

Mask = NDArray[np.uint8]

HALF_LEVEL = 1e-9
"""Levels; nearer to the middle between two of them, double precision cannot tell them apart."""

FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}
CORNERS = (0, 1, 2, 64, 127, 128, 191, 253, 254, 255)


def synthetic_images() -> dict[str, NDArray[np.uint8]]:
    corners = np.array(list(itertools.product(CORNERS, repeat=3)), np.uint8)
    y, x = np.mgrid[0:61, 0:251]  # a mean of exactly 1/2 would put contrast on half levels
    generator = np.random.default_rng(1)
    return {
        "corners": corners.reshape(25, 40, 3),
        "gradient": np.stack([x, 255 - x, 4 * y], axis=-1).astype(np.uint8),
        "near black": generator.integers(0, 6, (40, 40, 3), np.uint8),
        "near white": generator.integers(250, 256, (40, 40, 3), np.uint8),
    }


IMAGES: dict[str, NDArray[np.uint8]] = {
    "astronaut": skimage.data.astronaut()[::6, ::6],
    "coffee": skimage.data.coffee()[::6, ::6],
    "chelsea": skimage.data.chelsea()[::6, ::6],
    **synthetic_images(),
}


def seed_of(*words: object) -> int:
    return zlib.crc32(repr(words).encode())


def as_dtype(image: NDArray[np.uint8], dtype: str) -> Array:
    """The image in another dtype, with the values between the levels of uint8 used too."""
    if dtype == "uint8":
        return image
    noise = np.random.default_rng(2).uniform(-0.5, 0.5, image.shape)
    unit = ((image + noise) / 255).clip(0, 1)
    return (unit * FULL_SCALE[dtype]).astype(dtype)


def soft_mask(image: Array) -> Mask:
    """All coverages from 0 to 255, with areas of both."""
    height, width = image.shape[:2]
    ramp = np.linspace(-128, 383, width) + np.random.default_rng(3).integers(-30, 31, (height, 1))
    return ramp.clip(0, 255).astype(np.uint8)


def hard_mask(image: Array) -> Mask:
    """Ragged, with long and short runs."""
    generator = np.random.default_rng(4)
    return np.where(generator.random(image.shape[:2]) < soft_mask(image) / 255, 255, 0).astype(
        np.uint8
    )


def to_tensor(image: Array) -> torch.Tensor:
    unit = np.ascontiguousarray(image).astype(np.float64) / FULL_SCALE[image.dtype.name]
    return torch.from_numpy(unit).permute(2, 0, 1)[None]


def filtered_by_oracle(image: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    """F(I); identities alone return the input, where the formulas leave 1e-6."""
    if arguments.is_identity():
        return image
    numbers = np.concatenate([to_numbers(value) for value in arguments.numbers])
    values = torch.tensor(numbers[None], dtype=torch.float64)
    return apply_filters(image, values, arguments.filters)[-1]


def assert_parity(image: Array, masks: tuple[Mask | None, ...], arguments: Arguments) -> None:
    tensor = to_tensor(image)
    filtered = filtered_by_oracle(tensor, arguments)
    renderer = CpuRenderer(1)
    plan = renderer.prepare(image, arguments)
    for mask in masks:
        blended = filtered
        if mask is not None:
            blended = blend(filtered, tensor, torch.from_numpy(mask / 255.0)[None, None])
        assert_equal_within_tolerance(
            image, renderer.apply(image, mask, plan), blended[0].permute(1, 2, 0).numpy(), arguments
        )


def assert_equal_within_tolerance(
    image: Array, drawn: Array, expected_unit: Array, arguments: Arguments
) -> None:
    scale = FULL_SCALE[image.dtype.name]
    expected = expected_unit if scale == 1 else np.floor(expected_unit * scale + 0.5)
    difference = np.abs(drawn.astype(np.float64) - expected)
    row, column, _ = map(int, np.unravel_index(difference.argmax(), difference.shape))
    story = (
        f"{arguments} at ({row}, {column}): source {image[row, column]}, "
        f"oracle {expected[row, column]}, drawn {drawn[row, column]}"
    )
    if image.dtype == np.uint8:
        assert difference.max() <= tolerances.RENDER_U8_LEVELS, story
        # A half level has two right answers: the order of the oracle's own sums decides it.
        tie = np.abs(expected_unit * scale % 1 - 0.5) < HALF_LEVEL
        equal = float(((difference == 0) | tie).mean())
        assert equal >= tolerances.RENDER_U8_EQUAL, f"only {equal:.5f} equal; {story}"
    else:
        limit = {"uint16": tolerances.RENDER_U16, "float32": tolerances.RENDER_F32}
        assert difference.max() / scale <= limit[image.dtype.name], story


def random_arguments(
    generator: np.random.Generator, filters: tuple[str, ...], synthesis: bool
) -> Arguments:
    limits = [OPERATIONS[name].synthesis_range if synthesis else 1.0 for name in filters]
    pairs = zip(filters, limits, strict=True)
    return Arguments(filters, tuple(random_value(generator, name, limit) for name, limit in pairs))


def random_filters(generator: np.random.Generator) -> tuple[str, ...]:
    count = generator.integers(1, min(MAX_FILTERS, len(OPERATIONS)) + 1)
    return tuple(map(str, generator.permutation(list(OPERATIONS))[:count]))


def sides(name: str) -> Iterator[Value]:
    """Within the range, at its ends, and on both sides of the identity."""
    operation = OPERATIONS[name]
    if operation.sizes != (1,):
        yield from curves()
        return
    for fraction in (1.0, 0.997, 0.73, 0.31, 0.01):
        yield operation.identity + fraction * (operation.maximum - operation.identity)
        yield operation.identity - fraction * (operation.identity - operation.minimum)
    yield operation.identity


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
            drawn = renderer.apply(image, mask, renderer.prepare(image, arguments))
            difference = np.abs(drawn.transpose(2, 0, 1) - expected)
            assert difference.max() <= tolerances.GOLDEN_STAGES_MAX, (case, stage)
            off += int((difference > tolerances.GOLDEN_STAGES).sum())
            total += difference.size
    assert off / total <= tolerances.GOLDEN_STAGES_SHARE
