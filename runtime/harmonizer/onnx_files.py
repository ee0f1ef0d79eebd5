"""Read an ONNX file and hold it to a contract before anything runs it.

A model of somebody else is a program. What ours are made of is listed here: operators without
loops, branches or subgraphs, weights in the file itself, all of them finite. What ONNX Runtime is
then given are the bytes that were checked.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.contract import REMEDY
from harmonizer.documents import read_document
from harmonizer.errors import ModelError, brief
from harmonizer.mistaken import HEAD, kind_of
from harmonizer.protobuf import BYTES, fields, varints
from harmonizer.reading import MODEL_LIMIT, open_regular, read_regular

_NAMES = (
    "Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Celu Clip "
    "Concat Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace "
    "DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand "
    "Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool "
    "Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity "
    "InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log "
    "LogSoftmax MatMul MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad "
    "Pow QLinearConv QLinearMatMul QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceMax "
    "ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round "
    "ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Size Slice Softmax Softplus "
    "Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile TopK "
    "Transpose Trilu Unsqueeze Where Xor"
)

OPERATORS = frozenset(_NAMES.split())
"""The operators that a predictor may have: pure functions of their inputs, done in one go."""

MAX_NODES = 20_000
MAX_METADATA_BYTES = 1 << 20
HASHES = "hashes.json"
"""Beside shipped models: name -> SHA-256; `export/hashes.py` writes it."""

_GRAPH, _FUNCTIONS, _METADATA, _TRAINING = 7, 25, 14, 20
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_OPERATOR, _DOMAIN, _ATTRIBUTE = 4, 7, 5
_TENSOR_ATTRIBUTES, _GRAPH_ATTRIBUTES = {5, 10}, {6, 11, 22, 23}
_FLOATS = {1: np.float32, 10: np.float16, 11: np.float64}
_BFLOAT16 = 16


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file whose structure is sound.

    Attributes:
        path: Where it lies.
        data: Its bytes.
        sha256: Of them.
        metadata: What it says of itself.
        complaints: What breaks the contract of a predictor, one phrase each; empty for none.
    """

    path: Path
    data: bytes
    sha256: str
    metadata: dict[str, str]
    complaints: tuple[str, ...]


@dataclass(slots=True)
class _Found:
    metadata: dict[str, str] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    nodes: int = 0
    graphs: int = 0
    described: int = 0

    def complain(self, text: str) -> None:
        if text not in self.complaints:
            self.complaints.append(text)


def read_onnx(path: Path) -> OnnxFile:
    """Read a file and look at everything in it.

    Raises:
        OSError: If it cannot be read, is no regular file or too large.
        ModelError: If a list of hashes beside it has another one for it.
        ValueError: If it is no ONNX model, is cut off, or its metadata is not text.
    """
    data = read_regular(path, MODEL_LIMIT)
    found = _Found()
    for number, _, _, content in fields(memoryview(data)):
        if number == _GRAPH:
            found.graphs += 1
            _read_graph(content, found)
        elif number == _METADATA:
            _read_metadata(content, found)
        elif number in (_FUNCTIONS, _TRAINING):
            found.complain("it defines functions of its own, or how to train")
    if found.graphs != 1:
        raise ValueError(f"it has {found.graphs} graphs, where a model has one")
    strange = sorted(found.operators - OPERATORS)
    if strange:
        found.complain(f"its operators are not all known: {', '.join(strange[:5])[:200]}")
    if found.nodes > MAX_NODES:
        found.complain(f"it has {found.nodes:,} nodes, where {MAX_NODES:,} are allowed")
    sha256 = hashlib.sha256(data).hexdigest()
    _check_hash(path, sha256)
    return OnnxFile(path, data, sha256, found.metadata, tuple(found.complaints))


def load_onnx(path: Path) -> OnnxFile:
    """`read_onnx` of a file that somebody named as a model: whatever it is not is said.

    Raises:
        ModelError: If it is absent, cannot be read, or is something else.
    """
    if path.is_dir():
        raise ModelError(
            f"the model must be an ONNX file; {path} is a folder. Name the .onnx file in it."
        )
    if not path.exists():
        raise ModelError(f"the model must be an ONNX file; {path} does not exist. Check the path.")
    try:
        return read_onnx(path)
    except OSError as error:
        raise ModelError(
            f"the model must be a readable ONNX file; {path} is not: {error.strerror or error}. "
            "Check the path and its permissions."
        ) from error
    except ModelError:
        raise
    except ValueError as error:
        kind = kind_of(_head(path))
        came = f"it is {kind}" if kind else f"it is not ({brief(error)})"
        raise ModelError(f"{path} must be a complete ONNX model; {came}. {REMEDY}") from error


def _head(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _check_hash(path: Path, sha256: str) -> None:
    listed = path.with_name(HASHES)
    if not listed.is_file():
        return
    try:
        hashes = read_document(listed)
        known = hashes.get(path.name)
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{listed} must hold the SHA-256 of the models beside it; it cannot be read "
            f"({brief(error)}). Install harmonizer again, or run `make model` in the source tree."
        ) from error
    if known is not None and known != sha256:
        raise ModelError(
            f"{path} must be the model that was shipped, with SHA-256 {str(known)[:16]}...; it has "
            f"{sha256[:16]}.... Install harmonizer again; in the source tree, run `make model`."
        )


def _read_metadata(content: memoryview, found: _Found) -> None:
    texts = {1: "", 2: ""}
    found.described += len(content)
    if found.described > MAX_METADATA_BYTES:
        raise ValueError(f"its metadata has more than {MAX_METADATA_BYTES:,} bytes")
    for number, kind, _, value in fields(content):
        if number in texts and kind == BYTES:
            texts[number] = bytes(value).decode("utf-8")
    found.metadata[texts[1]] = texts[2]


def _read_graph(content: memoryview, found: _Found) -> None:
    for number, _, _, value in fields(content):
        if number == _NODE:
            _read_node(value, found)
        elif number == _INITIALIZER:
            _read_tensor(value, found)
        elif number == _SPARSE:
            found.complain("it has sparse weights")


def _read_node(content: memoryview, found: _Found) -> None:
    found.nodes += 1
    name = domain = ""
    for number, _, _, value in fields(content):
        if number == _OPERATOR:
            name = bytes(value).decode("utf-8", "replace")
        elif number == _DOMAIN:
            domain = bytes(value).decode("utf-8", "replace")
        elif number == _ATTRIBUTE:
            for part, _, _, inner in fields(value):
                if part in _GRAPH_ATTRIBUTES:
                    found.complain(f"its {name or 'operator'} has a graph inside")
                elif part in _TENSOR_ATTRIBUTES:
                    _read_tensor(inner, found)
    found.operators.add(name if domain in ("", "ai.onnx") else f"{domain}.{name}")


def _read_tensor(content: memoryview, found: _Found) -> None:
    """Note weights in another file, and such that are not finite."""
    kind, name, elsewhere = 0, "", False
    raw: list[memoryview] = []
    halves: list[int] = []
    for number, wire, value, part in fields(content):
        if number == 2:
            kind = value
        elif number == 8:
            name = bytes(part).decode("utf-8", "replace")[:60]
        elif number == 13 or (number == 14 and value):
            elsewhere = True
        elif number in (4, 9, 10):  # float_data, raw_data, double_data
            raw.append(part)
        elif number == 5:  # int32_data, in which halves may lie
            halves += varints(part) if wire == BYTES else [value]
    if elsewhere:
        found.complain("its weights are in another file")
    values = b"".join(raw)
    if not np.isfinite(_floats(kind, values, halves)).all():
        found.complain(f"its weights `{name}` are not finite")


def _floats(kind: int, values: bytes, halves: list[int]) -> NDArray[Any]:
    """The floats of a tensor. One alone may be a bound, which may be infinite: it is left out."""
    found: NDArray[Any] = np.zeros(0, np.float32)
    numbers = values or np.array(halves, np.uint16).tobytes()
    if kind == _BFLOAT16:
        words = np.frombuffer(numbers[: len(numbers) // 2 * 2], np.uint16).astype(np.uint32) << 16
        found = words.view(np.float32)
    elif kind in _FLOATS:
        size = np.dtype(_FLOATS[kind]).itemsize
        found = np.frombuffer(numbers[: len(numbers) // size * size], _FLOATS[kind])
    return found[~np.isinf(found)] if found.size == 1 else found


def hashes_of(paths: Iterator[Path]) -> bytes:
    """The content of `HASHES` for these files."""
    listed = {
        path.name: hashlib.sha256(read_regular(path, MODEL_LIMIT)).hexdigest()
        for path in sorted(paths)
    }
    return (json.dumps(listed, indent=2) + "\n").encode()
