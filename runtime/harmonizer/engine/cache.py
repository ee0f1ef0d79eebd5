"""Engines built once per model, TensorRT, GPU and options, in the user's cache folder."""

import os
import warnings
from pathlib import Path
from typing import Any

from harmonizer.engine.build import build_engine
from harmonizer.engine.files import description_path, read_description, read_engine_file, read_model
from harmonizer.engine.library import choose_module, cuda_of, import_tensorrt
from harmonizer.engine.options import BuildOptions, digest
from harmonizer.engine.progress import BuildProgress
from harmonizer.errors import EngineError, HarmonizerWarning
from harmonizer.gpu import current_gpu
from harmonizer.private import cache_folder, check_own_file, locked, make_private_folder
from harmonizer.storage import sweep


def cached_engine(
    onnx: str | Path,
    options: BuildOptions | None = None,
    module: str = "auto",
    folder: str | Path | None = None,
    progress: BuildProgress | None = None,
) -> Path:
    """The engine of a model for this machine: built on the first call, found on later ones.

    Processes that ask for the same engine at once build it once; the others wait.

    Args:
        onnx: A predictor's ONNX file.
        options: What to build for; the defaults by default.
        module: As in `build_engine`.
        folder: Where engines are kept; `cache_folder("engines")` by default.
        progress: As in `build_engine`.

    Returns:
        The engine's path, for `EnginePredictor`.

    Raises:
        ModelError, EngineError, DeviceError, DeviceMemoryError, ValueError: As `build_engine` does.
        OSError: If the folder cannot be written, or others could have put engines there.

    Warns:
        HarmonizerWarning: If an engine in the cache was damaged or is not what its name says; it
            is never run, but built again.
    """
    options = BuildOptions() if options is None else options
    chosen = choose_module(module)
    options.check_module(chosen)
    gpu = current_gpu(cuda_of(chosen)) if chosen == "tensorrt" else None
    wanted = {
        "onnx_sha256": read_model(Path(onnx)).sha256,
        "module": chosen,
        "version": import_tensorrt(chosen).__version__,
        "gpu": None if gpu is None else gpu.kind(),
        "options": options.as_dict(),
    }
    place = cache_folder("engines") if folder is None else Path(folder)
    make_private_folder(place)
    name = digest(wanted)[:32]
    engine = place / f"{name}.engine"
    with locked(place / f"{name}.lock"):
        sweep(place, again=True)
        if os.path.lexists(engine) and not _is_usable(engine, wanted):
            warnings.warn(
                f"{engine} is not the engine that its name says; it is built again.",
                HarmonizerWarning,
                stacklevel=2,
            )
            engine.unlink()
        if not engine.exists():
            timing = None
            if chosen == "tensorrt":
                timing = place / f"timing-{digest([wanted['version'], wanted['gpu']])[:16]}.cache"
            build_engine(onnx, engine, options, chosen, timing, progress)
    return engine


def _is_usable(engine: Path, wanted: dict[str, Any]) -> bool:
    try:
        for path in (engine, description_path(engine)):
            check_own_file(path)
        description = read_description(read_engine_file(engine))
    except (EngineError, OSError):
        return False
    return description is not None and all(
        description[key] == value for key, value in wanted.items()
    )
