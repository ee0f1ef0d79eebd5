"""What an engine needs of the machine: a driver with a GPU, and a TensorRT that can be imported."""

import ctypes
import sys
from pathlib import Path
from typing import Any

import pytest

from harmonizer.engine.library import choose_module, import_tensorrt
from harmonizer.errors import DeviceError
from harmonizer.gpu import Gpu, current_gpu


class FakeDriver:
    """The six functions of libcuda that are called, with their answers."""

    def __init__(self, init: int = 0, version: int = 13000, devices: int = 1, current: int = 201):
        self.init, self.version, self.devices, self.current = init, version, devices, current

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDriverGetVersion(self, out: Any) -> int:  # noqa: N802
        out._obj.value = self.version
        return 0

    def cuCtxGetDevice(self, out: Any) -> int:  # noqa: N802
        return self.current

    def cuDeviceGet(self, out: Any, ordinal: int) -> int:  # noqa: N802
        return 0 if ordinal < self.devices else 101

    def cuDeviceGetName(self, out: Any, size: int, device: Any) -> int:  # noqa: N802
        out.value = b"NVIDIA H200"
        return 0

    def cuDeviceGetAttribute(self, out: Any, attribute: int, device: Any) -> int:  # noqa: N802
        out._obj.value = {75: 9, 76: 0}[attribute]
        return 0


@pytest.mark.parametrize(
    ("driver", "words"),
    [
        (FakeDriver(init=100), "TensorRT needs an NVIDIA GPU; the driver finds none"),
        (FakeDriver(init=803), r"its parts have different versions \(cuInit gives 803\)"),
        (FakeDriver(version=12040), r"CUDA 13 or newer; the one installed supports 12\.4"),
        (FakeDriver(devices=0), "the driver has none"),
    ],
)
def test_find_gpu_driver_that_is_no_use_is_refused(
    monkeypatch: pytest.MonkeyPatch, driver: FakeDriver, words: str
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    with pytest.raises(DeviceError, match=words):
        current_gpu(cuda=13)


@pytest.mark.parametrize("current", [0, 201])
def test_find_gpu_working_driver_is_described(
    monkeypatch: pytest.MonkeyPatch, current: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeDriver(current=current))
    assert current_gpu(cuda=13) == Gpu("NVIDIA H200", "9.0")


def test_module_unknown_absent_broken_or_old_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="must be auto, tensorrt or tensorrt_rtx; got 'onnx'"):
        choose_module("onnx")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="needs tensorrt or tensorrt_rtx; not installed"):
        choose_module("auto")
    monkeypatch.undo()
    (tmp_path / "tensorrt.py").write_text("raise OSError('libnvinfer.so.11: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(DeviceError, match=r"`import tensorrt` must work.*libnvinfer\.so\.11"):
        import_tensorrt("tensorrt")
    (tmp_path / "tensorrt.py").write_text("__version__ = '10.9.0.34'  # another length")
    with pytest.raises(DeviceError, match=r"must be 10\.12 or newer.*this is 10\.9\.0\.34"):
        import_tensorrt("tensorrt")
    sys.modules.pop("tensorrt", None)
