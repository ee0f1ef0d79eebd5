"""EfficientNets as encoders: the published one with two stems, and timm's that start pretrained."""

import difflib
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.layers import create_conv2d
from torch import Tensor, nn

from train.pointwise import can_fold, run_block, trained_in

PUBLISHED = "tf_efficientnet_b0"
"""The body of the published architecture."""

STRIDES = (2, 4, 8, 16, 16, 32, 32)
"""By how much a side has shrunk after each of an EfficientNet's stages."""

STAGES = len(STRIDES)


def check_encoder(name: str) -> str:
    """The name, if timm has such an EfficientNet.

    Raises:
        ValueError: If timm has no network of that name, or one of another family.
    """
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models("*efficientnet*"))
        remedy = f"Near are {', '.join(near)}" if near else "Take tf_efficientnet_lite0"
        raise ValueError(
            f"`encoder` must be a network that timm {timm.__version__} has; it lacks {name!r}. "
            f"{remedy}; the published one is {PUBLISHED}."
        )
    if timm.models.model_entrypoint(name).__module__ != "timm.models.efficientnet":
        raise ValueError(
            f"`encoder` must be one of timm's EfficientNets, whose stages are known here; {name} "
            f"is none. Take {PUBLISHED} or tf_efficientnet_lite0."
        )
    return name


def check_depths(depths: tuple[int, ...]) -> None:
    """Refuse depths that are not stages of an EfficientNet in rising order.

    Raises:
        ValueError: If they are not.
    """
    if list(depths) != sorted(set(depths) & set(range(STAGES))):
        raise ValueError(
            f"depths must rise within 0..{STAGES - 1}; got {depths}. Give depths such as 1,2,4,6."
        )


def build_body(name: str) -> Any:
    """timm's network of that name, with fresh weights.

    Raises:
        ValueError: If it has other stages than an EfficientNet.
    """
    body = timm.create_model(check_encoder(name), pretrained=False)
    if len(body.blocks) != STAGES:
        raise ValueError(
            f"`encoder` must have {STAGES} stages; {name} has {len(body.blocks)}. Take "
            f"{PUBLISHED} or tf_efficientnet_lite0."
        )
    return body


class TwoStemEncoder(nn.Module):
    """The published encoder: EfficientNet-B0 behind a stem for each side of the mask.

    Each stem is a 3x3 stride-2 convolution 4 -> 16 with batch norm and swish over (composite, mask)
    or (composite, 1 - mask); the body is the TensorFlow variant of EfficientNet-B0 (SAME padding,
    batch-norm epsilon 1e-3). Input is raw RGB in [0, 1], not normalised. Source: Harmonizer, arXiv
    2207.01322, section 3.1, and its public code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem_fg = create_conv2d(4, 16, 3, stride=2, padding="same", bias=False)
        self.bn_fg = nn.BatchNorm2d(16, eps=1e-3)
        self.stem_bg = create_conv2d(4, 16, 3, stride=2, padding="same", bias=False)
        self.bn_bg = nn.BatchNorm2d(16, eps=1e-3)
        body = build_body(PUBLISHED)
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


class DepthEncoder(nn.Module):
    """A timm EfficientNet that looks at the composite and gives its features at several depths.

    Its batch norm is always that of inference: what a pretrained network has seen in all of
    ImageNet says more than a batch of composites. Input is RGB in [0, 1]; inside it becomes
    2 x - 1, as timm's weights of the `tf_` family want it.

    Args:
        name: timm's name.
        depths: The stages, from 0, after which features are taken, in rising order.

    Attributes:
        tuned_from: The first stage that gets gradients; the stem's with 0, none with `STAGES`.
        pointwise: Whether of those stages the 1x1 convolutions alone get them.
        frozen: What computes stem and stages before `tuned_from` in training, if another does it:
            see `train.frozen`.
        widths: Channels after each of `depths`.
    """

    def __init__(self, name: str, depths: tuple[int, ...]) -> None:
        super().__init__()
        body = build_body(name)
        self.conv_stem, self.bn1 = body.conv_stem, body.bn1
        self.blocks = body.blocks[: depths[-1] + 1]
        self.depths = depths
        self.tuned_from = 0
        self.pointwise = False
        self.frozen: Callable[[Tensor], list[Tensor]] | None = None
        self.widths = tuple(_width(self.blocks[stage]) for stage in depths)
        self.eval()

    def train(self, mode: bool = True) -> "DepthEncoder":
        """Never leaves eval mode: its batch norm stays."""
        del mode
        return super().train(False)

    def tune(self, stage: int, pointwise: bool = False) -> None:
        """Let gradients flow from a stage on, and none into batch norm.

        Args:
            stage: 0 for everything with the stem, `STAGES` for nothing.
            pointwise: Train the 1x1 convolutions alone, which is several times as fast on a CPU.

        Raises:
            ValueError: If `pointwise` and a block has 1x1 convolutions that are not known here, or
                the stem is to be trained.
        """
        tuned = [block for part in self.blocks[stage:] for block in part]
        unknown = [type(block).__name__ for block in tuned if not can_fold(block)]
        if pointwise and (unknown or stage == 0):
            raise ValueError(
                "pointwise tuning is for stages of inverted residuals, the stem and others stay "
                f"as they are; got {unknown[0] if unknown else 'the stem'}. Tune from a later "
                "stage, or tune all."
            )
        self.tuned_from, self.pointwise = stage, pointwise
        self.requires_grad_(False)
        if pointwise:
            trained = [parameter for block in tuned for parameter in trained_in(block)]
        else:
            parts = [*self.blocks[stage:], *([self.conv_stem] if stage == 0 else [])]
            inside = [module for part in parts for module in part.modules()]
            trained = [
                parameter
                for module in inside
                if not isinstance(module, nn.BatchNorm2d)
                for parameter in module.parameters(recurse=False)
            ]
        for parameter in trained:
            parameter.requires_grad_(True)

    def forward(self, composite: Tensor) -> list[Tensor]:
        """(N, 3, S, S) in [0, 1] to (N, widths[i], S / STRIDES[depths[i]], ...) for each depth."""
        learning = torch.is_grad_enabled()
        first, features = 0, []
        if learning and self.frozen is not None:
            *features, x = self.frozen(composite)
            first = self.tuned_from
        else:
            with torch.set_grad_enabled(learning and self.tuned_from == 0):
                x = self.bn1(self.conv_stem(2 * composite - 1))
        for stage, blocks in enumerate(self.blocks[first:], first):
            with torch.set_grad_enabled(learning and stage >= self.tuned_from):
                if self.pointwise and torch.is_grad_enabled():
                    x = _in_working_order(x)
                    for block in blocks:
                        x = run_block(block, x)
                else:
                    x = blocks(x)
            if stage in self.depths:
                features.append(x)
        return features


def _in_working_order(x: Tensor) -> Tensor:
    """Channels last, and in the precision that autocast asks for."""
    device = x.device.type
    if torch.is_autocast_enabled(device):
        x = x.to(torch.get_autocast_dtype(device))
    return x.contiguous(memory_format=torch.channels_last)


def _width(stage: Any) -> int:
    """Channels after a stage: those of its last block's last convolution."""
    last = [m for m in stage.modules() if isinstance(m, nn.Conv2d)][-1]
    return int(last.out_channels)
