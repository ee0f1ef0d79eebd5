"""What is measured on a composite, before any learnt layer."""

import pytest
import torch

from train.colour_statistics import (
    COUNT,
    EDGE_COUNT,
    REGIONS,
    WINDOWS,
    average_blocks,
    histogram_sums,
    masked_statistics,
    measure_edges,
    measure_regions,
    soft_histogram,
    subsample,
)


def scene(inside: float, outside: float, scale: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.zeros(1, 1, 64 * scale, 64 * scale)
    mask[:, :, 16 * scale : 48 * scale, 8 * scale : 40 * scale] = 1
    return (inside * mask + outside * (1 - mask)).expand(-1, 3, -1, -1), mask


def test_soft_histogram_sums_to_one_and_sits_at_the_value() -> None:
    weights = soft_histogram(torch.tensor([[[0.0, 0.5, 0.55, 1.0]]]), bins=5)[0, 0]
    torch.testing.assert_close(weights.sum(dim=0), torch.ones(4))
    assert weights[:, 1].argmax() == 2
    centres = torch.linspace(0, 1, 5)
    torch.testing.assert_close(centres @ weights, torch.tensor([0.0, 0.5, 0.55, 1.0]))


def test_sums_over_ramps_are_those_of_the_histogram() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(2, 3, 700, generator=generator, dtype=torch.float64)
    values[:, :, :4] = torch.tensor([0.0, 1.0, 0.2, 0.5])
    regions = torch.rand(2, 5, 700, generator=generator, dtype=torch.float64)
    expected = regions @ soft_histogram(values, 6).flatten(1, 2).transpose(1, 2)
    sums = histogram_sums(regions, values, 6)
    torch.testing.assert_close(sums, expected, rtol=0, atol=1e-10)


def test_subsample_takes_pixels_and_leaves_small_images_alone() -> None:
    image = torch.arange(256.0 * 256).view(1, 1, 256, 256)
    small = subsample(image)
    assert small.shape == (1, 1, 64, 64) and small[0, 0, 0, 0] == image[0, 0, 2, 2]
    assert subsample(small) is not None and torch.equal(subsample(small), small)


def test_measure_has_its_stated_length_and_bears_extreme_masks() -> None:
    composite, mask = scene(0.3, 0.6)
    for extreme in (mask, 0 * mask, 0 * mask + 1, 0.5 * mask):
        statistics = masked_statistics(composite, extreme)
        assert statistics.shape == (1, COUNT) and torch.isfinite(statistics).all()


def test_measure_regions_means_and_areas_are_those_of_the_picture() -> None:
    composite, mask = scene(0.3, 0.6)
    statistics = measure_regions(composite, mask)[0]
    areas = statistics[-REGIONS:]
    assert areas[0].item() == pytest.approx(1 / 4) and areas[4].item() == pytest.approx(3 / 4)
    means = statistics[:-REGIONS].view(REGIONS, -1)[:, -9:-6]
    expected = torch.tensor([0.3, 0.3, 0.6, 0.6, 0.6])[:, None].expand(-1, 3)
    torch.testing.assert_close(means, expected, rtol=3e-3, atol=0)


@pytest.mark.parametrize(("inside", "outside"), [(0.5, 0.5), (0.4, 0.6), (0.7, 0.6)])
def test_measure_edges_finds_the_step_across_the_mask(inside: float, outside: float) -> None:
    edges = measure_edges(average_blocks(*scene(inside, outside), 8), WINDOWS)
    statistics = edges[0].view(len(WINDOWS), EDGE_COUNT)
    step = inside - outside
    for numbers in statistics:
        # The moments stand before the last number: three means, three squares, three products.
        mean, squares = numbers[-10:-7], numbers[-7:-4]
        torch.testing.assert_close(mean, torch.full((3,), step), rtol=0.03, atol=2e-3)
        torch.testing.assert_close(squares, torch.full((3,), step**2), rtol=0.05, atol=2e-3)
        assert numbers[-1] > 0


def test_measure_edges_without_an_edge_are_zero() -> None:
    composite, mask = scene(0.3, 0.6)
    blocks = average_blocks(composite, 0 * mask, 8)
    assert (measure_edges(blocks, WINDOWS).abs() < 1e-6).all()


def test_statistics_of_twice_the_pixels_are_the_same_picture_s() -> None:
    """Regions and windows cover the same parts of the picture, whatever the pixels."""
    once, twice = (masked_statistics(*scene(0.3, 0.6, scale)) for scale in (1, 2))
    torch.testing.assert_close(twice, once, rtol=0.1, atol=0.02)
