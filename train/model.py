"""Reading and writing network checkpoints; nothing in a checkpoint is ever executed.

Own checkpoints are safetensors with the configuration in the file's metadata. The published
``harmonizer.pth`` (a plain dictionary of tensors) loads unchanged, and as training scripts wrap it.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from harmonizer.files import write_atomically
from harmonizer.mistaken import HEAD, kind_of
from train.colour_statistics import LAYOUT
from train.network import HarmonizerNet
from train.published import CheckpointError as CheckpointError
from train.published import own_names, read_published
from train.registry import DEFAULT_MODEL, MODELS, Network

FORMAT = "harmonizer-checkpoint"


def save_checkpoint(
    network: Network, path: str | Path, notes: Mapping[str, object] | None = None
) -> None:
    """Write the network's float32 weights and configuration atomically.

    Args:
        network: The network to store.
        path: A ``.safetensors`` file.
        notes: JSON-ready facts about the training, kept in the metadata.

    Raises:
        ImageFileError: If the file cannot be written.
    """
    write_atomically(path, checkpoint_bytes(network, notes))


def checkpoint_bytes(network: Network, notes: Mapping[str, object] | None = None) -> bytes:
    """What `save_checkpoint` writes."""
    metadata = {
        "format": FORMAT,
        "model": network.config.model,
        "config": json.dumps(dataclasses.asdict(network.config)),
        "statistics": json.dumps(LAYOUT if _has_statistics(network) else None),
        "notes": json.dumps(notes or {}),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    content: bytes = save(tensors, metadata)
    return content


def _has_statistics(network: Network) -> bool:
    return getattr(network.config, "statistics", False)


def load_checkpoint(path: str | Path) -> Network:
    """Load an own (``.safetensors``) or Harmonizer's published (``.pth``) checkpoint for inference.

    Args:
        path: The file. Torch files are read with ``weights_only=True``; names may have the prefixes
            of DataParallel and torch.compile, and the tensors lie beside a training's state.

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
    if path.suffix.lower() == ".safetensors" or _is_safetensors(path):
        tensors, config_fields, name = _read_safetensors(path)
    else:
        tensors, config_fields, name = read_published(path), {}, DEFAULT_MODEL
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


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: a length of 8 bytes, then JSON."""
    with path.open("rb") as file:
        return file.read(10)[8:] == b'{"'


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """The tensors, the configuration's fields and the model's name.

    Without this project's metadata it may be the published checkpoint, converted.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        with path.open("rb") as file:
            kind = kind_of(file.read(HEAD))
        came = f"it cannot be read ({error}). It may be truncated: copy it again."
        raise CheckpointError(
            f"{path} must be a safetensors file; {f'it is {kind}.' if kind else came}"
        ) from error
    name = metadata.get("model", "")
    if metadata.get("format") != FORMAT:
        published = own_names(tensors)
        if published.keys() == HarmonizerNet().state_dict().keys():
            return published, {}, DEFAULT_MODEL
    if metadata.get("format") != FORMAT or name not in MODELS:
        raise CheckpointError(
            f"{path} must have been written by this project's training (format {FORMAT}, model "
            f"{' or '.join(MODELS)}); its metadata says {metadata or 'nothing'}."
        )
    config = json.loads(metadata["config"])
    if config.get("statistics") and json.loads(metadata.get("statistics", "null")) != LAYOUT:
        raise CheckpointError(
            f"{path} must have been trained on this version's statistics {LAYOUT}; its own are "
            f"{metadata.get('statistics')}. Load it with the version that wrote it, or train anew."
        )
    return tensors, config, name


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
