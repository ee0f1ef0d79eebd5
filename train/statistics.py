"""Colour statistics of foreground, its surroundings and background, as network input.

Masked statistics are the most sample-efficient input for this task (measured, see
docs/decisions/0005-first-network.md): the arguments depend on how the foreground's colours are
distributed beside the background's, which a convolutional encoder learns slowly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 64
"""Statistics are taken on this many pixels a side. Larger thumbnails are subsampled, not averaged:
averaging would narrow the histograms, and measured worse."""

BINS = 16
"""Soft-histogram bins per colour channel."""

TONE_BINS = 8
"""Soft-histogram bins of saturation and of lightness."""

CHROMA_BINS = 6
"""Bins a side of the joint soft histogram of red-green and blue-yellow."""

CELLS = 8
"""The layout input: image, mask and foreground averaged over CELLS x CELLS."""

NEAR, FAR = 3 / 64, 9 / 64
"""Reach of the rings around the mask's edge, as a share of the image's side."""

REGIONS = 5
"""Foreground, its inner rim, near ring, far ring, background."""

LAYOUT = {
    "grid": GRID,
    "bins": BINS,
    "tone_bins": TONE_BINS,
    "chroma_bins": CHROMA_BINS,
    "cells": CELLS,
    "near": NEAR,
    "far": FAR,
    "regions": REGIONS,
}
"""What the statistics mean; stored in checkpoints, because weights fit no other layout."""

_AREA_FLOOR = 1e-4  # share of the image; keeps an empty region's statistics at 0 instead of NaN


def soft_histogram(values: Tensor, bins: int) -> Tensor:
    """Spread each value over its two nearest bins, linearly (a differentiable histogram).

    Args:
        values: (N, C, P) in [0, 1].
        bins: Number of bins; their centres run from 0 to 1.

    Returns:
        (N, C * bins, P) weights in [0, 1]; over a channel's bins they sum to 1.
    """
    centres = torch.arange(bins, device=values.device, dtype=values.dtype).view(1, 1, bins, 1)
    weights = F.relu(1 - (values.unsqueeze(2) * (bins - 1) - centres).abs())
    return weights.flatten(1, 2)


def dilate(mask: Tensor, reach: int) -> Tensor:
    """Grow a mask by a square of `reach` pixels to each side, (N, 1, S, S) to the same shape."""
    window = 2 * reach + 1
    mask = F.max_pool2d(mask, (window, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(mask, (1, window), stride=1, padding=(0, reach))


class ColourStatistics(nn.Module):
    """Masked colour statistics and a coarse layout, through a small MLP.

    Per region: soft histograms of R, G, B, saturation and lightness, a joint one of two chroma
    axes, and the first and second moments of R, G, B. Beside them the regions' areas and an 8x8
    layout of image, mask and foreground. Measuring always runs in float32: sums over thousands of
    pixels do not fit half precision. The MLP runs in the precision of its weights.

    Args:
        width: Size of the returned feature vector.
    """

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        per_region = 3 * BINS + 2 * TONE_BINS + CHROMA_BINS**2 + 9
        inputs = REGIONS * (per_region + 1) + 7 * CELLS * CELLS
        self.normalize = nn.BatchNorm1d(inputs)
        self.hidden = nn.Linear(inputs, 2 * width)
        self.middle = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(2 * width, width)

    def measure(self, composite: Tensor, mask: Tensor) -> Tensor:
        """The raw statistics, before any learnt layer.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32; S a multiple of CELLS, and of GRID above it.
            mask: (N, 1, S, S) in [0, 1].

        Returns:
            (N, inputs) float32.
        """
        stacked = torch.cat([composite, mask, composite * mask], dim=1)
        layout = F.avg_pool2d(stacked, composite.shape[-1] // CELLS)
        step = max(1, composite.shape[-1] // GRID)
        composite = composite[:, :, step // 2 :: step, step // 2 :: step]
        mask = mask[:, :, step // 2 :: step, step // 2 :: step]

        size = composite.shape[-1]
        near, far = dilate(mask, round(NEAR * size)), dilate(mask, round(FAR * size))
        rim = mask * dilate(1 - mask, round(NEAR * size))
        regions = torch.cat([mask, rim, near - mask, far - mask, 1 - mask], dim=1).flatten(2)
        areas = regions.mean(dim=2)

        colours = composite.flatten(2)
        red, green, blue = colours[:, :1], colours[:, 1:2], colours[:, 2:]
        largest, smallest = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
        tones = torch.cat(
            [(largest - smallest) / (largest + 0.02), (largest + smallest) / 2], dim=1
        )
        red_green = soft_histogram((red - green + 0.5).clamp(0, 1), CHROMA_BINS)
        blue_yellow = soft_histogram((blue - (red + green) / 2 + 0.5).clamp(0, 1), CHROMA_BINS)
        chroma = (red_green.unsqueeze(2) * blue_yellow.unsqueeze(1)).flatten(1, 2)
        products = torch.cat([colours * colours, colours * colours.roll(1, dims=1)], dim=1)
        features = torch.cat(
            [
                soft_histogram(colours, BINS),
                soft_histogram(tones, TONE_BINS),
                chroma,
                colours,
                products,
            ],
            dim=1,
        )
        sums = regions @ features.transpose(1, 2) / regions.shape[2]
        statistics = sums / (areas.unsqueeze(2) + _AREA_FLOOR)
        return torch.cat([statistics.flatten(1), areas, layout.flatten(1)], dim=1)

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Features of the statistics.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32.
            mask: (N, 1, S, S) in [0, 1].

        Returns:
            (N, width) float32.
        """
        x = self.normalize(self.measure(composite, mask)).to(self.hidden.weight.dtype)
        x = F.silu(self.hidden(x))
        x = x + F.silu(self.middle(x))
        return F.silu(self.output(x)).float()
