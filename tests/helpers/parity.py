"""Pictures, masks and arguments for parity with the float64 oracle, and how it is judged."""

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
import skimage.data
import torch
from curves import curves, random_value
from numpy.typing import NDArray

from export import tolerances
from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.ops import MAX_FILTERS, OPERATIONS
from harmonizer.renderer import CpuRenderer
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
    plan = renderer.measure(image, arguments)
    for mask in masks:
        blended = filtered
        if mask is not None:
            blended = blend(filtered, tensor, torch.from_numpy(mask / 255.0)[None, None])
        assert_equal_within_tolerance(
            image, renderer.draw(image, mask, plan), blended[0].permute(1, 2, 0).numpy(), arguments
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
