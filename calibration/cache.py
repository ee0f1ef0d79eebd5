"""Ranges kept in a file, under the content of all that they follow from."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calibration.errors import CacheError
from harmonizer.documents import read_document
from harmonizer.errors import brief
from harmonizer.storage import write_atomically

FORMAT = "harmonizer-calibration"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Key:
    """What ranges follow from.

    Attributes:
        model: SHA-256 of the ONNX file; what is made of it before follows from it and the images.
        images: SHA-256 of the thumbnails.
        count: How many there are.
        method: How ranges follow from histograms.
        settings: Numbers that the methods and the making use.
    """

    model: str
    images: str
    count: int
    method: str
    settings: str


def write_cache(path: Path, key: Key, ranges: dict[str, float]) -> None:
    """Write ranges with their key, atomically."""
    content = {"key": asdict(key), "ranges": ranges}
    document = {"format": FORMAT, "version": FORMAT_VERSION, "sha256": _digest(content), **content}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())


def read_cache(path: Path, key: Key, tensors: Sequence[str]) -> dict[str, float]:
    """Read ranges; they must be those of the key.

    Raises:
        CacheError: If they are not, or the file is damaged.
    """
    try:
        document: dict[str, Any] = read_document(path)
        if document["format"] != FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        content = {"key": document["key"], "ranges": document["ranges"]}
        whole = document["version"] == FORMAT_VERSION and document["sha256"] == _digest(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CacheError(
            f"{path} must be a calibration cache; it cannot be read ({brief(error)}). Name "
            "another --cache."
        ) from error
    if not whole:
        raise CacheError(
            f"{path} must be a calibration cache of format {FORMAT_VERSION} as it was written; it "
            "was changed or is of another version. Delete it."
        )
    words = {
        "model": "model (SHA-256 {}...)",
        "images": "images (SHA-256 {}...)",
        "count": "number of images ({})",
        "method": "method ({})",
        "settings": "settings ({})",
    }
    found, wanted = document["key"], asdict(key)
    different = [
        f"its {words[name].format(str(found.get(name))[:16])} is not this run's ({str(value)[:16]})"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if different:
        raise CacheError(
            f"{path} must have been measured with this model, these images and this method; "
            f"{'; '.join(different)}. Delete it, or name another --cache."
        )
    ranges = {str(name): float(value) for name, value in document["ranges"].items()}
    if set(ranges) != set(tensors):
        raise CacheError(
            f"{path} must hold the ranges of {len(tensors)} activations; it holds {len(ranges)}. "
            "Delete it."
        )
    return ranges


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
