"""How far an image is from the photograph: MSE, fMSE, PSNR and SSIM, in constant extra memory.

Two protocols differ in the mask and in PSNR's data range:

- "plain": the mask as it is, soft edges and all; PSNR's data range is 255.
- "paper": a 1-bit mask (`one_bit`); PSNR's data range is that of the judged image, largest minus
  smallest value, as in the published tables of Harmonizer and those that follow it. An image
  that does not span 0 to 255 gets a lower PSNR for it: never compare PSNR across protocols.

MSE and SSIM are the same in both; fMSE differs where the mask is soft. Everything is on the 0..255
scale of display-referred sRGB, means over the three channels, one figure an image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity
from torch import Tensor

Protocol = Literal["plain", "paper"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

Array = NDArray[Any]

SSIM_WINDOW = 7
BAND = 256
"""Rows that are converted to float64 at a time."""


@dataclass(frozen=True)
class Metrics:
    """The figures of one image.

    Attributes:
        mse: Mean of d^2 over all pixels and channels.
        fmse: sum M d^2 / (3 sum M): the mean over the foreground, each pixel with its mask value
            as weight. With a 1-bit mask this is the literature's "MSE of the masked images times
            HW / sum M". (That wording, taken literally with a soft mask, weighs by M^2.)
        psnr: 10 log10(range^2 / mse) in dB; infinite for equal images.
        ssim: Mean structural similarity, uniform 7x7 window, sample covariance, K1 0.01, K2 0.03,
            data range 255, mean over channels (Wang et al. 2004; scikit-image's defaults).
    """

    mse: float
    fmse: float
    psnr: float
    ssim: float


def foreground_mse(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """fMSE of each image of a batch, differentiable.

    Args:
        image, target: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1].

    Returns:
        (N,) on the 0..255 scale.
    """
    squared = ((image - target) * 255) ** 2 * mask
    return squared.sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3)))


def one_bit(mask: Array) -> Array:
    """Round a mask to nothing and full, half counting as full; type and scale stay."""
    full = 255 if mask.dtype == np.uint8 else 1
    return np.where(mask >= full / 2, full, 0).astype(mask.dtype)


def image_metrics(
    image: Array, target: Array, mask: Array, protocol: Protocol = "plain"
) -> Metrics:
    """Compare one image with its target.

    Args:
        image, target: (H, W, 3), both uint8, or both float32 in [0, 1]; at least 7x7.
        mask: (H, W) of the same type, 255 or 1 in the foreground, not empty. It is used as it is:
            "paper" expects the mask that `one_bit` gives.
        protocol: Chooses PSNR's data range.

    Raises:
        ValueError: If shapes or types do not fit together, an image is smaller, or the mask empty.
    """
    if image.shape != target.shape or image.dtype != target.dtype:
        raise ValueError(
            f"`image` must have the target's shape and type, {target.shape} {target.dtype}; got "
            f"{image.shape} {image.dtype}. Resize or convert it."
        )
    if mask.shape != image.shape[:2] or mask.dtype != image.dtype:
        raise ValueError(
            f"`mask` must be {image.shape[:2]} of the images' type {image.dtype}; got {mask.shape} "
            f"{mask.dtype}. Resize or convert it."
        )
    if min(mask.shape) < SSIM_WINDOW:
        raise ValueError(
            f"images must be at least {SSIM_WINDOW}x{SSIM_WINDOW}, SSIM's window; got "
            f"{mask.shape}. Leave this image out."
        )
    if not mask.any():
        raise ValueError("`mask` must have a foreground; it is empty. Leave this image out.")
    error = foreground_error = weight = similarity = 0.0
    for rows, windows in _bands(len(image)):
        a, b, m = (_levels(array[rows]) for array in (image, target, mask))
        if windows:
            window_rows = len(a) - SSIM_WINDOW + 1
            ssim = structural_similarity(a, b, data_range=255, channel_axis=2, win_size=SSIM_WINDOW)
            similarity += float(ssim) * window_rows
        squared = ((a - b) ** 2).sum(axis=2)[:BAND]
        error += float(squared.sum())
        foreground_error += float((squared * m[:BAND]).sum())
        weight += float(m[:BAND].sum())
    mse = error / image.size
    data_range = 255.0
    if protocol == "paper":
        data_range = float(_levels(image.max())) - float(_levels(image.min()))
    return Metrics(
        mse=mse,
        fmse=foreground_error / (3 * weight),
        psnr=_psnr(mse, data_range),
        ssim=similarity / (len(image) - SSIM_WINDOW + 1),
    )


def _bands(height: int) -> Iterator[tuple[slice, bool]]:
    """Bands of BAND rows plus the rows below that SSIM's windows reach into.

    The windows that begin in a band are counted there, so that their mean over bands, weighted by
    their number, is the mean over the image.

    Yields:
        Rows, and whether a window begins there.
    """
    for top in range(0, height, BAND):
        yield slice(top, top + BAND + SSIM_WINDOW - 1), height - top >= SSIM_WINDOW


def _levels(values: Array) -> NDArray[np.float64]:
    """uint8, or floats in [0, 1], on the 0..255 scale."""
    levels: NDArray[np.float64] = values.astype(np.float64)
    return levels if values.dtype == np.uint8 else levels * 255


def _psnr(mse: float, data_range: float) -> float:
    if mse == 0:
        return math.inf
    return 10 * math.log10(data_range**2 / mse) if data_range else -math.inf


RATIO_FLOOR = 10.0
"""Added to both fMSE of a ratio: below it, nobody sees a difference."""


def geometric_ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """Geometric mean over images of (after + RATIO_FLOOR) / (before + RATIO_FLOOR).

    Two bad images do not decide it, as they do the ratio of means.

    Args:
        before, after: fMSE of composites and of results on the 0..255 scale.
    """
    old, new = (np.asarray(values, np.float64) + RATIO_FLOOR for values in (before, after))
    return float(np.exp(np.log(new / old).mean()))
