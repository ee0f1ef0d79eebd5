"""What is measured on a composite and its mask: colour statistics, nothing learnt.

Masked statistics are the most sample-efficient input for this task (measured, see
docs/decisions/0006-better-predictor.md): the arguments depend on how the foreground's colours are
distributed beside the background's, and on what changes across the mask's edge, which a
convolutional encoder learns slowly.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 64
"""Side in pixels of what lengths here are given for; in an image twice as large they are twice as
long. Thumbnails are subsampled, not averaged: averaging would narrow the histograms, and measured
worse."""

BINS = 16
"""Soft-histogram bins per colour channel."""

TONE_BINS = 8
"""Soft-histogram bins of saturation and of lightness."""

CHROMA_BINS = 6
"""Bins a side of the joint soft histogram of red-green and blue-yellow."""

CELLS = 8
"""The layout input: image, mask and foreground averaged over CELLS x CELLS."""

NEAR, FAR = 3, 9
"""Reach of the rings around the mask's edge, in pixels of the grid."""

REGIONS = 5
"""Foreground, its inner rim, near ring, far ring, background."""

WINDOWS = (4, 8, 16)
"""Sides of the windows, in pixels of the grid, in which the two sides of an edge are compared."""

EDGE_BINS = 8
"""Bins a side of the joint soft histogram of an edge's two sides."""

STEP_BINS = 16
"""Soft-histogram bins of the difference between an edge's two sides, over [-1/4, 1/4]."""

LAYOUT = {
    "grid": GRID,
    "bins": BINS,
    "tone_bins": TONE_BINS,
    "chroma_bins": CHROMA_BINS,
    "cells": CELLS,
    "near": NEAR,
    "far": FAR,
    "regions": REGIONS,
    "windows": list(WINDOWS),
    "edge_bins": EDGE_BINS,
    "step_bins": STEP_BINS,
}
"""What the statistics mean; stored in checkpoints, because weights fit no other layout."""

REGION_COUNT = 3 * BINS + 2 * TONE_BINS + CHROMA_BINS**2 + 9 + 1
"""Numbers that describe one region."""

EDGE_COUNT = 3 * (EDGE_BINS**2 + 2 * EDGE_BINS + STEP_BINS + 3) + 1
"""Numbers that describe an edge in windows of one size."""

COUNT = REGIONS * REGION_COUNT + 7 * CELLS**2 + len(WINDOWS) * EDGE_COUNT
"""How many numbers `masked_statistics` returns."""

FOREGROUND_COUNT = 2 * REGION_COUNT + 3 * CELLS**2
BACKGROUND_COUNT = 3 * REGION_COUNT + 3 * CELLS**2
"""How many numbers `measure_foreground` and `measure_background` return."""

DARKEST = 1 / 32
"""A pixel of a thumbnail that is black elsewhere counts in full where its brightest channel reaches
this."""

_AREA_FLOOR = 1e-4  # share of the image; keeps an empty region's statistics at 0 instead of NaN


def subsample(image: Tensor, side: int = GRID) -> Tensor:
    """Every n-th pixel, so that side x side are left; smaller images come back as they are.

    Args:
        image: (N, C, S, S), S a multiple of `side`, or smaller.
        side: In pixels.
    """
    step = max(1, image.shape[-1] // side)
    return image[:, :, step // 2 :: step, step // 2 :: step]


def block_means(image: Tensor, side: int) -> Tensor:
    """Averages over blocks of side x side: what `avg_pool2d` gives.

    ONNX Runtime is quicker with a mean over one axis and then the other.

    Args:
        image: (N, C, H, W), H and W multiples of `side`.
        side: In pixels.

    Returns:
        (N, C, H / side, W / side).
    """
    if side == 1:
        return image
    height, width = image.shape[-2] // side, image.shape[-1] // side
    return image.reshape(-1, image.shape[1], height, side, width, side).mean(dim=5).mean(dim=3)


def masked_statistics(composite: Tensor, mask: Tensor) -> Tensor:
    """All statistics of an image, always in float32: sums over thousands of pixels need it.

    Args:
        composite: (N, 3, S, S) in [0, 1], float32, subsampled; S a multiple of CELLS.
        mask: (N, 1, S, S) in [0, 1].

    Returns:
        (N, COUNT) float32.
    """
    windows = [window * scale_of(composite) for window in WINDOWS]
    blocks = average_blocks(composite, mask, windows[-1] // 2)
    step = composite.shape[-1] // CELLS
    cells = blocks[step] if step in blocks else block_means(blocks[1], step)
    inside, share, outside = cells[:, :3], cells[:, 3:4], cells[:, 4:]
    layout = torch.cat([inside + outside, share, inside], dim=1)
    parts = [measure_regions(composite, mask), layout.flatten(1)]
    return torch.cat([*parts, measure_edges(blocks, windows)], dim=1)


def scale_of(image: Tensor) -> int:
    """Pixels of an image, (N, C, S, S), that one of the grid's stands for."""
    return max(1, image.shape[-1] // GRID)


def average_blocks(composite: Tensor, mask: Tensor, largest: int) -> dict[int, Tensor]:
    """Averages of foreground, mask and background over blocks, from one another.

    Args:
        composite: (N, 3, S, S) in [0, 1].
        mask: (N, 1, S, S) in [0, 1].
        largest: Side of the largest blocks, a power of 2.

    Returns:
        By block side b = 1, 2, 4 up to the largest, (N, 7, S/b, S/b): composite * mask, mask,
        composite * (1 - mask).
    """
    blocks = {1: torch.cat([composite * mask, mask, composite * (1 - mask)], dim=1)}
    side = 1
    while side < largest:
        blocks[2 * side] = block_means(blocks[side], 2)
        side *= 2
    return blocks


def soft_histogram(values: Tensor, bins: int) -> Tensor:
    """Spread each value over its two nearest bins, linearly (a differentiable histogram).

    Args:
        values: (N, C, P) in [0, 1].
        bins: Number of bins; their centres run from 0 to 1.

    Returns:
        (N, C, bins, P) weights in [0, 1]; over a channel's bins they sum to 1.
    """
    centres = torch.arange(bins, device=values.device, dtype=values.dtype).view(1, 1, bins, 1)
    return F.relu(1 - (values.unsqueeze(2) * (bins - 1) - centres).abs())


def histogram_sums(regions: Tensor, values: Tensor, bins: int) -> Tensor:
    """What `soft_histogram` comes to over regions, by half the work.

    A bin's weight is the difference of two ramps clamp(x - k, 0, 1), so that sums over ramps do.

    Args:
        regions: (N, R, P) weights.
        values: (N, C, P) in [0, 1].
        bins: As in `soft_histogram`.

    Returns:
        (N, R, C * bins).
    """
    starts = torch.arange(bins - 1, device=values.device, dtype=values.dtype).view(1, 1, -1, 1)
    ramps = (values.unsqueeze(2) * (bins - 1) - starts).clamp(0, 1).flatten(1, 2)
    sums = (regions @ ramps.transpose(1, 2)).unflatten(2, (values.shape[1], bins - 1))
    areas = regions.sum(dim=2)[:, :, None, None].expand(-1, -1, values.shape[1], 1)
    bounds = torch.cat([areas, sums, torch.zeros_like(areas)], dim=3)
    return (bounds[..., :-1] - bounds[..., 1:]).flatten(2)


def dilate(mask: Tensor, reach: int) -> Tensor:
    """Grow a mask by a square of `reach` pixels to each side, (N, 1, S, S) to the same shape."""
    window = 2 * reach + 1
    mask = F.max_pool2d(mask, (window, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(mask, (1, window), stride=1, padding=(0, reach))


def measure_regions(composite: Tensor, mask: Tensor) -> Tensor:
    """How colours are distributed in the foreground and in what surrounds it.

    Per region: soft histograms of R, G, B, saturation and lightness, a joint one of two chroma
    axes, and the first and second moments of R, G, B; at the end the regions' areas.

    Args:
        composite: (N, 3, S, S) in [0, 1].
        mask: (N, 1, S, S) in [0, 1].

    Returns:
        (N, REGIONS * (3 BINS + 2 TONE_BINS + CHROMA_BINS^2 + 10)).
    """
    reach, further = (pixels * scale_of(mask) for pixels in (NEAR, FAR))
    near, far = dilate(mask, reach), dilate(mask, further)
    rim = mask * dilate(1 - mask, reach)
    regions = torch.cat([mask, rim, near - mask, far - mask, 1 - mask], dim=1)
    return describe_regions(composite, regions)


def measure_foreground(foreground: Tensor) -> Tensor:
    """The foreground alone: colours of all of it and of its rim, and their layout.

    Outside the foreground the thumbnail is black, which therefore is no colour here.

    Args:
        foreground: (N, 3, S, S) in [0, 1], float32, subsampled; S a multiple of CELLS.

    Returns:
        (N, FOREGROUND_COUNT) float32.
    """
    own = presence(foreground)
    rim = own * dilate(1 - own, NEAR)
    described = describe_regions(foreground, torch.cat([own, rim], dim=1))
    return torch.cat([described, _layout(foreground)], dim=1)


def measure_background(background: Tensor) -> Tensor:
    """The background alone: colours near the foreground's black hole, further on, and of all of it.

    Args:
        background: (N, 3, S, S) in [0, 1], float32, subsampled; S a multiple of CELLS.

    Returns:
        (N, BACKGROUND_COUNT) float32.
    """
    around = presence(background)
    near, far = (around * dilate(1 - around, reach) for reach in (NEAR, FAR))
    described = describe_regions(background, torch.cat([near, far - near, around], dim=1))
    return torch.cat([described, _layout(background)], dim=1)


def presence(image: Tensor) -> Tensor:
    """(N, 1, S, S) in [0, 1]: where a thumbnail that is black elsewhere shows something."""
    return (image.amax(dim=1, keepdim=True) / DARKEST).clamp(max=1)


def _layout(image: Tensor) -> Tensor:
    return block_means(image, image.shape[-1] // CELLS).flatten(1)


def describe_regions(composite: Tensor, regions: Tensor) -> Tensor:
    """`measure_regions` for given regions.

    Args:
        composite: (N, 3, S, S) in [0, 1].
        regions: (N, R, S, S) weights in [0, 1].

    Returns:
        (N, R * REGION_COUNT): the regions one after the other, at the end their areas.
    """
    regions = regions.flatten(2)
    areas = regions.mean(dim=2)
    colours = composite.flatten(2)
    red, green, blue = colours[:, :1], colours[:, 1:2], colours[:, 2:]
    largest, smallest = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
    tones = torch.cat([(largest - smallest) / (largest + 0.02), (largest + smallest) / 2], dim=1)
    red_green = soft_histogram((red - green + 0.5).clamp(0, 1), CHROMA_BINS).flatten(1, 2)
    blue_yellow = soft_histogram((blue - (red + green) / 2 + 0.5).clamp(0, 1), CHROMA_BINS)
    chroma = red_green.unsqueeze(2) * blue_yellow.flatten(1, 2).unsqueeze(1)
    # One product each: to put them together first copies 109 numbers a pixel.
    parts = [histogram_sums(regions, colours, BINS), histogram_sums(regions, tones, TONE_BINS)]
    features = (chroma.flatten(1, 2), colours, colours * colours, colours * colours.roll(1, dims=1))
    parts += [regions @ feature.transpose(1, 2) for feature in features]
    sums = torch.cat(parts, dim=2)
    sums = sums / regions.shape[2]
    return torch.cat([(sums / (areas.unsqueeze(2) + _AREA_FLOOR)).flatten(1), areas], dim=1)


def measure_edges(blocks: Mapping[int, Tensor], windows: Sequence[int]) -> Tensor:
    """What changes from one side of the mask's edge to the other.

    In a photograph, neighbouring pixels are alike even across an object's outline, so that the
    two sides' joint distribution lies around the diagonal; a filter on one side moves it off. In
    windows that contain foreground and background, the two sides' mean colours are paired. Per
    window size: the joint soft histogram of the pairs, the mean step by the background's colour,
    the background's and the step's histograms, the step's moments, and how much edge there is.

    Args:
        blocks: From `average_blocks`, up to half of the largest window.
        windows: Their sides in pixels of what was averaged.

    Returns:
        (N, len(windows) * EDGE_COUNT).
    """
    parts = []
    for window in windows:
        # Windows overlap by half: each is the mean of four blocks.
        means = F.avg_pool2d(blocks[window // 2], 2, stride=1).flatten(2)
        share = means[:, 3:4]
        inside = (means[:, :3] / (share + 1e-3)).clamp(0, 1)
        outside = (means[:, 4:] / (1 - share + 1e-3)).clamp(0, 1)
        weight = (10 * share).clamp(0, 1) * (10 * (1 - share)).clamp(0, 1)
        amount = weight.mean(dim=2)
        weight = weight / (weight.sum(dim=2, keepdim=True) + 1e-2)
        step = inside - outside
        colours = soft_histogram(outside, EDGE_BINS) * weight.unsqueeze(1)
        joint = colours @ soft_histogram(inside, EDGE_BINS).transpose(2, 3)
        counts = colours.sum(dim=3)
        by_colour = (colours * step.unsqueeze(2)).sum(dim=3) / (counts + 0.02)
        steps = soft_histogram((2 * step + 0.5).clamp(0, 1), STEP_BINS) * weight.unsqueeze(1)
        moments = torch.cat([step, step * step, step * step.roll(1, dims=1)], dim=1) * weight
        parts += [joint.flatten(1), by_colour.flatten(1), counts.flatten(1)]
        parts += [steps.sum(dim=3).flatten(1), moments.sum(dim=2), amount]
    return torch.cat(parts, dim=1)
