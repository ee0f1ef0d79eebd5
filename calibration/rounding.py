"""A network that rounds to 8 bits as its quantised graph will: for fine-tuning, in PyTorch.

Rounding passes its gradient straight through (Bengio et al., arXiv 1308.3432); beyond an
activation's range the gradient is 0 (Jacob et al., arXiv 1712.05877).
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from calibration.equalize import inverse_name
from calibration.errors import CalibrationError
from calibration.graph import PredictorGraph
from calibration.rewrite import LEVELS
from calibration.rows import SMALLEST
from train.network import HarmonizerNet


def round_straight_through(values: Tensor, scale: Tensor) -> Tensor:
    """Values on a symmetric 8-bit scale; the gradient is the identity's."""
    rounded = (values / scale).round().clamp(-LEVELS, LEVELS) * scale
    return values + (rounded - values).detach()


class RoundedWeight(nn.Module):
    """A weight rounded per output channel, as `rewrite.quantize_weight` does.

    Args:
        factors: What the layer's inputs are multiplied with before they are rounded, (inputs,), or
            a single 1.
    """

    factors: Tensor

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """(C, ...) to the same shape."""
        weight = weight / self.factors
        largest = weight.detach().flatten(1).abs().amax(dim=1).clamp(min=1e-12)
        scale = (largest / LEVELS).view(-1, *[1] * (weight.ndim - 1))
        return round_straight_through(weight, scale) * self.factors


class RoundedInput:
    """Rounds what a layer reads; a layer that is used in several looks has a range for each.

    Args:
        ranges: Largest magnitudes, in the order of the looks; of a fully connected layer's row as
            shares of its own largest, see `calibration.rows`.
        factors: As `RoundedWeight`'s.
    """

    def __init__(self, ranges: Sequence[float], factors: Tensor) -> None:
        self.ranges, self.factors, self.calls = tuple(ranges), factors, 0

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A forward pre-hook."""
        largest = inputs[0].new_tensor(self.ranges[self.calls % len(self.ranges)])
        self.calls += 1
        values = inputs[0] * self.factors
        if isinstance(layer, nn.Linear):
            peaks = values.detach().abs().amax(dim=1, keepdim=True)
            largest = largest * peaks.clamp(min=SMALLEST)
        values = values.clamp(-largest, largest)
        return (round_straight_through(values, largest / LEVELS) / self.factors, *inputs[1:])


def insert_rounding(
    network: HarmonizerNet,
    graph: PredictorGraph,
    ranges: Mapping[str, float],
    keep: Collection[str] = (),
) -> Callable[[], None]:
    """Round weights and inputs of the network's layers, in place.

    The regressor stays as it is: its export is another layer, composed of its layers.

    Args:
        network: What the graph was exported from.
        graph: As it is quantised: equalised, rows scaled.
        ranges: Of its activations.
        keep: Blocks that stay in float32.

    Returns:
        A function that takes the rounding out again.

    Raises:
        CalibrationError: If no layer is left to round.
    """
    modules = dict(network.named_modules())
    device = next(network.parameters()).device
    by_module: dict[str, list[float]] = {}
    factors: dict[str, Tensor] = {}
    for layer in graph.layers:
        name = layer.weight.removesuffix(".weight")
        if name in modules and name != "regressor" and layer.block not in keep:
            by_module.setdefault(name, []).append(ranges[layer.activation])
            inverse = graph.weights.get(inverse_name(layer.weight), np.ones(1, np.float32))
            factors[name] = torch.tensor(inverse, device=device)
    if not by_module:
        raise CalibrationError(
            "fine-tuning must have layers to round; all are kept in float32. Shorten --keep."
        )
    handles = []
    for name, own in by_module.items():
        parametrize.register_parametrization(modules[name], "weight", RoundedWeight(factors[name]))
        hook = RoundedInput(own, factors[name])
        handles.append(modules[name].register_forward_pre_hook(hook))

    def remove() -> None:
        for handle in handles:
            handle.remove()
        for name in by_module:
            parametrize.remove_parametrizations(modules[name], "weight", leave_parametrized=False)

    return remove
