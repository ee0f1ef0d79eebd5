"""The photo filters in PyTorch: differentiable, and in float64 the oracle of every renderer.

Each function draws one registered operation on a batch. Equations and their sources stand in
`harmonizer.ops`; this file and `runtime/kernels/hz_pixel.h` are the only two that write them out.

All functions take `image` (N, 3, H, W), display-referred sRGB in [0, 1], channel order R, G, B,
float32 or float64, and `x` (N,), one argument per image, already clamped to the operation's range;
`piecewise_curve` takes (N, m) numbers. They return a new tensor like `image`, in [0, 1].
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from harmonizer.ops import (
    CURVE_KNOTS,
    CURVE_LEAST_MEAN,
    DEFAULT_FILTERS,
    EPSILON,
    OPERATIONS,
    POWER_EPSILON,
    check_filters,
)


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


def normalize_slopes(knots: Tensor) -> Tensor:
    """Scale the slopes of curves to mean 1, so that a curve runs from 0 to 1.

    n = x' / mean(x'), x' = x moved as a whole until its mean is at least 0.05 away from 0, on the
    side where it is. Published, S2CRNet divides by the sum as it is (arXiv 2109.05750, section
    3.3), which explodes near 0; away from 0 both are the same.

    Args:
        knots: (..., 64) any finite numbers.

    Returns:
        The same shape; 1 everywhere if all are 0.

    Note: jumps where the mean changes its sign. Normalising twice changes nothing.
    """
    mean = knots.mean(dim=-1, keepdim=True)
    lack = (CURVE_LEAST_MEAN - mean.abs()).clamp(min=0)
    knots = knots + torch.where(mean < 0, -lack, lack)
    return knots / knots.mean(dim=-1, keepdim=True)


def curve_stages(image: Tensor, x: Tensor) -> list[Tensor]:
    """Bend the tones by cascaded curves; the output of each stage.

    y = clip(sum_i n_i clamp(I - i/64, 0, 1/64)), evaluated as the one segment that I lies in.

    Args:
        image: (N, 3, H, W) in [0, 1].
        x: (N, m): for each stage, for R, G and B, 64 slopes, which are normalised here.

    Returns:
        m / 192 images, each (N, 3, H, W) in [0, 1].
    """
    stages = []
    # Not by the length of the batch, which an exported graph would keep as a constant.
    cascade = x.reshape(-1, x.shape[1] // (3 * CURVE_KNOTS), 3, CURVE_KNOTS)
    for slopes in normalize_slopes(cascade).unbind(dim=1):
        values = image.flatten(2)
        # The limits act on whole numbers: NaN has an index too, and stays NaN below.
        index = (values.detach() * CURVE_KNOTS).to(torch.int64).clamp(0, CURVE_KNOTS - 1)
        starts = (slopes.cumsum(dim=2) - slopes) / CURVE_KNOTS
        within = values - index.to(values.dtype) / CURVE_KNOTS
        bent = starts.gather(2, index) + slopes.gather(2, index) * within
        image = _clip(bent.view_as(image))
        stages.append(image)
    return stages


def piecewise_curve(image: Tensor, x: Tensor) -> Tensor:
    """Bend the tones of each channel along its own curve, once or by up to three in turn.

    Note: the gradient with respect to `image` jumps at the knots.
    """
    return curve_stages(image, x)[-1]


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
        piecewise_curve,
    )
}
"""The torch function of every registered operation, by its name."""


def apply_filters(
    image: Tensor, arguments: Tensor, filters: Sequence[str] = DEFAULT_FILTERS
) -> list[Tensor]:
    """Draw an ordered list of filters on whole images.

    Args:
        image: (N, 3, H, W) in [0, 1], float32 or float64.
        arguments: (N, k), one column per filter (as many as it takes for an operation of many
            numbers), of the same dtype. Clamped here to each operation's range; where the clamp
            acts, the gradient is 0.
        filters: Registered names in drawing order.

    Returns:
        The output of every filter, each (N, 3, H, W) in [0, 1]; the last one is the result. No
        mask is applied.

    Raises:
        FilterListError: If the filter list is not valid.
        ValueError: If the shapes or dtypes do not fit.
    """
    filters = check_filters(filters)
    if image.ndim != 4 or image.shape[1] != 3:
        raise ValueError(f"image must be (N, 3, H, W); got {tuple(image.shape)}. Permute it first.")
    if image.dtype != arguments.dtype:
        raise ValueError(
            f"image and arguments must have one dtype; got {image.dtype} and {arguments.dtype}. "
            "Convert one of them explicitly."
        )
    stages = []
    for name, x in zip(filters, split_arguments(arguments, filters, image.shape[0]), strict=True):
        operation = OPERATIONS[name]
        image = FILTERS[name](image, x.clamp(operation.minimum, operation.maximum))
        stages.append(image)
    return stages


def split_arguments(arguments: Tensor, filters: Sequence[str], count: int) -> list[Tensor]:
    """Each filter's own columns.

    Args:
        arguments: (N, k).
        filters: Registered names; at most one of them takes many numbers.
        count: What N must be.

    Returns:
        (N,) for an operation of one number, (N, m) for one of many.

    Raises:
        ValueError: If the shape does not fit.
    """
    singles = sum(OPERATIONS[name].sizes == (1,) for name in filters)
    many = [OPERATIONS[name].sizes for name in filters if OPERATIONS[name].sizes != (1,)]
    allowed = [singles + size for size in (many[0] if many else (0,))]
    if arguments.ndim != 2 or arguments.shape[0] != count or arguments.shape[1] not in allowed:
        raise ValueError(
            f"arguments must be (N, k) = ({count}, {' or '.join(map(str, allowed))}) for these "
            f"images and filters; got {tuple(arguments.shape)}. Give a row for each image."
        )
    rest = arguments.shape[1] - singles
    widths = [1 if OPERATIONS[name].sizes == (1,) else rest for name in filters]
    parts = torch.split(arguments, widths, dim=1)
    return [part[:, 0] if width == 1 else part for part, width in zip(parts, widths, strict=True)]


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
