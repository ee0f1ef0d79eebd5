"""Random crops, flips and turns in one sampling, on any device."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

MIN_FRACTION, MAX_FRACTION = 0.005, 0.95
"""Foreground shares of a crop that are worth a training step."""

DRAWS = 7
"""Random numbers that a crop takes: two scales, two shifts, two flips, transposition."""


def usable(fraction: float) -> bool:
    """Whether a mask of that share of its photograph is worth training with."""
    return MIN_FRACTION < fraction < MAX_FRACTION


def crop_images(
    stacked: Tensor,
    draws: NDArray[np.float64],
    size: int,
    smallest: float,
    whole_share: float = 0.0,
) -> Tensor:
    """Crop, flip and rotate each image in one sampling; keep a useful foreground.

    Args:
        stacked: (n, c, S, S) uint8, mask last.
        draws: (n, DRAWS) in [0, 1).
        size: Side of the result.
        smallest: Side of a crop as a share of the image's, at least.
        whole_share: How many of the images are turned alone.

    Returns:
        (n, c, size, size) float32 in [0, 1].
    """
    images = stacked.float()
    scale = smallest + (1 - smallest) * draws[:, :2]
    # Which half of [0, 1) the number lies in decides on transposition; where in it, on this.
    scale[2 * draws[:, 6] % 1 < whole_share] = 1.0
    # Reduced images are subsampled, as the colour statistics will: averaging narrows histograms.
    mode = "nearest" if size <= smallest * images.shape[-1] else "bilinear"
    shift = (2 * draws[:, 2:4] - 1) * (1 - scale)
    flip = np.where(draws[:, 4:6] < 0.5, -1.0, 1.0)
    transposed = draws[:, 6] < 0.5
    cropped = _sample(images, scale * flip, shift, transposed, size, mode)
    fraction = cropped[:, -1].mean(dim=(1, 2)).cpu().numpy() / 255
    poor = (fraction < MIN_FRACTION) | (fraction > MAX_FRACTION)
    if poor.any():
        its = torch.from_numpy(poor.nonzero()[0]).to(images.device)
        whole = _sample(images[its], flip[poor], 0 * shift[poor], transposed[poor], size, mode)
        # A foreground of a few pixels can fall between the samples; averaging cannot miss it.
        lost = whole[:, -1].amax(dim=(1, 2)) == 0
        whole[lost] = F.interpolate(images[its][lost], (size, size), mode="area")
        cropped[its] = whole
    return cropped.div_(255).clamp_(0, 1)  # bilinear weights add up to 1 but for rounding


def _sample(
    images: Tensor,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    transposed: NDArray[np.bool_],
    size: int,
    mode: str,
) -> Tensor:
    centres = (2 * np.arange(size) + 1) / size - 1
    # Positions are float64 until here, so that a GPU's sampling finds the same pixels.
    x, y = (
        torch.from_numpy((scale[:, i, None] * centres + shift[:, i, None]).astype(np.float32))
        for i in (0, 1)
    )
    x, y, turned = (t.to(images.device) for t in (x, y, torch.from_numpy(transposed)))
    turned = turned[:, None, None]
    grid = torch.stack(
        [
            torch.where(turned, x[:, :, None], x[:, None, :]),
            torch.where(turned, y[:, None, :], y[:, :, None]),
        ],
        dim=3,
    )
    return F.grid_sample(images, grid, mode, "border", align_corners=False)
