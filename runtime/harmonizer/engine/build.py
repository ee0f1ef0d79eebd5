"""Build an engine from a predictor's ONNX file, on the strongly typed API of TensorRT 10.12 to 11.

The precision comes from the graph: FP32, FP16, or INT8 by Q/DQ nodes. No builder flag changes it.
"""

import hashlib
import json
import math
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from harmonizer.contract import Contract
from harmonizer.engine import rtx
from harmonizer.engine.checks import check_contract, engine_name
from harmonizer.engine.files import (
    EngineFile,
    Model,
    description_path,
    make_description,
    publish,
    read_model,
    report_path,
    to_json,
)
from harmonizer.engine.library import (
    choose_module,
    cuda_of,
    import_tensorrt,
    listening,
    logger_of,
    quoted,
)
from harmonizer.engine.options import BuildOptions
from harmonizer.engine.progress import BuildProgress, make_monitor
from harmonizer.engine.timing import open_timing_cache, save_timing_cache
from harmonizer.errors import DeviceError, DeviceMemoryError, EngineError, brief, shortened
from harmonizer.gpu import Gpu, current_gpu

_REMEDIES = {
    "workspace": "Allow it more workspace.",
    "Turing": "Leave compute capability 7.5 out: there TensorRT-RTX has no float32 matrices.",
}
_REMEDY = "Try another version of it, or another precision of the model."


def build_engine(
    onnx: str | Path,
    output: str | Path,
    options: BuildOptions | None = None,
    module: str = "auto",
    timing_cache: str | Path | None = None,
    progress: BuildProgress | None = None,
) -> dict[str, Any]:
    """Build an engine, check it, and put it in place with its description and a report.

    Args:
        onnx: A predictor's ONNX file (``export/to_onnx.py --variant predictor``).
        output: The engine. ``OUTPUT.json``, its description, and ``OUTPUT.report.json`` are written
            beside it. Nothing is written before all is known to be right.
        options: What to build for; the defaults by default.
        module: "tensorrt", "tensorrt_rtx", or "auto" for the first one installed.
        timing_cache: Measured kernels, read if there and written again: building anew is then
            quicker (TensorRT only).
        progress: Where to show how far the build is; None for nowhere.

    Returns:
        The report, as in the file.

    Raises:
        ModelError: If the ONNX file is no predictor of this project, or keeps another contract.
        EngineError: If TensorRT refuses the graph, or what it built does not keep the contract.
        DeviceError: If TensorRT is not installed, or it needs a driver and there is none.
        DeviceMemoryError: If the GPU has too little free memory to build.
        ValueError: If an option does not fit the module.
    """
    options = BuildOptions() if options is None else options
    path, output = Path(onnx), Path(output)
    if output.is_dir():
        raise EngineError(f"the engine must be a file; {output} is a folder. Name a file in it.")
    model = read_model(path)
    chosen = choose_module(module)
    options.check_module(chosen)
    if timing_cache is not None and chosen == "tensorrt_rtx":
        raise ValueError(
            "`timing_cache` is an option of tensorrt; tensorrt_rtx chooses its kernels where they "
            "run. Leave it out."
        )
    # TensorRT crashes without a driver; TensorRT-RTX builds for GPUs that are not there.
    gpu = current_gpu(cuda_of(chosen)) if chosen == "tensorrt" else None
    trt = import_tensorrt(chosen)
    with listening() as heard:
        serialised, report = _build(trt, model, options, timing_cache, progress, heard)
        sha256 = hashlib.sha256(serialised).hexdigest()
        stored = EngineFile(output, serialised, chosen, _version(serialised), sha256)
        report |= {
            "engine": {"file": output.name, "bytes": len(serialised), "sha256": stored.sha256},
            "onnx": {
                "file": path.name,
                "bytes": len(model.data),
                "sha256": model.sha256,
                "precision": model.metadata.get("harmonizer.precision"),
            },
            "module": chosen,
            "version": trt.__version__,
            "gpu": None if gpu is None else gpu.kind(),
            "options": options.as_dict(),
            "inspected": _inspect(trt, stored, model.contract, heard),
            "messages": sorted(set(heard)),
        }
    description = make_description(
        stored, model.sha256, model.metadata, report["gpu"], options.as_dict()
    )
    publish(
        {
            report_path(output): to_json(report),
            description_path(output): to_json(description),
            output: serialised,
        }
    )
    return report


def _build(
    trt: Any,
    model: Model,
    options: BuildOptions,
    timing_cache: str | Path | None,
    progress: BuildProgress | None,
    heard: list[str],
) -> tuple[bytes, dict[str, Any]]:
    began = time.perf_counter()
    logger = logger_of(trt)
    builder = trt.Builder(logger)
    # Needed in 10.x; in 11 every network is strongly typed and the flag is ignored.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model.data, str(model.path)):
        raise EngineError(
            f"{model.path} must be a graph that {trt.__name__} {trt.__version__} can take; it "
            f"refuses {_parser_errors(parser)}. INT8 graphs must be quantised symmetrically (s8 "
            "weights and activations, zero points of 0) with float biases.",
            tuple(heard),
        )
    network.name = engine_name(model.sha256, model.contract.filters)
    parsed = time.perf_counter()
    config = _configure(trt, builder, model.contract, options)
    cache = None
    if timing_cache is not None:
        cache = open_timing_cache(config, Path(timing_cache))
    monitor = None
    if progress is not None:
        monitor = make_monitor(trt, progress)
        config.progress_monitor = monitor
    serialised = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.error is not None:
        raise monitor.error
    if serialised is None:
        _refuse_build(model.path, trt, heard, options)
    if cache is not None and timing_cache is not None:
        save_timing_cache(config, Path(timing_cache))
    return bytes(serialised), {
        "format": "harmonizer-engine-report",
        "format_version": "1",
        "seconds": {
            "parse": round(parsed - began, 3),
            "build": round(time.perf_counter() - parsed, 3),
        },
        "tensors": _tensors(network, options),
        "network": _layers(network),
    }


def _configure(trt: Any, builder: Any, contract: Contract, options: BuildOptions) -> Any:
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    likely, most = options.batch
    for name, tail in contract.inputs.items():
        profile.set_shape(name, (1, *tail), (likely, *tail), (most, *tail))
    config.add_optimization_profile(profile)
    # So that the inspector can tell each layer's precision.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and FP32 would not be float32
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if trt.__name__ == "tensorrt_rtx":
        rtx.set_compute_capabilities(trt, config, options.compute_capabilities)
        return config
    if options.hardware_compatibility != "none":
        config.hardware_compatibility_level = {
            "same-compute-capability": trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY,
            "ampere-plus": trt.HardwareCompatibilityLevel.AMPERE_PLUS,
        }[options.hardware_compatibility]
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    return config


def _refuse_build(path: Path, trt: Any, heard: list[str], options: BuildOptions) -> NoReturn:
    text, whole = quoted(heard), " ".join(heard)
    requested = re.search(r"Requested size was (\d+)", whole)
    allowed = math.inf if options.workspace_mib is None else options.workspace_mib << 20
    over = requested is not None and int(requested[1]) > allowed
    if "outofmemory" in whole.lower().replace(" ", "") and not over:
        raise DeviceMemoryError(
            f"building {path} needs more GPU memory than is free {text}. Close other programs, or "
            "give a smaller largest batch."
        )
    remedy = next((told for word, told in _REMEDIES.items() if word in whole), _REMEDY)
    if over:
        remedy = _REMEDIES["workspace"]
    raise EngineError(
        f"{trt.__name__} {trt.__version__} must build {path}; it fails {text}. {remedy}",
        tuple(heard),
    )


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = [
        f"{error.node_operator() or 'the graph'} {error.node_name()!r}: "
        f"{shortened(error.desc(), 400)}"
        for error in errors[:3]
    ]
    if len(errors) > len(told):
        told.append(f"and {len(errors) - len(told)} more")
    return "; ".join(told) or "it without a reason"


def _tensors(network: Any, options: BuildOptions) -> list[dict[str, Any]]:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    return [
        {
            "name": tensor.name,
            "mode": mode,
            "type": _name(tensor.dtype),
            "shape": list(tensor.shape),
            "batch": [1, *options.batch],
        }
        for mode, tensors in (("input", inputs), ("output", outputs))
        for tensor in tensors
    ]


def _layers(network: Any) -> dict[str, Any]:
    """The layers of the parsed network: strong typing builds exactly these types."""
    counts: Counter[tuple[str, str]] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        counts[_name(layer.type), _name(layer.get_output(0).dtype)] += 1
    table: dict[str, dict[str, int]] = {}
    for (kind, dtype), count in sorted(counts.items()):
        table.setdefault(kind, {})[dtype] = count
    return {"layers": network.num_layers, "by_type_and_precision": table}


def _inspect(trt: Any, stored: EngineFile, contract: Contract, heard: list[str]) -> dict[str, Any]:
    """Load what was built, check its contract, and list its layers; needs a GPU that can run it."""
    try:
        gpu: Gpu = current_gpu(cuda_of(stored.module))
    except DeviceError as error:
        return {"layers": None, "reason": f"not loaded: {error}"}
    runtime = trt.Runtime(logger_of(trt))
    runtime.engine_host_code_allowed = True  # it was built a moment ago by this process
    engine = runtime.deserialize_cuda_engine(stored.data)
    if engine is None:
        if stored.module == "tensorrt_rtx":  # built for other GPUs than this one: allowed
            return {"layers": None, "reason": f"does not load on {gpu} {quoted(heard)}"}
        raise EngineError(
            f"{trt.__name__} must load what it built; it does not {quoted(heard)}.", tuple(heard)
        )
    check_contract(trt, engine, contract, stored.path)
    inspector = engine.create_engine_inspector()
    try:
        facts = json.loads(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        return {"layers": facts["Layers"], "reason": None}
    except (ValueError, KeyError, TypeError) as error:
        return {
            "layers": None,
            "reason": f"the inspector's answer is not readable ({brief(error)})",
        }


def _version(serialised: bytes) -> str:
    return ".".join(str(number) for number in serialised[24:28])


def _name(value: Any) -> str:
    """ "FLOAT" of DataType.FLOAT."""
    return str(value).rsplit(".", 1)[-1]
