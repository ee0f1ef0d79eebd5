"""From features to the arguments: the published cascade, and its counterpart in the ablation."""

import copy

import torch
from torch import Tensor, nn

REGRESSOR_WIDTH = 160


class CascadeRegressor(nn.Module):
    """Predicts one argument after the other, each from the features and the one before.

    f = Linear(features), g_0 = Linear(features); g_i = Linear([f, g_(i-1)]), x_i = Linear(g_i).
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        width = REGRESSOR_WIDTH
        self.f = nn.Linear(features, width)
        self.g = nn.Linear(features, width)
        self.steps = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(count))
        self.outputs = nn.ModuleList(nn.Linear(width, 1) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) to (N, count)."""
        f, g = self.f(features), self.g(features)
        arguments = []
        for step, output in zip(self.steps, self.outputs, strict=True):
            g = step(torch.cat([f, g], dim=1))
            arguments.append(output(g))
        return torch.cat(arguments, dim=1)


class SeparateRegressor(nn.Module):
    """Predicts each argument from the features alone: the cascade's counterpart in the ablation.

    g_i = Linear(features), x_i = Linear(g_i).
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(nn.Linear(features, REGRESSOR_WIDTH) for _ in range(count))
        self.outputs = nn.ModuleList(nn.Linear(REGRESSOR_WIDTH, 1) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) to (N, count)."""
        pairs = zip(self.steps, self.outputs, strict=True)
        return torch.cat([output(step(features)) for step, output in pairs], dim=1)


@torch.no_grad()
def as_one_layer(regressor: nn.Module, features: int) -> nn.Linear:
    """A regressor as a single layer: without activations between its layers it is affine.

    Composed in float64, so that only the rounding of the layers it replaces is lost.
    """
    whole = copy.deepcopy(regressor).double()
    rows = whole(torch.eye(features + 1, features, dtype=torch.float64))  # the last row is 0
    linear = nn.Linear(features, rows.shape[1])
    linear.weight.copy_((rows[:-1] - rows[-1]).T)
    linear.bias.copy_(rows[-1])
    return linear
