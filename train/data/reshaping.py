"""Masks made of masks: more foregrounds of a photograph than its own and those of a table.

A network that sees the same few foregrounds of a photograph again and again learns what colours
they had, and no longer compares. So a share of the masks is replaced: by what they leave out, by
their part beyond a straight line, and by them together with, or without, another region.
"""

import math

import torch
from torch import Tensor

DICE = 5
"""Random numbers for an image: whether, which kind, which other region, a direction, a place."""

OTHER = 2
"""Which of them chooses the other region."""

KINDS = 4
LEAST, MOST = 0.03, 0.8
"""Share of the picture that a new mask covers; one beyond stays as it was."""

EDGE = 2.0
"""Pixels over which a new edge goes from 0 to 1."""


def reshape_masks(mask: Tensor, other: Tensor, dice: Tensor, share: float) -> Tensor:
    """Some of the masks replaced by others.

    Args:
        mask: (n, 1, S, S) in [0, 1].
        other: (n, 1, S, S) in [0, 1]: another region of the same photograph.
        dice: (n, DICE) in [0, 1).
        share: How many of the masks.

    Returns:
        (n, 1, S, S) in [0, 1].
    """
    kind = (dice[:, 1] * KINDS).long()[:, None, None, None]
    made = torch.where(kind == 0, 1 - mask, mask * _beyond_a_line(mask, dice[:, 3:]))
    made = torch.where(kind == 2, torch.maximum(mask, other), made)
    made = torch.where(kind == 3, torch.minimum(mask, 1 - other), made)
    covered = made.mean(dim=(1, 2, 3))
    usable = (dice[:, 0] < share) & (covered > LEAST) & (covered < MOST)
    return torch.where(usable[:, None, None, None], made, mask)


def _beyond_a_line(mask: Tensor, dice: Tensor) -> Tensor:
    """(n, 1, S, S): one side of a line in any direction through a pixel of the foreground."""
    side = mask.shape[-1]
    covered = mask.flatten(1).cumsum(dim=1)
    at = torch.searchsorted(covered, dice[:, 1:] * covered[:, -1:]).clamp(max=side**2 - 1)
    row, column = (t.to(mask.dtype)[:, :, None] for t in (at // side, at % side))
    angle = 2 * math.pi * dice[:, :1, None]
    steps = torch.arange(side, device=mask.device, dtype=mask.dtype)
    distance = (steps[:, None] - row) * angle.sin() + (steps[None, :] - column) * angle.cos()
    return (distance / EDGE + 0.5).clamp(0, 1)[:, None]
