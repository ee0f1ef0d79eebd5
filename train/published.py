"""Read Harmonizer's published checkpoint, and torch files of it as people have them.

Training scripts wrap a network (DataParallel, torch.compile) and put its tensors beside an epoch
and an optimizer. What wraps them is taken off; what is no checkpoint at all is named.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from harmonizer.engine.files import looks_like_onnx
from harmonizer.errors import ModelError
from harmonizer.mistaken import HEAD, kind_of
from harmonizer.reading import CHECKPOINT_LIMIT, read_regular

_PREFIXES = ("module.", "_orig_mod.", "net.", "network.", "model.", "generator.")
"""What DataParallel, torch.compile and training classes put before every name."""

_STATES = (
    *("state_dict", "model_state_dict", "model", "net", "network", "netG", "generator"),
    *("params", "params_ema", "ema", "ema_state_dict", "model_ema", "weights"),
)
"""Entries under which training scripts keep a network's tensors."""


class CheckpointError(ModelError):
    """A checkpoint cannot be read, or its tensors do not fit the network."""


def read_checkpoint(path: Path) -> bytes:
    """The bytes of a checkpoint.

    Raises:
        CheckpointError: If it cannot be read, is no regular file, or is too large.
    """
    try:
        return read_regular(path, CHECKPOINT_LIMIT)
    except OSError as error:
        raise CheckpointError(
            f"{path} must be a readable checkpoint; it is not: {error.strerror or error}. Check "
            "the path and its permissions."
        ) from error


def read_published(path: Path, data: bytes) -> dict[str, Tensor]:
    """The tensors of a torch file, under this project's names.

    Args:
        path: How messages call it.
        data: Its bytes, read with ``weights_only=True``: nothing in them is executed.

    Raises:
        CheckpointError: If it is no torch file, is cut short, is compressed, holds anything to
            execute, or does not hold one network's tensors.
    """
    _check_archive(path, data)
    return own_names(_tensors(path, _content(path, data)))


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the published checkpoint, or a wrapped one, under this project's names."""
    found = dict(tensors)
    while prefix := next(
        (p for p in _PREFIXES if found and all(n.startswith(p) for n in found)), ""
    ):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return {_from_published(name): tensor for name, tensor in found.items()}


def _check_archive(path: Path, data: bytes) -> None:
    """Refuse a torch file whose parts unpack to more than they are: torch stores, never packs."""
    if not data.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            swollen = sum(part.file_size for part in archive.infolist()) > len(data)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return  # torch says what is wrong
    if swollen:
        raise CheckpointError(
            f"{path} must be a torch file as torch writes them; its parts are compressed. Save it "
            "again with torch.save."
        )


def _content(path: Path, data: bytes) -> object:
    try:
        content: object = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes the unpickler raises whatever they lead it to
        raise CheckpointError(
            f"{path} must be a torch file that holds tensors only; {_complaint(data)}"
        ) from error
    return content


def mistaken(data: bytes) -> str:
    """What a file is that is no checkpoint at all, and the remedy; nothing if that is not clear."""
    if not data:
        return "it is empty. Copy or download it again."
    if kind := kind_of(data[:HEAD]):
        return f"it is {kind}. Name a checkpoint."
    if looks_like_onnx(data):
        return "it is an ONNX model, which is made from a checkpoint. Name a checkpoint."
    return ""


def _complaint(data: bytes) -> str:
    """What is wrong with a file that torch cannot load, and the remedy."""
    head = data[:HEAD]
    if head.startswith(b"PK\x03\x04"):
        if zipfile.is_zipfile(io.BytesIO(data)):
            return (
                "it holds other Python objects as well, which loading would execute, or it is "
                "damaged. Save the network's state_dict() alone."
            )
        return f"it is cut short: its {len(data):,} bytes have no end. Copy or download it again."
    if head[:1] == b"\x80":
        return (
            "it is a pickle that is cut short, or holds other Python objects as well, which "
            "loading would execute. Copy it again, or save the network's state_dict() alone."
        )
    return mistaken(data) or (
        f"it begins with {head[:8]!r} and cannot be read safely. Name a checkpoint, or save the "
        "network's state_dict()."
    )


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    """The one dictionary of tensors in a file's content."""
    if state := _as_tensors(content):
        return state
    found: dict[str, dict[str, Tensor]] = {}
    if isinstance(content, Mapping):
        states = {name: _as_tensors(content.get(name)) for name in _STATES}
        found = {name: state for name, state in states.items() if state}
    if len(found) == 1:
        return next(iter(found.values()))
    came = type(content).__name__
    if isinstance(content, Mapping):
        names = [repr(name)[:40] for name in list(content)[:8]]
        came = f"a dictionary of {', '.join(names) or 'nothing'}"
    if found:
        came += f", among them more than one network: {', '.join(found)}"
    raise CheckpointError(
        f"{path} must hold a dictionary of tensors; got {came}. Save the network's state_dict() "
        "alone, or as `state_dict` of a dictionary."
    )


def _as_tensors(content: object) -> dict[str, Tensor]:
    """The content if it is a dictionary of tensors by name, else an empty one."""
    if not isinstance(content, Mapping) or not content:
        return {}
    if not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()):
        return {}
    return dict(content)


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
