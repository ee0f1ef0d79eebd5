"""A recording stand-in for the `tensorrt` module: what cannot run without a GPU and a driver.

It has only names that both versions of the real module have; test_tensorrt_names.py checks that.
"""

import enum
import importlib.machinery
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tiny_predictor import write_predictor

from harmonizer.gpu import Gpu

VERSION = (10, 16, 1, 11)
GPU = Gpu("Stand-in 1", "9.0")


class DataType(enum.Enum):
    FLOAT, HALF, INT8 = range(3)


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = range(2)


class TensorFormat(enum.Enum):
    LINEAR, HWC8 = range(2)


class TensorLocation(enum.Enum):
    DEVICE, HOST = range(2)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


@dataclass
class Tensor:
    mode: TensorIOMode
    shape: tuple[int, ...]
    dtype: DataType = DataType.FLOAT
    format: TensorFormat = TensorFormat.LINEAR
    location: TensorLocation = TensorLocation.DEVICE


def contract(arguments: int = 6) -> dict[str, Tensor]:
    return {
        "composite": Tensor(TensorIOMode.INPUT, (-1, 3, 256, 256)),
        "mask": Tensor(TensorIOMode.INPUT, (-1, 1, 256, 256)),
        "arguments": Tensor(TensorIOMode.OUTPUT, (-1, arguments)),
    }


@dataclass
class State:
    """What the stand-in answers, and what it was asked."""

    tensors: dict[str, Tensor] = field(default_factory=contract)
    batch: tuple[int, int, int] = (1, 1, 16)
    name: str = "Unnamed Network 0"
    fails: set[str] = field(default_factory=set)
    says: str = ""
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    contexts: int = 0

    def failing(self, method: str, log: Callable[[int, str], None]) -> bool:
        if method in self.fails:
            log(ILogger.INFO, "not worth repeating")
            log(ILogger.ERROR, self.says)
        return method in self.fails


def make_module(state: State) -> types.ModuleType:
    class IExecutionContext:
        def __init__(self, log: Callable[[int, str], None]) -> None:
            self._number, self._log = state.contexts, log
            state.contexts += 1

        def _call(self, method: str, *arguments: Any) -> bool:
            state.calls.append((self._number, method, *arguments))
            return not state.failing(method, self._log)

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            return self._call("set_input_shape", name, shape)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            return self._call("set_tensor_address", name, memory)

        def execute_async_v3(self, stream_handle: int) -> bool:
            return self._call("execute_async_v3", stream_handle)

    class ICudaEngine:
        device_memory_size_v2 = 70 << 20

        def __init__(self, log: Callable[[int, str], None]) -> None:
            self._log = log
            self.name, self.num_io_tensors = state.name, len(state.tensors)

        def get_tensor_name(self, index: int) -> str:
            return list(state.tensors)[index]

        def get_tensor_mode(self, name: str) -> TensorIOMode:
            return state.tensors[name].mode

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return state.tensors[name].shape

        def get_tensor_dtype(self, name: str) -> DataType:
            return state.tensors[name].dtype

        def get_tensor_format(self, name: str) -> TensorFormat:
            return state.tensors[name].format

        def get_tensor_location(self, name: str) -> TensorLocation:
            return state.tensors[name].location

        def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
            assert index == 0
            return [(batch, *state.tensors[name].shape[1:]) for batch in state.batch]

        def create_execution_context(self) -> IExecutionContext | None:
            if state.failing("create_execution_context", self._log):
                return None
            return IExecutionContext(self._log)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._log = logger.log
            self.engine_host_code_allowed = False
            state.calls.append(("Runtime",))

        def deserialize_cuda_engine(self, data: bytes) -> ICudaEngine | None:
            state.calls.append(("deserialize", len(data), self.engine_host_code_allowed))
            if state.failing("deserialize_cuda_engine", self._log):
                return None
            return ICudaEngine(self._log)

    module = types.ModuleType("tensorrt")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    names = {
        "__version__": ".".join(map(str, VERSION)),
        "DataType": DataType,
        "TensorIOMode": TensorIOMode,
        "TensorFormat": TensorFormat,
        "TensorLocation": TensorLocation,
        "ILogger": ILogger,
        "IExecutionContext": IExecutionContext,
        "ICudaEngine": ICudaEngine,
        "Runtime": Runtime,
    }
    for name, value in names.items():
        setattr(module, name, value)
    return module


def install(monkeypatch: pytest.MonkeyPatch, gpu: Gpu = GPU) -> State:
    """Make `import tensorrt` give the stand-in, on a GPU of this kind."""
    state = State()
    monkeypatch.setitem(sys.modules, "tensorrt", make_module(state))
    monkeypatch.setattr("harmonizer.engine.library._loggers", {})
    monkeypatch.setattr("harmonizer.engine.predictor.current_gpu", lambda cuda: gpu)
    return state


def write_plan(path: Path, version: tuple[int, ...] = VERSION, body: bytes = b"plan") -> Path:
    """A file with TensorRT's plan header, as trtexec writes it, and nothing that could run."""
    path.write_bytes(b"ftrt" + bytes(20) + bytes(version) + body)
    return path


def write_pair(folder: Path, version: tuple[int, ...] = VERSION) -> tuple[Path, Path]:
    """Such a plan, and the ONNX model that it is said to be built from."""
    return (
        write_plan(folder / "a.engine", version),
        write_predictor(folder / "a.onnx"),
    )
