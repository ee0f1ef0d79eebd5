"""Random plausible foregrounds for photographs without masks: connected sets of superpixels.

A photograph is cut once, when it is packed, into superpixels (SLIC, Achanta et al. 2012). A region
starts at one of them and grows over neighbours that share much border and look alike, until it has
the area of a real object. Its edge thus follows edges of the picture, as a cut-out's does.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage.segmentation import slic
from torch import Tensor

SEGMENTS = 150
"""Superpixels asked for; what comes is 70 to 170, and must stay below 256."""

LOG_AREA_MEAN, LOG_AREA_SPREAD = -1.66, 0.65
"""Mean and standard deviation of the logarithm of the mask areas in the training photographs'
manifest (3,343 masks: median 0.22, 5..95 % 0.05..0.48)."""

SMALLEST, LARGEST = 0.02, 0.7
"""Areas asked for are held within these; the manifest's masks span 0.02 to 0.76."""

SIMILARITY = (0.08, 0.4)
"""Each region draws, log-uniformly, the colour distance (sRGB in [0, 1]) at which it stops to
regard superpixels as alike: some regions follow a colour, others are merely compact."""


CENTRE = 0.5
"""Standard deviation of where regions start, from the middle, in half sides of the picture."""

_STEEP = [min(255, max(0, 3 * value - 255)) for value in range(256)]


def superpixels(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Label map of a photograph.

    Args:
        photo: (S, S, 3) uint8, S even.

    Returns:
        (S, S) uint8, labels from 0 without gaps.
    """
    half = photo.reshape(len(photo) // 2, 2, len(photo) // 2, 2, 3).mean(axis=(1, 3))
    labels = slic(half / 255, SEGMENTS, compactness=10, max_num_iter=5, start_label=0)
    if labels.max() > 255:
        raise ValueError(f"a photograph must give at most 256 superpixels; got {labels.max() + 1}")
    small: NDArray[np.uint8] = labels.astype(np.uint8)
    return small.repeat(2, axis=0).repeat(2, axis=1)


def random_region(
    photo: NDArray[np.uint8], labels: NDArray[np.uint8], random: np.random.Generator
) -> NDArray[np.uint8]:
    """Grow a connected region without holes, with a slightly soft edge.

    Args:
        photo: (3, S, S) uint8.
        labels: (S, S) uint8 of `superpixels`.
        random: Decides place, area and shape.

    Returns:
        (S, S) uint8 mask, 255 inside.
    """
    small = labels[::2, ::2].astype(np.int64)
    flat, count = small.ravel(), int(small.max()) + 1
    pixels = np.bincount(flat)
    area = pixels / flat.size
    sums = [np.bincount(flat, plane[::2, ::2].ravel()) for plane in photo]
    colour = np.stack(sums, axis=1) / (255 * pixels[:, None])
    border = _borders(small, count)
    # Things of interest stand near the middle more often than at the edge.
    across = (2 * np.arange(len(small)) + 1) / len(small) - 1
    centre = np.exp(-(across[:, None] ** 2 + across**2) / (2 * CENTRE**2))
    start = np.bincount(flat, centre.ravel())
    target = np.exp(random.normal(LOG_AREA_MEAN, LOG_AREA_SPREAD)).clip(SMALLEST, LARGEST)
    similarity = np.exp(random.uniform(*np.log(SIMILARITY)))
    chosen = _grow(start, area, colour, border, target, similarity, random)
    edge = np.zeros(count, bool)  # superpixels at the picture's edge
    edge[np.concatenate([small[0], small[-1], small[:, 0], small[:, -1]])] = True
    filled = _without_holes(chosen, border, edge)
    if area[filled].sum() <= LARGEST:  # a region all along the edge would swallow the picture
        chosen = filled
    mask = Image.fromarray(np.where(chosen, 255, 0).astype(np.uint8)[small])
    # The blur rounds off the superpixels' ragged outline; the steep ramp leaves a soft rim of
    # about three pixels.
    mask = mask.filter(ImageFilter.GaussianBlur(2)).resize(
        (2 * mask.width, 2 * mask.height), Image.Resampling.BILINEAR
    )
    return np.asarray(mask.point(_STEEP))


def enlarge(masks: Tensor) -> Tensor:
    """Masks of twice the size, without stairs: every pixel three quarters its own, one quarter its
    neighbour's, along either axis.

    In whole numbers, so that every device gives the same bytes.

    Args:
        masks: (n, S, S) uint8.

    Returns:
        (n, 2S, 2S) uint8; what lies beyond the edge counts as the pixel at it.
    """
    wide = F.pad(masks[:, None].float(), (1, 1, 1, 1), mode="replicate")[:, 0].to(torch.int16)
    for axis in (1, 2):
        own = wide.narrow(axis, 1, wide.shape[axis] - 2)
        before, after = (wide.narrow(axis, at, own.shape[axis]) for at in (0, 2))
        halves = torch.stack([3 * own + before, 3 * own + after], dim=axis + 1)
        wide = halves.flatten(axis, axis + 1)
    return ((wide + 8) >> 4).to(torch.uint8)


def _borders(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(K, K) length of the border that each two superpixels share."""
    pairs = np.concatenate(
        [
            (labels[:, 1:] * count + labels[:, :-1]).ravel(),
            (labels[1:] * count + labels[:-1]).ravel(),
        ]
    )
    border = np.bincount(pairs, minlength=count * count).reshape(count, count)
    border += border.T
    np.fill_diagonal(border, 0)
    return border


def _grow(
    start: NDArray[Any],
    area: NDArray[np.float64],
    colour: NDArray[np.float64],
    border: NDArray[np.int64],
    target: float,
    similarity: float,
    random: np.random.Generator,
) -> NDArray[np.bool_]:
    chosen = np.zeros(len(area), bool)
    contact = np.zeros(len(area))
    perimeter = border.sum(axis=1) + 1
    covered, colours, weight = 0.0, np.zeros(3), start
    while covered < target:
        cumulative = weight.cumsum()
        if not cumulative[-1]:
            break
        new = int(cumulative.searchsorted(random.random() * cumulative[-1], side="right"))
        chosen[new] = True
        contact += border[new]
        covered += area[new]
        colours += area[new] * colour[new]
        distance = ((colour - colours / covered) ** 2).sum(axis=1)
        weight = (contact / perimeter) ** 2 * np.exp(-distance / similarity**2)
        weight[chosen] = 0
    return chosen


def _without_holes(
    chosen: NDArray[np.bool_], border: NDArray[np.int64], edge: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Add whatever the picture's edge cannot be reached from."""
    outside = edge & ~chosen
    while True:
        reached = outside | (~chosen & (border[outside].any(axis=0)))
        if (reached == outside).all():
            return ~outside
        outside = reached
