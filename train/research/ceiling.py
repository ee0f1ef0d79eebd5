"""What a filter list could reach: arguments optimised against the real photograph itself.

The bound says how much of an error is the filters' and how much the predictor's; it chose the two
further operations (docs/decisions/0004-two-more-operations.md).

    python -m train.research.ceiling --filters temperature,brightness,...
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS, check_filters
from harmonizer.usage import says_errors, tool_parser
from train.data.opening import data_folder
from train.evaluation.metrics import foreground_mse
from train.evaluation.triplets import benchmark_composites
from train.filters import apply_filters, blend

SIZE = 128
"""Side of the thumbnails on which arguments are optimised and judged."""


def optimise(
    composite: Tensor, mask: Tensor, target: Tensor, filters: tuple[str, ...], steps: int
) -> Tensor:
    """Descend on the foreground's squared error, each image by itself.

    Args:
        composite, target: (N, 3, S, S) in [0, 1].
        mask: (N, 1, S, S).
        filters: k operations.
        steps: Of Adam.

    Returns:
        (N,) the lowest fMSE met, on the 0..255 scale.
    """
    arguments = torch.zeros(len(composite), len(filters), requires_grad=True)
    optimizer = torch.optim.Adam([arguments], lr=0.02)
    best = foreground_mse(composite, target, mask)
    for _ in range(steps):
        output = blend(apply_filters(composite, arguments, filters)[-1], composite, mask)
        error = foreground_mse(output, target, mask)
        best = torch.minimum(best, error.detach())
        optimizer.zero_grad()
        # The logarithm gives every image the same say in a shared step size.
        error.log().sum().backward()
        torch.nn.utils.clip_grad_value_([arguments], 1.0)
        optimizer.step()
        with torch.no_grad():
            arguments.clamp_(-0.95, 0.95)
    return best


@says_errors("ceiling")
def main() -> int:
    """Print mean and median fMSE over the triplets of an iHarmony4-style folder."""
    parser = tool_parser(__doc__)
    parser.add_argument("--iharmony4", type=Path, default=data_folder() / "iharmony4")
    parser.add_argument("--filters", default=",".join(DEFAULT_FILTERS))
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    filters = check_filters(args.filters.split(","))
    triplets = [tensors for _, *tensors in benchmark_composites(args.iharmony4)]
    composite, mask, target = (
        F.interpolate(torch.cat(tensors), (SIZE, SIZE), mode="area")
        for tensors in zip(*triplets, strict=True)
    )
    before = foreground_mse(composite, target, mask)
    after = optimise(composite, mask, target, filters, args.steps)
    for word, error in (("composites", before), (",".join(filters), after)):
        print(f"fMSE mean {error.mean().item():7.1f}  median {error.median().item():7.1f}  {word}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
