"""Engine files: the engine as TensorRT serialises it, and beside it what that does not say.

`FILE.engine` holds the engine and nothing else, as trtexec writes it. `FILE.engine.json`, its
description, holds the metadata of the ONNX file and what the engine was built with and for.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonizer.contract import Contract
from harmonizer.documents import read_document
from harmonizer.engine.library import Module
from harmonizer.engine.schema import complaints_of
from harmonizer.errors import EngineError, brief
from harmonizer.mistaken import HEAD, came
from harmonizer.predictor import OnnxPredictor
from harmonizer.reading import ENGINE_LIMIT, open_regular, read_regular
from harmonizer.storage import sweep, write_set

FORMAT = "harmonizer-engine"
FORMAT_VERSION = "1"

NAME_PREFIX = "harmonizer-"
"""Begins the name of a network of `build_engine`; the engine keeps the name (see `engine_name`)."""

_MAGIC: Mapping[bytes, Module] = {b"ftrt": "tensorrt", b"vtrt": "tensorrt_rtx"}
_HEADER_BYTES = 28
_BUILD = "python export/build_engine.py MODEL.onnx --output FILE.engine"
_DESCRIBE = "python export/build_engine.py MODEL.onnx --describe"


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A built engine as it is stored, and what its first bytes say.

    Attributes:
        path: The file.
        data: All its bytes.
        module: What built it and can load it.
        version: Of that module, such as "10.16.1.11".
        sha256: Of the bytes.
    """

    path: Path
    data: bytes
    module: Module
    version: str
    sha256: str


def is_engine_file(path: str | Path) -> bool:
    """Whether a file begins as an engine of TensorRT or TensorRT-RTX does."""
    path = Path(path)
    if not path.is_file():
        return False
    with open_regular(path) as file:
        return file.read(4) in _MAGIC


def read_engine_file(path: Path) -> EngineFile:
    """Read an engine file and its header.

    The layout of the header is that which trtexec's ``--getPlanVersionOnly`` reads: a tag, the
    layout's version (0), and from byte 24 on the four numbers of TensorRT's version. TensorRT-RTX
    differs in the tag, and has the file's size at byte 16 (seen in 1.7).

    Raises:
        EngineError: If there is no such file, or it is something else, or cut off.
    """
    if path.is_dir() or not path.exists():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise EngineError(f"the engine must be a file; {path} {what}. Build one with: {_BUILD}")
    sweep(path.parent)  # a build that was killed may have left its last step to do
    try:
        data = read_regular(path, ENGINE_LIMIT)
    except OSError as error:
        raise EngineError(
            f"the engine must be a readable file; {path} is not: {error.strerror or error}. Build "
            f"one with: {_BUILD}"
        ) from error
    if looks_like_onnx(data):
        raise EngineError(
            f"{path} must be a TensorRT engine; it is an ONNX model. Build one from it: {_BUILD}"
        )
    module = _MAGIC.get(data[:4])
    if module is None or len(data) < _HEADER_BYTES:
        found = came(data[:HEAD])
        raise EngineError(
            f"{path} must be a serialised TensorRT engine; {found}. Build one with: {_BUILD}"
        )
    layout, size = data[4:8], int.from_bytes(data[16:24], "little")
    if layout != bytes(4):
        raise EngineError(
            f"{path} must have an engine header of layout 0; it has {layout.hex()}. Build it again "
            "with the TensorRT that is installed, or update harmonizer."
        )
    if module == "tensorrt_rtx" and size != len(data):
        raise EngineError(
            f"{path} must be a complete engine of {size} bytes; it has {len(data)}. Copy or build "
            "it again."
        )
    version = ".".join(str(number) for number in data[24:28])
    return EngineFile(path, data, module, version, hashlib.sha256(data).hexdigest())


def looks_like_onnx(data: bytes) -> bool:
    """Whether bytes begin as every ONNX model does: field 1, the IR version, then another field."""
    return len(data) > 2 and data[0] == 0x08 and data[1] < 0x40 and data[2] & 7 in (0, 2)


def description_path(engine: Path) -> Path:
    """Where the description of an engine lies."""
    return engine.with_name(engine.name + ".json")


def report_path(engine: Path) -> Path:
    """Where the report of its building lies."""
    return engine.with_name(engine.name + ".report.json")


def make_description(
    stored: EngineFile,
    onnx_sha256: str,
    metadata: Mapping[str, str],
    gpu: Mapping[str, str] | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """What is written beside an engine; `read_description` checks it."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "engine_sha256": stored.sha256,
        "onnx_sha256": onnx_sha256,
        "module": stored.module,
        "version": stored.version,
        "gpu": None if gpu is None else dict(gpu),
        "options": dict(options),
        "metadata": dict(sorted(metadata.items())),
    }


def read_description(stored: EngineFile) -> dict[str, Any] | None:
    """The description beside an engine, known to be this engine's; None if there is none.

    Raises:
        EngineError: If it is damaged, of another format, or describes another engine.
    """
    path = description_path(stored.path)
    sweep(path.parent)
    if not path.exists():
        return None
    remedy = f"Write it again with: {_DESCRIBE} {stored.path.name}"
    try:
        facts = read_document(path)
        kinds = {key: type(facts[key]) for key in make_description(stored, "", {}, None, {})}
    except OSError as error:
        raise EngineError(
            f"{path} must be a readable description of {stored.path.name}; "
            f"{error.strerror or error}. {remedy}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{path} must describe {stored.path.name} in JSON; it is damaged ({brief(error)}). "
            f"{remedy}"
        ) from error
    if (facts["format"], facts["format_version"]) != (FORMAT, FORMAT_VERSION):
        raise EngineError(
            f"{path} must be of format {FORMAT} {FORMAT_VERSION}; it is of "
            f"{str(facts['format'])[:40]} {str(facts['format_version'])[:40]}. {remedy}"
        )
    if kinds["metadata"] is not dict or kinds["options"] is not dict:
        raise EngineError(f'{path} must hold objects "metadata" and "options". {remedy}')
    complaints = complaints_of(facts)
    if complaints:
        raise EngineError(
            f"{path} must describe {stored.path.name} in the terms of build_engine; "
            f"{'; '.join(complaints[:5])}. {remedy}"
        )
    if facts["engine_sha256"] != stored.sha256:
        raise EngineError(
            f"{path} describes another engine than {stored.path.name}, or this one is damaged: its "
            f"SHA-256 is {stored.sha256[:16]}..., not {str(facts['engine_sha256'])[:16]}.... Copy "
            f"both files again. If the engine was meant to change: {remedy}"
        )
    return dict(facts)


@dataclass(frozen=True, slots=True)
class Model:
    """A predictor's ONNX file, held to its contract; `sha256` is of its bytes."""

    path: Path
    data: bytes
    sha256: str
    metadata: dict[str, str]
    contract: Contract


def read_model(onnx: Path) -> Model:
    """Read a predictor's ONNX file.

    Raises:
        ModelError: If it is no predictor of this project.
        EngineError: If it is an engine already.
    """
    if is_engine_file(onnx):
        raise EngineError(
            f"{onnx} must be an ONNX model; it is a TensorRT engine already. Name the model that "
            "it was built from."
        )
    with OnnxPredictor(onnx, threads=1) as predictor:
        data, sha256 = predictor.read_again(), predictor.sha256()
        return Model(onnx, data, sha256, predictor.metadata, predictor.contract)


def describe_engine(
    engine: str | Path,
    onnx: str | Path,
    hardware_compatibility: str = "none",
    version_compatible: bool = False,
) -> Path:
    """Write the description of an engine that trtexec built.

    Args:
        engine: The file.
        onnx: The model it was built from; its filters become the engine's.
        hardware_compatibility: As given to trtexec.
        version_compatible: Whether trtexec was given ``--versionCompatible``.

    Returns:
        The description's path, ``FILE.engine.json``.

    Raises:
        ModelError: If the ONNX file is no predictor.
        EngineError: If the engine is none, is cut off, or says that it was built from another
            model.

    Note:
        Nothing in an engine of trtexec tells the model that it came from: names, shapes and types
        are checked when it is loaded, the weights cannot be. An engine of `build_engine` has its
        model's SHA-256 in the network's name. Its description says more than can be found out
        here, and stays.
    """
    stored = read_engine_file(Path(engine))
    model = read_model(Path(onnx))
    sha256 = model.sha256
    named = re.search(NAME_PREFIX.encode() + rb"([0-9a-f]{64})", stored.data)
    if named and named[1].decode() != sha256:
        raise EngineError(
            f"{engine} must be described by the model that it was built from, with SHA-256 "
            f"{named[1].decode()[:16]}...; {onnx} has {sha256[:16]}.... Name that model, or build "
            "an engine from this one."
        )
    if named and _is_described(stored, sha256):
        return description_path(stored.path)
    facts = make_description(
        stored,
        sha256,
        model.metadata,
        None,
        {
            "hardware_compatibility": hardware_compatibility,
            "version_compatible": version_compatible,
        },
    )
    path = description_path(stored.path)
    publish({path: to_json(facts)})
    return path


def _is_described(stored: EngineFile, onnx_sha256: str) -> bool:
    """Whether the description that is there is this engine's and this model's."""
    try:
        there = read_description(stored)
    except EngineError:
        return False
    return there is not None and there["onnx_sha256"] == onnx_sha256


def to_json(facts: Mapping[str, Any]) -> bytes:
    """Readable JSON, with a newline at its end."""
    return (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode()


def publish(files: Mapping[Path, bytes]) -> None:
    """Put the files of an engine in place: all of them, or none.

    Raises:
        OSError: If one cannot be written.
    """
    next(iter(files)).parent.mkdir(parents=True, exist_ok=True)
    write_set(files)
