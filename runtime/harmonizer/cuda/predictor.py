"""Predictors that read and write device memory.

Three kinds: a TensorRT engine (`harmonizer.engine.EnginePredictor`), ONNX Runtime's CUDA provider,
and ONNX Runtime on the CPU, which costs a copy of the thumbnail to the host and a wait.
"""

import contextlib
import importlib.util
import logging
import math
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from harmonizer.contract import OUTPUT, THUMBNAIL_SIZE, Contract
from harmonizer.cuda.device import Device, Fence
from harmonizer.cuda.slot import Memory
from harmonizer.errors import DeviceError, EngineError, ModelError, shortened
from harmonizer.predictor import OnnxPredictor, default_model, import_onnxruntime

THUMBNAIL_PIXELS = THUMBNAIL_SIZE * THUMBNAIL_SIZE

_log = logging.getLogger(__name__)


class DevicePredictor(Protocol):
    """A predictor on device addresses; the GPU's context is current in every call.

    A class may have ``capturable = False`` if its `enqueue` waits for the GPU, so that the frame
    around it cannot be captured as a graph.

    Attributes:
        contract: What it reads and answers with.
        filters: The operations whose arguments it predicts, in drawing order.
        thumbnail_type: What its inputs are made of; its output is always float32.
        largest_batch: Most images of one call.
    """

    contract: Contract
    filters: tuple[str, ...]
    thumbnail_type: Literal["float32", "float16"]
    largest_batch: int

    def enqueue(self, batch: int, inputs: Sequence[int], arguments: int, stream: int) -> None:
        """Queue a prediction.

        Args:
            batch: How many images, N.
            inputs: Addresses of (N, ...) each, in the order of ``contract.inputs``.
            arguments: Address of (N, k) float32, to be written.
            stream: Handle of the stream that wrote the inputs and will read the output.
        """

    def sha256(self) -> str:
        """The SHA-256 of the file that was loaded, in hexadecimal."""

    def close(self) -> None:
        """Release everything; the context is current."""


class OnnxCudaPredictor:
    """ONNX Runtime's CUDA provider, reading and writing device memory through IOBinding.

    Runs on a stream of its own, which waits for the caller's and the other way round: ONNX Runtime
    takes its stream once, when the model is loaded. Not run on a GPU yet.

    Args:
        path: A predictor ONNX file.
        device: The GPU.

    Raises:
        ModelError: As in `OnnxPredictor`, or if the CUDA provider does not load.
    """

    thumbnail_type: Literal["float32", "float16"] = "float32"
    largest_batch = 64
    capturable = False

    def __init__(self, path: str | Path, device: Device) -> None:
        checked = OnnxPredictor(path, threads=1)
        self.path, self.contract, self.filters = checked.path, checked.contract, checked.filters
        self.metadata, self._sha256 = checked.metadata, checked.sha256()
        data = checked.read_again()
        checked.close()
        self._device = device
        self._lock = threading.Lock()
        onnxruntime = import_onnxruntime()
        if hasattr(onnxruntime, "preload_dlls"):  # from 1.21: CUDA's and cuDNN's wheels
            with contextlib.redirect_stdout(sys.stderr):  # where a picture may be on its way
                onnxruntime.preload_dlls()
        with device.current():
            non_blocking = 1
            self._stream: Any = device.pycuda.Stream(non_blocking)
            self._fence = Fence()
            provider = {
                "device_id": str(device.gpu.ordinal),
                "user_compute_stream": str(int(self._stream.handle)),
                "use_tf32": "0",  # float32 is float32, as for TensorRT
            }
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            try:
                self._session: Any = onnxruntime.InferenceSession(
                    data,
                    options,
                    providers=[("CUDAExecutionProvider", provider), "CPUExecutionProvider"],
                )
            except Exception as error:  # ONNX Runtime's error classes share no public base
                raise ModelError(
                    f"{self.path} must run with ONNX Runtime's CUDA provider; it does not "
                    f"({shortened(error)}). Use backend `cpu`, or an engine."
                ) from error
        if "CUDAExecutionProvider" not in self._session.get_providers():
            self.close()
            raise ModelError(
                "ONNX Runtime's CUDA provider must load; it fell back to the CPU. Install the "
                "CUDA and cuDNN libraries that this onnxruntime-gpu was built for."
            )
        self._run_options = onnxruntime.RunOptions()
        # The fence below orders the streams: the host need not wait.
        self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def enqueue(self, batch: int, inputs: Sequence[int], arguments: int, stream: int) -> None:
        """See `DevicePredictor`.

        Raises:
            ModelError: If the network cannot be run, or the predictor is closed.
        """
        with self._lock:
            if self._session is None:
                raise ModelError(
                    f"the predictor {self.path} must be open; it was closed. Load it again."
                )
            binding = self._session.io_binding()
            place = ("cuda", self._device.gpu.ordinal, np.float32)
            shapes = self.contract.inputs.items()
            for (name, shape), address in zip(shapes, inputs, strict=True):
                binding.bind_input(name, *place, (batch, *shape), address)
            binding.bind_output(OUTPUT, *place, (batch, self.contract.count), arguments)
            own = int(self._stream.handle)
            self._fence.order(stream, own)
            try:
                self._session.run_with_iobinding(binding, self._run_options)
            except Exception as error:  # ONNX Runtime's error classes share no public base
                raise ModelError(
                    f"{self.path} must run on {batch} thumbnails; ONNX Runtime fails "
                    f"({shortened(error)}). Use a smaller batch."
                ) from error
            self._fence.order(own, stream)

    def sha256(self) -> str:
        """See `DevicePredictor`."""
        return self._sha256

    def close(self) -> None:
        """Release the session and the stream."""
        with self._lock, self._device.current():
            if self._stream is not None:
                self._stream.synchronize()
            self._session = self._stream = None
            self._fence.release()


class OnnxHostPredictor:
    """ONNX Runtime on the CPU behind the device interface: copies through page-locked memory.

    `enqueue` waits for the stream. For machines where no predictor for the GPU is installed.

    Args:
        path: A predictor ONNX file.
        device: The GPU.
        threads: Of one prediction; None for ONNX Runtime's choice.

    Raises:
        ModelError, TypeError, ValueError: As in `OnnxPredictor`.
    """

    thumbnail_type: Literal["float32", "float16"] = "float32"
    largest_batch = 64
    capturable = False

    def __init__(self, path: str | Path, device: Device, threads: int | None = None) -> None:
        self._predictor = OnnxPredictor(path, threads)
        self.path, self.contract = self._predictor.path, self._predictor.contract
        self.filters = self.contract.filters
        self.metadata = self._predictor.metadata
        self._device = device
        self._lock = threading.Lock()
        with device.current():
            self._memory = Memory(device)
            self._fence = Fence()
            non_blocking = 1
            self._stream: Any = device.pycuda.Stream(non_blocking)

    def enqueue(self, batch: int, inputs: Sequence[int], arguments: int, stream: int) -> None:
        """See `DevicePredictor`.

        Raises:
            ModelError: As in `OnnxPredictor.predict`.
            DeviceMemoryError: If there is no page-locked memory.
        """
        pycuda = self._device.pycuda
        with self._lock:
            copies = []
            self._fence.order(stream, int(self._stream.handle))
            for address, tail in zip(inputs, self.contract.inputs.values(), strict=True):
                shape = (batch, *tail)
                size = 4 * math.prod(shape)
                host = self._memory.allocate_pinned(size).view(np.float32).reshape(shape)
                pycuda.memcpy_dtoh_async(host, address, self._stream)
                copies.append(host)
            self._stream.synchronize()
            answer = self._memory.allocate_pinned(4 * batch * self.contract.count)
            predicted = self._predictor.predict(*copies)
            np.copyto(answer.view(np.float32).reshape(predicted.shape), predicted)
            pycuda.memcpy_htod_async(arguments, answer, self._stream)
            self._stream.synchronize()

    def sha256(self) -> str:
        """See `DevicePredictor`."""
        return self._predictor.sha256()

    def close(self) -> None:
        """Release the session and the memory."""
        with self._lock, self._device.current():
            self._predictor.close()
            if self._stream is not None:
                self._stream.synchronize()
                self._fence.release()
                self._memory.release()
            self._stream = None


def open_predictor(
    model: str | Path | None,
    device: Device,
    threads: int | None = None,
    allow_host_code: bool = False,
) -> DevicePredictor:
    """Load a predictor for the GPU: an .engine file by TensorRT, an ONNX file by what is installed.

    An ONNX file is built to an engine by `tensorrt` on its first use (`cached_engine` keeps it), or
    else runs in ONNX Runtime's CUDA provider, or else in ONNX Runtime on the CPU. A log line says
    what is built, and why something further down the list was taken.

    Args:
        model: The file; None for the model that ships with the package.
        device: The GPU.
        threads: Of ONNX Runtime on the CPU.
        allow_host_code: As in `EnginePredictor`.

    Raises:
        ModelError: If the file is not a predictor of this project, or cannot run here.
    """
    path = default_model() if model is None else Path(model)
    if path.suffix.lower() == ".engine":
        return _open_engine(path, device, allow_host_code)
    if importlib.util.find_spec("tensorrt") is not None:
        try:
            return _build_engine(path, device)
        except (EngineError, DeviceError, OSError) as error:
            _log.warning("%s runs without TensorRT: %s", path, error)
    if "CUDAExecutionProvider" in import_onnxruntime().get_available_providers():
        return OnnxCudaPredictor(path, device)
    _log.warning(
        "the network runs on the CPU: neither a TensorRT engine nor onnxruntime-gpu is there. "
        "Pass model=FILE.engine, or install onnxruntime-gpu in place of onnxruntime."
    )
    return OnnxHostPredictor(path, device, threads)


def _open_engine(path: Path, device: Device, allow_host_code: bool) -> DevicePredictor:
    from harmonizer.engine import EnginePredictor

    with device.current():
        predictor: DevicePredictor = EnginePredictor(path, None, "auto", allow_host_code)
    return predictor


def _build_engine(path: Path, device: Device) -> DevicePredictor:
    """The model's engine from the cache; TensorRT-RTX is used where an engine of it is named."""
    from harmonizer.engine import cached_engine

    _log.info("TensorRT runs %s; the engine is built on its first use.", path)
    with device.current():
        engine = cached_engine(path, module="tensorrt")
    return _open_engine(engine, device, allow_host_code=False)
