"""Pictures, masks and layouts for the emulated kernels, and what is drawn held against others."""

from collections.abc import Iterator

import numpy as np
import parity
import torch

from cuda_emulation.frames import Array, EmulatedDevice
from export import tolerances
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, PHOTO_FILTERS
from harmonizer.renderer import CpuRenderer
from train.filters import blend

FULL_SCALE = parity.FULL_SCALE


USUAL = Arguments(DEFAULT_FILTERS, (0.12, -0.15, 0.2, 0.25, -0.1, 0.15))


ALL = Arguments(PHOTO_FILTERS[:MAX_FILTERS], (0.1, 0.1, -0.2, 0.2, -0.1, 0.2, 0.1, -0.2))


def photograph(height: int, width: int, dtype: str = "uint8") -> Array:
    generator = np.random.default_rng(height * 1000 + width)
    noise = generator.integers(0, 256, (height, width, 3), np.uint8)
    ramp = np.linspace(0, 255, width)[None, :, None].astype(np.uint8)
    return parity.as_dtype((noise // 4 + ramp // 4 * 3).astype(np.uint8), dtype)


def laid_out(image: Array, layout: str) -> Array:
    """The same picture, elsewhere in memory."""
    height, width, _ = image.shape
    if layout == "BGR":
        return np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    if layout in ("RGBA", "BGRA"):
        memory = np.full((height, width, 4), 7, image.dtype)
        view = memory[..., :3] if layout == "RGBA" else memory[..., 2::-1]
    elif layout == "pitched":
        view = np.full((height, width + 5, 3), 7, image.dtype)[:, :width]
    elif layout == "shifted":  # no row begins at a multiple of 16
        view = np.full((height + 1, width + 9, 3), 7, image.dtype)[1:, 3 : width + 3]
    elif layout == "planar":
        view = np.full((3, height, width), 7, image.dtype).transpose(1, 2, 0)
    elif layout == "upside down":
        view = np.full(image.shape, 7, image.dtype)[::-1]
    elif layout == "mirrored":
        view = np.full(image.shape, 7, image.dtype)[:, ::-1]
    else:
        assert layout == "RGB"
        view = np.full(image.shape, 7, image.dtype)
    view[...] = image
    return view


LAYOUTS = ("RGB", "BGR", "RGBA", "BGRA", "pitched", "shifted", "planar", "upside down", "mirrored")


def masks(height: int, width: int) -> Iterator[tuple[str, Array | None]]:
    image = np.empty((height, width, 3), np.uint8)
    soft, hard = parity.soft_mask(image), parity.hard_mask(image)
    tile = np.zeros((height, width), np.uint8)
    tile[height // 3 : height // 3 * 2 + 1, width // 4 : width // 2 + 1] = 255
    single = np.zeros((height, width), np.uint8)
    single[height // 2, width // 2] = 255
    yield "none", None
    yield "empty", np.zeros((height, width), np.uint8)
    yield "full", np.full((height, width), 255, np.uint8)
    yield "single pixel", single
    yield "tile", tile
    yield "hard", hard
    yield "soft", soft
    yield "bool", hard > 0
    yield "uint16", soft.astype(np.uint16) * 257
    yield "float32", (soft / np.float32(255)).astype(np.float32)
    yield "column of RGBA", np.dstack([hard, soft, hard, hard])[..., 1]
    yield "shifted", np.pad(soft, ((0, 0), (3, 0)))[:, 3:]


def expected_by_cpu(
    cpu: CpuRenderer, image: Array, mask: Array | None, arguments: Arguments
) -> Array:
    return cpu.draw(image, mask, cpu.measure(image, arguments))


def assert_close(
    drawn: Array, expected: Array, image: Array, mask: Array | None, story: str
) -> None:
    dtype = image.dtype.name
    difference = np.abs(drawn.astype(np.float64) - expected.astype(np.float64))
    if dtype == "uint8":
        assert difference.max() <= tolerances.CUDA_U8_LEVELS, story
        # Small pictures: two values are no thousandth, but no sign of an error either.
        off = int((difference > 0).sum())
        assert off <= max(2, (1 - tolerances.CUDA_U8_EQUAL) * difference.size), (
            f"{off} off, {story}"
        )
    else:
        limit = {"uint16": tolerances.CUDA_U16, "float32": tolerances.CUDA_F32}[dtype]
        assert difference.max() / FULL_SCALE[dtype] <= limit, story
    if mask is not None:
        outside = mask == 0
        assert np.array_equal(drawn[outside], image[outside]), f"background, {story}"


def assert_parity_with_oracle(device: EmulatedDevice, image: Array, arguments: Arguments) -> None:
    tensor = parity.to_tensor(image)
    filtered = parity.filtered_by_oracle(tensor, arguments)
    for mask in (None, parity.soft_mask(image)):
        unit = filtered
        if mask is not None:
            unit = blend(filtered, tensor, torch.from_numpy(mask / 255.0)[None, None])
        expected_unit = unit[0].permute(1, 2, 0).numpy()
        drawn = device.draw(image, mask, arguments)
        scale = FULL_SCALE[image.dtype.name]
        if image.dtype != np.uint8:
            limit = tolerances.CUDA_F32 if scale == 1 else tolerances.CUDA_U16
            assert np.abs(drawn / scale - expected_unit).max() <= limit, str(arguments)
            continue
        difference = np.abs(drawn - np.floor(expected_unit * 255 + 0.5))
        assert difference.max() <= tolerances.CUDA_U8_LEVELS, str(arguments)
        # Float cannot tell on which side of a half level a value lies.
        tie = np.abs(expected_unit * 255 % 1 - 0.5) < 1e-4
        assert ((difference == 0) | tie).mean() >= tolerances.CUDA_U8_EQUAL, str(arguments)
