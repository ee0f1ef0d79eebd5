"""Masks whose edge is off."""

import pytest
import torch

from train.data.inexact import DICE, LEAST_KEPT, make_inexact, move_edge, soften


def square(side: int, *bounds: int) -> torch.Tensor:
    mask = torch.zeros(1, 1, side, side)
    top, bottom, left, right = bounds
    mask[:, :, top:bottom, left:right] = 1
    return mask


@pytest.mark.parametrize("pixels", [1, 3, -1, -3])
def test_move_edge_moves_every_side_by_that_many_pixels(pixels: int) -> None:
    moved = move_edge(square(64, 20, 40, 16, 48), pixels)
    expected = square(64, 20 - pixels, 40 + pixels, 16 - pixels, 48 + pixels)
    assert torch.equal(moved, expected)


def test_move_edge_leaves_a_foreground_that_would_be_gone() -> None:
    thin = square(64, 20, 24, 10, 50)
    assert torch.equal(move_edge(thin, -2), thin)
    both = torch.cat([thin, square(64, 10, 50, 10, 50)])
    kept = move_edge(both, -2).mean(dim=(1, 2, 3)) / both.mean(dim=(1, 2, 3))
    assert kept[0] == 1 and LEAST_KEPT < kept[1] < 1


def test_make_inexact_draws_share_direction_and_softness() -> None:
    generator = torch.Generator().manual_seed(5)
    n = 400
    mask = square(128, 32, 96, 32, 96).expand(n, -1, -1, -1)
    dice = torch.rand(n, DICE, generator=generator)
    assert torch.equal(make_inexact(mask, dice, 0.0), mask)
    shown = make_inexact(mask, dice, 0.5)
    area = shown.sum(dim=(1, 2, 3)) / mask[0].sum()
    off = (shown != mask).flatten(1).any(dim=1)
    assert torch.equal(off, dice[:, 0] < 0.5)
    wide, tight = (area > 1.01) & off, (area < 0.99) & off
    assert (wide | tight)[off].all() and 0.4 < wide[off].float().mean() < 0.6
    assert {round(value, 2) for value in area[wide].tolist()} >= {1.06, 1.13, 1.2}
    soft = ((shown > 0) & (shown < 1)).flatten(1).any(dim=1)
    assert 0.3 < soft[off].float().mean() < 0.5 and not soft[~off].any()


def test_make_inexact_errors_are_shares_of_the_picture() -> None:
    far = torch.tensor([0.0, 0.99])  # the least and the most that is drawn
    dice = torch.stack([torch.zeros(2), far, torch.zeros(2), torch.ones(2)], dim=1)
    small = make_inexact(square(128, 32, 96, 32, 96).expand(2, -1, -1, -1), dice, 1.0)
    large = make_inexact(square(256, 64, 192, 64, 192).expand(2, -1, -1, -1), dice, 1.0)
    least, most = small.mean(dim=(1, 2, 3)), large.mean(dim=(1, 2, 3))
    assert least[1] == most[1] == (70 / 128) ** 2
    assert least[0] == (66 / 128) ** 2 and most[0] == (130 / 256) ** 2


def test_soften_keeps_flat_colours_and_blurs_by_the_amount() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(soften(flat, torch.ones(1)), flat)
    step = square(16, 0, 16, 8, 16).expand(3, 3, -1, -1)
    soft = soften(step, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(soft[0], step[0])
    assert soft[1, 0, 8, 8].item() == pytest.approx(0.875)
    assert soft[2, 0, 8, 8].item() == pytest.approx(0.75)
