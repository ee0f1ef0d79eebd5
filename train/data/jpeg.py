"""JPEG's losses, batched, on any device: composites whose every part went through one codec.

Blocks, tables and their scaling are those of ITU-T T.81 (annexes A and K) and of the customary
quality scale; colours those of JFIF 1.02, with chroma at half the resolution. Entropy coding loses
nothing and is left out.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8

_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8 for _ in range(4)),
)


def jpeg(image: Tensor, quality: Tensor) -> Tensor:
    """What is left of images after JPEG.

    Args:
        image: (n, 3, S, S) sRGB in [0, 1], S a multiple of 16.
        quality: (n,) in 1 to 100.

    Returns:
        (n, 3, S, S) in [0, 1], whole levels of 8 bits.
    """
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality).view(-1, 1, 1)
    luma, chroma = (
        ((torch.tensor(t, device=image.device) * percent + 50) / 100).floor().clamp(1, 255)
        for t in (_LUMA, _CHROMA)
    )
    red, green, blue = (255 * image).round().unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb, cr = 0.564 * (blue - y), 0.713 * (red - y)
    y = _quantized(y - 128, luma) + 128
    cb, cr = (
        F.interpolate(
            _quantized(F.avg_pool2d(c[:, None], 2)[:, 0], chroma)[:, None],
            scale_factor=2,
            mode="bilinear",
        )[:, 0]
        for c in (cb, cr)
    )
    result = torch.stack([y + 1.403 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.773 * cb], dim=1)
    return result.round().clamp(0, 255) / 255


def _quantized(plane: Tensor, table: Tensor) -> Tensor:
    """(n, S, S) through the cosine transform of its blocks, rounded by (n, 8, 8) steps."""
    n, height, width = plane.shape
    at = torch.arange(BLOCK, device=plane.device, dtype=plane.dtype)
    transform = torch.cos((2 * at + 1) * at[:, None] * (math.pi / (2 * BLOCK))) / 2
    transform[0] /= math.sqrt(2)
    blocks = plane.view(n, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    steps = table[:, None, None]
    kept = (transform @ blocks @ transform.T / steps).round() * steps
    return (transform.T @ kept @ transform).transpose(2, 3).reshape(n, height, width)
