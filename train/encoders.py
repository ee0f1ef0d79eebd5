"""SqueezeNet1.1 and VGG16 as feature extractors without normalisation layers.

Sources: Iandola et al., arXiv 1602.07360, in its version 1.1 (fewer and earlier poolings); Simonyan
and Zisserman, arXiv 1409.1556, configuration D. All weights start at random (He et al., arXiv
1502.01852).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH = 512
"""Channels of either encoder's features."""


class Fire(nn.Module):
    """Squeeze to few channels, expand by 1x1 and by 3x3 convolutions side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, h, w) to (N, 2 expanded, h, w)."""
        x = F.relu(self.squeeze(x))
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1))


def squeezenet() -> nn.Sequential:
    """SqueezeNet1.1 up to the last Fire but one: 525,312 parameters, stride 16."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, 2),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, 2),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
    )


def vgg16() -> nn.Sequential:
    """The 13 convolutions of VGG16: 14,714,688 parameters, stride 32."""
    layers: list[nn.Module] = []
    channels = 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


ENCODERS: dict[str, Callable[[], nn.Sequential]] = {"squeezenet": squeezenet, "vgg16": vgg16}
"""(N, 3, S, S) to (N, 512, h, w), S a multiple of 32, by their names in a configuration."""


def build_encoder(name: str) -> nn.Sequential:
    """An encoder with fresh weights, which keep the size of what passes through all layers.

    No normalisation corrects it later, so torch's own start, whose features fade by a third from
    layer to layer, would leave hardly anything.
    """
    encoder = ENCODERS[name]()
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return encoder
