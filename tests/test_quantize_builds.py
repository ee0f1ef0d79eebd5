"""Real builds of reduced graphs: TensorRT-RTX's parser and builder need no GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from calibration_data import feeds
from conftest import ROOT

from calibration.cache import calibrate
from calibration.graph import PredictorGraph, load_graph
from calibration.rewrite import halve_blocks, quantize_blocks
from calibration.rows import scale_rows


@pytest.fixture(scope="module")
def statistics(small_model: Path) -> PredictorGraph:
    return load_graph(small_model)


@pytest.fixture(scope="module")
def encoder(encoder_model: Path) -> PredictorGraph:
    return load_graph(encoder_model)


@pytest.mark.parametrize("network", ["statistics", "encoder"])
@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_tensorrt_rtx_builds_the_graph(
    network: str,
    precision: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    graph: PredictorGraph = request.getfixturevalue(network)
    if precision == "int8":
        graph = scale_rows(graph, graph.blocks)
        model = quantize_blocks(graph, graph.blocks, calibrate(graph, feeds(4), "minmax"))
    else:
        model = halve_blocks(graph, [b for b in graph.blocks if not b.startswith("regressor")])
    onnx.save(model, tmp_path / "m.onnx")
    # In a process of its own: TensorRT's libraries stay loaded, and a crash is reported as one.
    script = (
        "import json, sys; from harmonizer.engine import build_engine; "
        "print(json.dumps(build_engine(sys.argv[1], sys.argv[2], module='tensorrt_rtx')))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.onnx"), str(tmp_path / "m.engine")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    layers = json.loads(result.stdout.splitlines()[-1])["network"]["by_type_and_precision"]
    if precision == "int8":
        assert layers["QUANTIZE"]["INT8"] == len({la.activation for la in graph.layers})
    else:
        kind = "CONVOLUTION" if network == "encoder" else "MATRIX_MULTIPLY"
        assert layers[kind]["HALF"] == 81 + 1 if network == "encoder" else layers[kind]["HALF"] > 0
    assert (tmp_path / "m.engine").stat().st_size > 0
