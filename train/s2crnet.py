"""S2CRNet: foreground and background thumbnails in, piecewise-linear colour curves out.

Source: Spatial-Separated Curve Rendering Network for Efficient and High-Resolution Image
Harmonization, arXiv 2109.05750, section 3. One encoder looks at the cut-out foreground and at the
background; from both pooled features, a curve for each channel is predicted. A cascade draws it on
the foreground's thumbnail, looks again and predicts the next one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonizer.contract import DEFAULT_LABEL, LABELS, THUMBNAIL_SIZE
from harmonizer.ops import CURVE_KNOTS, CURVE_STAGES, DEFAULT_FILTERS, OPERATIONS
from train.colour_statistics import (
    BACKGROUND_COUNT,
    FOREGROUND_COUNT,
    measure_background,
    measure_foreground,
    presence,
    subsample,
)
from train.efficientnet import DepthEncoder, check_depths
from train.encoders import ENCODERS, WIDTH, build_encoder
from train.filters import blend, curve_stages, normalize_slopes
from train.network import pool_regions
from train.regions import check_images, check_regions, region_thumbnails
from train.statistics_head import STATISTICS_WIDTH, StatisticsHead

FILTERS = ("piecewise_curve",)

SLOPES = 3 * CURVE_KNOTS
"""Numbers of one stage."""

LABEL_HIDDEN, LABEL_WIDTH = 32, 64

START = 1e-3
"""Standard deviation of the curve modules' first weights: they begin near the identity."""


@dataclass(frozen=True)
class S2CRNetConfig:
    """What distinguishes one S2CRNet from another; stored in every checkpoint.

    Attributes:
        backbone: The encoder: the paper's squeezenet (SqueezeNet1.1) or vgg16, which start at
            random, or tf_efficientnet_lite0, which may start pretrained.
        depths: Stages of tf_efficientnet_lite0, counted from 0, whose features are averaged over
            what a thumbnail shows and read beside the statistics; the others have none.
        stages: Curves that are predicted and drawn in turn, 1 to 3; 1 is the plain curve module.
        semantic: Whether a label of what the foreground shows is an input.
        statistics: Whether colour statistics of both thumbnails are an input.
        own_norms: Whether each stage normalises what it reads by averages of its own; see
            `NetworkConfig`.
        encoder_size: Side that thumbnails are averaged down to for the encoder.
        dropout: In training, the share of the statistics' hidden units that is left out.
        model: Which network this is the configuration of.
    """

    backbone: Literal["squeezenet", "vgg16", "tf_efficientnet_lite0"] = "squeezenet"
    depths: tuple[int, ...] = ()
    stages: int = 2
    semantic: bool = True
    statistics: bool = False
    own_norms: bool = False
    encoder_size: int = THUMBNAIL_SIZE
    dropout: float = 0.0
    model: Literal["s2crnet"] = "s2crnet"

    def __post_init__(self) -> None:
        if not 1 <= self.stages <= CURVE_STAGES:
            raise ValueError(
                f"stages must lie in 1..{CURVE_STAGES}; got {self.stages}. Give 1 or more."
            )
        if self.encoder_size < 32 or THUMBNAIL_SIZE % self.encoder_size:
            raise ValueError(
                f"encoder_size must be 32, 64, 128 or 256; got {self.encoder_size}: thumbnails are "
                "averaged over whole blocks. Choose one of them."
            )
        self._check_depths()
        if self.own_norms and not (self.statistics and self.stages > 1):
            raise ValueError(
                f"own_norms is for statistics and more than one stage; got {self.stages} and "
                f"statistics {self.statistics}. Leave it out."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must lie in [0, 1); got {self.dropout}. Give 0 for none.")
        if self.dropout and not self.statistics:
            raise ValueError(
                f"dropout acts in the statistics' layers alone, which this network does not have; "
                f"got {self.dropout}. Enable statistics, or leave dropout out."
            )

    def _check_depths(self) -> None:
        paper = ", ".join(ENCODERS)
        if self.depths and self.backbone in ENCODERS:
            raise ValueError(
                f"depths are for a backbone with several, {paper} have one; got {self.backbone} "
                f"with depths {self.depths}. Leave them out, or take tf_efficientnet_lite0."
            )
        if self.backbone not in ENCODERS and not (self.depths and self.statistics):
            raise ValueError(
                f"{self.backbone} is looked at in several depths, read beside the statistics; got "
                f"depths {self.depths or 'none'} and statistics {self.statistics}. Give depths "
                f"such as 1,2,4,6 and statistics, or take {paper}."
            )
        check_depths(self.depths)

    @property
    def filters(self) -> tuple[str, ...]:
        """The operations whose arguments are predicted."""
        return FILTERS

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each of them takes."""
        return (self.stages * SLOPES,)

    @property
    def labelled(self) -> bool:
        """Whether a label is an input."""
        return self.semantic

    @property
    def synthesis_filters(self) -> tuple[str, ...]:
        """What training composites are made with: the curves are to undo the photo filters."""
        return DEFAULT_FILTERS

    @property
    def autocasts(self) -> bool:
        """Whether there is an encoder, which is what `--amp` is for."""
        return True


class CurveModule(nn.Module):
    """Slopes of one stage from both features: theta = W_b b + W_f [f; s].

    s = W_2 ReLU(W_1 label) is the semantic branch; without it, theta = W_b b + W_f f.
    """

    def __init__(self, around: int, inputs: int, semantic: bool) -> None:
        super().__init__()
        self.background = nn.Linear(around, SLOPES)
        self.foreground = nn.Linear(inputs + (LABEL_WIDTH if semantic else 0), SLOPES)
        self.label = None
        if semantic:
            self.label = nn.Sequential(
                nn.Linear(len(LABELS), LABEL_HIDDEN),
                nn.ReLU(),
                nn.Linear(LABEL_HIDDEN, LABEL_WIDTH),
            )
        for linear in (self.background, self.foreground):
            nn.init.normal_(linear.weight, std=START)
            nn.init.zeros_(linear.bias)
        nn.init.ones_(self.background.bias)

    def forward(self, f: Tensor, b: Tensor, label: Tensor | None) -> Tensor:
        """(N, inputs), (N, around) and (N, 5) to (N, 192) slopes, normalised."""
        if self.label is not None:
            f = torch.cat([f, self.label(label)], dim=1)
        theta = self.background(b) + self.foreground(f)
        return normalize_slopes(theta.view(-1, 3, CURVE_KNOTS)).flatten(1)


class S2CRNet(nn.Module):
    """Predicts the slopes of piecewise-linear colour curves.

    Args:
        config: The configuration; the default is the published light one: SqueezeNet1.1, two
            stages, semantic branch (948,480 parameters).
    """

    def __init__(self, config: S2CRNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or S2CRNetConfig()
        self.encoder: nn.Sequential | DepthEncoder
        # What each side is seen as, and how much of the foreground's the curves read themselves.
        if self.config.depths:
            self.encoder = DepthEncoder(self.config.backbone, self.config.depths)
            seen = sum(self.encoder.widths)
            inputs = 0
        else:
            self.encoder = build_encoder(self.config.backbone)
            seen = inputs = WIDTH
        self.statistics = None
        if self.config.statistics:
            measured = FOREGROUND_COUNT + BACKGROUND_COUNT + (2 * seen if self.config.depths else 0)
            norms = self.config.stages if self.config.own_norms else 1
            self.statistics = StatisticsHead(
                0, STATISTICS_WIDTH, self.config.dropout, measured, norms
            )
            inputs += STATISTICS_WIDTH
        self._measures: list[Callable[[Tensor], Tensor]] = [measure_foreground, measure_background]
        self.curves = nn.ModuleList(
            CurveModule(seen, inputs, self.config.semantic) for _ in range(self.config.stages)
        )

    def forward(
        self,
        foreground: Tensor,
        background: Tensor,
        label: Tensor | None = None,
        amp: torch.dtype | None = None,
    ) -> Tensor:
        """Predict from thumbnails.

        Args:
            foreground, background: (N, 3, S, S) float32 in [0, 1], as `region_thumbnails` makes
                them; S a multiple of 32, 256 in use.
            label: (N, 5) one-hot float32; needed with the semantic branch, else left out.
            amp: In training, what the encoder is autocast to.

        Returns:
            (N, stages * 192) float32 slopes, of mean 1 over each curve.
        """
        b = self._encode(background, amp)
        around = [] if self.statistics is None else [self._measure(1, background)]
        if self.config.depths:
            around.append(b)
        slopes: list[Tensor] = []
        for module in self.curves:
            if slopes:
                foreground = draw_curves(foreground, slopes[-1])[-1]
            f = self._encode(foreground, amp)
            if self.statistics is not None:
                measured = [self._measure(0, foreground), *around]
                if self.config.depths:
                    measured.append(f)
                read = self.statistics.features(torch.cat(measured, dim=1), len(slopes))
                f = read if self.config.depths else torch.cat([f, read], dim=1)
            slopes.append(module(f, b, label))
        return torch.cat(slopes, dim=1)

    @torch.no_grad()
    def _measure(self, side: int, image: Tensor) -> Tensor:
        """Statistics of the foreground (0) or the background (1), (N, count) float32.

        What a stage measures teaches nothing to the stage before, which has a loss of its own.
        """
        return self._measures[side](subsample(image))

    def _encode(self, image: Tensor, amp: torch.dtype | None) -> Tensor:
        """The encoder's features, averaged: (N, 512) float32 over all of the thumbnail.

        With depths, (N, sum of the widths) over what it shows, since most of it may be black.
        """
        precision = next(self.encoder.parameters()).dtype
        if image.shape[-1] > self.config.encoder_size:
            image = F.avg_pool2d(image, image.shape[-1] // self.config.encoder_size)
        with torch.autocast(image.device.type, dtype=amp, enabled=amp is not None):
            features = self.encoder(image.to(precision))
            if isinstance(features, Tensor):
                return features.float().mean(dim=(2, 3))
        shown = presence(image)
        pooled = [pool_regions(f.float(), shown)[:, : f.shape[1]] for f in features]
        return torch.cat(pooled, dim=1)

    def prepare(
        self,
        composite: Tensor,
        mask: Tensor,
        labels: Sequence[str] | None = None,
        size: int = THUMBNAIL_SIZE,
    ) -> tuple[Tensor, ...]:
        """What `forward` takes, from images of any size: foreground, background and label.

        Args:
            composite: (N, 3, H, W) sRGB in [0, 1], float32.
            mask: (N, 1, H, W) in [0, 1].
            labels: What each image's foreground shows, out of `LABELS`; "other" by default.
            size: Side of the thumbnails.

        Raises:
            ValueError: If a label is unknown, or given to a network without semantic branch.
        """
        return prepare_inputs(self.config, composite, mask, labels, size)

    def fold(self) -> None:
        """Nothing: no layer can be merged with another."""

    def compile_parts(self) -> None:
        """Compile the measuring, in place; compiling an encoder takes longer than it saves."""
        self._measures = [torch.compile(function) for function in self._measures]

    def halve(self) -> "S2CRNet":
        """Convert the encoder to half precision, in place; curve modules and curves stay float32.

        A curve adds up its slopes, and the next stage looks at what it draws.
        """
        self.encoder.half()
        if self.statistics is not None:
            self.statistics.halve()
        return self

    @torch.no_grad()
    def predict_arguments(
        self, composite: Tensor, mask: Tensor, labels: Sequence[str] | None = None
    ) -> Tensor:
        """Predict from images of any size: the reference of every exported predictor.

        Args:
            composite, mask, labels: As `prepare` takes them.

        Returns:
            (N, stages * 192) float32 slopes.

        Raises:
            ValueError: If the shapes do not fit together, a mask has no bounding box of 2 pixels
                and more, or a label is unknown.
        """
        check_images(composite, mask)
        check_regions(mask)
        arguments: Tensor = self(*self.prepare(composite, mask, labels))
        return arguments

    def render(self, composite: Tensor, mask: Tensor, arguments: Tensor) -> list[Tensor]:
        """Draw the curves and apply the mask: the reference of every renderer.

        Args:
            composite: (N, 3, H, W) sRGB in [0, 1], float32 or float64.
            mask: (N, 1, H, W) in [0, 1].
            arguments: (N, stages * 192).

        Returns:
            The stages' outputs (N, 3, H, W), mask applied; the last is the harmonized image.
        """
        return [blend(stage, composite, mask) for stage in draw_curves(composite, arguments)]


def prepare_inputs(
    config: S2CRNetConfig,
    composite: Tensor,
    mask: Tensor,
    labels: Sequence[str] | None,
    size: int,
) -> tuple[Tensor, ...]:
    """`S2CRNet.prepare`, for those who have the configuration alone."""
    thumbnails = region_thumbnails(composite, mask, size)
    if config.semantic:
        return (*thumbnails, one_hot(labels or [DEFAULT_LABEL] * len(composite)).to(composite))
    if labels is not None:
        raise ValueError(
            f"labels are for networks with a semantic branch; got {', '.join(labels)} for one "
            "without. Leave them out."
        )
    return thumbnails


def draw_curves(image: Tensor, slopes: Tensor) -> list[Tensor]:
    """The stages' outputs on whole images, slopes clamped to the operation's range as always."""
    operation = OPERATIONS[FILTERS[0]]
    return curve_stages(image, slopes.clamp(operation.minimum, operation.maximum))


def one_hot(labels: Sequence[str]) -> Tensor:
    """Labels as the network takes them, (N, 5) float32.

    Raises:
        ValueError: If a label is unknown.
    """
    unknown = [label for label in labels if label not in LABELS]
    if unknown:
        raise ValueError(
            f"a label must be one of {', '.join(LABELS)}; got {unknown[0]!r}. Choose the nearest, "
            f"or {DEFAULT_LABEL}."
        )
    return torch.eye(len(LABELS))[[LABELS.index(label) for label in labels]]
