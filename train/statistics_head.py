"""The MLP over what was measured and seen, which both networks read their answers from."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.colour_statistics import COUNT, masked_statistics

STATISTICS_WIDTH = 256
"""Features that it gives."""


class StatisticsHead(nn.Module):
    """A small MLP over masked colour statistics and the arguments drawn so far.

    Args:
        count: How many arguments there are.
        width: Size of the returned feature vector.
        dropout: Share of the hidden units that training leaves out.
        measured: How many statistics there are.
        norms: How many looks have averages of their own; 1 for all looks' together.
    """

    def __init__(
        self,
        count: int,
        width: int,
        dropout: float = 0.0,
        measured: int = COUNT,
        norms: int = 1,
    ) -> None:
        super().__init__()
        self.measure: Callable[[Tensor, Tensor], Tensor] = masked_statistics
        self.dropout = nn.Dropout(dropout)
        made = [nn.BatchNorm1d(measured + count) for _ in range(norms)]
        self.normalize = nn.ModuleList(made) if norms > 1 else made[0]
        self.hidden = nn.Linear(measured + count, 2 * width)
        self.middle = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(2 * width, width)

    def forward(
        self,
        composite: Tensor,
        mask: Tensor,
        arguments: Tensor,
        seen: Sequence[Tensor] = (),
        look: int = 0,
    ) -> Tensor:
        """Features of an image.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32, as the arguments draw it.
            mask: (N, 1, S, S) in [0, 1].
            arguments: (N, count), what the image was drawn with; 0 for the composite itself.
            seen: (N, m) each, what else was measured or seen.
            look: Which look it is, from 0.

        Returns:
            (N, width) float32; the layers run in the precision of their weights.
        """
        measured = self.measure(composite, mask)
        return self.features(torch.cat([measured, *seen, arguments], dim=1), look)

    def features(self, statistics: Tensor, look: int = 0) -> Tensor:
        """(N, measured + count) float32 to (N, width) float32."""
        norms = self.normalize
        normalize = norms[look] if isinstance(norms, nn.ModuleList) else norms
        x = normalize(statistics).to(self.hidden.weight.dtype)
        x = self.dropout(F.silu(self.hidden(x)))
        x = x + self.dropout(F.silu(self.middle(x)))
        return F.silu(self.output(x)).float()

    def halve(self) -> None:
        """Convert the layers to half precision, in place; measuring stays float32."""
        for layer in (self.hidden, self.middle, self.output):
            layer.half()
