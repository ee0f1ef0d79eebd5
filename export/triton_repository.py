"""Write a model repository for NVIDIA Triton Inference Server.

python export/triton_repository.py MODEL.onnx --output REPOSITORY
    [--engine FILE.engine] [--end-to-end FILE.onnx] [--version N] [--max-batch N] [--delay-us N]
    [--instances N] [--device cpu|gpu]

The predictor becomes REPOSITORY/harmonizer (by ONNX Runtime, or TensorRT with --engine), the graph
that draws too REPOSITORY/harmonizer_end_to_end. docs/serving.md has a client that draws by itself.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from harmonizer.contract import END_TO_END_FORMAT
from harmonizer.endings import ending_well
from harmonizer.engine.files import read_description, read_engine_file, read_model
from harmonizer.errors import EngineError, ModelError
from harmonizer.onnx_files import load_onnx
from harmonizer.storage import make_folder, write_file
from harmonizer.usage import says_errors, tool_parser

NAME, END_TO_END = "harmonizer", "harmonizer_end_to_end"
_KINDS = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.FLOAT16: "TYPE_FP16"}
_MOST_WAITING = 256
_WARM_SIDE = 256
"""Height and width of warm-up pictures, where any will do."""


@dataclass(frozen=True)
class Tensor:
    """An input or an output, without its batch.

    Attributes:
        name: In the graph.
        kind: Triton's name of its type.
        dims: -1 where any size will do.
    """

    name: str
    kind: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Serving:
    """How Triton runs a model.

    Attributes:
        max_batch: Largest batch that it forms.
        delay_us: How long it waits for one to fill.
        instances: Copies of the model at work.
        device: "cpu" or "gpu".
    """

    max_batch: int = 16
    delay_us: int = 1000
    instances: int = 1
    device: str = "cpu"


def describe(
    name: str,
    backend: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    filters: Sequence[str],
    serving: Serving,
) -> str:
    """The text of config.pbtxt (Triton's model_config.proto)."""
    parts = [
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {serving.max_batch}',
        *(_tensor("input", tensor) for tensor in inputs),
        *(_tensor("output", tensor) for tensor in outputs),
        "# What has waited is refused when the queue is full, instead of waiting for ever.\n"
        f"dynamic_batching {{\n  max_queue_delay_microseconds: {serving.delay_us}\n"
        f"  default_queue_policy {{ max_queue_size: {_MOST_WAITING} }}\n}}",
        f"instance_group [ {{ kind: KIND_{serving.device.upper()} count: {serving.instances} }} ]",
        "# The last two versions, so that clients of the one before go on while they change.\n"
        "version_policy: { latest: { num_versions: 2 } }",
        *(_warm_up(size, inputs) for size in sorted({1, serving.max_batch})),
        f'parameters {{ key: "filters" value: {{ string_value: "{",".join(filters)}" }} }}',
    ]
    return "\n".join(parts) + "\n"


def _tensor(role: str, tensor: Tensor) -> str:
    dims = ", ".join(map(str, tensor.dims))
    said = f'name: "{tensor.name}" data_type: {tensor.kind} dims: [ {dims} ]'
    return f"{role} [ {{ {said} }} ]"


def _warm_up(size: int, inputs: Sequence[Tensor]) -> str:
    lines = [f'model_warmup [ {{\n  name: "batch of {size}"\n  batch_size: {size}']
    for tensor in inputs:
        dims = ", ".join(str(_WARM_SIDE if dim < 0 else dim) for dim in tensor.dims)
        said = f"data_type: {tensor.kind} dims: [ {dims} ] zero_data: true"
        lines.append(f'  inputs {{ key: "{tensor.name}" value: {{ {said} }} }}')
    return "\n".join([*lines, "} ]"])


def read_tensors(path: Path) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of an ONNX file.

    Raises:
        ModelError: If one has no free batch, or is of a type that Triton is not told of here.
    """
    graph = onnx.load(path, load_external_data=False).graph
    found = []
    for values in (graph.input, graph.output):
        tensors = []
        for value in values:
            kind, shape = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
            if kind not in _KINDS or not shape or shape[0].HasField("dim_value"):
                raise ModelError(
                    f"{path}: `{value.name}` must be float32 or float16 with a free batch; it is "
                    "not. Export it with export/to_onnx.py."
                )
            dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in shape[1:])
            tensors.append(Tensor(value.name, _KINDS[kind], dims))
        found.append(tensors)
    return found[0], found[1]


def _write(repository: Path, name: str, version: int, file: str, model: bytes, config: str) -> Path:
    """Write a model and its configuration; the configuration last, without which none is loaded.

    Raises:
        ModelError: If the version is there, or the repository serves another configuration.
        StorageError: If a file cannot be written.
    """
    folder = repository / name
    place, about = folder / str(version) / file, folder / "config.pbtxt"
    if place.parent.exists():
        raise ModelError(
            f"{place.parent} must not be there yet: servers may run it. Give another `--version`."
        )
    if about.exists() and about.read_text(encoding="utf-8") != config:
        raise ModelError(
            f"{about} must be what this model needs; it says otherwise, and serves the versions "
            "beside it. Write to another repository, or with the same settings."
        )
    make_folder(place.parent)
    write_file(place, model)
    write_file(about, config.encode())
    return folder


def write_predictor(
    model: Path, repository: Path, version: int, serving: Serving, engine: Path | None = None
) -> Path:
    """Write the predictor; the folder of its model.

    Args:
        model: Its ONNX file.
        repository: Where models lie.
        version: A folder of it.
        serving: How it is run.
        engine: What TensorRT runs in its place; built from it.

    Raises:
        ModelError: If the file is no predictor, or the version is there.
        EngineError: If the engine is not TensorRT's, has no description, is not the model's, or
            takes smaller batches.
        StorageError: If a file cannot be written.
    """
    file = read_model(model)
    filters = file.contract.filters
    inputs, outputs = read_tensors(model)
    if engine is None:
        config = describe(NAME, "onnxruntime", inputs, outputs, filters, serving)
        return _write(repository, NAME, version, "model.onnx", file.data, config)
    plan = _check_engine(engine, model, file.sha256, serving)
    config = describe(NAME, "tensorrt", inputs, outputs, filters, serving)
    return _write(repository, NAME, version, "model.plan", plan, config)


def _check_engine(engine: Path, model: Path, sha256: str, serving: Serving) -> bytes:
    stored = read_engine_file(engine)
    facts = read_description(stored)
    if stored.module != "tensorrt":
        raise EngineError(
            f"{engine} must be TensorRT's, which Triton runs; it is TensorRT-RTX's. Build it with "
            "export/build_engine.py --module tensorrt."
        )
    if facts is None or facts["onnx_sha256"] != sha256:
        raise EngineError(
            f"{engine} must be described as built from {model}; it is not. Build it with "
            "export/build_engine.py, or describe it."
        )
    largest = facts["options"].get("batch", [1, 1])[1]
    if largest < serving.max_batch:
        raise EngineError(
            f"{engine} must take batches of {serving.max_batch}; its largest is {largest}. Give "
            f"`--max-batch {largest}`, or build it with --batch 1 {serving.max_batch}."
        )
    if serving.device != "gpu":
        raise EngineError(f"{engine} runs on a GPU; the device is cpu. Give `--device gpu`.")
    return stored.data


def write_end_to_end(model: Path, repository: Path, version: int, serving: Serving) -> Path:
    """Write the graph that draws, too; the folder of its model.

    Raises:
        ModelError: If the file is no such graph, or the version is there.
        StorageError: If a file cannot be written.
    """
    file = load_onnx(model)
    if file.metadata.get("harmonizer.format") != END_TO_END_FORMAT:
        raise ModelError(
            f"{model} must be an end-to-end graph; it is not. Export one with export/to_onnx.py "
            "--variant end-to-end."
        )
    filters = json.loads(file.metadata["harmonizer.filters"])
    config = describe(END_TO_END, "onnxruntime", *read_tensors(model), filters, serving)
    return _write(repository, END_TO_END, version, "model.onnx", model.read_bytes(), config)


@says_errors("triton_repository")
def main(words: list[str] | None = None) -> int:
    """The command line; 0 on success, 2 for bad input."""
    parser = tool_parser(__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--output", type=Path, required=True, metavar="REPOSITORY")
    parser.add_argument("--engine", type=Path, metavar="FILE.engine", help="run by TensorRT")
    parser.add_argument("--end-to-end", type=Path, metavar="FILE.onnx")
    for name, usual, text in (
        ("version", 1, "folder of the model"),
        ("max-batch", 16, "largest batch that the server forms"),
        ("delay-us", 1000, "microseconds that it waits for one to fill"),
        ("instances", 1, "copies of the model at work"),
    ):
        parser.add_argument(f"--{name}", type=_count, default=usual, metavar="N", help=text)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    args = parser.parse_args(words)
    serving = Serving(args.max_batch, args.delay_us, args.instances, args.device)
    folders = [write_predictor(args.model, args.output, args.version, serving, args.engine)]
    if args.end_to_end is not None:
        folders.append(write_end_to_end(args.end_to_end, args.output, args.version, serving))
    for folder in folders:
        print(f"{folder}: version {args.version}; it was not loaded by a server")
    return 0


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:10]) <= 1_000_000:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 to 1,000,000; got {text[:40]!r}"
        )
    return int(text)


if __name__ == "__main__":
    sys.exit(ending_well(main))
