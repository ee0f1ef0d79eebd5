"""The parity ladder on a GPU, through Polygraphy: torch, then each predictor, arguments and pixels.

On the emulated device only ONNX Runtime on the CPU can predict; the others need a real GPU, and
have not run on one yet; that one ran beside an H200.
"""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calibration_data import curves_checkpoint
from gpu_device import EMULATED, require, require_gpu
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import Comparator
from polygraphy.logger import G_LOGGER
from repository import ROOT
from torch import Tensor

from export import tolerances
from export.metadata import Precision, describe
from export.to_onnx import build_graph
from export.verify import TorchRunner, composites
from harmonizer.arguments import Arguments
from harmonizer.predictor import import_onnxruntime
from train.checkpoints import load_checkpoint
from train.registry import contract_of

pytestmark = pytest.mark.gpu

IMAGES = 1 if EMULATED else 4

LIMITS = {  # arguments, pixels
    ("harmonizer", "fp32"): (
        tolerances.ONNX_FP32_ARGUMENTS + tolerances.TENSORRT_FP32_ARGUMENTS,
        tolerances.ONNX_FP32_PIXELS + tolerances.CUDA_F32,
    ),
    ("harmonizer", "fp16"): (
        tolerances.ONNX_FP16_ARGUMENTS + tolerances.TENSORRT_FP16_ARGUMENTS,
        tolerances.ONNX_FP16_PIXELS + tolerances.CUDA_F32,
    ),
    ("s2crnet", "fp32"): (
        tolerances.ONNX_FP32_SLOPES + tolerances.TENSORRT_FP32_SLOPES,
        tolerances.ONNX_FP32_PIXELS + tolerances.CUDA_F32,
    ),
    ("s2crnet", "fp16"): (
        tolerances.ONNX_FP16_SLOPES + tolerances.TENSORRT_FP16_SLOPES,
        tolerances.ONNX_FP16_PIXELS + tolerances.CUDA_F32,
    ),
}
"""What each rung may add to the one before."""


class DeviceRunner(BaseRunner):
    """A predictor on device memory, with inputs and answers of the host."""

    def __init__(self, name: str, predictor: Any, cuda: Any) -> None:
        super().__init__(name=name)
        self._predictor, self._cuda = predictor, cuda
        self._stream = cuda.Stream()

    def get_input_metadata_impl(self) -> TensorMetadata:
        metadata = TensorMetadata()
        for name, shape in self._predictor.contract.inputs.items():
            metadata.add(name, np.dtype(np.float32), (-1, *shape))
        return metadata

    def infer_impl(self, feed_dict: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        cuda, predictor = self._cuda, self._predictor
        names = predictor.contract.inputs
        inputs = [feed_dict[name].astype(predictor.thumbnail_type) for name in names]
        answer = np.empty((len(inputs[0]), predictor.contract.count), np.float32)
        buffers = [cuda.mem_alloc(array.nbytes) for array in (*inputs, answer)]
        for buffer, array in zip(buffers, inputs, strict=False):
            cuda.memcpy_htod_async(buffer, np.ascontiguousarray(array), self._stream)
        addresses = [int(buffer) for buffer in buffers]
        predictor.enqueue(len(answer), addresses[:-1], addresses[-1], int(self._stream.handle))
        cuda.memcpy_dtoh_async(answer, buffers[-1], self._stream)
        self._stream.synchronize()
        for buffer in buffers:
            buffer.free()
        self.inference_time = 0.0
        return {"arguments": answer}


def onnx_on_host(path: Path, device: Any) -> Any:
    from harmonizer.cuda.predictor import OnnxHostPredictor

    return OnnxHostPredictor(path, device, 1)


def onnx_on_gpu(path: Path, device: Any) -> Any:
    from harmonizer.cuda.predictor import OnnxCudaPredictor

    return OnnxCudaPredictor(path, device)


def tensorrt(path: Path, device: Any) -> Any:
    from harmonizer.engine import EnginePredictor, build_engine

    build_engine(path, path.with_suffix(".engine"), module="tensorrt")
    return EnginePredictor(path.with_suffix(".engine"))


OPENERS: dict[str, Callable[[Path, Any], Any]] = {
    "onnxruntime on the CPU": onnx_on_host,
    "onnxruntime on the GPU": onnx_on_gpu,
    "tensorrt": tensorrt,
}


def require_kind(kind: str) -> None:
    """Skip, or fail where everything must be there, before minutes go into an export."""
    if kind == "onnxruntime on the GPU":
        providers = import_onnxruntime().get_available_providers()
        require("CUDAExecutionProvider" in providers, "onnxruntime-gpu is not installed")
    if kind == "tensorrt":
        require(importlib.util.find_spec("tensorrt"), "tensorrt is not installed")


@pytest.fixture
def renderer() -> Iterator[Any]:
    require_gpu()
    from harmonizer.cuda.renderer import CudaRenderer

    with CudaRenderer() as made, made.device.current():
        yield made


def export(model: str, precision: Precision, checkpoint: Path, folder: Path) -> Path:
    """The predictor of a checkpoint in a precision; the shipped file where there is one."""
    import onnx

    if (model, precision) == ("harmonizer", "fp32"):
        (folder / "model.onnx").write_bytes((ROOT / "models/harmonizer.onnx").read_bytes())
    else:
        network = load_checkpoint(checkpoint)
        graph = build_graph(network, "predictor", precision)
        describe(graph, network.config, checkpoint, "predictor", precision)
        onnx.save(graph, folder / "model.onnx")
    return folder / "model.onnx"


def on_host(tensor: Tensor) -> np.ndarray:
    """(1, C, H, W) as (H, W, C) without gaps."""
    return np.ascontiguousarray(tensor[0].permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("model", "precision"), LIMITS)
@pytest.mark.parametrize("kind", OPENERS)
def test_predictor_agrees_with_torch_in_arguments_and_pixels(
    renderer: Any, kind: str, model: str, precision: Precision, checkpoint: Path, tmp_path: Path
) -> None:
    if EMULATED and (kind, precision) != ("onnxruntime on the CPU", "fp32"):
        pytest.skip(f"{precision} on {kind} is for a real driver; this one is emulated")
    require_kind(kind)
    if model == "s2crnet":
        checkpoint = curves_checkpoint(tmp_path / "curves.safetensors")
    network = load_checkpoint(checkpoint)
    contract = contract_of(network.config)
    scenes = list(composites(None, network.config.synthesis_filters))[:IMAGES]
    labels = [["vehicle"]] * (model == "s2crnet")
    feeds = [
        {n: t.numpy() for n, t in zip(contract.inputs, network.prepare(*s, *labels), strict=True)}
        for s in scenes
    ]
    path = export(model, precision, checkpoint, tmp_path)
    predictor = OPENERS[kind](path, renderer.device)
    try:
        runners = [
            TorchRunner(network, "predictor"),
            DeviceRunner(kind, predictor, renderer.device.pycuda),
        ]
        with G_LOGGER.verbosity(G_LOGGER.ERROR):
            results = Comparator.run(runners, data_loader=feeds)
    finally:
        predictor.close()
    arguments_limit, pixels_limit = LIMITS[model, precision]
    for (composite, mask), wanted, got in zip(scenes, results["torch"], results[kind], strict=True):
        want, have = np.asarray(wanted["arguments"])[0], np.asarray(got["arguments"])[0]
        assert np.abs(want - have).max() <= arguments_limit, (kind, want, have)
        row = torch.from_numpy(want).double()[None]
        expected = network.render(composite.double(), mask.double(), row)[-1]
        arguments = Arguments.from_array(have, contract.filters, contract.sizes)
        drawn = renderer.render(on_host(composite), on_host(mask)[..., 0], arguments)
        error = np.abs(drawn - on_host(expected)).max()
        assert error <= pixels_limit, f"{kind}: pixels are off by {error}"
