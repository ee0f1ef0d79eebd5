"""HarmonizerNet: composite and mask in, the arguments of the photo filters out.

The published architecture (Harmonizer, arXiv 2207.01322, section 3.1) is the default
configuration; the options of `NetworkConfig` add to it and keep its contract.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import timm
import torch
import torch.nn.functional as F
from timm.layers import create_conv2d
from torch import Tensor, nn

from harmonizer.ops import DEFAULT_FILTERS, PHOTO_FILTERS, check_filters
from train.colour_statistics import COUNT, measure, subsample
from train.filters import apply_filters, blend
from train.thumbnails import check_images

THUMBNAIL = 256
"""Side of the square thumbnail that the network was made for."""

ENCODER_WIDTH = 1280
REGRESSOR_WIDTH = 160
STATISTICS_WIDTH = 256

LOOK_LIMIT = 0.95
"""Largest argument that an image is drawn with between two looks."""


@dataclass(frozen=True)
class NetworkConfig:
    """What distinguishes one HarmonizerNet from another; stored in every checkpoint.

    Attributes:
        filters: The operations whose arguments are predicted, in drawing order.
        encoder: Whether EfficientNet-B0 looks at the thumbnail.
        region_pooling: Pool the encoder's features over foreground and background separately
            instead of over the whole thumbnail.
        statistics: Whether masked colour statistics are an input.
        looks: How often the arguments are predicted: from the second look on, from the statistics
            of the image that the arguments so far would draw, as a correction of them.
        cascade: Whether each argument is predicted from the one before; otherwise each for itself.
        dropout: In training, the share of the statistics' hidden units that is left out.
        model: Which network this is the configuration of.
    """

    filters: tuple[str, ...] = DEFAULT_FILTERS
    encoder: bool = True
    region_pooling: bool = False
    statistics: bool = False
    looks: int = 1
    cascade: bool = True
    dropout: float = 0.0
    model: Literal["harmonizer"] = "harmonizer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", check_filters(self.filters))
        many = [name for name in self.filters if name not in PHOTO_FILTERS]
        if many:
            raise ValueError(
                f"filters must take one number each; got {many[0]}, which --model s2crnet predicts."
            )
        if not (self.encoder or self.statistics):
            raise ValueError("a network needs encoder or statistics; got neither. Enable one.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {self.dropout}.")
        if self.region_pooling and not self.encoder:
            raise ValueError("region_pooling pools the encoder's features; enable encoder too.")
        if self.looks < 1 or (self.looks > 1 and not self.statistics):
            raise ValueError(
                f"looks must be at least 1, and more than 1 needs statistics; got {self.looks}. "
                "Enable statistics."
            )

    @property
    def features(self) -> int:
        """Width of the vector that the regressor reads."""
        pooled = ENCODER_WIDTH * (2 if self.region_pooling else 1) if self.encoder else 0
        return pooled + (STATISTICS_WIDTH if self.statistics else 0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each filter takes."""
        return (1,) * len(self.filters)

    @property
    def labelled(self) -> bool:
        """Whether a label is an input."""
        return False

    @property
    def synthesis_filters(self) -> tuple[str, ...]:
        """What training composites are made with: each stage of the network undoes one."""
        return self.filters

    @property
    def autocasts(self) -> bool:
        """Whether there is an encoder, which is what `--amp` is for."""
        return self.encoder


class Encoder(nn.Module):
    """EfficientNet-B0 behind two stems, one for the foreground and one for the background.

    Each stem is a 3x3 stride-2 convolution 4 -> 16 with batch norm and swish over (composite, mask)
    or (composite, 1 - mask); the body is the TensorFlow variant of EfficientNet-B0 (SAME padding,
    batch-norm epsilon 1e-3). Input is raw RGB in [0, 1], not normalised.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem_fg = create_conv2d(4, 16, 3, stride=2, padding="same", bias=False)
        self.bn_fg = nn.BatchNorm2d(16, eps=1e-3)
        self.stem_bg = create_conv2d(4, 16, 3, stride=2, padding="same", bias=False)
        self.bn_bg = nn.BatchNorm2d(16, eps=1e-3)
        body = timm.create_model("tf_efficientnet_b0", pretrained=False)
        self.blocks = body.blocks
        self.conv_head = body.conv_head
        self.bn_head = body.bn2  # timm's BatchNormAct2d: includes the swish

    def forward(self, composite: Tensor, mask: Tensor) -> Tensor:
        """(N, 3, S, S) and (N, 1, S, S) in [0, 1] to features (N, 1280, S/32, S/32)."""
        foreground = F.silu(self.bn_fg(self.stem_fg(torch.cat([composite, mask], dim=1))))
        background = F.silu(self.bn_bg(self.stem_bg(torch.cat([composite, 1 - mask], dim=1))))
        x = self.blocks(torch.cat([foreground, background], dim=1))
        features: Tensor = self.bn_head(self.conv_head(x))
        return features


def pool_regions(features: Tensor, mask: Tensor) -> Tensor:
    """Average features over foreground and over background.

    Args:
        features: (N, C, h, w).
        mask: (N, 1, S, S) in [0, 1], S a multiple of h.

    Returns:
        (N, 2C): foreground, then background; 0 for an empty region.
    """
    weight = F.avg_pool2d(mask, mask.shape[-1] // features.shape[-1])
    weights = torch.cat([weight, 1 - weight], dim=1).flatten(2)
    sums = weights @ features.flatten(2).transpose(1, 2)
    return (sums / (weights.sum(dim=2, keepdim=True) + 1e-3)).flatten(1)


class CascadeRegressor(nn.Module):
    """Predicts one argument after the other, each from the features and the one before.

    f = Linear(features), g_0 = Linear(features); g_i = Linear([f, g_(i-1)]), x_i = Linear(g_i).
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        width = REGRESSOR_WIDTH
        self.f = nn.Linear(features, width)
        self.g = nn.Linear(features, width)
        self.steps = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(count))
        self.outputs = nn.ModuleList(nn.Linear(width, 1) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) to (N, count)."""
        f, g = self.f(features), self.g(features)
        arguments = []
        for step, output in zip(self.steps, self.outputs, strict=True):
            g = step(torch.cat([f, g], dim=1))
            arguments.append(output(g))
        return torch.cat(arguments, dim=1)


class SeparateRegressor(nn.Module):
    """Predicts each argument from the features alone: the cascade's counterpart in the ablation.

    g_i = Linear(features), x_i = Linear(g_i).
    """

    def __init__(self, features: int, count: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(nn.Linear(features, REGRESSOR_WIDTH) for _ in range(count))
        self.outputs = nn.ModuleList(nn.Linear(REGRESSOR_WIDTH, 1) for _ in range(count))

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) to (N, count)."""
        pairs = zip(self.steps, self.outputs, strict=True)
        return torch.cat([output(step(features)) for step, output in pairs], dim=1)


@torch.no_grad()
def as_one_layer(regressor: nn.Module, features: int) -> nn.Linear:
    """A regressor as a single layer: without activations between its layers it is affine.

    Composed in float64, so that only the rounding of the layers it replaces is lost.
    """
    whole = copy.deepcopy(regressor).double()
    rows = whole(torch.eye(features + 1, features, dtype=torch.float64))  # the last row is 0
    linear = nn.Linear(features, rows.shape[1])
    linear.weight.copy_((rows[:-1] - rows[-1]).T)
    linear.bias.copy_(rows[-1])
    return linear


class StatisticsHead(nn.Module):
    """A small MLP over masked colour statistics and the arguments drawn so far.

    Args:
        count: How many arguments there are.
        width: Size of the returned feature vector.
        dropout: Share of the hidden units that training leaves out.
        measured: How many statistics there are.
    """

    def __init__(self, count: int, width: int, dropout: float = 0.0, measured: int = COUNT) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.normalize = nn.BatchNorm1d(measured + count)
        self.hidden = nn.Linear(measured + count, 2 * width)
        self.middle = nn.Linear(2 * width, 2 * width)
        self.output = nn.Linear(2 * width, width)

    def forward(self, composite: Tensor, mask: Tensor, arguments: Tensor) -> Tensor:
        """Features of an image.

        Args:
            composite: (N, 3, S, S) in [0, 1], float32, as the arguments draw it.
            mask: (N, 1, S, S) in [0, 1].
            arguments: (N, count), what the image was drawn with; 0 for the composite itself.

        Returns:
            (N, width) float32; the layers run in the precision of their weights.
        """
        return self.features(torch.cat([measure(composite, mask), arguments], dim=1))

    def features(self, statistics: Tensor) -> Tensor:
        """(N, measured + count) float32 to (N, width) float32."""
        x = self.normalize(statistics).to(self.hidden.weight.dtype)
        x = self.dropout(F.silu(self.hidden(x)))
        x = x + self.dropout(F.silu(self.middle(x)))
        return F.silu(self.output(x)).float()

    def halve(self) -> None:
        """Convert the layers to half precision, in place; measuring stays float32."""
        for layer in (self.hidden, self.middle, self.output):
            layer.half()


class HarmonizerNet(nn.Module):
    """The argument predictor, with the filters at hand for training and reference rendering.

    Args:
        config: The configuration; the default is the published architecture (4.73 M parameters).
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.encoder = Encoder() if self.config.encoder else None
        count = len(self.config.filters)
        self.statistics = (
            StatisticsHead(count, STATISTICS_WIDTH, self.config.dropout)
            if self.config.statistics
            else None
        )
        regressor = CascadeRegressor if self.config.cascade else SeparateRegressor
        self.regressor: nn.Module = regressor(self.config.features, count)

    def forward(
        self,
        composite: Tensor,
        mask: Tensor,
        amp: torch.dtype | None = None,
        every_look: bool = False,
    ) -> Tensor:
        """Predict from thumbnails.

        Args:
            composite: (N, 3, S, S) sRGB in [0, 1], float32; S a multiple of 32, 256 in use.
            mask: (N, 1, S, S) in [0, 1], 1 on the foreground.
            amp: In training, what the encoder is autocast to. Statistics and regressor always run
                in float32.
            every_look: Return what each look predicts, for training, which supervises all.

        Returns:
            (N, k) float32 arguments, not clamped; (L, N, k) for every look.
        """
        looks = self._look(composite, mask, amp)
        return torch.stack(looks) if every_look else looks[-1]

    def _look(self, composite: Tensor, mask: Tensor, amp: torch.dtype | None) -> list[Tensor]:
        """The arguments after each look, (N, k) each.

        A look's correction is learnt for the arguments that are there, so no gradient flows from
        one look to the one before.
        """
        encoded = [] if self.encoder is None else [self._encode(self.encoder, composite, mask, amp)]
        if self.statistics is None:
            return [self.regressor(encoded[0])]
        composite, mask = subsample(composite), subsample(mask)
        arguments = composite.new_zeros(composite.shape[0], len(self.config.filters))
        looks = []
        for look in range(self.config.looks):
            arguments = arguments.detach()
            with torch.no_grad():
                drawn = composite if look == 0 else self._draw(composite, mask, arguments)
            features = torch.cat([*encoded, self.statistics(drawn, mask, arguments)], dim=1)
            arguments = arguments + self.regressor(features)
            looks.append(arguments)
        return looks

    def _encode(
        self, encoder: Encoder, composite: Tensor, mask: Tensor, amp: torch.dtype | None
    ) -> Tensor:
        """(N, C) float32: the encoder's features, pooled."""
        precision = next(encoder.parameters()).dtype
        with torch.autocast(composite.device.type, dtype=amp, enabled=amp is not None):
            features = encoder(composite.to(precision), mask.to(precision)).float()
        return pool_regions(features, mask) if self.config.region_pooling else features.mean((2, 3))

    def _draw(self, composite: Tensor, mask: Tensor, arguments: Tensor) -> Tensor:
        """What the arguments would draw, short of their ranges' ends, where detail is lost."""
        bounded = arguments.clamp(-LOOK_LIMIT, LOOK_LIMIT)
        return blend(apply_filters(composite, bounded, self.config.filters)[-1], composite, mask)

    def prepare(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """What `forward` takes, from images of any size: the thumbnails of both."""
        return thumbnail(composite), thumbnail(mask)

    def compile_parts(self) -> None:
        """Compile the statistics, in place; compiling an encoder takes longer than it saves."""
        if self.statistics is not None:
            self.statistics.compile()

    def fold(self) -> None:
        """Make the regressor one layer, in place, for export: 14 small products a look become one.

        The network then neither loads nor saves checkpoints.
        """
        self.regressor = as_one_layer(self.regressor, self.config.features)

    def halve(self) -> "HarmonizerNet":
        """Convert to half precision, in place, what bears it: the encoder and the MLP.

        The measuring of statistics and the regressor stay float32: sums over thousands of pixels
        and the steps of contrast do not bear 11 bits.
        """
        if self.encoder is not None:
            self.encoder.half()
        if self.statistics is not None:
            self.statistics.halve()
        return self

    @torch.no_grad()
    def predict_arguments(self, composite: Tensor, mask: Tensor) -> Tensor:
        """Predict from images of any size: the reference of every exported predictor.

        Args:
            composite: (N, 3, H, W) sRGB in [0, 1], float32.
            mask: (N, 1, H, W) in [0, 1].

        Returns:
            (N, k) float32 arguments, not clamped.

        Raises:
            ValueError: If the shapes do not fit together.
        """
        check_images(composite, mask)
        arguments: Tensor = self(*self.prepare(composite, mask))
        return arguments

    def render(self, composite: Tensor, mask: Tensor, arguments: Tensor) -> list[Tensor]:
        """Draw the filters and apply the mask: the reference of every renderer.

        Args:
            composite: (N, 3, H, W) sRGB in [0, 1], float32 or float64.
            mask: (N, 1, H, W) in [0, 1].
            arguments: (N, k) in the network's filter order.

        Returns:
            The k stage outputs (N, 3, H, W), mask applied; the last is the harmonized image.
        """
        stages: Sequence[Tensor] = apply_filters(composite, arguments, self.config.filters)
        return [blend(stage, composite, mask) for stage in stages]


def thumbnail(image: Tensor) -> Tensor:
    """Resize to 256x256: bilinear, half-pixel centres, no antialiasing, aspect not kept.

    Args:
        image: (N, C, H, W).

    Returns:
        (N, C, 256, 256); the input itself if it has that size already.
    """
    if image.shape[-2:] == (THUMBNAIL, THUMBNAIL):
        return image
    return F.interpolate(image, (THUMBNAIL, THUMBNAIL), mode="bilinear", align_corners=False)
