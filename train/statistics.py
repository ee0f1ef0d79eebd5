"""Colour statistics of foreground, its surroundings and background, as network input.

Masked statistics are the most sample-efficient input for this task (measured, see
docs/decisions/0005-first-network.md): the arguments depend on how the foreground's colours are
distributed beside the background's, which a convolutional encoder learns slowly.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 128
"""Statistics are taken at no more than this many pixels a side; larger thumbnails are averaged."""

BINS = 16
"""Soft-histogram bins per colour channel."""

TONE_BINS = 8
"""Soft-histogram bins of saturation and of lightness."""

CELLS = 8
"""The layout input: image, mask and foreground averaged over CELLS x CELLS."""

RING = 12 / 128
"""Reach of the ring around the foreground, as a share of the image's side."""

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


class ColourStatistics(nn.Module):
    """Masked colour statistics and a coarse layout, through a small MLP.

    Per region (foreground, ring around it, background): soft histograms of R, G, B, saturation and
    lightness, and the first and second moments of R, G, B. Beside them the regions' areas and an
    8x8 layout of image, mask and foreground. Runs in float32 whatever the encoder runs in: sums
    over thousands of pixels do not fit half precision.

    Args:
        width: Size of the returned feature vector.
    """

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        per_region = 3 * BINS + 2 * TONE_BINS + 9
        inputs = 3 * per_region + 3 + 7 * CELLS * CELLS
        self.normalize = nn.BatchNorm1d(inputs)
        self.hidden = nn.Linear(inputs, 2 * width)
        self.middle = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(2 * width, width)

    def measure(self, composite: Tensor, mask: Tensor) -> Tensor:
        """The raw statistics, before any learnt layer.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32; S a multiple of CELLS.
            mask: (N, 1, S, S) in [0, 1].

        Returns:
            (N, inputs) float32.
        """
        size = composite.shape[-1]
        if size > GRID:
            composite = F.avg_pool2d(composite, size // GRID)
            mask = F.avg_pool2d(mask, size // GRID)
            size = GRID
        reach = round(RING * size)
        window = 2 * reach + 1
        near = F.max_pool2d(mask, (window, 1), stride=1, padding=(reach, 0))
        near = F.max_pool2d(near, (1, window), stride=1, padding=(0, reach))
        regions = torch.cat([mask, F.relu(near - mask), 1 - mask], dim=1).flatten(2)
        areas = regions.mean(dim=2)

        colours = composite.flatten(2)
        largest, smallest = colours.amax(1, keepdim=True), colours.amin(1, keepdim=True)
        tones = torch.cat(
            [(largest - smallest) / (largest + 0.02), (largest + smallest) / 2], dim=1
        )
        products = torch.cat([colours * colours, colours * colours.roll(1, dims=1)], dim=1)
        features = torch.cat(
            [soft_histogram(colours, BINS), soft_histogram(tones, TONE_BINS), colours, products],
            dim=1,
        )
        sums = regions @ features.transpose(1, 2) / regions.shape[2]
        statistics = sums / (areas.unsqueeze(2) + _AREA_FLOOR)

        stacked = torch.cat([composite, mask, composite * mask], dim=1)
        layout = F.avg_pool2d(stacked, size // CELLS)
        return torch.cat([statistics.flatten(1), areas, layout.flatten(1)], dim=1)

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Features of the statistics.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32.
            mask: (N, 1, S, S) in [0, 1].

        Returns:
            (N, width) float32.
        """
        x = self.normalize(self.measure(composite, mask))
        x = F.silu(self.hidden(x))
        x = x + F.silu(self.middle(x))
        return F.silu(self.output(x))
