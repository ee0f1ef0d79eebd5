"""Reading and writing network checkpoints; nothing in a checkpoint is ever executed.

Own checkpoints are safetensors with the configuration in the file's metadata. The published
``harmonizer.pth`` (a plain dictionary of tensors) loads unchanged.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from harmonizer.errors import ModelError
from harmonizer.files import write_atomically
from train.colour_statistics import LAYOUT
from train.efficientnet import PUBLISHED
from train.network import HarmonizerNet
from train.registry import DEFAULT_MODEL, MODELS, Network

FORMAT = "harmonizer-checkpoint"

LARGE = 1024
"""Elements from which on a tensor may be stored in half precision."""


class CheckpointError(ModelError):
    """A checkpoint cannot be read, or its tensors do not fit the network."""


def save_checkpoint(
    network: Network,
    path: str | Path,
    notes: Mapping[str, object] | None = None,
    half: bool = False,
) -> None:
    """Write the network's weights and configuration atomically.

    Args:
        network: The network to store.
        path: A ``.safetensors`` file.
        notes: JSON-ready facts about the training, kept in the metadata.
        half: Store large tensors in half precision, half the size; they load as float32.

    Raises:
        ImageFileError: If the file cannot be written.
    """
    write_atomically(path, checkpoint_bytes(network, notes, half))


def checkpoint_bytes(
    network: Network, notes: Mapping[str, object] | None = None, half: bool = False
) -> bytes:
    """What `save_checkpoint` writes."""
    metadata = {
        "format": FORMAT,
        "model": network.config.model,
        "config": json.dumps(dataclasses.asdict(network.config)),
        "statistics": json.dumps(LAYOUT if _has_statistics(network) else None),
        "notes": json.dumps(notes or {}),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    if half:
        tensors = {
            name: t.half() if t.is_floating_point() and t.numel() >= LARGE else t
            for name, t in tensors.items()
        }
    content: bytes = save(tensors, metadata)
    return content


def _has_statistics(network: Network) -> bool:
    return getattr(network.config, "statistics", False)


def load_checkpoint(path: str | Path) -> Network:
    """Load an own (``.safetensors``) or Harmonizer's published (``.pth``) checkpoint for inference.

    Args:
        path: The file. Torch files are read with ``weights_only=True``.

    Returns:
        The network in eval mode, float32, on the CPU.

    Raises:
        CheckpointError: If the file is not a checkpoint, or if tensors are missing, extra or
            misshapen; the message names them.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}. Give the path of a file.")
    if path.suffix == ".safetensors":
        tensors, config_fields, name = _read_safetensors(path)
    else:
        tensors, config_fields, name = _read_published(path), {}, DEFAULT_MODEL
    try:
        config = MODELS[name].config(**config_fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a network configuration that this version does not know ({error}). "
            "Load it with the version that wrote it."
        ) from error
    network = MODELS[name].network(config)
    _check_tensors(path, tensors, network.state_dict())
    network.load_state_dict({name: t.to(torch.float32) for name, t in tensors.items()})
    return network.eval()


def load_harmonizer(path: str | Path) -> HarmonizerNet:
    """`load_checkpoint`, for what works with HarmonizerNet alone.

    Raises:
        CheckpointError: Also if the checkpoint is another model's.
    """
    network = load_checkpoint(path)
    if not isinstance(network, HarmonizerNet):
        raise CheckpointError(
            f"{path} must be a checkpoint of {DEFAULT_MODEL}; it is one of "
            f"{network.config.model}, which this is not made for."
        )
    return network


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """The tensors, the configuration's fields and the model's name."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} must be a safetensors file; it cannot be read ({error}). It may be "
            "truncated: copy it again."
        ) from error
    name = metadata.get("model", "")
    if metadata.get("format") != FORMAT or name not in MODELS:
        raise CheckpointError(
            f"{path} must have been written by this project's training (format {FORMAT}, model "
            f"{' or '.join(MODELS)}); its metadata says {metadata or 'nothing'}."
        )
    config = json.loads(metadata["config"])
    if isinstance(config.get("encoder"), bool):  # said whether, before encoders had names
        config["encoder"] = PUBLISHED if config["encoder"] else None
    if "depths" in config:
        config["depths"] = tuple(config["depths"])
    if config.get("statistics") and json.loads(metadata.get("statistics", "null")) != LAYOUT:
        raise CheckpointError(
            f"{path} must have been trained on this version's statistics {LAYOUT}; its own are "
            f"{metadata.get('statistics')}. Load it with the version that wrote it, or train anew."
        )
    return tensors, config, name


def _read_published(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes the unpickler raises whatever they lead it to
        raise CheckpointError(
            f"{path} must be a torch file that holds tensors only; it cannot be read safely. Save "
            "the network's state_dict() alone."
        ) from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(
            f"{path} must hold a dictionary of tensors; got {type(content).__name__}. Save the "
            "network's state_dict() alone."
        )
    return {_from_published(str(name)): tensor for name, tensor in content.items()}


def _from_published(name: str) -> str:
    """Our name of a tensor of the published checkpoint; unknown names come back unchanged."""
    match = re.fullmatch(r"backbone\._blocks\.(\d+)\._(\w+)\.(\w+)", name)
    if match:
        index, layer, kind = int(match[1]), match[2], match[3]
        stage, block = _BLOCKS[index] if index < len(_BLOCKS) else (index, 0)
        layers = _PLAIN_LAYERS if index == 0 else _EXPANDED_LAYERS
        return f"encoder.blocks.{stage}.{block}.{layers.get(layer, layer)}.{kind}"
    match = re.fullmatch(r"regressor\.headers\.(\d+)\.([01])\.(\w+)", name)
    if match:
        return f"regressor.{('steps', 'outputs')[int(match[2])]}.{match[1]}.{match[3]}"
    for published, own in _OUTER_LAYERS.items():
        if name.startswith(f"{published}."):
            return own + name.removeprefix(published)
    return name


_BLOCKS = [
    (stage, block) for stage, count in enumerate((1, 2, 2, 3, 3, 4, 1)) for block in range(count)
]
"""EfficientNet-B0's 16 blocks, numbered through there, by stage and block here."""

_SQUEEZE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
_PLAIN_LAYERS = _SQUEEZE | {
    "depthwise_conv": "conv_dw",
    "bn1": "bn1",
    "project_conv": "conv_pw",
    "bn2": "bn2",
}
"""The first block has no expansion; its names follow from that."""
_EXPANDED_LAYERS = _SQUEEZE | {
    "expand_conv": "conv_pw",
    "bn0": "bn1",
    "depthwise_conv": "conv_dw",
    "bn1": "bn2",
    "project_conv": "conv_pwl",
    "bn2": "bn3",
}
_OUTER_LAYERS = {
    "backbone._conv_fg": "encoder.stem_fg",
    "backbone._bn_fg": "encoder.bn_fg",
    "backbone._conv_bg": "encoder.stem_bg",
    "backbone._bn_bg": "encoder.bn_bg",
    "backbone._conv_head": "encoder.conv_head",
    "backbone._bn1": "encoder.bn_head",
}


def _check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    complaints = []
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    for word, names in (("missing", missing), ("extra", extra), ("misshapen", misshapen)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            complaints.append(f"{word}: {', '.join(names[:5])}{more}")
    if complaints:
        raise CheckpointError(
            f"{path} must hold exactly the network's tensors; {'; '.join(complaints)}. Is it a "
            "checkpoint of another architecture or filter list?"
        )
