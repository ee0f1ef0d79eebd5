"""Backend `cuda` where it cannot work: one clear sentence, no crash, and the CPU for `auto`."""

import importlib.util
import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_driver.build import build_driver, find_headers
from repository import ROOT

from harmonizer import _native, gpu
from harmonizer.backends import Backend, build_renderer
from harmonizer.cuda.arrays import is_device_array, stream_handle
from harmonizer.errors import DeviceError, EngineError, ModelError, NativeLibraryError
from harmonizer.harmonizer import Harmonizer
from harmonizer.renderer import CpuRenderer


@pytest.fixture
def driverless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no driver were installed."""
    monkeypatch.setattr(gpu, "LIBRARY", "libcuda.so.absent")
    gpu.load_driver.cache_clear()


def run(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An emulated driver, whose settings a test may add; no kernels."""
    if find_headers() is None:
        pytest.skip("no cuda.h: neither a CUDA toolkit nor NVIDIA's wheels are installed")
    folder = build_driver(tmp_path_factory.mktemp("driver")).parent
    return {"LD_LIBRARY_PATH": str(folder)}


def test_cuda_without_driver_is_one_sentence_and_loads_no_gpu_library(driverless: None) -> None:
    with pytest.raises(DeviceError, match=r"needs an NVIDIA driver.*Use backend `cpu`") as caught:
        Harmonizer(backend="cuda")
    assert isinstance(caught.value, NativeLibraryError)
    assert "\n" not in str(caught.value)
    assert "pycuda.driver" not in sys.modules


def test_auto_without_driver_draws_on_the_cpu_and_logs_it(
    driverless: None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert isinstance(build_renderer("auto", 1), CpuRenderer)
    assert "drawing on the CPU: there is no NVIDIA driver" in caplog.text
    assert all(record.levelno == logging.INFO for record in caplog.records)


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of auto, cpu, cuda; got 'gpu'"):
        build_renderer("gpu")  # type: ignore[arg-type]


PLAN_HEADER = b"ftrt" + bytes(20) + bytes([10, 16, 1, 11])


def test_engine_with_backend_cpu_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(PLAN_HEADER)
    with pytest.raises(ModelError, match="is a TensorRT engine, which runs on a GPU"):
        Harmonizer(tmp_path / "model.engine", backend="cpu")


def test_engine_with_auto_without_driver_names_the_driver(driverless: None, tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(PLAN_HEADER)
    with pytest.raises(DeviceError, match=r"needs an NVIDIA driver.*use the \.onnx file"):
        Harmonizer(tmp_path / "model.engine")


@pytest.mark.parametrize("backend", ["auto", "cpu", "cuda"])
def test_what_is_no_engine_is_said_before_a_gpu_is_looked_for(
    driverless: None, tmp_path: Path, model: Path, backend: Backend
) -> None:
    path = tmp_path / "model.engine"
    with pytest.raises(EngineError, match="does not exist"):
        Harmonizer(path, backend=backend)
    path.write_bytes(model.read_bytes())
    with pytest.raises(EngineError, match="it is an ONNX model"):
        Harmonizer(path, backend=backend)


def test_stream_with_backend_cpu_is_refused() -> None:
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    with (
        Harmonizer(backend="cpu", threads=1) as harmonizer,
        pytest.raises(ValueError, match="`stream` orders work on a GPU"),
    ):
        harmonizer(image, mask, stream=1)


def test_batch_and_each_on_the_cpu_equal_single_calls() -> None:
    generator = np.random.default_rng(3)
    images = [generator.integers(0, 256, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
    masks = [np.pad(np.full((8, 8), 255, np.uint8), ((8, 8), (4, 20))) for _ in images]
    with Harmonizer(backend="cpu", threads=1) as harmonizer:
        singles = [harmonizer(i, m) for i, m in zip(images, masks, strict=True)]
        batched = harmonizer.batch(images, masks)
        in_turn = list(harmonizer.each(zip(images, masks, strict=True)))
    for single, first, second in zip(singles, batched, in_turn, strict=True):
        assert np.array_equal(single, first) and np.array_equal(single, second)


@pytest.mark.parametrize("words", (["image", "c.png", "m.png", "-o", "o.png"], ["doctor"]))
def test_command_line_without_driver_does_not_crash(scene: Path, words: list[str]) -> None:
    if gpu.has_driver():
        pytest.skip("this machine has a driver")
    command = [sys.executable, "-X", "faulthandler", "-m", "harmonizer.cli", *words]
    if words[0] == "image":
        command += ["--backend", "cuda"]
    result = subprocess.run(command, cwd=scene, capture_output=True, text=True, check=False)
    if words[0] == "image":
        assert result.returncode == 1
        assert result.stderr.startswith("harmonizer: error: backend `cuda` needs an NVIDIA driver")
        assert result.stderr.count("\n") == 1
    else:
        assert result.returncode == 0
        assert "draws on the CPU: backend `cuda` needs an NVIDIA driver" in result.stdout


@pytest.mark.parametrize(
    ("setting", "said"),
    (
        ({"HZ_EMULATED_DEVICES": "0"}, "the driver finds none"),
        ({"HZ_EMULATED_INIT": "999"}, "it does not start (cuInit gives 999)"),
        ({"HZ_EMULATED_INIT": "803"}, "its parts have different versions"),
        ({"HZ_EMULATED_INIT": "34"}, "it is the toolkit's stub"),
        ({"HZ_EMULATED_DRIVER": "11040"}, "for CUDA 12.0 or newer; this one supports 11.4"),
        ({"HZ_EMULATED_CAPABILITY": "70"}, "7.5 (Turing) or newer; Emulated GPU 0 has 7.0"),
    ),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_driver_or_gpu_is_one_sentence(
    emulated: dict[str, str], setting: dict[str, str], said: str
) -> None:
    code = "from harmonizer import Harmonizer; Harmonizer(backend='cuda')"
    result = run(code, emulated | setting)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("harmonizer.errors.DeviceError: backend `cuda` needs")
    assert said in last


def test_auto_with_unusable_driver_warns_and_draws_on_the_cpu(emulated: dict[str, str]) -> None:
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("PyCUDA is not installed: without it no GPU is meant")
    code = "from harmonizer import Harmonizer; print(Harmonizer(backend='auto').backend)"
    result = run(code, emulated | {"HZ_EMULATED_DEVICES": "0"})
    assert result.stdout == "cpu\n"
    assert result.stderr.count("drawing on the CPU, for the GPU cannot be used") == 1


def test_missing_gpu_and_missing_package_are_named(emulated: dict[str, str]) -> None:
    code = "from harmonizer.cuda.renderer import CudaRenderer; CudaRenderer(5)"
    assert "0 to 0; got 5. Choose another" in run(code, emulated).stderr
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name: None if name == 'pycuda' else find(name)\n"
        "from harmonizer import Harmonizer; Harmonizer(backend='cuda')"
    )
    assert "backend `cuda` needs PyCUDA; it is not installed" in run(code, emulated).stderr


def test_import_of_package_loads_no_gpu_library() -> None:
    code = (
        "import sys, harmonizer.harmonizer, harmonizer.doctor, harmonizer.gpu\n"
        "print([n for n in sys.modules if n.split('.')[0] in ('pycuda', 'cuda', 'tensorrt')])"
    )
    assert run(code, {}).stdout == "[]\n"


def test_stream_handle_takes_every_kind() -> None:
    class Torch:
        cuda_stream = 77

    class Cupy:
        ptr = 78

    class Python:
        def __cuda_stream__(self) -> tuple[int, int]:
            return 0, 79

    class TorchDefault:
        cuda_stream = 0

    assert [stream_handle(s) for s in (Torch(), Cupy(), Python(), 5)] == [77, 78, 79, 5]
    assert stream_handle(TorchDefault()) == 1
    for wrong in (True, 1.5, "1", object()):
        with pytest.raises(TypeError, match="`stream` must be a stream of torch"):
            stream_handle(wrong)


def test_host_arrays_are_no_device_arrays() -> None:
    torch = pytest.importorskip("torch")
    assert not is_device_array(np.zeros(3))
    assert not is_device_array(torch.zeros(3))
    assert not is_device_array([1, 2])


def test_device_array_that_wants_gradients_is_known_by_dlpack() -> None:
    """As PyTorch's: its other interface raises, and what refuses it is the reader."""

    class WantsGradients:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        @property
        def __cuda_array_interface__(self) -> dict[str, object]:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

    assert is_device_array(WantsGradients())


def test_structs_match_the_header(tmp_path: Path) -> None:
    import ctypes

    source = tmp_path / "sizes.c"
    source.write_text(
        '#include <stdio.h>\n#include <stddef.h>\n#include "harmonizer_cuda.h"\n'
        'int main(void) { printf("%zu %zu %zu %zu %zu %d", sizeof(hz_launch), sizeof(hz_frame),\n'
        "sizeof(hz_report), offsetof(hz_launch, parameters), offsetof(hz_frame, processors),\n"
        "HZ_MOST_LAUNCHES); }\n"
    )
    folders = ("runtime/cpp/include", "runtime/kernels")
    command = ["cc", *(f"-I{ROOT / folder}" for folder in folders), source.name, "-o", "sizes"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True).stdout
    assert list(map(int, said.split())) == [
        ctypes.sizeof(_native.Launch),
        ctypes.sizeof(_native.Frame),
        ctypes.sizeof(_native.Report),
        _native.Launch.parameters.offset,
        _native.Frame.processors.offset,
        _native.MOST_LAUNCHES,
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_onnx_model_runs_as_an_engine_where_tensorrt_is_installed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    """Otherwise in ONNX Runtime, and a warning says why."""
    from harmonizer import engine
    from harmonizer.cuda import predictor

    def build(path: Path, module: str) -> Path:
        if fails:
            raise EngineError("no kernel for this GPU")
        return path.with_suffix(f".{module}")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorrt")
    monkeypatch.setattr(engine, "cached_engine", build)
    monkeypatch.setattr(engine, "EnginePredictor", lambda path, *rest: ("engine", str(path)))
    for name in ("OnnxCudaPredictor", "OnnxHostPredictor"):
        monkeypatch.setattr(predictor, name, lambda path, *rest: ("onnx", str(path)))
    device = SimpleNamespace(current=nullcontext)
    opened = predictor.open_predictor("a.onnx", device)  # type: ignore[arg-type]
    assert opened == (("onnx", "a.onnx") if fails else ("engine", "a.tensorrt"))
    assert ("a.onnx runs without TensorRT: no kernel for this GPU" in caplog.text) == fails
    assert predictor.open_predictor("b.engine", device) == ("engine", "b.engine")  # type: ignore[arg-type]


def test_old_name_of_surfaces_warns_and_is_the_same_class() -> None:
    import harmonizer.cuda.video as old
    from harmonizer.cuda.surfaces import Surface

    with pytest.warns(DeprecationWarning, match=r"harmonizer\.cuda\.surfaces\.Surface"):
        assert old.VideoImage is Surface
    with pytest.raises(AttributeError, match="no attribute 'SurfaceView'"):
        _ = old.SurfaceView
