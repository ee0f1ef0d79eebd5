"""How far apart two predictions are: in arguments, and in the pictures they draw.

Both predictions are drawn by the shipped renderer in float32 and rounded to 8 bits, as files hold
them. Only the foreground counts (mask above 0): the background is the composite's in both, and
would hide any difference. A mean over an image is a mean over its foreground's pixels, a mean over
a set a mean over its images.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from calibration.inputs import Image
from harmonizer.arguments import Arguments
from harmonizer.contract import Contract
from harmonizer.renderer import CpuRenderer


@dataclass(frozen=True)
class Difference:
    """Between two pictures of one composite.

    Attributes:
        levels: (256,) how many foreground values differ by 0, 1, 2... levels of 8 bits.
        squared: Mean of the squared differences in levels.
        delta_e_mean, delta_e_max: CIEDE2000 over the foreground's pixels (sRGB, D65).
    """

    levels: NDArray[np.int64]
    squared: float
    delta_e_mean: float
    delta_e_max: float

    @property
    def levels_max(self) -> int:
        """Largest difference."""
        return int(np.flatnonzero(self.levels).max(initial=0))


def draw(
    renderer: CpuRenderer,
    contract: Contract,
    composite: Image,
    mask: Image,
    arguments: NDArray[np.float32],
) -> Image:
    """Draw one prediction.

    Args:
        renderer: Any number of threads.
        contract: Of the predictor: the k numbers' operations.
        composite: (1, 3, H, W) in [0, 1].
        mask: (1, 1, H, W) in [0, 1].
        arguments: (k,), clamped as they are drawn.

    Returns:
        (H, W, 3) float32 in [0, 1].
    """
    image = np.ascontiguousarray(composite[0].transpose(1, 2, 0))
    named = Arguments.from_array(arguments, contract.filters, contract.sizes)
    plan = renderer.measure(image, named)
    return renderer.draw(image, np.ascontiguousarray(mask[0, 0]), plan)


def to_levels(image: Image) -> NDArray[np.uint8]:
    """[0, 1] to 8 bits, rounded half up as the renderer does."""
    return (image * 255 + 0.5).astype(np.uint8)


def compare(reference: Image, candidate: Image, mask: Image) -> Difference:
    """Compare two pictures in the foreground.

    Args:
        reference, candidate: (H, W, 3) in [0, 1].
        mask: (1, 1, H, W) in [0, 1], not empty.
    """
    inside = mask[0, 0] > 0
    a, b = to_levels(reference)[inside], to_levels(candidate)[inside]
    apart = np.abs(a.astype(np.int16) - b)
    delta_e = np.zeros(len(a))
    different = apart.any(axis=1)
    if different.any():
        lab = [rgb2lab(pixels[different][None] / np.float64(255)) for pixels in (a, b)]
        delta_e[different] = deltaE_ciede2000(*lab)[0]
    return Difference(
        levels=np.bincount(apart.ravel(), minlength=256),
        squared=float((apart.astype(np.float64) ** 2).mean()),
        delta_e_mean=float(delta_e.mean()),
        delta_e_max=float(delta_e.max()),
    )


def percentile_level(levels: NDArray[np.int64], share: float) -> int:
    """The smallest difference that at least `share` of the values do not exceed."""
    return int(np.searchsorted(np.cumsum(levels), share * levels.sum()))


def columns(contract: Contract) -> Iterator[tuple[str, slice]]:
    """Each operation and where its numbers are among the k."""
    end = 0
    for name, size in zip(contract.filters, contract.sizes, strict=True):
        yield name, slice(end, end + size)
        end += size


def contrast_steps(
    contract: Contract, reference: NDArray[np.float32], candidate: NDArray[np.float32]
) -> int:
    """Images whose contrast falls on another of its 255 steps; 0 without contrast.

    Contrast reads floor(255 x) for x > 0, so that the smallest error of x can move a whole step.

    Args:
        contract: Of both.
        reference, candidate: (N, k).
    """
    column = dict(columns(contract)).get("contrast", slice(0))
    steps = [
        np.floor(255 * np.clip(values[:, column], 0, 1).astype(np.float64))
        for values in (reference, candidate)
    ]
    return int((steps[0] != steps[1]).sum())
