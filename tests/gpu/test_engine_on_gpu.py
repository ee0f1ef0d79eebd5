"""Engines built and run on a GPU, against ONNX Runtime on the same file. Not run on a GPU yet."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_device import EMULATED, NOT_FOR_THIS_GPU, require, require_gpu
from repository import ROOT
from tiny_predictor import write_predictor

from export import tolerances
from export.metadata import describe
from export.to_onnx import build_graph
from harmonizer.engine import BuildOptions, EnginePredictor, build_engine, describe_engine
from harmonizer.engine.files import description_path
from harmonizer.engine.library import MODULES
from harmonizer.errors import EngineError
from harmonizer.predictor import OnnxPredictor
from train.checkpoints import load_checkpoint

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=MODULES)
def module(request: pytest.FixtureRequest) -> str:
    if EMULATED:
        pytest.skip("TensorRT needs a real driver; this one is emulated")
    require_gpu()
    name: str = request.param
    import pycuda.autoprimaryctx
    import pycuda.driver as cuda

    capability = cuda.Context.get_device().compute_capability()
    if name == "tensorrt_rtx" and capability in ((9, 0), (10, 0), (10, 3)):
        pytest.skip(f"tensorrt_rtx {NOT_FOR_THIS_GPU}, which is one for data centres")
    require(importlib.util.find_spec(name), f"{name} is not installed")
    assert pycuda.autoprimaryctx.context is not None
    return name


def predict(
    predictor: EnginePredictor, composite: np.ndarray, mask: np.ndarray, stream: Any
) -> np.ndarray:
    """Copy in, enqueue, copy out; two kilobytes behind the answer must stay as they were."""
    import pycuda.driver as cuda

    kind = np.dtype(predictor.thumbnail_type)
    answer = np.full(len(composite) * len(predictor.filters) + 512, 7, np.float32)
    inputs = [np.ascontiguousarray(a.astype(kind)) for a in (composite, mask)]
    buffers = [cuda.mem_alloc(a.nbytes) for a in (*inputs, answer)]
    for buffer, array in zip(buffers, (*inputs, answer), strict=True):
        cuda.memcpy_htod_async(buffer, array, stream)
    *given, told = map(int, buffers)
    predictor.enqueue(len(composite), given, told, stream.handle)
    cuda.memcpy_dtoh_async(answer, buffers[2], stream)
    stream.synchronize()
    assert (answer[-512:] == 7).all()
    return answer[:-512].reshape(len(composite), -1)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_shipped_model_predicts_as_onnx_runtime_does(
    module: str, precision: str, checkpoint: Path, tmp_path: Path
) -> None:
    import pycuda.driver as cuda

    path = ROOT / "models/harmonizer.onnx"
    limit = tolerances.TENSORRT_FP32_ARGUMENTS
    if precision == "fp16":
        import onnx

        network = load_checkpoint(checkpoint)
        graph = build_graph(network, "predictor", "fp16")
        describe(graph, network.config, checkpoint, "predictor", "fp16")
        path, limit = tmp_path / "half.onnx", tolerances.TENSORRT_FP16_ARGUMENTS
        onnx.save(graph, path)
    report = build_engine(path, tmp_path / "a.engine", module=module)
    assert report["inspected"]["layers"], report["inspected"]["reason"]
    random = np.random.default_rng(2)
    streams = [cuda.Stream(), cuda.Stream()]
    with OnnxPredictor(path) as reference, EnginePredictor(tmp_path / "a.engine") as predictor:
        assert predictor.filters == reference.filters
        for batch in (1, 2, 16, 1):
            composite = random.random((batch, 3, 256, 256), np.float32)
            mask = np.zeros((batch, 1, 256, 256), np.float32)
            mask[:, :, 60:190, 80:200] = 1
            expected = reference.predict(composite, mask)
            for stream in streams:
                got = predict(predictor, composite, mask, stream)
                assert np.abs(got - expected).max() <= limit, (batch, got, expected)


def test_engine_without_description_is_checked_against_its_model(
    module: str, tmp_path: Path
) -> None:
    onnx_path, engine = write_predictor(tmp_path / "a.onnx"), tmp_path / "a.engine"
    build_engine(onnx_path, engine, BuildOptions((1, 2)), module)
    description_path(engine).unlink()
    with EnginePredictor(engine, onnx_path) as predictor:
        assert predictor.largest_batch == 2
    other = write_predictor(tmp_path / "b.onnx", offset=0.5)
    with pytest.raises(EngineError, match="not from"):
        EnginePredictor(engine, other)
    describe_engine(engine, write_predictor(tmp_path / "c.onnx", filters=("tint", "shadow")))
    with pytest.raises(EngineError):
        EnginePredictor(engine)


def test_damaged_engine_is_refused_and_the_process_lives(module: str, tmp_path: Path) -> None:
    onnx_path, engine = write_predictor(tmp_path / "a.onnx"), tmp_path / "a.engine"
    build_engine(onnx_path, engine, BuildOptions(), module)
    data = bytearray(engine.read_bytes())
    for at in range(64, len(data), max(1, len(data) // 40)):
        data[at] ^= 0xFF
    good = engine.read_bytes()
    engine.write_bytes(data)
    with pytest.raises(EngineError, match="or this one is damaged"):
        EnginePredictor(engine)
    engine.write_bytes(good)
    EnginePredictor(engine).close()
