"""Whether an engine fits: this TensorRT, this GPU, this model, and the predictor's contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harmonizer.contract import OUTPUT, Contract
from harmonizer.engine.files import NAME_PREFIX, EngineFile
from harmonizer.engine.library import version_tuple
from harmonizer.errors import EngineError
from harmonizer.gpu import Gpu

_REBUILD = "Build it again here: python export/build_engine.py MODEL.onnx --output FILE.engine"


@dataclass(frozen=True, slots=True)
class Capacity:
    """What an engine takes, apart from the contract.

    Attributes:
        thumbnail_type: Of all inputs.
        largest_batch: The most thumbnails of one call.
    """

    thumbnail_type: Literal["float32", "float16"]
    largest_batch: int


def check_version(stored: EngineFile, installed: str, version_compatible: bool) -> None:
    """Refuse an engine of another TensorRT, unless it was built to be compatible with later ones.

    Raises:
        EngineError: If the versions do not fit.
    """
    built, here = version_tuple(stored.version), version_tuple(installed)
    count = min(len(built), len(here))
    if built[:count] == here[:count]:
        return
    if version_compatible and built[:count] < here[:count]:
        return
    raise EngineError(
        f"{stored.path} was built by {stored.module} {stored.version}; the one installed is "
        f"{installed}, and an engine runs on the version that built it"
        + (", or on a later one" if version_compatible else "")
        + f". {_REBUILD}"
    )


def check_gpu(path: Path, description: Mapping[str, Any], gpu: Gpu) -> None:
    """Refuse an engine for another GPU; what the description does not say, TensorRT checks.

    Raises:
        EngineError: If the engine is known to be for another GPU.
    """
    options, built = description["options"], description["gpu"]
    listed = options.get("compute_capabilities") or []
    level = options.get("hardware_compatibility", "none")
    number = version_tuple(gpu.compute_capability)
    wanted = None
    if listed and gpu.compute_capability not in listed:
        wanted = f"compute capability {' or '.join(listed)}"
    elif built is not None:
        same = built["compute_capability"] == gpu.compute_capability
        if level == "none" and (not same or built["name"] != gpu.name):
            wanted = str(Gpu(built["name"], built["compute_capability"]))
        elif level == "same-compute-capability" and not same:
            wanted = f"compute capability {built['compute_capability']}"
        elif level == "ampere-plus" and number < (8, 0):
            wanted = "compute capability 8.0 or newer"
    if wanted is not None:
        raise EngineError(
            f"{path} was built for {wanted}; the GPU here is {gpu}, and an engine runs on what it "
            f"was built for. {_REBUILD}"
        )


def check_contract(trt: Any, engine: Any, contract: Contract, path: Path) -> Capacity:
    """Check names, modes, shapes, types, layouts and the profile of a loaded engine.

    Args:
        trt: The module.
        engine: Its ICudaEngine.
        contract: What the description or the ONNX file promises.
        path: For messages.

    Raises:
        EngineError: If anything differs from what the ONNX contract says; all differences at once.
    """
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = contract.inputs
    tails: dict[str, tuple[int, ...]] = {**inputs, OUTPUT: (contract.count,)}
    floats = {trt.DataType.FLOAT: "float32", trt.DataType.HALF: "float16"}
    complaints = []
    if set(names) != set(tails):
        complaints.append(f"its tensors are {', '.join(names) or 'none'}")
    types = {}
    for name in tails:
        if name not in names:
            continue
        mode = trt.TensorIOMode.INPUT if name in inputs else trt.TensorIOMode.OUTPUT
        shape, dtype = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
        types[name] = floats.get(dtype, str(dtype))
        if (
            engine.get_tensor_mode(name) != mode
            or len(shape) != len(tails[name]) + 1
            or shape[1:] != tails[name]
        ):
            complaints.append(f"its {name} is an {engine.get_tensor_mode(name)} of shape {shape}")
        if engine.get_tensor_format(name) != trt.TensorFormat.LINEAR:
            complaints.append(f"its {name} is not laid out row by row (linear, chw)")
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            complaints.append(f"its {name} is not in device memory")
    input_types = {types.get(name, "float32") for name in inputs}
    if len(input_types) > 1 or not input_types <= {"float32", "float16"}:
        complaints.append(f"its inputs are {' and '.join(sorted(input_types))}")
    if types.get(OUTPUT, "float32") != "float32":
        complaints.append(f"its {OUTPUT} are {types[OUTPUT]}")
    largest = 1
    if not complaints:
        limits = [engine.get_tensor_profile_shape(name, 0) for name in inputs]
        least = max(next(iter(shapes[0])) for shapes in limits)
        largest = min(next(iter(shapes[2])) for shapes in limits)
        if least != 1:
            complaints.append(f"its batch begins at {least}")
    if complaints:
        raise EngineError(
            f"{path} must map {contract}, inputs all float32 or all float16, {OUTPUT} float32, "
            f"with N from 1; {'; '.join(complaints)}. {_REBUILD}"
        )
    return Capacity("float16" if input_types == {"float16"} else "float32", largest)


def check_model(path: Path, engine: Any, onnx_sha256: str, filters: Sequence[str]) -> None:
    """Refuse an engine whose own name tells of another ONNX file, or of other filters.

    trtexec gives no such name; the first engines of `build_engine` name the ONNX file alone.

    Raises:
        EngineError: If it was made of another file, or predicts other filters.
    """
    sha256, _, named = str(engine.name).removeprefix(NAME_PREFIX).partition(":")
    if not str(engine.name).startswith(NAME_PREFIX):
        return
    if sha256 != onnx_sha256:
        raise EngineError(
            f"{path} was built from the ONNX file with SHA-256 {sha256[:16]}..., not from "
            f"{onnx_sha256[:16]}.... Name the model that it was built from, or build it again."
        )
    if named and named.split(",") != list(filters):
        raise EngineError(
            f"{path} predicts {named[:200]}, as it says itself; its description says "
            f"{','.join(filters)}. Name the model that it was built from, or build it again."
        )


def engine_name(onnx_sha256: str, filters: Sequence[str]) -> str:
    """The name that `build_engine` gives a network; the engine keeps it.

    It tells the model, and in which order the arguments come: C++ programs read them from there.
    """
    return f"{NAME_PREFIX}{onnx_sha256}:{','.join(filters)}"
