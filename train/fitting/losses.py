"""Stage losses and the dynamic strategy that balances them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

L1_EPSILON = 1e-6
"""Under the root of the smooth L1 term."""

EMPTY = 1e-6
"""Least area that is divided by. A thin mask may have none of the pixels that `loss_size` keeps."""

L2_WEIGHT = 10.0
"""Weight of the squared term beside the L1 term."""


def image_loss(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Foreground-normalised distance: sum sqrt(d^2+1e-6) M / sum M + 10 * sum d^2 M / sum M.

    Source: the public training code of Harmonizer. The sums run over pixels; over the channels the
    mean is taken, so that d is one channel's difference. (Summed over the channels too, both terms
    would be three times as large, which the dynamic loss divides out and `pair_weight` would not.)

    Args:
        output, target: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1]; an empty one gives 0.

    Returns:
        (N,) one loss per image, the mean over channels.
    """
    squared = (output - target) ** 2
    area = (mask.sum(dim=(1, 2, 3)) * output.shape[1]).clamp(min=EMPTY)
    smooth_l1 = ((squared + L1_EPSILON).sqrt() * mask).sum(dim=(1, 2, 3)) / area
    l2 = (squared * mask).sum(dim=(1, 2, 3)) / area
    return smooth_l1 + L2_WEIGHT * l2


def masked_l1(output: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sum of |d| M over the mask's area, the mean over channels.

    Source: S2CRNet, arXiv 2109.05750, section 3.4, and DESIGN's reading of its public code.

    Args:
        output, target: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1]; an empty one gives 0.

    Returns:
        (N,) one loss per image.
    """
    area = (mask.sum(dim=(1, 2, 3)) * output.shape[1]).clamp(min=EMPTY)
    return ((output - target).abs() * mask).sum(dim=(1, 2, 3)) / area


def dynamic_loss(stage_losses: Sequence[Tensor]) -> Tensor:
    """Weigh the stages so that each is blamed only for the error that it adds.

    S = l_0 + sum max(l_i - l_(i-1), 0), detached;
    L = l_0/S + sum max((l_i - stopgrad l_(i-1))/S, 0).

    Source: Harmonizer, arXiv 2207.01322, section 3.3.

    Args:
        stage_losses: k tensors (N,), one per stage.

    Returns:
        (N,): 1 for every image with a loss, 0 for others; what matters is the gradient.
    """
    first, rest = stage_losses[0], stage_losses[1:]
    before = [loss.detach() for loss in stage_losses[:-1]]
    added = [(loss - b).clamp(min=0) for loss, b in zip(rest, before, strict=True)]
    total = first + torch.stack(added).sum(dim=0) if added else first
    return total / total.detach().clamp(min=EMPTY)


def plain_loss(stage_losses: Sequence[Tensor]) -> Tensor:
    """The mean over the stages, (N,): the ablation's counterpart of `dynamic_loss`."""
    return torch.stack(list(stage_losses)).mean(dim=0)


def sum_loss(stage_losses: Sequence[Tensor]) -> Tensor:
    """The sum over the stages, (N,): S2CRNet's (arXiv 2109.05750, section 3.4)."""
    return torch.stack(list(stage_losses)).sum(dim=0)


def final_loss(stage_losses: Sequence[Tensor]) -> Tensor:
    """The last stage alone, (N,)."""
    return stage_losses[-1]


STAGE_LOSSES: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "dynamic": dynamic_loss,
    "plain": plain_loss,
    "sum": sum_loss,
    "final": final_loss,
}
"""How the losses of an image's stages become one, by the name in a configuration."""
