"""What every exported ONNX file says about itself; the runtime checks it on load."""

import dataclasses
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import onnx

from harmonizer import __version__
from harmonizer.ops import OPERATIONS
from train.network import THUMBNAIL, NetworkConfig

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
    config: NetworkConfig,
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
        precision: Of encoder and MLP; statistics, regressor and filters are float32 in both.
    """
    size = f"{THUMBNAIL}x{THUMBNAIL}" if variant == "predictor" else "any HxW"
    facts = {
        "format": f"harmonizer-{variant}",
        "format_version": FORMAT_VERSION,
        "model": "harmonizer",
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
        "input": f"composite Nx3 and mask Nx1, {size}, sRGB in [0, 1], RGB order, not normalised; "
        "thumbnails by bilinear resizing, half-pixel centres, no antialiasing",
        "precision": precision,
        "checkpoint_sha256": file_sha256(checkpoint),
        "version": __version__,
        "torch_version": version("torch"),
        "onnx_version": version("onnx"),
        "licence": LICENCE,
    }
    onnx.helper.set_model_props(model, {f"harmonizer.{key}": text for key, text in facts.items()})
    model.producer_name = "harmonizer"
    model.producer_version = __version__
    model.doc_string = "White-box image harmonization: arguments of photo filters"
