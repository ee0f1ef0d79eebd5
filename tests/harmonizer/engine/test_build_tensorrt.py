"""Builds by TensorRT, for which TensorRT-RTX stands in: options, timings, drivers."""

import importlib.machinery
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tensorrt_stand_in import GPU
from tiny_predictor import write_predictor

from harmonizer.contract import Contract
from harmonizer.engine import BuildOptions, build_engine
from harmonizer.engine.build import _configure
from harmonizer.engine.files import description_path
from harmonizer.engine.library import logger_of
from harmonizer.engine.timing import open_timing_cache
from harmonizer.errors import DeviceError, EngineError
from harmonizer.gpu import Gpu
from harmonizer.ops import DEFAULT_FILTERS

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: make setup")

CONTRACT = Contract("harmonizer", DEFAULT_FILTERS, (1,) * 6)


@pytest.fixture
def as_tensorrt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """TensorRT-RTX under the name `tensorrt`, on a GPU that is not asked to run what it builds."""
    module = types.ModuleType("tensorrt")
    vars(module).update({k: v for k, v in vars(rtx).items() if not k.startswith("__")})
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    vars(module)["__version__"] = "10.16.1.11"
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    answers: list[Gpu] = []

    def find_once(cuda: int | None) -> Gpu:
        if len(answers) % 2:
            answers.clear()
            raise DeviceError("the stand-in is not run")
        answers.append(GPU)
        return GPU

    monkeypatch.setattr("harmonizer.engine.build.current_gpu", find_once)
    return module


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_tensorrt_takes_its_own_options_and_keeps_its_timings(
    tmp_path: Path, as_tensorrt: Any
) -> None:
    onnx_path, timings = write_predictor(tmp_path / "a.onnx"), tmp_path / "cache" / "timings"
    options = BuildOptions(hardware_compatibility="ampere-plus", optimization_level=2, tf32=True)
    for _ in range(2):  # writes the timings, then reads them
        report = build_engine(
            onnx_path, tmp_path / "a.engine", options, "tensorrt", timing_cache=timings
        )
        assert timings.is_file()
    assert report["gpu"] == {"name": GPU.name, "compute_capability": GPU.compute_capability}
    description = json.loads(description_path(tmp_path / "a.engine").read_text())
    assert description["gpu"] == report["gpu"] and description["module"] == "tensorrt"
    assert not [p.name for p in timings.parent.iterdir() if p.name.startswith(".engine")]


def test_configuration_says_what_the_options_say(as_tensorrt: Any) -> None:
    builder = rtx.Builder(logger_of(rtx))
    options = BuildOptions((2, 8), workspace_mib=64, optimization_level=1, version_compatible=True)
    config = _configure(as_tensorrt, builder, CONTRACT, options)
    assert config.get_flag(rtx.BuilderFlag.VERSION_COMPATIBLE)
    assert not config.get_flag(rtx.BuilderFlag.TF32)
    assert config.get_memory_pool_limit(rtx.MemoryPoolType.WORKSPACE) == 64 << 20
    assert config.builder_optimization_level == 1
    assert config.num_optimization_profiles == 1
    other = _configure(as_tensorrt, builder, CONTRACT, BuildOptions(tf32=True))
    assert other.get_flag(rtx.BuilderFlag.TF32)


def test_timing_cache_that_is_none_is_refused(tmp_path: Path) -> None:
    class Config:
        def create_timing_cache(self, data: bytes) -> object:
            return data

        def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
            return not (cache or ignore_mismatch)

    path = tmp_path / "timings"
    open_timing_cache(Config(), path)
    path.write_bytes(b"of another GPU")
    with pytest.raises(EngineError, match="must be a timing cache of this TensorRT and this GPU"):
        open_timing_cache(Config(), path)


def test_tensorrt_without_a_driver_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_driver(cuda: int | None) -> None:
        raise DeviceError("TensorRT needs an NVIDIA driver")

    monkeypatch.setattr("harmonizer.engine.build.current_gpu", no_driver)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(DeviceError, match="needs an NVIDIA driver"):
        build_engine(write_predictor(tmp_path / "a.onnx"), tmp_path / "a.engine")
    assert "tensorrt" not in sys.modules
