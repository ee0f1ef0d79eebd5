"""What every exported ONNX file says about itself; the runtime checks it on load."""

import dataclasses
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import onnx

from harmonizer import __version__
from harmonizer.contract import LABELS
from harmonizer.ops import OPERATIONS
from train.network import THUMBNAIL
from train.registry import Config

Variant = Literal["predictor", "end-to-end"]
Precision = Literal["fp32", "fp16"]

FORMAT_VERSION = "1"
LICENCE = (
    "Apache-2.0 for the code; the weights inherit the terms of the photographs they saw: "
    "research and non-commercial use, see the model card"
)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(
    model: onnx.ModelProto,
    config: Config,
    checkpoint: Path,
    variant: Variant,
    precision: Precision,
) -> None:
    """Put the metadata into the model, in place.

    Args:
        model: The exported graph.
        config: The network's configuration.
        checkpoint: The file that the weights came from; its SHA-256 is recorded.
        variant: Which graph this is.
        precision: Of encoder and MLP; statistics, regressor, curves and filters are float32.
    """
    facts = {
        "format": f"harmonizer-{variant}",
        "format_version": FORMAT_VERSION,
        "model": config.model,
        "config": json.dumps(dataclasses.asdict(config)),
        "filters": json.dumps(config.filters),
        "ranges": json.dumps(
            {
                name: {
                    "minimum": OPERATIONS[name].minimum,
                    "maximum": OPERATIONS[name].maximum,
                    "identity": OPERATIONS[name].identity,
                }
                for name in config.filters
            }
        ),
        "input": _inputs(config, variant),
        "precision": precision,
        "checkpoint_sha256": file_sha256(checkpoint),
        "version": __version__,
        "torch_version": version("torch"),
        "onnx_version": version("onnx"),
        "licence": LICENCE,
    }
    if any(size > 1 for size in config.sizes):
        facts["sizes"] = json.dumps(dict(zip(config.filters, config.sizes, strict=True)))
    if config.labelled:
        facts["labels"] = json.dumps(LABELS)
    onnx.helper.set_model_props(model, {f"harmonizer.{key}": text for key, text in facts.items()})
    model.producer_name = "harmonizer"
    model.producer_version = __version__
    model.doc_string = "White-box image harmonization: arguments of photo filters"


def _inputs(config: Config, variant: Variant) -> str:
    """What the graph reads, in words."""
    size = f"{THUMBNAIL}x{THUMBNAIL}"
    colours = "sRGB in [0, 1], RGB order, not normalised"
    label = f"; label Nx{len(LABELS)} one-hot" if config.labelled else ""
    if variant == "end-to-end":
        return f"composite Nx3 and mask Nx1, any HxW, {colours}{label}"
    if config.model == "s2crnet":
        return (
            f"foreground and background Nx3, {size}, {colours}; foreground = resize(crop(I)) * "
            "resize(crop(M)), crop = bounding box of M > 0, background = resize(I) * (1 - "
            f"resize(M)), by antialiased bilinear resizing, half-pixel centres{label}"
        )
    return (
        f"composite Nx3 and mask Nx1, {size}, {colours}; thumbnails by bilinear resizing, "
        "half-pixel centres, no antialiasing"
    )
