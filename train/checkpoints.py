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
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from harmonizer.documents import parse_document
from harmonizer.errors import brief
from harmonizer.storage import sweep, write_atomically
from train.colour_statistics import LAYOUT
from train.efficientnet import PUBLISHED
from train.network import HarmonizerNet
from train.published import CheckpointError as CheckpointError
from train.published import mistaken, own_names, read_checkpoint, read_published
from train.registry import DEFAULT_MODEL, MODELS, Network

FORMAT = "harmonizer-checkpoint"

LARGE = 1024
"""Elements from which on a tensor may be stored in half precision."""


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
        StorageError: If the file cannot be written.
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
        "statistics": json.dumps(LAYOUT if getattr(network.config, "statistics", False) else None),
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


def load_checkpoint(path: str | Path) -> Network:
    """Load an own (``.safetensors``) or Harmonizer's published (``.pth``) checkpoint for inference.

    Args:
        path: The file. Torch files are read with ``weights_only=True``; names may have the prefixes
            of DataParallel and torch.compile, and the tensors lie beside a training's state.

    Returns:
        The network in eval mode, float32, on the CPU.

    Raises:
        CheckpointError: If the file is not a checkpoint, if tensors are missing, extra or
            misshapen, or hold numbers that are not finite; the message names them.
        FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"a checkpoint must be a file; {path} is a folder. Name one in it.")
    if not path.exists():
        raise FileNotFoundError(f"there is no checkpoint at {path}. Give the path of a file.")
    sweep(path.parent)  # a training that was killed may have left its last step to do
    data = read_checkpoint(path)
    if path.suffix.lower() == ".safetensors" or _is_safetensors(data):
        tensors, config_fields, name = _read_safetensors(path, data)
    else:
        tensors, config_fields, name = read_published(path, data), {}, DEFAULT_MODEL
    try:
        check_fields(MODELS[name].config, config_fields)
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in config_fields.items()
        }
        config = MODELS[name].config(**fields)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} has a network configuration that this version does not know "
            f"({brief(error)}). Load it with the version that wrote it."
        ) from error
    network = MODELS[name].network(config)
    _check_tensors(path, tensors, network.state_dict())
    network.load_state_dict({name: t.to(torch.float32) for name, t in tensors.items()})
    return network.eval()


def checkpoint_notes(path: str | Path) -> dict[str, object]:
    """What a checkpoint says of its training; nothing of one that this project did not write.

    Raises:
        OSError: If the file cannot be read.
    """
    try:
        notes = parse_document(_safetensors_metadata(read_checkpoint(Path(path))).get("notes", ""))
    except (AttributeError, TypeError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def load_harmonizer(path: str | Path) -> HarmonizerNet:
    """`load_checkpoint`, for what works with HarmonizerNet alone.

    Raises:
        CheckpointError: Also if the checkpoint is another model's.
    """
    network = load_checkpoint(path)
    if not isinstance(network, HarmonizerNet):
        raise CheckpointError(
            f"{path} must be a checkpoint of {DEFAULT_MODEL}; it is one of "
            f"{network.config.model}, which this is not made for. Give another."
        )
    return network


def _is_safetensors(data: bytes) -> bool:
    """Whether a file begins as safetensors do: a length of 8 bytes, then JSON."""
    return data[8:10] == b'{"'


def _read_safetensors(path: Path, data: bytes) -> tuple[dict[str, Tensor], dict[str, Any], str]:
    """The tensors, the configuration's fields and the model's name.

    Without this project's metadata it may be the published checkpoint, converted.
    """
    try:
        metadata = _safetensors_metadata(data)
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, AttributeError, TypeError, ValueError, OverflowError) as error:
        said = "" if _is_safetensors(data) else mistaken(data)
        said = said or f"it cannot be read ({brief(error)}). It may be truncated: copy it again."
        raise CheckpointError(f"{path} must be a safetensors file; {said}") from error
    name = metadata.get("model", "")
    if metadata.get("format") != FORMAT:
        published = own_names(tensors)
        with torch.device("meta"):  # for its names alone
            names = HarmonizerNet().state_dict().keys()
        if published.keys() == names:
            return published, {}, DEFAULT_MODEL
    if metadata.get("format") != FORMAT or name not in MODELS:
        raise CheckpointError(
            f"{path} must have been written by this project's training (format {FORMAT}, model "
            f"{' or '.join(MODELS)}); its metadata says "
            f"{str(metadata or 'nothing')[:200]}. Name a checkpoint of `python -m train`."
        )
    try:
        config = parse_document(metadata["config"])
        statistics = parse_document(metadata.get("statistics", "null"))
        if not isinstance(config, dict):
            raise TypeError(f"the configuration is a {type(config).__name__}")
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} must hold its network's configuration as a JSON object; it does not "
            f"({brief(error)}). Load it with the version that wrote it, or copy it again."
        ) from error
    if isinstance(config.get("encoder"), bool):  # said whether, before encoders had names
        config["encoder"] = PUBLISHED if config["encoder"] else None
    if config.get("statistics") and statistics != LAYOUT:
        raise CheckpointError(
            f"{path} must have been trained on this version's statistics {LAYOUT}; its own are "
            f"{str(metadata.get('statistics'))[:200]}. Load it with the version that wrote it, or "
            "train anew."
        )
    return tensors, config, name


def _safetensors_metadata(data: bytes) -> dict[str, str]:
    """The texts in the header: eight bytes of length, then JSON (safetensors, "Format")."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, MAX_HEADER):
        raise ValueError(f"its header has {length:,} bytes, of {len(data):,}")
    header = parse_document(data[8 : 8 + length])
    metadata = header.get("__metadata__") or {}
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is not text")
    return dict(metadata)


def check_fields(config: type[Any], fields: Mapping[str, object]) -> None:
    """Refuse values of other types than the defaults of a configuration have.

    Raises:
        TypeError: If there is such, or a field that it does not have.
        ValueError: If a whole number is beyond any that makes sense.
    """
    defaults = {item.name: item.default for item in dataclasses.fields(config)}
    for name, value in fields.items():
        if name not in defaults:
            raise TypeError(f"there is no field {name[:80]!r}")
        default = defaults[name]
        if default is None or value is None:
            fits = isinstance(value, str | int | float | None)
        elif isinstance(default, tuple):
            scalars = str | int | float
            fits = isinstance(value, list | tuple) and all(isinstance(v, scalars) for v in value)
        elif isinstance(default, float):
            fits = isinstance(value, float | int) and not isinstance(value, bool)
        else:
            fits = type(value) is type(default)
        if not fits:
            raise TypeError(f"{name} is {str(value)[:80]!r}")
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise ValueError(f"{name} is {str(value)[:80]}")


MAX_HEADER = 16 << 20
"""Bytes of a safetensors header; ours have some thousand."""

MAX_WHOLE = 1 << 16
"""Largest whole number in a configuration; they count layers, looks and channels."""


def _check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    complaints = []
    missing = [name for name in expected if name not in found]
    extra = sorted(name for name in found if name not in expected)
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    for word, names in (("missing", missing), ("extra", extra), ("misshapen", misshapen)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            complaints.append(f"{word}: {', '.join(names[:5])}{more}")
    if not complaints:
        odd = [n for n, t in found.items() if t.is_floating_point() and not t.isfinite().all()]
        if odd:
            complaints.append(f"with numbers that are not finite: {', '.join(odd[:5])}")
        complex_or_text = [name for name, tensor in found.items() if tensor.is_complex()]
        if complex_or_text:
            complaints.append(f"complex: {', '.join(complex_or_text[:5])}")
    if complaints:
        raise CheckpointError(
            f"{path} must hold exactly the network's tensors; {'; '.join(complaints)}. Is it a "
            "checkpoint of another architecture or filter list?"
        )
