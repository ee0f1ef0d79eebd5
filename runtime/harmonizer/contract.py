"""What a predictor file promises: which model it is, what it reads and what it answers with.

The promise is written in the file's metadata by the export and checked once, when it is loaded,
whatever runs the file: ONNX Runtime or TensorRT.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harmonizer.documents import parse_document
from harmonizer.errors import FilterListError, ModelError
from harmonizer.ops import OPERATIONS, check_filters

THUMBNAIL_SIZE = 256
"""Side of the square images that a network sees."""

FORMAT = "harmonizer-predictor"
END_TO_END_FORMAT = "harmonizer-end-to-end"
FORMAT_VERSION = "1"

LABELS = ("person", "animal", "food", "vehicle", "other")
"""What a foreground can be said to show, in the order of the one-hot input of S2CRNet."""

DEFAULT_LABEL = "other"

REMEDY = "Export one with: python export/to_onnx.py --checkpoint CKPT --output FILE.onnx"
OUTPUT = "arguments"

Model = Literal["harmonizer", "s2crnet"]

MODELS: tuple[Model, ...] = ("harmonizer", "s2crnet")

_SIDE = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
_IMAGES: dict[Model, dict[str, int]] = {
    "harmonizer": {"composite": 3, "mask": 1},
    "s2crnet": {"foreground": 3, "background": 3},
}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a predictor reads and answers with.

    Attributes:
        model: Which network it is; it decides what it reads.
        filters: The operations whose arguments it predicts, in drawing order.
        sizes: How many numbers each of them takes.
        labelled: Whether it reads what the foreground shows, as one of `LABELS`.
    """

    model: Model
    filters: tuple[str, ...]
    sizes: tuple[int, ...]
    labelled: bool = False

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape without the batch, in the order in which they are passed."""
        shapes: dict[str, tuple[int, ...]] = {
            name: (channels, *_SIDE) for name, channels in _IMAGES[self.model].items()
        }
        if self.labelled:
            shapes["label"] = (len(LABELS),)
        return shapes

    @property
    def crops(self) -> bool:
        """Whether it reads foreground and background apart, cut to the foreground's box."""
        return "foreground" in _IMAGES[self.model]

    @property
    def count(self) -> int:
        """How many numbers it answers with for one image."""
        return sum(self.sizes)

    def __str__(self) -> str:
        inputs = ", ".join(
            f"`{name}` Nx{'x'.join(map(str, shape))}" for name, shape in self.inputs.items()
        )
        return f"{inputs} to `{OUTPUT}` Nx{self.count} ({', '.join(self.filters)})"


def read_contract(path: Path, metadata: Mapping[str, str]) -> Contract:
    """Check that a file is ours and of this version, and read its contract.

    Raises:
        ModelError: If it is not; the message says what it is instead.
    """
    kind = metadata.get("harmonizer.format")
    if kind == END_TO_END_FORMAT:
        raise ModelError(
            f"{path} must be a predictor, which gives arguments; it is an end-to-end graph, which "
            "draws them itself. Export the predictor."
        )
    if kind != FORMAT:
        raise ModelError(
            f'{path} must say harmonizer.format = "{FORMAT}" in its metadata; it says '
            f"{kind if kind is None else kind[:80]!r}: it was not written by this project. {REMEDY}"
        )
    version = metadata.get("harmonizer.format_version")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} must have format version {FORMAT_VERSION}; it has {str(version)[:40]!r}. "
            "Export it again with this version, or update harmonizer."
        )
    model = metadata.get("harmonizer.model", "harmonizer")
    if model not in _IMAGES:
        raise ModelError(
            f"{path} must be one of {', '.join(_IMAGES)} (harmonizer.model); it is {model[:80]!r}. "
            f"Update harmonizer. {REMEDY}"
        )
    filters = _filters(path, metadata.get("harmonizer.filters", ""))
    return Contract(
        model,
        filters,
        _sizes(path, metadata.get("harmonizer.sizes", "{}"), filters),
        _labelled(path, metadata.get("harmonizer.labels", "[]")),
    )


def find_label(contract: Contract, label: str | None) -> int | None:
    """Index into `LABELS` of what the foreground shows; None for a model that does not ask.

    Raises:
        ValueError: If the label is unknown, or given to a model that asks for none.
    """
    if label is not None and not (isinstance(label, str) and label in LABELS):
        raise ValueError(f"`label` must be one of {', '.join(LABELS)}; got {label!r}.")
    if not contract.labelled:
        if label is not None:
            raise ValueError(
                f"`label` must go with a model that reads one; this one reads "
                f"{', '.join(contract.inputs)}. Leave it out."
            )
        return None
    return LABELS.index(label or DEFAULT_LABEL)


def _filters(path: Path, listed: str) -> tuple[str, ...]:
    try:
        names = parse_document(listed)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("not a list of names")
        return check_filters(names)
    except (FilterListError, ValueError) as error:
        raise ModelError(
            f"{path} must list its filters in harmonizer.filters; it has {listed[:200]!r} "
            f"({error}). {REMEDY}"
        ) from error


def _sizes(path: Path, listed: str, filters: tuple[str, ...]) -> tuple[int, ...]:
    try:
        given = parse_document(listed)
        sizes = tuple(given.get(name, 1) for name in filters)
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"{path} must hold an object in harmonizer.sizes; it has {listed[:200]!r}. {REMEDY}"
        ) from error
    for name, size in zip(filters, sizes, strict=True):
        if type(size) is not int or size not in OPERATIONS[name].sizes:
            raise ModelError(
                f"{path} must predict {' or '.join(map(str, OPERATIONS[name].sizes))} numbers for "
                f"{name} (harmonizer.sizes); it says {str(size)[:80]!r}. {REMEDY}"
            )
    return sizes


def _labelled(path: Path, listed: str) -> bool:
    try:
        labels = parse_document(listed)
    except ValueError:
        labels = None
    if labels not in ([], list(LABELS)):
        raise ModelError(
            f"{path} must know the labels {', '.join(LABELS)}, or none (harmonizer.labels); it has "
            f"{listed[:200]!r}. {REMEDY}"
        )
    return bool(labels)
