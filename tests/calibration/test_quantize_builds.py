"""Real builds of reduced graphs: TensorRT-RTX's parser and builder need no GPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from calibration_data import feeds as images
from repository import ROOT

from calibration.equalize import equalize
from calibration.graph import PredictorGraph, load_graph
from calibration.quantize import POLICY
from calibration.ranges import calibrate
from calibration.rewrite import halve_blocks, quantize_blocks
from calibration.rows import scale_rows


@pytest.fixture(scope="module")
def curves(curves_model: Path) -> PredictorGraph:
    return load_graph(curves_model)


@pytest.fixture(scope="module")
def shipped() -> PredictorGraph:
    """Its measured blocks are all of them: docs/precision.md."""
    return load_graph(ROOT / "models" / "harmonizer.onnx")


@pytest.mark.parametrize("network", ["statistics", "encoder", "curves", "shipped"])
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
        feeds = images(4, graph.contract)
        graph = equalize(graph, feeds.feeds)  # as calibration/quantize.py writes it
        graph = scale_rows(graph, graph.blocks)
        model = quantize_blocks(graph, graph.blocks, calibrate(graph, feeds, "minmax"))
    else:
        model = halve_blocks(graph, [b for b in graph.blocks if not b.startswith(POLICY["fp16"])])
    onnx.save(model, tmp_path / "m.onnx")
    # In a process of its own: TensorRT's libraries stay loaded, and a crash is reported as one.
    script = (
        "import json, sys; from harmonizer.engine import BuildOptions, build_engine; "
        "options = BuildOptions(compute_capabilities=('8.9',)); "
        "print(json.dumps(build_engine(*sys.argv[1:], options, 'tensorrt_rtx')))"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.onnx"), str(tmp_path / "m.engine")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    layers = json.loads(result.stdout.splitlines()[-1])["network"]["by_type_and_precision"]
    if precision == "int8":
        assert layers["QUANTIZE"]["INT8"] == len({la.activation for la in graph.layers})
    else:
        convolutions = {"encoder": 81 + 1, "curves": 3 * 22, "shipped": 48}.get(network, 0)
        assert layers.get("CONVOLUTION", {}).get("HALF", 0) == convolutions
        assert network == "encoder" or layers["MATRIX_MULTIPLY"]["HALF"] > 0
    assert (tmp_path / "m.engine").stat().st_size > 0
