"""Photographs developed at random, so that no half of a composite alone carries an edit's trace.

Networks learn what an edit leaves behind (clipped and stretched histograms) sooner than they learn
to compare light, and of a real composite both halves were developed by somebody. So the whole
photograph is developed first, and that is the target; the foreground is developed apart from it.

All functions are batched, and random by numbers that they are given, uniform in [0, 1).
"""

import math

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G, B in luma (ITU-R BT.601)."""

DICE = 16
"""Random numbers that `develop` takes for an image."""

LEAST_STRENGTH = 0.15
"""A development's strength is uniform from here to 1; all deviations below are times it."""

BALANCE, TINT, EXPOSURE = 0.25, 0.1, 0.6
"""Standard deviations of white balance (blue to red), tint (green to magenta) and exposure, in
stops of linear light."""

CROSSTALK = 0.04
"""Standard deviation of how much of one channel enters another in linear light: what two cameras'
colour profiles differ by. Grey stays grey."""

KNOTS = 5
BLACK, MIDTONE, WHITE = 0.04, 0.07, 0.05
"""Standard deviations of a tone curve's ends (black rises, white falls) and of its other knots."""

SATURATION = 0.5
"""Standard deviation of the base-2 logarithm of the saturation's gain."""


def normal(uniform: Tensor) -> Tensor:
    """Standard normal numbers from uniform ones in [0, 1), by the inverse of the distribution."""
    return torch.erfinv(2 * uniform.clamp(1e-6, 1 - 1e-6) - 1) * math.sqrt(2)


def to_linear(image: Tensor) -> Tensor:
    """sRGB in [0, 1] to linear light in [0, 1] (IEC 61966-2-1)."""
    steep = ((image.clamp(min=0.04) + 0.055) / 1.055) ** 2.4
    return torch.where(image <= 0.04045, image / 12.92, steep)


def to_srgb(image: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB in [0, 1] (IEC 61966-2-1)."""
    steep = 1.055 * image.clamp(min=0.003) ** (1 / 2.4) - 0.055
    return torch.where(image <= 0.0031308, 12.92 * image, steep)


def develop(image: Tensor, dice: Tensor) -> Tensor:
    """One random development of each image.

    In linear light: gains 2^(e + t/2 + g/3), 2^(e - 2g/3), 2^(e - t/2 + g/3) of R, G, B for
    exposure e, balance t and tint g, and a matrix of crosstalk whose rows sum to 1; then, in sRGB,
    a piecewise-linear tone curve of five knots and a gain of saturation about luma:
    Y + 2^s (c - Y), Y = 0.299 R + 0.587 G + 0.114 B. All deviations are the project's own.

    Sources: a gain for each channel of linear light is the diagonal model of white balance (von
    Kries, 1902), a common one the exposure in stops; the matrix is what takes one camera's colours
    to another's and keeps grey; these before the tone curve, as in Karaimer and Brown, A Software
    Platform for Manipulating the Camera Imaging Pipeline, ECCV 2016, section 3.

    Args:
        image: (n, 3, S, S) sRGB in [0, 1].
        dice: (n, DICE) in [0, 1).

    Returns:
        (n, 3, S, S) sRGB in [0, 1].
    """
    strength = LEAST_STRENGTH + (1 - LEAST_STRENGTH) * dice[:, :1]
    z = strength * normal(dice[:, 1:])
    balance, tint, exposure = BALANCE * z[:, 0], TINT * z[:, 1], EXPOSURE * z[:, 2]
    warm, green = balance / 2, tint / 3
    gains = 2.0 ** torch.stack(
        [exposure + warm + green, exposure - 2 * green, exposure - warm + green], dim=1
    )
    zero = torch.zeros_like(exposure)
    rg, rb, gr, gb, br, bg = (CROSSTALK * z[:, 3:9]).unbind(1)
    mixed = torch.stack([zero, rg, rb, gr, zero, gb, br, bg, zero], dim=1).view(-1, 3, 3)
    matrix = torch.eye(3, device=image.device) + mixed - torch.diag_embed(mixed.sum(dim=2))
    linear = (matrix * gains[:, None, :]) @ to_linear(image).flatten(2)
    curved = tone_curve(to_srgb(linear.clamp(0, 1)).view_as(image), z[:, 9:14])
    luma = sum(weight * curved[:, i : i + 1] for i, weight in enumerate(LUMA))
    gain = 2.0 ** (SATURATION * z[:, 14])
    return (luma + (curved - luma) * gain[:, None, None, None]).clamp(0, 1)


def tone_curve(image: Tensor, moves: Tensor) -> Tensor:
    """A rising piecewise-linear curve whose knots are moved from the diagonal.

    Args:
        image: (n, 3, S, S) in [0, 1].
        moves: (n, KNOTS), in units of the deviations above; black only moves up and white down.

    Returns:
        (n, 3, S, S) in [0, 1].
    """
    even = torch.linspace(0, 1, KNOTS, device=image.device)
    black, middle, white = BLACK * moves[:, :1], MIDTONE * moves[:, 1:-1], WHITE * moves[:, -1:]
    moved = even + torch.cat([black.clamp(min=0), middle, white.clamp(max=0)], dim=1)
    knots = torch.cummax(moved.clamp(0, 1) + 1e-4 * even, dim=1).values
    slopes = (knots[:, 1:] - knots[:, :-1]) * (KNOTS - 1)
    width = 1 / (KNOTS - 1)
    result = knots[:, 0].view(-1, 1, 1, 1).expand_as(image)
    for piece in range(KNOTS - 1):
        part = (image - piece * width).clamp(0, width)
        result = result + slopes[:, piece].view(-1, 1, 1, 1) * part
    return result.clamp(0, 1)
