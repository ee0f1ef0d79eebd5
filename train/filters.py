"""The photo filters in PyTorch: differentiable, and in float64 the oracle of every renderer.

Each function draws one registered operation on a batch. Equations and their sources stand in
`harmonizer.ops`; this file and `runtime/kernels/hz_pixel.h` are the only two that write them out.

All functions take `image` (N, 3, H, W), display-referred sRGB in [0, 1], channel order R, G, B,
float32 or float64, and `x` (N,), one argument per image, already clamped to the operation's range.
They return a new tensor like `image`, in [0, 1].
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS, EPSILON, OPERATIONS, POWER_EPSILON, check_filters


def _per_image(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)


def _clip(image: Tensor) -> Tensor:
    return image.clamp(0.0, 1.0)


def temperature(image: Tensor, x: Tensor) -> Tensor:
    """Warm (x > 0) or cool (x < 0) by a gain per channel.

    Note: the gradient jumps at x = 0, where it is taken from the warm side.
    """
    means = image.mean(dim=(2, 3))
    grey = means.mean(dim=1, keepdim=True)
    zero = torch.zeros_like(x)
    shift = torch.stack(
        [torch.where(x < 0, -x, zero), x.abs() / 2, torch.where(x < 0, zero, x)], dim=1
    )
    shifted = means + shift
    gain = shifted.mean(dim=1, keepdim=True) / (shifted + EPSILON) + 1 - grey / (means + EPSILON)
    return _clip(gain[:, :, None, None] * image)


def brightness(image: Tensor, x: Tensor) -> Tensor:
    """Multiply by a gain: the HSV value, hence every channel.

    Note: the gain reaches 1e6 at x = 1. The inactive branch is fed 0 so that its gradient
    stays finite.
    """
    zero = torch.zeros_like(x)
    gain = torch.where(x < 0, 1 + x, 1 / (1 - torch.where(x < 0, zero, x) + EPSILON))
    return _clip(_per_image(gain) * image)


def _straight_through_floor(x: Tensor) -> Tensor:
    """floor(x) forward, the identity's gradient backward; a plain floor would have none."""
    return x.floor() + (x - x.detach())


def contrast(image: Tensor, x: Tensor) -> Tensor:
    """Scale the distance to the image's mean.

    Note: the strength moves in 255 steps for x > 0; its gradient passes straight through them.
    """
    mean = image.mean(dim=(1, 2, 3), keepdim=True)
    positive = torch.where(x > 0, x, torch.zeros_like(x))
    steep = 255 / (256 - _straight_through_floor(255 * positive)) - 1
    strength = torch.where(x > 0, steep, x)
    return _clip(image + (image - mean) * _per_image(strength))


def saturation(image: Tensor, x: Tensor) -> Tensor:
    """Scale the distance to the HSL lightness.

    Note: for x >= 0 the scale is bounded by the pixel's own saturation.
    """
    largest, smallest = image.amax(dim=1, keepdim=True), image.amin(dim=1, keepdim=True)
    spread, total = largest - smallest, largest + smallest
    lightness = total / 2
    divisor = torch.where(lightness < 0.5, total, 2 - total) + EPSILON
    own = spread / divisor
    x = _per_image(x)
    bound = torch.where(x + own > 1, own, 1 - x)
    distance = image - lightness
    # For x < 0 `bound` exceeds 1 and the other branch is taken; both stay finite everywhere.
    stronger = image + distance * (1 / (bound + EPSILON) - 1)
    weaker = lightness + distance * (1 + x)
    return _clip(torch.where(x < 0, weaker, stronger))


def highlight(image: Tensor, x: Tensor) -> Tensor:
    """Lift (x > 0) or lower (x < 0) the bright tones by a power of 1 - I."""
    return _clip(1 - _clip((1 - image + POWER_EPSILON) ** (_per_image(x) + 1)))


def shadow(image: Tensor, x: Tensor) -> Tensor:
    """Lift (x > 0) or lower (x < 0) the dark tones by a power.

    Note: near x = 1 the exponent nears 0 and everything near black is amplified.
    """
    return _clip((image + POWER_EPSILON) ** (1 - _per_image(x)))


def tint(image: Tensor, x: Tensor) -> Tensor:
    """Shift between magenta (x > 0) and green (x < 0) by a gain per channel."""
    gain = torch.stack([1 + x / 4, 1 - x / 2, 1 + x / 4], dim=1)
    return _clip(gain[:, :, None, None] * image)


def hue(image: Tensor, x: Tensor) -> Tensor:
    """Rotate the colours about the grey axis by 60 degrees times x."""
    angle = _per_image(x) * (math.pi / 3)
    cosine, sine = angle.cos(), angle.sin() / math.sqrt(3)
    grey = (1 - cosine) / 3 * image.sum(dim=1, keepdim=True)
    turned = image.roll(1, dims=1) - image.roll(-1, dims=1)
    return _clip(image * cosine + grey + sine * turned)


FILTERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    function.__name__: function
    for function in (
        temperature,
        brightness,
        contrast,
        saturation,
        highlight,
        shadow,
        tint,
        hue,
    )
}
"""The torch function of every registered operation, by its name."""


def apply_filters(
    image: Tensor, arguments: Tensor, filters: Sequence[str] = DEFAULT_FILTERS
) -> list[Tensor]:
    """Draw an ordered list of filters on whole images.

    Args:
        image: (N, 3, H, W) in [0, 1], float32 or float64.
        arguments: (N, k), one column per filter, of the same dtype. Clamped here to each
            operation's range; where the clamp acts, the gradient is 0.
        filters: k registered names in drawing order.

    Returns:
        The k stage outputs, each (N, 3, H, W) in [0, 1]; the last one is the result. No mask is
        applied.

    Raises:
        FilterListError: If the filter list is not valid.
        ValueError: If the shapes or dtypes do not fit.
    """
    filters = check_filters(filters)
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"image must be (N, 3, H, W); got {tuple(image.shape)}. Permute it first.")
    if tuple(arguments.shape) != (image.shape[0], len(filters)):
        raise ValueError(
            f"arguments must be (N, k) = ({image.shape[0]}, {len(filters)}) for these images and "
            f"filters; got {tuple(arguments.shape)}."
        )
    if image.dtype != arguments.dtype:
        raise ValueError(
            f"image and arguments must have one dtype; got {image.dtype} and {arguments.dtype}. "
            "Convert one of them explicitly."
        )
    stages = []
    for name, x in zip(filters, arguments.unbind(dim=1), strict=True):
        operation = OPERATIONS[name]
        image = FILTERS[name](image, x.clamp(operation.minimum, operation.maximum))
        stages.append(image)
    return stages


def blend(filtered: Tensor, composite: Tensor, mask: Tensor) -> Tensor:
    """Put the filtered foreground into the composite: M*F + (1-M)*I.

    Args:
        filtered: (N, 3, H, W) in [0, 1].
        composite: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1], 1 on the foreground; soft edges are meant.

    Returns:
        (N, 3, H, W) in [0, 1].
    """
    return mask * filtered + (1 - mask) * composite
