"""Training composites from photographs: filters in reverse order on the masked region.

Harmonizer, arXiv 2207.01322, equation 8: with the photograph I_k = I, each filter i = k..1 is drawn
with a random argument, I_(i-1) = F_i(I_i; x_i), so that I_i is what stage i of the network must
restore. The composite is I_0 inside the mask and I outside.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS, check_filters
from train.filters import FILTERS

HUE_TURN = 0.03
"""Hue jitter as a share of a full turn, as in the public training code; the hue filter's x = 1 is
1/6 of a turn."""

JITTER = 0.1
"""Brightness, contrast and saturation jitter of the photographs."""


DISTRIBUTIONS = ("uniform", "gaussian", "varied")


def draw_arguments(
    count: int,
    filters: Sequence[str] = DEFAULT_FILTERS,
    generator: torch.Generator | None = None,
    distribution: str = "uniform",
) -> Tensor:
    """Random arguments within each operation's synthesis range r.

    Args:
        count: Rows.
        filters: k names.
        generator: Of the random numbers.
        distribution: "uniform" over [-r, r], or "gaussian": normal around 0 with standard deviation
            r / 2, what falls outside [-r, r] (4.6 %) drawn again. The paper speaks of a Gaussian
            without giving its width; this one is this project's reading. "varied": uniform, times a
            strength per row that is uniform over [0, 1] for one half of the rows and 1 for the
            other, so that mild composites are as usual as strong ones.

    Returns:
        (count, k) float32.

    Raises:
        ValueError: If there is no such distribution.
    """
    ranges = torch.tensor([OPERATIONS[name].synthesis_range for name in check_filters(filters)])
    if distribution in ("uniform", "varied"):
        unit = torch.rand(count, len(ranges), generator=generator) * 2 - 1
        if distribution == "varied":
            unit[::2] *= torch.rand((count + 1) // 2, 1, generator=generator)
        return unit * ranges
    if distribution == "gaussian":
        unit = torch.empty(count, len(ranges))
        torch.nn.init.trunc_normal_(unit, 0.0, 0.5, -1.0, 1.0, generator=generator)
        return unit * ranges
    raise ValueError(
        f"`distribution` must be one of {DISTRIBUTIONS}; got {distribution!r}. Choose one of them."
    )


@torch.no_grad()
def synthesize(
    photo: Tensor, mask: Tensor, arguments: Tensor, filters: Sequence[str] = DEFAULT_FILTERS
) -> tuple[Tensor, list[Tensor]]:
    """Make composites and the target of every stage.

    Args:
        photo: (N, 3, H, W) natural photographs, sRGB in [0, 1].
        mask: (N, 1, H, W) in [0, 1].
        arguments: (N, k), what the filters are drawn with.
        filters: k names in the order in which the network's filters will be drawn.

    Returns:
        The composites (N, 3, H, W), and k targets of that shape, stage by stage, mask applied; the
        last target is the photograph itself.
    """
    images = _images(photo, arguments, filters)
    background = (1 - mask) * photo
    blended = [photo, *(mask * image + background for image in images)]
    return blended.pop(), blended[::-1]


def _images(photo: Tensor, arguments: Tensor, filters: Sequence[str]) -> Iterator[Tensor]:
    """The photograph after each filter, last filter first, without a mask."""
    for index, name in reversed(list(enumerate(check_filters(filters)))):
        photo = FILTERS[name](photo, arguments[:, index])
        yield photo


@torch.no_grad()
def clipping_loss(
    photo: Tensor, mask: Tensor, arguments: Tensor, filters: Sequence[str] = DEFAULT_FILTERS
) -> Tensor:
    """Foreground error that no filter could undo, because synthesis clipped values together.

    All values of a channel that one end of [0, 1] swallowed at any stage look alike afterwards.
    The best that can be given back to all of them is their mean in the photograph; what is left is
    their variance. Exact for curves per channel; saturation, which mixes channels, makes it an
    estimate.

    Args:
        photo, mask, arguments, filters: As `synthesize` takes them.

    Returns:
        (N,) fMSE on the 0..255 scale, 0 where nothing was lost.
    """
    black = white = torch.zeros_like(photo, dtype=torch.bool)
    for image in _images(photo, arguments, filters):
        black, white = black | (image <= 0), white | (image >= 1)
    lost = torch.zeros_like(photo[:, 0, 0, 0])
    for swallowed in (black, white):
        weight = mask * swallowed
        total = weight.sum(dim=(2, 3), keepdim=True)
        mean = (weight * photo).sum(dim=(2, 3), keepdim=True) / total.clamp(min=1e-12)
        lost = lost + (weight * (photo - mean) ** 2).sum(dim=(1, 2, 3))
    return 255**2 * lost / (3 * mask.sum(dim=(1, 2, 3)))


@torch.no_grad()
def jitter(photo: Tensor, amounts: Tensor) -> Tensor:
    """Vary photographs by brightness, contrast, saturation and hue, each image its own way.

    Args:
        photo: (N, 3, H, W) sRGB in [0, 1].
        amounts: (N, 4) in [-1, 1], of the variations in that order; 0 changes nothing.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    gain, contrast, saturation = (1 + JITTER * amounts[:, :3]).view(-1, 3, 1, 1, 1).unbind(1)
    photo = (photo * gain).clamp(0, 1)
    mean = photo.mean(dim=(1, 2, 3), keepdim=True)
    photo = (mean + (photo - mean) * contrast).clamp(0, 1)
    grey = photo.mean(dim=1, keepdim=True)
    photo = (grey + (photo - grey) * saturation).clamp(0, 1)
    return FILTERS["hue"](photo, amounts[:, 3] * HUE_TURN * 6)
