"""Masks as people bring them: a little too wide, too tight or too soft.

A network that is always shown exact masks reads the very edge, where nothing but the edit tells one
side from the other, and fails with masks that are off by a pixel. So training shows it inexact
masks, while losses ask for the photograph inside the exact one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

UNIT = 128
"""The largest error is in pixels of a picture of this side."""

RADII = 3
"""The largest error. Larger pictures have all whole pixels up to as large a share of them; of a
picture of `UNIT` one pixel is drawn in 58 % of the cases, three in 18 %."""

LEAST_KEPT = 0.3
"""Share of its area below which a mask is not made tighter: a thin foreground would be gone."""

SOFT_SHARE = 0.4
"""Share of the inexact masks whose edge is softened too."""

DICE = 4
"""Random numbers that `make_inexact` takes for an image."""

_BINOMIAL = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16


def move_edge(mask: Tensor, pixels: int) -> Tensor:
    """Masks made wider, or tighter, by grey dilation and erosion with a square.

    Wider is max(M) over the (2 p + 1)^2 pixels around, tighter min(M). Source: Serra, Image
    Analysis and Mathematical Morphology, 1982.

    Args:
        mask: (n, 1, S, S) in [0, 1].
        pixels: By how many; negative is tighter.

    Returns:
        (n, 1, S, S) in [0, 1]. One that would keep less than `LEAST_KEPT` of its area stays as it
        is.
    """
    side = 2 * abs(pixels) + 1
    if pixels >= 0:
        return F.max_pool2d(mask, side, stride=1, padding=pixels)
    tight = -F.max_pool2d(-mask, side, stride=1, padding=-pixels)
    area, kept = (t.mean(dim=(1, 2, 3), keepdim=True) for t in (mask, tight))
    return torch.where(kept < LEAST_KEPT * area, mask, tight)


def make_inexact(mask: Tensor, dice: Tensor, share: float) -> Tensor:
    """Some of the masks with an edge that is off.

    Args:
        mask: (n, 1, S, S) in [0, 1].
        dice: (n, DICE) in [0, 1): whether, how far, which way, and whether soft.
        share: How many of the masks.

    Returns:
        (n, 1, S, S) in [0, 1].
    """
    whether, far, way, soft = dice.unbind(1)
    unit = max(1, mask.shape[-1] // UNIT)
    largest = RADII * unit
    radius = 1 + (far**2 * largest).long().clamp(max=largest - 1)
    signed = torch.where(way < 0.5, radius, -radius).where(whether < share, 0)
    shown = mask.clone()
    for pixels in (*range(-largest, 0), *range(1, largest + 1)):
        (its,) = (signed == pixels).nonzero(as_tuple=True)
        if len(its):
            shown[its] = move_edge(mask[its], pixels)
    (its,) = ((signed != 0) & (soft < SOFT_SHARE)).nonzero(as_tuple=True)
    if len(its):
        padded = F.pad(shown[its], (unit,) * 4, mode="replicate")
        shown[its] = F.avg_pool2d(padded, 2 * unit + 1, stride=1)
    return shown


def soften(image: Tensor, amount: Tensor) -> Tensor:
    """Blur by a 3x3 binomial, in part.

    Args:
        image: (n, 3, S, S) in [0, 1].
        amount: (n,) in [0, 1]: 0 leaves an image as it is.

    Returns:
        (n, 3, S, S) in [0, 1].
    """
    kernel = _BINOMIAL.to(image).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    return image + amount[:, None, None, None] * (blurred - image)
