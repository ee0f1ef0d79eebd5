"""Training composites from photographs: filters in reverse order on the masked region.

Harmonizer, arXiv 2207.01322, equation 8: with the photograph I_k = I, each filter i = k..1 is drawn
with a random argument, I_(i-1) = F_i(I_i; x_i), so that I_i is what stage i of the network must
restore. The composite is I_0 inside the mask and I outside.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS, check_filters
from train.filters import FILTERS, blend

HUE_TURN = 0.03
"""Hue jitter as a share of a full turn, as in the public training code; the hue filter's x = 1 is
1/6 of a turn."""

JITTER = 0.1
"""Brightness, contrast and saturation jitter of the photographs."""


def draw_arguments(
    count: int, filters: Sequence[str] = DEFAULT_FILTERS, generator: torch.Generator | None = None
) -> Tensor:
    """Random arguments, uniform over each operation's synthesis range.

    Returns:
        (count, k) float32.
    """
    ranges = torch.tensor([OPERATIONS[name].synthesis_range for name in check_filters(filters)])
    return (torch.rand(count, len(ranges), generator=generator) * 2 - 1) * ranges


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
    filters = check_filters(filters)
    image, targets = photo, []
    for index in reversed(range(len(filters))):
        targets.append(blend(image, photo, mask))
        image = FILTERS[filters[index]](image, arguments[:, index])
    return blend(image, photo, mask), targets[::-1]


def jitter(photo: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Vary photographs by brightness, contrast, saturation and hue, each image its own way.

    Args:
        photo: (N, 3, H, W) sRGB in [0, 1].

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    count = photo.shape[0]
    amounts = (torch.rand(count, 4, generator=generator) * 2 - 1).to(photo)
    gain, contrast, saturation = (1 + JITTER * amounts[:, :3]).view(count, 3, 1, 1, 1).unbind(1)
    photo = (photo * gain).clamp(0, 1)
    mean = photo.mean(dim=(1, 2, 3), keepdim=True)
    photo = (mean + (photo - mean) * contrast).clamp(0, 1)
    grey = photo.mean(dim=1, keepdim=True)
    photo = (grey + (photo - grey) * saturation).clamp(0, 1)
    return FILTERS["hue"](photo, amounts[:, 3] * HUE_TURN * 6)
