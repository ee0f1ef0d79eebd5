"""Composites by colour transfer: the foreground takes on the colours of another photograph's.

iHarmony4's composites were made like that (Cong et al., arXiv 1911.13239, section 3), by several
methods, so that no one method's traces are learnt. Only the photograph itself is known as the
target: no filter arguments stand behind such a composite.

Everything is batched and runs where the tensors lie. Colours are (n, 3, P), sRGB in [0, 1], with
weights (n, 1, P) that sum to 1.
"""

import torch
from torch import Tensor

STRENGTH = (0.2, 1.0)
"""How much of the transfer is applied, drawn uniformly: foregrounds of other kinds of things are
further apart than the same-class pairs of iHarmony4."""

STRETCH = (0.4, 2.5)
"""Bounds of the gain of a colour axis; beyond them noise becomes texture."""

DICE = 2
"""Random numbers that `recolour` takes for an image."""

READ = 64
"""Side of what the statistics of a foreground are read from."""

QUANTILES = 33
_TAIL = 0.002  # of the outermost quantiles: single pixels do not decide

_FLOOR = 0.02  # of the logarithm's argument: black stays finite


def recolour(photo: Tensor, mask: Tensor, donor: Tensor, dice: Tensor) -> Tensor:
    """Give images the colours of others' foregrounds, by a random method and strength.

    Args:
        photo: (n, 3, S, S) sRGB in [0, 1], S a multiple of READ or less.
        mask: (n, 1, S, S), whose foreground's colours are to become the donor's.
        donor: (n, 4, s, s): another photograph, and where its foreground is.
        dice: (n, DICE) in [0, 1): method and strength.

    Returns:
        (n, 3, S, S) in [0, 1]: the whole image moved as its foreground is.
    """
    step = max(1, photo.shape[-1] // READ)
    source = photo[..., ::step, ::step].flatten(2), _weights(mask[..., ::step, ::step])
    reference = donor[:, :3].flatten(2), _weights(donor[:, 3:])
    pixels = photo.flatten(2)
    method = (dice[:, 0] * len(METHODS)).long().clamp(max=len(METHODS) - 1)
    moved = torch.empty_like(pixels)
    for number, match in enumerate(METHODS):
        (its,) = (method == number).nonzero(as_tuple=True)
        moved[its] = match(*(t[its] for t in (*source, *reference, pixels)))
    strength = STRENGTH[0] + (STRENGTH[1] - STRENGTH[0]) * dice[:, 1]
    apart = moved.clamp(0, 1).view_as(photo) - photo
    return photo + strength.view(-1, 1, 1, 1) * apart


def _weights(mask: Tensor) -> Tensor:
    flat = mask.flatten(2) + 1e-6  # an empty mask means everything
    return flat / flat.sum(dim=2, keepdim=True)


def match_opponent(
    source: Tensor, weight: Tensor, reference: Tensor, its_weight: Tensor, pixels: Tensor
) -> Tensor:
    """Mean and deviation of each axis of a logarithmic opponent space.

    Source: Reinhard et al., Color Transfer between Images, IEEE CG&A 2001, with opponent axes of
    log RGB in place of log LMS.

    Args:
        source, weight: (n, 3, P) and (n, 1, P), the foreground's colours.
        reference, its_weight: (n, 3, Q) and (n, 1, Q), the donor's.
        pixels: (n, 3, R), what is to be moved as the foreground's colours are.

    Returns:
        (n, 3, R), not clamped.
    """
    rows = [[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]]
    axes = torch.nn.functional.normalize(torch.tensor(rows, device=source.device))
    a, b, c = (axes @ torch.log(x * (1 - _FLOOR) + _FLOOR) for x in (source, reference, pixels))
    mean, its_mean = (a * weight).sum(2, keepdim=True), (b * its_weight).sum(2, keepdim=True)
    spread = ((a - mean) ** 2 * weight).sum(2, keepdim=True).sqrt()
    its_spread = ((b - its_mean) ** 2 * its_weight).sum(2, keepdim=True).sqrt()
    gain = ((its_spread + 1e-3) / (spread + 1e-3)).clamp(*STRETCH)
    moved: Tensor = torch.exp(axes.T @ ((c - mean) * gain + its_mean))
    return (moved - _FLOOR) / (1 - _FLOOR)


def match_covariance(
    source: Tensor, weight: Tensor, reference: Tensor, its_weight: Tensor, pixels: Tensor
) -> Tensor:
    """Mean and covariance of RGB by the linear map that moves colours least.

    T = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2 for covariances S and R. Source: Pitie and Kokaram, The
    Linear Monge-Kantorovitch Linear Colour Mapping, CVMP 2007. Arguments as `match_opponent`'s.
    """
    mean, a = _moments(source, weight)
    its_mean, b = _moments(reference, its_weight)
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    values, vectors = torch.linalg.eigh(inverse @ _power(root @ b @ root, 0.5) @ inverse)
    linear = (vectors * values.clamp(*STRETCH)[:, None]) @ vectors.mT
    moved: Tensor = linear @ (pixels - mean) + its_mean
    return moved


def match_histogram(
    source: Tensor, weight: Tensor, reference: Tensor, its_weight: Tensor, pixels: Tensor
) -> Tensor:
    """The quantiles of R, G and B, through 33 points each; arguments as `match_opponent`'s.

    x becomes G^-1(F(x)) for the distributions F of the foreground's channel and G of the donor's.
    Source: Gonzalez and Woods, Digital Image Processing, histogram specification.
    """
    shares = torch.linspace(_TAIL, 1 - _TAIL, QUANTILES, device=source.device)
    shares = shares.expand(len(source), 3, QUANTILES).contiguous()
    a, b = _quantiles(source, weight, shares), _quantiles(reference, its_weight, shares)
    # Equal quantiles would make the map a jump.
    a = torch.cummax(a + 1e-4 * shares, dim=2).values
    at = torch.searchsorted(a, pixels.contiguous()).clamp(1, QUANTILES - 1)
    left, right = a.gather(2, at - 1), a.gather(2, at)
    low, high = b.gather(2, at - 1), b.gather(2, at)
    return low + ((pixels - left) / (right - left)).clamp(0, 1) * (high - low)


METHODS = (match_opponent, match_covariance, match_histogram)


def _moments(colours: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 3, 1) mean and (n, 3, 3) covariance, the latter never singular."""
    mean = (colours * weight).sum(dim=2, keepdim=True)
    apart = colours - mean
    return mean, (apart * weight) @ apart.mT + 1e-4 * torch.eye(3, device=colours.device)


def _quantiles(colours: Tensor, weight: Tensor, shares: Tensor) -> Tensor:
    values, order = colours.sort(dim=2)
    below = weight.expand_as(colours).gather(2, order).cumsum(dim=2)
    at = torch.searchsorted(below.contiguous(), shares * below[:, :, -1:])
    return values.gather(2, at.clamp(max=colours.shape[2] - 1))


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Power of symmetric positive definite matrices, (n, 3, 3)."""
    values, vectors = torch.linalg.eigh(matrix)
    result: Tensor = (vectors * values.clamp(min=1e-8)[:, None] ** exponent) @ vectors.mT
    return result
