"""HarmonizerNet: composite and mask in, the arguments of the photo filters out.

The published architecture (Harmonizer, arXiv 2207.01322, section 3.1) is the default
configuration; the options of `NetworkConfig` add to it and keep its contract. The network that is
shipped has a pretrained encoder that is looked at in several depths, attention over cells, colour
statistics, and three looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonizer.contract import THUMBNAIL_SIZE
from harmonizer.ops import DEFAULT_FILTERS, PHOTO_FILTERS, check_filters
from train.cells import SIDE as CELLS_SIDE
from train.cells import WIDTH as CELL_WIDTH
from train.cells import Cells
from train.colour_statistics import (
    COUNT,
    GRID,
    block_means,
    masked_statistics,
    subsample,
)
from train.efficientnet import (
    PUBLISHED,
    DepthEncoder,
    TwoStemEncoder,
    check_depths,
    check_encoder,
)
from train.filters import apply_filters, blend
from train.regions import check_images
from train.regressors import CascadeRegressor, SeparateRegressor, as_one_layer
from train.statistics_head import STATISTICS_WIDTH, StatisticsHead

THUMBNAIL = THUMBNAIL_SIZE
"""Side of the square thumbnail that the network was made for."""

ENCODER_WIDTH = 1280

LOOK_LIMIT = 0.95
"""Largest argument that an image is drawn with between two looks."""


@dataclass(frozen=True)
class NetworkConfig:
    """What distinguishes one HarmonizerNet from another; stored in every checkpoint.

    Attributes:
        filters: The operations whose arguments are predicted, in drawing order.
        encoder: timm's name of the EfficientNet that looks at the thumbnail; None for none.
        depths: The encoder's stages, counted from 0, whose features are pooled over foreground and
            background and read beside the statistics. Without any, the encoder is the published
            one: two stems, and its last features alone go to the regressor.
        encoder_size: Side in pixels of what the encoder looks at: every n-th pixel of a thumbnail.
        cells: How many attention layers compare cells of foreground and background; 0 for none.
        region_pooling: Pool the published encoder's features over foreground and background
            separately instead of over the whole thumbnail.
        statistics: Whether masked colour statistics are an input.
        own_norms: Whether each look normalises what it reads by averages of its own. One for all,
            which no look has in training, makes predictions fall short (decision 23).
        statistics_size: Side in pixels of what they are taken on: every n-th pixel of a thumbnail.
        looks: How often the arguments are predicted: from the second look on, from the statistics
            of the image that the arguments so far would draw, as a correction of them.
        cascade: Whether each argument is predicted from the one before; otherwise each for itself.
        dropout: In training, the share of hidden units of statistics and cells that is left out.
        cell_dropout: In training, the share of the cells that is left out.
        feature_dropout: In training, the share of the encoder's pooled features that is left out.
        model: Which network this is the configuration of.
    """

    filters: tuple[str, ...] = DEFAULT_FILTERS
    encoder: str | None = PUBLISHED
    depths: tuple[int, ...] = ()
    encoder_size: int = THUMBNAIL_SIZE
    cells: int = 0
    region_pooling: bool = False
    statistics: bool = False
    own_norms: bool = False
    statistics_size: int = GRID
    looks: int = 1
    cascade: bool = True
    dropout: float = 0.0
    cell_dropout: float = 0.0
    feature_dropout: float = 0.0
    model: Literal["harmonizer"] = "harmonizer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", check_filters(self.filters))
        many = [name for name in self.filters if name not in PHOTO_FILTERS]
        if many:
            raise ValueError(
                f"filters must take one number each; got {many[0]}, which --model s2crnet "
                "predicts. Leave it out, or train that."
            )
        if not (self.encoder or self.statistics):
            raise ValueError("a network needs encoder or statistics; got neither. Enable one.")
        for name in ("dropout", "cell_dropout", "feature_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must lie in [0, 1); got {getattr(self, name)}. Give 0 for none."
                )
        if self.region_pooling and not (self.encoder and not self.depths):
            raise ValueError(
                "region_pooling pools the published encoder's features; name an encoder too, "
                "without depths, which are always pooled so."
            )
        self._check_encoder()
        sizes = tuple(GRID << shift for shift in range(3))
        if self.statistics_size not in sizes:
            raise ValueError(
                f"statistics_size must be one of {', '.join(map(str, sizes))}; got "
                f"{self.statistics_size}. Choose one of them."
            )
        if self.statistics_size != GRID and not self.statistics:
            raise ValueError(
                f"statistics_size is for networks with statistics; got {self.statistics_size} "
                "without. Leave it out, or enable statistics."
            )
        if self.own_norms and self.looks == 1:
            raise ValueError(
                "own_norms is for networks of more than one look; got 1. Leave it out, or give "
                "--looks 3."
            )
        if self.looks < 1:
            raise ValueError(f"looks must be at least 1; got {self.looks}. Give 1 or more.")
        if self.looks > 1 and not self.statistics:
            raise ValueError(
                f"more than one look needs statistics; got {self.looks}. Enable statistics."
            )

    def _check_encoder(self) -> None:
        if self.encoder is not None:
            check_encoder(self.encoder)
        if self.encoder not in (None, PUBLISHED) and not self.depths:
            raise ValueError(
                f"{self.encoder} is looked at in several depths; got none. Give depths such as "
                f"1,2,4,6, or take {PUBLISHED}, the published encoder."
            )
        if self.depths and not (self.encoder and self.statistics):
            raise ValueError(
                "depths are an encoder's, read beside the statistics; name an encoder and enable "
                "statistics."
            )
        check_depths(self.depths)
        sizes = tuple(THUMBNAIL_SIZE >> shift for shift in range(3))
        if self.encoder_size not in sizes:
            raise ValueError(
                f"encoder_size must be one of {', '.join(map(str, sizes))}: thumbnails are "
                f"subsampled; got {self.encoder_size}. Choose one of them."
            )
        if self.encoder_size != THUMBNAIL_SIZE and not self.depths:
            raise ValueError(
                f"the published encoder looks at {THUMBNAIL_SIZE} pixels; got encoder_size "
                f"{self.encoder_size} without depths. Leave it out, or give depths."
            )
        if self.cells and len(self.depths) < 2:
            raise ValueError(
                f"cells carry the features of the last two depths; got {len(self.depths)} depths. "
                "Give depths such as 1,2,4,6."
            )
        if self.cells < 0:
            raise ValueError(f"cells must be at least 0; got {self.cells}. Give 0 for none.")
        for name, of in (("cell_dropout", "cells"), ("feature_dropout", "depths")):
            if getattr(self, name) and not getattr(self, of):
                raise ValueError(
                    f"{name} is for networks with {of}; got {getattr(self, name)} without any. "
                    f"Leave it out, or give {of}."
                )

    @property
    def features(self) -> int:
        """Width of the vector that the regressor reads."""
        published = self.encoder is not None and not self.depths
        pooled = ENCODER_WIDTH * (2 if self.region_pooling else 1) if published else 0
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
        return self.encoder is not None


def pool_regions(features: Tensor, mask: Tensor) -> Tensor:
    """Average features over foreground and over background.

    Args:
        features: (N, C, h, w).
        mask: (N, 1, S, S) in [0, 1], S a multiple of h.

    Returns:
        (N, 2C): foreground, then background; 0 for an empty region.
    """
    weight = block_means(mask, mask.shape[-1] // features.shape[-1])
    weights = torch.cat([weight, 1 - weight], dim=1).flatten(2)
    sums = weights @ features.flatten(2).transpose(1, 2)
    return (sums / (weights.sum(dim=2, keepdim=True) + 1e-3)).flatten(1)


class HarmonizerNet(nn.Module):
    """The argument predictor, with the filters at hand for training and reference rendering.

    Args:
        config: The configuration; the default is the published architecture (4.73 M parameters).
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        count, name, depths = len(self.config.filters), self.config.encoder, self.config.depths
        self.encoder: TwoStemEncoder | DepthEncoder | None = None
        self.cells: Cells | None = None
        seen = 0
        if name is not None and depths:
            self.encoder = DepthEncoder(name, depths)
            seen = 2 * sum(self.encoder.widths)
            if self.config.cells:
                width = sum(self.encoder.widths[-2:])
                left_out = self.config.dropout, self.config.cell_dropout
                self.cells = Cells(width, self.config.cells, *left_out)
                seen += 2 * CELL_WIDTH
        elif name is not None:
            self.encoder = TwoStemEncoder()
        self.statistics = (
            StatisticsHead(
                count,
                STATISTICS_WIDTH,
                self.config.dropout,
                COUNT + seen,
                self.config.looks if self.config.own_norms else 1,
            )
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
        encoded = self._encode(composite, mask, amp)
        if self.statistics is None:
            return [self.regressor(encoded[0])]
        seen, beside = (encoded, []) if self.config.depths else ([], encoded)
        size = self.config.statistics_size
        composite, mask = subsample(composite, size), subsample(mask, size)
        arguments = composite.new_zeros(composite.shape[0], len(self.config.filters))
        looks = []
        for look in range(self.config.looks):
            arguments = arguments.detach()
            with torch.no_grad():
                drawn = composite if look == 0 else self._draw(composite, mask, arguments)
            measured = self.statistics(drawn, mask, arguments, seen, look)
            arguments = arguments + self.regressor(torch.cat([*beside, measured], dim=1))
            looks.append(arguments)
        return looks

    def _encode(self, composite: Tensor, mask: Tensor, amp: torch.dtype | None) -> list[Tensor]:
        """What the encoder sees, pooled: (N, C) float32 each; nothing without an encoder."""
        if self.encoder is None:
            return []
        precision = next(self.encoder.parameters()).dtype
        with torch.autocast(composite.device.type, dtype=amp, enabled=amp is not None):
            if isinstance(self.encoder, TwoStemEncoder):
                features = self.encoder(composite.to(precision), mask.to(precision)).float()
                if self.config.region_pooling:
                    return [pool_regions(features, mask)]
                return [features.mean((2, 3))]
            composite, mask = (
                subsample(image, self.config.encoder_size) for image in (composite, mask)
            )
            depths = [f.float() for f in self.encoder(composite.to(precision))]
            seen = [
                F.dropout(pool_regions(features, mask), self.config.feature_dropout, self.training)
                for features in depths
            ]
            if self.cells is not None:
                semantics = torch.cat([_to_cells(f) for f in depths[-2:]], dim=1)
                seen.append(self.cells(semantics, composite, mask))
        return [part.float() for part in seen]

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
            self.statistics.measure = torch.compile(masked_statistics)

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
        for part in (self.encoder, self.cells):
            if part is not None:
                part.half()
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


def _to_cells(features: Tensor) -> Tensor:
    """(N, C, h, w) to (N, C, CELLS_SIDE, CELLS_SIDE): averaged where larger, else repeated."""
    side = features.shape[-1]
    if side >= CELLS_SIDE:
        return block_means(features, side // CELLS_SIDE)
    return F.interpolate(features, scale_factor=CELLS_SIDE // side, mode="nearest")


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
