"""Composites by colour transfer: the foreground takes on the colours of another photograph's.

iHarmony4's composites were made like that (Cong et al., arXiv 1911.13239, section 3), by several
methods, so that no one method's traces are learnt. Only the photograph itself is known as the
target: no filter arguments stand behind such a composite.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STRENGTH = (0.2, 1.0)
"""How much of the transfer is applied, drawn uniformly: foregrounds of other kinds of things are
further apart than the same-class pairs of iHarmony4."""

STRETCH = (0.4, 2.5)
"""Bounds of the gain of a colour axis; beyond them noise becomes texture."""

_FLOOR = 0.02  # of the logarithm's argument: black stays finite

_OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [-1, 2, -1]], np.float32) / np.sqrt([[3], [2], [6]])


def transfer_colours(
    source: NDArray[np.float32], reference: NDArray[np.float32], random: np.random.Generator
) -> NDArray[np.float32]:
    """Give colours the distribution of others, by a random method and strength.

    Args:
        source: (n, 3) foreground colours, sRGB in [0, 1], n >= 2.
        reference: (m, 3) colours of another foreground, m >= 2.
        random: Decides method and strength.

    Returns:
        (n, 3) in [0, 1].
    """
    method = METHODS[random.integers(len(METHODS))]
    moved = method(source, reference)
    result = source + random.uniform(*STRENGTH) * (moved.clip(0, 1) - source)
    return result.astype(np.float32)


def likest(
    source: NDArray[np.float32], references: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Of several sets of colours, (m, 3) each, the one whose mean is nearest to the source's."""
    mean = source.mean(axis=0)
    return min(references, key=lambda colours: float(np.sum((colours.mean(axis=0) - mean) ** 2)))


def match_opponent(
    source: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean and deviation of each axis of a logarithmic opponent space.

    Source: Reinhard et al., Color Transfer between Images, IEEE CG&A 2001, with opponent axes of
    log RGB in place of log LMS.
    """
    axes = _OPPONENT.T
    a, b = (np.log(x * (1 - _FLOOR) + _FLOOR) @ axes for x in (source, reference))
    gain = ((b.std(axis=0) + 1e-3) / (a.std(axis=0) + 1e-3)).clip(*STRETCH)
    moved = (a - a.mean(axis=0)) * gain + b.mean(axis=0)
    result: NDArray[np.float32] = (np.exp(moved @ _OPPONENT) - _FLOOR) / (1 - _FLOOR)
    return result


def match_covariance(
    source: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mean and covariance of RGB by the linear map that moves colours least.

    T = S^-1/2 (S^1/2 R S^1/2)^1/2 S^-1/2 for covariances S and R. Source: Pitie and Kokaram, The
    Linear Monge-Kantorovitch Linear Colour Mapping, CVMP 2007.
    """
    a, b = (np.cov(x.T) + 1e-4 * np.eye(3) for x in (source, reference))
    root, inverse = _power(a, 0.5), _power(a, -0.5)
    linear = inverse @ _power(root @ b @ root, 0.5) @ inverse
    values, vectors = np.linalg.eigh(linear)
    linear = (vectors * values.clip(*STRETCH)) @ vectors.T
    result: NDArray[np.float32] = (source - source.mean(axis=0)) @ linear + reference.mean(axis=0)
    return result


def match_histogram(
    source: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The quantiles of R, G and B, through 33 points each."""
    shares = np.linspace(0, 1, 33)
    a, b = (np.quantile(x, shares, axis=0) for x in (source, reference))
    result = np.empty_like(source)
    for channel in range(3):
        # Equal quantiles would make the map a jump.
        knots = np.maximum.accumulate(a[:, channel] + 1e-4 * shares)
        result[:, channel] = np.interp(source[:, channel], knots, b[:, channel])
    return result


METHODS = (match_opponent, match_covariance, match_histogram)


def _power(matrix: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """Power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    result: NDArray[np.float64] = (vectors * values.clip(1e-8) ** exponent) @ vectors.T
    return result
