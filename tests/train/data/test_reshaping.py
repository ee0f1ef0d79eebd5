"""Masks that are made of masks."""

import torch
from torch import Tensor

from train.data.reshaping import DICE, KINDS, LEAST, MOST, reshape_masks

SIDE = 64


def boxes() -> tuple[Tensor, Tensor]:
    """A mask, and another region that overlaps it, (1, 1, SIDE, SIDE) each."""
    mask, other = torch.zeros(2, 1, 1, SIDE, SIDE).unbind()
    mask[..., 10:40, 10:40] = 1
    other[..., 30:60, 20:50] = 1
    return mask, other


def dice_of(kind: int, angle: float = 0.3, place: float = 0.5) -> Tensor:
    return torch.tensor([[0.0, (kind + 0.5) / KINDS, 0.0, angle, place]])


def test_each_kind_is_made_of_mask_and_region() -> None:
    mask, other = boxes()
    rest, part, both, without = (
        reshape_masks(mask, other, dice_of(kind), 1.0) for kind in range(KINDS)
    )
    torch.testing.assert_close(rest, 1 - mask)
    torch.testing.assert_close(both, torch.maximum(mask, other))
    torch.testing.assert_close(without, mask * (1 - other))
    assert (part <= mask).all() and 0.1 < part.sum() / mask.sum() < 0.9


def test_a_line_goes_through_the_foreground_in_any_direction() -> None:
    mask, other = boxes()
    right = reshape_masks(mask, other, dice_of(1, angle=0.0, place=0.517), 1.0)
    left = reshape_masks(mask, other, dice_of(1, angle=0.5, place=0.517), 1.0)
    torch.testing.assert_close(right + left, mask, atol=1e-5, rtol=0)
    columns = right.sum(dim=(0, 1, 2))
    assert columns[39] == 30 and columns[10] == 0, "not to the right of a column"


def test_share_and_bounds_leave_masks_alone() -> None:
    mask, other = boxes()
    dice = torch.rand(400, DICE, generator=torch.Generator().manual_seed(0))
    many, others = mask.expand(400, -1, -1, -1), other.expand(400, -1, -1, -1)
    made = reshape_masks(many, others, dice, 0.5)
    changed = (made != many).flatten(1).any(dim=1)
    assert not changed[dice[:, 0] >= 0.5].any()
    assert changed.float().mean() > 0.4
    covered = made.mean(dim=(1, 2, 3))
    assert ((covered > LEAST) & (covered < MOST)).all()
    large = torch.ones(1, 1, SIDE, SIDE)
    large[..., :1] = 0
    for kind in (0, 2):
        torch.testing.assert_close(reshape_masks(large, other, dice_of(kind), 1.0), large)
    assert torch.equal(reshape_masks(many, others, dice, 0.0), many)
