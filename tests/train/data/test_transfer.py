"""Colour transfer between foregrounds, batched."""

import pytest
import skimage.data
import torch
from torch import Tensor

from train.data.transfer import METHODS, match_covariance, match_histogram, recolour

Colours = tuple[Tensor, Tensor]


def spread(picture: Tensor) -> Colours:
    """(1, 3, P) colours of a picture, and even weights."""
    colours = picture[::7, ::7].reshape(-1, 3).T[None].float() / 255
    return colours, torch.full_like(colours[:, :1], 1 / colours.shape[2])


@pytest.fixture(scope="module")
def coffee() -> Colours:
    return spread(torch.from_numpy(skimage.data.coffee()))


@pytest.fixture(scope="module")
def cat() -> Colours:
    return spread(torch.from_numpy(skimage.data.chelsea()))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_nears_the_reference(method, coffee: Colours, cat: Colours) -> None:  # type: ignore[no-untyped-def]
    moved = method(*coffee, *cat, coffee[0])
    assert moved.shape == coffee[0].shape
    before = (coffee[0].mean(2) - cat[0].mean(2)).abs().max()
    after = (moved.mean(2) - cat[0].mean(2)).abs().max()
    assert before > 0.08 and after < 0.25 * before


@pytest.mark.parametrize("method", METHODS)
def test_every_method_own_colours_change_nothing(method, coffee: Colours) -> None:  # type: ignore[no-untyped-def]
    low, high = coffee[0].quantile(0.005, dim=2), coffee[0].quantile(0.995, dim=2)
    # What lies beyond the outermost quantiles is drawn to them.
    inner = (coffee[0] > low[..., None]) & (coffee[0] < high[..., None])
    moved = method(*coffee, *coffee, coffee[0])
    torch.testing.assert_close(moved[inner], coffee[0][inner], atol=4e-3, rtol=0)


def test_match_covariance_matches_it_where_the_gain_is_within_bounds(coffee: Colours) -> None:
    turn = torch.tensor([[0.9, 0.1, 0.0], [0.05, 0.8, 0.1], [0.0, 0.1, 0.9]])
    target = turn.T @ coffee[0]
    moved = match_covariance(*coffee, target, coffee[1], coffee[0])
    torch.testing.assert_close(torch.cov(moved[0]), torch.cov(target[0]), atol=3e-4, rtol=0)


def test_match_histogram_undoes_a_curve(coffee: Colours) -> None:
    colours, weight = coffee
    moved = match_histogram(colours**1.5, weight, colours, weight, colours**1.5)
    assert (moved - colours).abs().mean() < 2e-3
    assert (moved - colours).abs()[colours > 0.05].max() < 0.03


def test_match_histogram_reads_the_weighted_colours_alone(coffee: Colours, cat: Colours) -> None:
    """What lies outside the foreground must not count."""
    both = torch.cat([coffee[0], 0 * cat[0]], dim=2)
    weight = torch.cat([coffee[1], 0 * cat[1]], dim=2)
    for method in METHODS:
        alone = method(*coffee, *cat, coffee[0])
        torch.testing.assert_close(method(both, weight, *cat, coffee[0]), alone, atol=2e-3, rtol=0)


def test_recolour_every_method_and_strength_stays_in_range_and_bears_one_colour() -> None:
    photo = torch.rand(9, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    photo[3:6] = 0.5
    mask = torch.zeros(9, 1, 64, 64)
    mask[:6, :, 10:40, 5:50] = 1  # three have none
    donor = torch.zeros(9, 4, 64, 64)
    donor[::2, :3] = 0.7
    donor[:, 3, 20:30] = 1
    dice = torch.tensor([[m / 3 + 0.1, s / 2] for m in range(3) for s in range(3)]).clamp(max=0.99)
    moved = recolour(photo, mask, donor, dice)
    assert torch.isfinite(moved).all() and moved.min() >= 0 and moved.max() <= 1
    assert torch.equal(moved, recolour(photo, mask, donor, dice))
    change = (moved - photo).abs().mean(dim=(1, 2, 3))
    assert (change > 0.01).all()


def test_recolour_an_image_does_not_depend_on_its_batch() -> None:
    generator = torch.Generator().manual_seed(2)
    photo, donor = (torch.rand(6, c, 64, 64, generator=generator) for c in (3, 4))
    mask, dice = (
        torch.rand(6, 1, 64, 64, generator=generator),
        torch.rand(6, 2, generator=generator),
    )
    whole = recolour(photo, mask, donor, dice)
    for i in range(6):
        part = recolour(*(t[i : i + 1] for t in (photo, mask, donor, dice)))
        torch.testing.assert_close(part[0], whole[i], atol=1e-5, rtol=0)
