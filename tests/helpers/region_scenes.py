"""Pictures for the tests of region thumbnails, and what torch makes of them."""

import numpy as np
import torch

DTYPES = ("uint8", "uint16", "float32")
MASK_DTYPES = ("uint8", "uint16", "float32", "bool")
FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1, "bool": 1}


def random_values(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Noise over the whole range of a type: what a resize is most sensitive to."""
    generator = np.random.default_rng(seed)
    if dtype == "float32":
        return generator.random(shape, dtype=np.float32)
    if dtype == "bool":
        return generator.random(shape) > 0.5
    return generator.integers(0, FULL_SCALE[dtype] + 1, shape, dtype=dtype)


def scene(height: int, width: int, dtype: str, mask_dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """A picture and a soft mask (a ragged one of bools) that leaves each side some background.

    Small ones are covered from corner to corner.
    """
    image = random_values(dtype, (height, width, 3), height * 10007 + width)
    mask = random_values(mask_dtype, (height, width), height * 101 + width)
    if min(height, width) < 8:
        mask[0, 0] = mask[-1, -1] = FULL_SCALE[mask_dtype]
    else:
        mask[: height // 5] = mask[-height // 7 :] = 0
        mask[:, : width // 6] = mask[:, -width // 3 :] = 0
        full = FULL_SCALE[mask_dtype]
        mask[height // 3 : height // 2, width // 4 : width // 2] = full
    return image, mask


def expected_regions(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Foreground and background by torch's antialiased resize in float64."""
    rows, columns = np.nonzero(mask > 0)
    box = np.s_[..., rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    planes = _unit(image).permute(2, 0, 1)[None]
    cover = _unit(mask)[None, None]
    foreground = _resized(planes[box]) * _resized(cover[box])
    background = _resized(planes) * (1 - _resized(cover))
    return foreground.numpy(), background.numpy()


def _unit(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64) / FULL_SCALE[values.dtype.name])


def _resized(planes: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(
        planes, (256, 256), mode="bilinear", antialias=True, align_corners=False
    )
