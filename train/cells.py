"""Attention over the cells of foreground and background: grass is compared with grass."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.colour_statistics import block_means

SIDE = 8
"""Cells a side; each of them is one of the foreground and one of the background."""

WIDTH = 128
"""Numbers that stand for a cell between the layers."""

HEADS = 4
LEAST = 0.02
"""Share of a cell that a side must cover to be looked at."""

COLOURS = 10
"""Beside semantics: first and second moments of R, G, B over the side's part, and its share."""

_HIDDEN = 2 * WIDTH
_MASKED = -1e4  # added to a score; far below any, and finite in half precision


class AttentionLayer(nn.Module):
    """Pre-norm self-attention and an MLP. Source: Xiong et al., arXiv 2002.04745."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, _HIDDEN), nn.Linear(_HIDDEN, WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(N, T, WIDTH), and (N, 1, 1, T) to add to the scores, to (N, T, WIDTH)."""
        shape = (*x.shape[:2], HEADS, WIDTH // HEADS)
        q, k, v = (p.reshape(shape).transpose(1, 2) for p in self.qkv(self.norm1(x)).chunk(3, 2))
        scores = q @ k.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + hidden
        seen = (scores.softmax(dim=3) @ v).transpose(1, 2).reshape(x.shape)
        x = x + self.dropout(self.out(seen))
        added: Tensor = self.dropout(self.down(self.dropout(F.gelu(self.up(self.norm2(x))))))
        return x + added


class Cells(nn.Module):
    """What attention makes of SIDE x SIDE cells of the foreground and as many of the background.

    A cell carries the encoder's features at its place and the colours of its side of the mask; the
    features tell what can be compared, the colours are what is compared.

    Args:
        features: Channels of the encoder's features.
        layers: How many attention layers there are.
        dropout: In training, the share of hidden units that is left out.
        cell_dropout: In training, the share of the cells that is left out.
    """

    def __init__(
        self, features: int, layers: int, dropout: float = 0.0, cell_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.cell_dropout = cell_dropout
        self.embed = nn.Linear(features + COLOURS, WIDTH)
        self.sides = nn.Parameter(torch.zeros(2, WIDTH))
        self.places = nn.Parameter(torch.randn(SIDE**2, WIDTH) * 0.02)
        self.layers = nn.ModuleList(AttentionLayer(dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(2 * WIDTH)

    def forward(self, features: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
        """Compare the cells.

        Args:
            features: (N, C, SIDE, SIDE) of the encoder.
            composite: (N, 3, S, S) in [0, 1], S a multiple of SIDE.
            mask: (N, 1, S, S) in [0, 1].

        Returns:
            (N, 2 WIDTH): the average cell of the foreground, then of the background; the average is
            by area, 0 for an empty side before normalisation.
        """
        step = mask.shape[-1] // SIDE
        semantics = features.flatten(2).transpose(1, 2)
        inside, covered = _moments(composite * mask, composite, step), block_means(mask, step)
        outside = _moments(composite, composite, step) - inside
        cells, shares = [], []
        for colours, share, side in (
            (inside, covered, self.sides[0]),
            (outside, 1 - covered, self.sides[1]),
        ):
            # Times 4: moments of colours are as large as the features then.
            colours = 4 * colours / (share + 1e-3)
            colours, share = (t.flatten(2).transpose(1, 2) for t in (colours, share))
            cell = torch.cat([semantics, colours, share], dim=2).to(self.embed.weight.dtype)
            cells.append(self.embed(cell) + side + self.places)
            shares.append(share)
        x, share = torch.cat(cells, dim=1), torch.cat(shares, dim=1)
        if self.training and self.cell_dropout:
            share = share * (torch.rand_like(share) >= self.cell_dropout)
        hidden = ((share < LEAST).to(x.dtype) * _MASKED).transpose(1, 2)[:, None]
        for layer in self.layers:
            x = layer(x, hidden)
        means = [
            (x[:, side].float() * share[:, side]).sum(dim=1) / (share[:, side].sum(dim=1) + 1e-3)
            for side in (slice(None, SIDE**2), slice(SIDE**2, None))
        ]
        compared: Tensor = self.norm(torch.cat(means, dim=1).to(self.norm.weight.dtype))
        return compared.float()


def _moments(weighted: Tensor, image: Tensor, step: int) -> Tensor:
    """(N, 9, SIDE, SIDE): averages of `weighted`, of it times `image`, and times the next channel.

    Three at a time: an image of nine channels would cost more to write than the averages do.
    """
    factors = (weighted, weighted * image, weighted * image.roll(1, 1))
    return torch.cat([block_means(factor, step) for factor in factors], dim=1)
