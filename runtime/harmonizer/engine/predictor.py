"""Run a TensorRT engine on a caller's CUDA stream and device memory; imports no GPU library itself.

The addresses and the stream are plain integers, so that PyCUDA, torch or CuPy may own them.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from harmonizer.contract import OUTPUT, read_contract
from harmonizer.engine import rtx
from harmonizer.engine.checks import (
    check_contract,
    check_gpu,
    check_model,
    check_version,
)
from harmonizer.engine.files import (
    EngineFile,
    description_path,
    make_description,
    read_description,
    read_engine_file,
    read_model,
)
from harmonizer.engine.library import cuda_of, import_tensorrt, listening, logger_of, quoted
from harmonizer.errors import DeviceMemoryError, EngineError
from harmonizer.gpu import current_gpu

_HOST_CODE = (
    ", being version compatible: it holds code for the host, which is not run unless "
    "`allow_host_code=True` says that you trust whoever made it"
)

ALIGNMENT = 256
"""Bytes; TensorRT's rule for the address of every tensor."""


class EnginePredictor:
    """An engine, ready to be enqueued on any stream.

    The CUDA context that is current when it is made must be current in every call, `close` among
    them. Calls on different streams run beside each other, each with scratch memory of its own;
    what follows on one stream is in order. Safe to call from several threads.

    Args:
        path: An engine that `build_engine` or trtexec wrote.
        onnx: The model that it was built from. Needed where the engine has no description beside
            it (trtexec writes none); if both are there they must agree.
        module: "tensorrt" or "tensorrt_rtx"; "auto" for the one that the file was built by.
        allow_host_code: Let TensorRT run code for the host that the engine holds, as version
            compatible ones do. It is code of whoever made the file: allow it for files of your own.

    Attributes:
        path: The file.
        contract: What it reads and answers with.
        filters: The operations whose arguments it predicts, in drawing order.
        thumbnail_type: What both inputs must be.
        largest_batch: The most thumbnails of one call, by the engine's first profile.
        metadata: What the ONNX file said of itself.
        description: All that is known about the engine, as in ``FILE.engine.json``.

    Raises:
        EngineError: If the file is missing, damaged, not an engine, or was built for another
            TensorRT, GPU, model or contract; it is not run then.
        ModelError: If `onnx` is no predictor.
        DeviceError: If there is no driver, no GPU or no TensorRT.
        DeviceMemoryError: If the GPU has too little free memory.
    """

    def __init__(
        self,
        path: str | Path,
        onnx: str | Path | None = None,
        module: Literal["auto", "tensorrt", "tensorrt_rtx"] = "auto",
        allow_host_code: bool = False,
    ) -> None:
        self.path = Path(path)
        self._guard = threading.Lock()
        self._contexts: dict[int, Any] = {}
        stored = read_engine_file(self.path)
        if module not in ("auto", stored.module):
            raise EngineError(
                f"{self.path} must be an engine of {module}; it was built by {stored.module}, and "
                "neither runs the other's. Build it again for that one."
            )
        self.description = _describe(stored, onnx)
        self.metadata: dict[str, str] = self.description["metadata"]
        self.contract = read_contract(self.path, self.metadata)
        self.filters = self.contract.filters
        gpu = current_gpu(cuda_of(stored.module))  # before anything of TensorRT: see `driver`
        check_gpu(self.path, self.description, gpu)
        self._trt = import_tensorrt(stored.module)
        compatible = bool(self.description["options"].get("version_compatible"))
        check_version(stored, self._trt.__version__, compatible)
        with listening() as heard:
            self._runtime = self._trt.Runtime(logger_of(self._trt))
            self._runtime.engine_host_code_allowed = allow_host_code
            self._hint = _HOST_CODE if compatible and not allow_host_code else ""
            self._engine = self._load(stored, heard)
            check_model(self.path, self._engine, self.description["onnx_sha256"], self.filters)
            capacity = check_contract(self._trt, self._engine, self.contract, self.path)
            self.thumbnail_type = capacity.thumbnail_type
            self.largest_batch = capacity.largest_batch
            self._spare: Any = self._new_context(heard)

    def enqueue(self, batch: int, inputs: Sequence[int], arguments: int, stream: int) -> None:
        """Predict on a stream; returns at once, and failures on the GPU show when one waits for it.

        Args:
            batch: How many thumbnails, 1 to `largest_batch`.
            inputs: Device addresses of (batch, ...) each, in the order of ``contract.inputs``, of
                `thumbnail_type`, without gaps; multiples of 256.
            arguments: Device address for (batch, k) float32; a multiple of 256.
            stream: Handle of a CUDA stream.

        Raises:
            ValueError: If the batch or an address is out of range.
            EngineError: If TensorRT refuses, or the predictor is closed.
            DeviceMemoryError: If a stream's first call finds too little free memory.

        Note:
            The first call on a stream may allocate: make it before capturing a CUDA graph.
        """
        if not 1 <= batch <= self.largest_batch:
            raise ValueError(
                f"`batch` must be 1 to {self.largest_batch}, as the engine {self.path} was built "
                f"for; got {batch}. Split it, or build the engine for a larger batch."
            )
        shapes = self.contract.inputs
        addresses = {**dict(zip(shapes, inputs, strict=True)), OUTPUT: arguments}
        for name, address in addresses.items():
            if not address or address % ALIGNMENT:
                raise ValueError(
                    f"`{name}` must be a device address that is a multiple of {ALIGNMENT}; got "
                    f"{address:#x}. Allocate it apart, or pad what is before it."
                )
        with self._guard, listening() as heard:
            context = self._context_of(stream, heard)
            for name, tail in shapes.items():
                shape = (batch, *tail)
                if not context.set_input_shape(name, shape):
                    self._refuse(f"it does not take `{name}` of shape {shape}", heard)
            for name, address in addresses.items():
                if not context.set_tensor_address(name, address):
                    self._refuse(f"it does not take the address of `{name}`", heard)
            if not context.execute_async_v3(stream):
                self._refuse("it cannot be enqueued", heard)

    def sha256(self) -> str:
        """The SHA-256 of the engine as it was loaded, in hexadecimal."""
        return str(self.description["engine_sha256"])

    def close(self) -> None:
        """Release the engine; wait for its streams first. May be called again."""
        with self._guard:
            self._contexts.clear()
            # In this order: TensorRT requires that what was made last goes first.
            self._spare = None
            self._engine = None
            self._runtime = None

    def __enter__(self) -> "EnginePredictor":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _context_of(self, stream: int, heard: list[str]) -> Any:
        if self._engine is None:
            raise EngineError(f"the engine {self.path} must be open; it was closed. Load it again.")
        if stream not in self._contexts:
            self._contexts[stream] = self._spare or self._new_context(heard)
            self._spare = None
        return self._contexts[stream]

    def _load(self, stored: EngineFile, heard: list[str]) -> Any:
        if stored.module == "tensorrt_rtx":
            cause = rtx.invalidity(self._trt, self._runtime, stored.data)
            if cause is not None:
                self._refuse(f"it cannot run here: {cause}", heard)
        engine = self._runtime.deserialize_cuda_engine(stored.data)
        if engine is None:
            self._refuse(f"it cannot be loaded{self._hint}", heard)
        return engine

    def _new_context(self, heard: list[str]) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            needed = self._engine.device_memory_size_v2 / 2**20
            self._refuse(f"it cannot get {needed:.0f} MiB of scratch memory", heard)
        return context

    def _refuse(self, what: str, heard: list[str]) -> NoReturn:
        """Raise with what TensorRT said; out of memory has an error of its own."""
        text = quoted(heard)
        if "outofmemory" in text.lower().replace(" ", "").replace("_", ""):
            raise DeviceMemoryError(
                f"the engine {self.path} must fit into the GPU's free memory; {what} {text}. Close "
                "other programs, or build it for a smaller largest batch."
            )
        raise EngineError(
            f"the engine {self.path} must run on {self._trt.__name__} {self._trt.__version__} and "
            f"this GPU; {what} {text}. Build it again here: python export/build_engine.py "
            "MODEL.onnx --output FILE.engine",
            tuple(heard),
        )


def _describe(stored: EngineFile, onnx: str | Path | None) -> dict[str, Any]:
    """The description beside the engine, or one from the ONNX file; both must agree."""
    found = read_description(stored)
    if onnx is None:
        if found is None:
            raise EngineError(
                f"{stored.path} must have a description, "
                f"{description_path(stored.path).name}, beside it: an engine does not tell the "
                "names of its arguments. Copy it, give the model "
                "too (EnginePredictor(path, onnx=MODEL)), or write it with: python "
                f"export/build_engine.py MODEL.onnx --describe {stored.path.name}"
            )
        return found
    model = read_model(Path(onnx))
    if found is None:
        return make_description(stored, model.sha256, model.metadata, None, {})
    if found["onnx_sha256"] != model.sha256:
        raise EngineError(
            f"{stored.path} was built from the ONNX file with SHA-256 "
            f"{str(found['onnx_sha256'])[:16]}...; {onnx} has {model.sha256[:16]}.... Name the "
            "model that it was built from, or build it again."
        )
    return found
