"""Other libraries on the same GPU: torch and CuPy arrays and streams, ONNX Runtime's CUDA provider.

Needs a real GPU: none of them runs on the emulated device. torch's and CuPy's ran on an H200; ONNX
Runtime's CUDA provider has not.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_device import EMULATED, require, require_gpu
from tiny_predictor import write_predictor

from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import TYPICAL, picture, rectangle
from harmonizer.predictor import import_onnxruntime

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(EMULATED, reason="other libraries need a real GPU"),
]


@pytest.fixture
def pair() -> Iterator[tuple[Harmonizer, Harmonizer]]:
    require_gpu()
    with Harmonizer(backend="cpu") as on_cpu, Harmonizer(backend="cuda") as on_gpu:
        yield on_cpu, on_gpu


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch")
    require_gpu()
    require(module.cuda.is_available(), "this torch does not see the GPU")
    return module


def scene() -> tuple[np.ndarray, np.ndarray]:
    return picture(641, 363), rectangle(641, 363, 0.4)


def assert_close(drawn: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(drawn.astype(int) - expected).max() <= 1


def test_torch_tensors_in_and_out(torch: Any, pair: tuple[Harmonizer, Harmonizer]) -> None:
    on_cpu, on_gpu = pair
    image, mask = scene()
    expected = on_cpu(image, mask)
    planar = torch.from_numpy(image).permute(2, 0, 1).contiguous().cuda()
    cover = torch.from_numpy(mask).cuda()
    out = torch.zeros_like(planar)
    on_gpu(planar.permute(1, 2, 0), cover, out=out.permute(1, 2, 0))
    assert_close(out.permute(1, 2, 0).cpu().numpy(), expected)
    drawn = torch.as_tensor(on_gpu(planar.permute(1, 2, 0), cover), device="cuda")
    assert_close(drawn.cpu().numpy(), expected)


def test_torch_stream_is_respected(torch: Any, pair: tuple[Harmonizer, Harmonizer]) -> None:
    on_cpu, on_gpu = pair
    image, mask = scene()
    for stream in (torch.cuda.Stream(), torch.cuda.default_stream()):
        with torch.cuda.stream(stream):
            cover = torch.from_numpy(mask).cuda()
            for shift in range(10):
                moved = np.roll(image, shift, axis=0)
                source = torch.from_numpy(image).cuda().roll(shift, 0)
                busy = torch.ones(4096, 4096, device="cuda")
                for _ in range(3):
                    busy = busy @ busy * 1e-4
                out = torch.empty_like(source)
                on_gpu.render(source, cover, TYPICAL, out, stream)
                result = out.clone()
                del source
                assert_close(result.cpu().numpy(), on_cpu.render(moved, mask, TYPICAL))


def test_tensor_with_gradient_is_refused(torch: Any, pair: tuple[Harmonizer, Harmonizer]) -> None:
    tensor = torch.zeros(8, 8, 3, device="cuda", requires_grad=True)
    with pytest.raises(ValueError, match=r"Pass tensor.detach\(\)"):
        pair[1].renderer.draw(tensor, None, pair[0].measure(scene()[0], TYPICAL))


def test_cupy_arrays_in_and_out(pair: tuple[Harmonizer, Harmonizer]) -> None:
    cupy = pytest.importorskip("cupy")
    on_cpu, on_gpu = pair
    image, mask = scene()
    drawn = on_gpu(cupy.asarray(image), cupy.asarray(mask))
    assert_close(cupy.asnumpy(cupy.asarray(drawn)), on_cpu(image, mask))
    with cupy.cuda.Stream(non_blocking=True) as stream:
        out = cupy.empty_like(cupy.asarray(image))
        on_gpu(cupy.asarray(image), cupy.asarray(mask), out=out, stream=stream)
        assert_close(out.get(), on_cpu(image, mask))


def test_onnx_runtime_cuda_predicts_what_the_cpu_predicts(tmp_path: Path) -> None:
    require_gpu()
    require(
        "CUDAExecutionProvider" in import_onnxruntime().get_available_providers(),
        "onnxruntime-gpu is not installed",
    )
    image, mask = scene()
    for model in (None, write_predictor(tmp_path / "tiny.onnx")):
        with Harmonizer(model, "cpu") as on_cpu, Harmonizer(model, "cuda") as on_gpu:
            assert type(on_gpu.predictor).__name__ == "OnnxCudaPredictor"
            expected = on_cpu.predict(image, mask)
            assert on_gpu.predict(image, mask).numbers == pytest.approx(expected.numbers, abs=1e-3)
            frames = [(np.roll(image, n, axis=1), mask) for n in range(6)]
            for (moved, cover), drawn in zip(frames, on_gpu.each(frames), strict=True):
                assert np.abs(drawn.astype(int) - on_cpu(moved, cover)).max() <= 3
