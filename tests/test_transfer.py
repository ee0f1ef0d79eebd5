"""Colour transfer between foregrounds, and the composites made by it."""

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from train.data.transfer import (
    METHODS,
    likest,
    match_covariance,
    match_histogram,
    transfer_colours,
)

Colours = NDArray[np.float32]


@pytest.fixture(scope="module")
def colours() -> tuple[Colours, Colours]:
    coffee, cat = skimage.data.coffee()[::7, ::7], skimage.data.chelsea()[::7, ::7]
    return tuple(x.reshape(-1, 3).astype(np.float32) / 255 for x in (coffee, cat))  # type: ignore[return-value]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_nears_the_reference(method, colours: tuple[Colours, Colours]) -> None:  # type: ignore[no-untyped-def]
    source, reference = colours
    moved = method(source, reference)
    assert moved.shape == source.shape
    before = np.abs(source.mean(axis=0) - reference.mean(axis=0)).max()
    after = np.abs(moved.mean(axis=0) - reference.mean(axis=0)).max()
    assert before > 0.08 and after < 0.25 * before


@pytest.mark.parametrize("method", METHODS)
def test_every_method_own_colours_change_nothing(method, colours: tuple[Colours, Colours]) -> None:  # type: ignore[no-untyped-def]
    source, _ = colours
    np.testing.assert_allclose(method(source, source), source, atol=2e-3)


def test_match_covariance_matches_it_where_the_gain_is_within_bounds(
    colours: tuple[Colours, Colours],
) -> None:
    source, _ = colours
    turn = np.array([[0.9, 0.1, 0.0], [0.05, 0.8, 0.1], [0.0, 0.1, 0.9]], np.float32)
    target = source @ turn
    moved = match_covariance(source, target)
    np.testing.assert_allclose(np.cov(moved.T), np.cov(target.T), atol=3e-4)


def test_match_histogram_undoes_a_curve(colours: tuple[Colours, Colours]) -> None:
    source, _ = colours
    np.testing.assert_allclose(match_histogram(source**1.5, source), source, atol=0.02)


def test_transfer_colours_is_reproducible_in_range_and_bears_one_colour(
    colours: tuple[Colours, Colours],
) -> None:
    source, reference = colours
    one, two = (transfer_colours(source, reference, np.random.default_rng(4)) for _ in range(2))
    assert (one == two).all() and one.dtype == np.float32
    assert one.min() >= 0 and one.max() <= 1
    flat = np.full((40, 3), 0.5, np.float32)
    for seed in range(6):
        for a, b in ((flat, reference), (source, flat), (flat, 0 * flat)):
            moved = transfer_colours(a, b, np.random.default_rng(seed))
            assert np.isfinite(moved).all() and moved.min() >= 0 and moved.max() <= 1


def test_likest_is_the_nearest_mean(colours: tuple[Colours, Colours]) -> None:
    source, reference = colours
    near = source[::2] + np.float32(0.01)
    assert likest(source, [reference, near, np.zeros((5, 3), np.float32)]) is near
    assert likest(source, [reference]) is reference
