"""Engines really parsed and built, by TensorRT-RTX: it needs neither GPU nor driver for that."""

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from repository import ROOT
from tensorrt_stand_in import write_engine
from tiny_predictor import write_predictor

from export import build_engine as command
from export.metadata import Precision, describe, file_sha256
from export.to_onnx import build_graph
from harmonizer.contract import Contract
from harmonizer.engine import BuildOptions, build_engine, describe_engine, is_engine_file
from harmonizer.engine.checks import engine_name
from harmonizer.engine.files import (
    description_path,
    read_description,
    read_engine_file,
    report_path,
)
from harmonizer.engine.progress import BuildProgress
from harmonizer.errors import EngineError, ModelError
from harmonizer.ops import DEFAULT_FILTERS
from train.checkpoints import load_checkpoint
from train.network import HarmonizerNet, NetworkConfig
from train.s2crnet import S2CRNet

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: make setup")

ADA = BuildOptions(compute_capabilities=("8.9",))
RTX = "tensorrt_rtx"
CONTRACT = Contract("harmonizer", DEFAULT_FILTERS, (1,) * 6)


@pytest.fixture(scope="module")
def half(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped checkpoint in FP16; its parity is shown in test_export.py."""
    return write_network(
        load_checkpoint(checkpoint), "fp16", checkpoint, tmp_path_factory.mktemp("half") / "a.onnx"
    )


def write_network(
    network: HarmonizerNet | S2CRNet, precision: Precision, checkpoint: Path, path: Path
) -> Path:
    model = build_graph(network, "predictor", precision)
    describe(model, network.config, checkpoint, "predictor", precision)
    onnx.save(model, path)
    return path


def precisions(report: dict[str, Any], kind: str | None = None) -> set[str]:
    table = report["network"]["by_type_and_precision"]
    return {name for k, by in table.items() for name in by if kind in (None, k)}


def test_shipped_model_builds_in_fp32_and_fp16_with_reports(tmp_path: Path, half: Path) -> None:
    for onnx_path, precision, found in (
        (ROOT / "models/harmonizer.onnx", "fp32", {"FLOAT"}),
        (half, "fp16", {"FLOAT", "HALF"}),
    ):
        engine = tmp_path / precision / "model.engine"
        report = build_engine(onnx_path, engine, ADA, RTX)
        names = {p.name for p in engine.parent.iterdir()}
        assert names == {"model.engine", "model.engine.json", "model.engine.report.json"}
        assert json.loads(report_path(engine).read_text()) == report
        assert precisions(report, "MATRIX_MULTIPLY") == found
        assert report["onnx"]["sha256"] == file_sha256(onnx_path)
        assert report["onnx"]["precision"] == precision
        assert report["engine"] == {
            "file": "model.engine",
            "bytes": engine.stat().st_size,
            "sha256": file_sha256(engine),
        }
        assert [(t["name"], t["type"], t["shape"]) for t in report["tensors"]] == [
            ("composite", "FLOAT", [-1, 3, 256, 256]),
            ("mask", "FLOAT", [-1, 1, 256, 256]),
            ("arguments", "FLOAT", [-1, 6]),
        ]
        assert report["version"] == rtx.__version__ and report["seconds"]["build"] > 0
        for path in (description_path(engine), report_path(engine)):
            assert str(tmp_path) not in path.read_text()


def test_engine_is_the_plan_itself_and_its_description_says_the_rest(tmp_path: Path) -> None:
    onnx_path = write_predictor(tmp_path / "a.onnx")
    engine = tmp_path / "a.engine"
    build_engine(onnx_path, engine, ADA, RTX)
    assert is_engine_file(engine)
    built = read_engine_file(engine)
    # Both are read from the header, whose layout NVIDIA only tells for TensorRT.
    assert (built.module, built.version) == (RTX, rtx.__version__)
    assert engine_name(file_sha256(onnx_path), DEFAULT_FILTERS).encode() in built.data
    description = read_description(built)
    assert description is not None
    assert description["onnx_sha256"] == file_sha256(onnx_path)
    assert description["options"] == ADA.as_dict()
    assert description["metadata"]["harmonizer.format"] == "harmonizer-predictor"
    engine.write_bytes(built.data[:-1])
    with pytest.raises(EngineError, match=f"complete engine of {len(built.data)} bytes; it has"):
        read_engine_file(engine)
    engine.write_bytes(built.data[:-1] + b"\1")
    with pytest.raises(EngineError, match="or this one is damaged"):
        read_description(read_engine_file(engine))


def test_cpu_only_runtime_refuses_the_engine_in_order(tmp_path: Path) -> None:
    engine = tmp_path / "a.engine"
    build_engine(write_predictor(tmp_path / "a.onnx"), engine, ADA, RTX)
    code = (
        "import sys\nfrom harmonizer.engine import EnginePredictor\n"
        "from harmonizer.errors import HarmonizerError\n"
        "try: EnginePredictor(sys.argv[1]).close(); print('loaded')\n"
        "except HarmonizerError as error: print(type(error).__name__, error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(engine)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    # With a driver this depends on the GPU; without one it must be this.
    assert "loaded" in result.stdout or result.stdout.startswith(("DeviceError", "EngineError"))


@pytest.mark.parametrize("precision", ["fp32", pytest.param("fp16", marks=pytest.mark.slow)])
def test_published_architecture_builds(
    tmp_path: Path, checkpoint: Path, precision: Precision
) -> None:
    torch.manual_seed(0)
    onnx_path = write_network(
        HarmonizerNet(NetworkConfig()).eval(), precision, checkpoint, tmp_path / "b0.onnx"
    )
    report = build_engine(onnx_path, tmp_path / "b0.engine", ADA, RTX)
    assert precisions(report, "CONVOLUTION") == {"FLOAT" if precision == "fp32" else "HALF"}


def write_quantized(path: Path, symmetric: bool) -> Path:
    """The tiny predictor with its layer's inputs quantised, as TensorRT wants it or not."""
    model = onnx.load(write_predictor(path))
    graph, kind = model.graph, np.int8 if symmetric else np.uint8
    zero = 0 if symmetric else 128
    gemm = graph.node[-1]
    nodes = []
    for index in (0, 1):
        name = gemm.input[index]
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(0.01, np.float32), f"scale_{index}"),
                numpy_helper.from_array(np.array(zero, kind), f"zero_{index}"),
            ]
        )
        parameters = [f"scale_{index}", f"zero_{index}"]
        nodes += [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"], f"q_{index}"),
            helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [f"{name}_d"]),
        ]
        gemm.input[index] = f"{name}_d"
    kept = [*graph.node[:-1], *nodes, gemm]
    del graph.node[:]
    graph.node.extend(kept)
    onnx.save(model, path)
    return path


def test_quantized_graph_builds_in_int8_if_symmetric(tmp_path: Path) -> None:
    path = write_quantized(tmp_path / "s8.onnx", symmetric=True)
    report = build_engine(path, tmp_path / "s8.engine", ADA, RTX)
    assert precisions(report, "QUANTIZE") == {"INT8"}


def test_graph_that_tensorrt_refuses_leaves_the_engine_of_before(tmp_path: Path) -> None:
    path = write_quantized(tmp_path / "u8.onnx", symmetric=False)
    output = tmp_path / "kept.engine"
    output.write_bytes(b"before")
    with pytest.raises(EngineError, match=r"QuantizeLinear.*quantised symmetrically") as caught:
        build_engine(path, output, ADA, RTX)
    assert caught.value.log
    assert output.read_bytes() == b"before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept.engine", "u8.onnx"]


def test_workspace_that_is_too_small_says_so(tmp_path: Path) -> None:
    options = BuildOptions(workspace_mib=1, compute_capabilities=("8.9",))
    with pytest.raises(EngineError, match="Allow it more workspace"):
        build_engine(ROOT / "models/harmonizer.onnx", tmp_path / "a.engine", options, RTX)
    assert list(tmp_path.iterdir()) == []


def test_wrong_models_are_refused_before_building(tmp_path: Path) -> None:
    good = write_predictor(tmp_path / "a.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    end_to_end = {"harmonizer.format": "harmonizer-end-to-end"}
    for path, words in (
        (tmp_path / "absent.onnx", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "text.onnx", "must be a complete ONNX model"),
        (tmp_path / "cut.onnx", "must be a complete ONNX model"),
        (write_predictor(tmp_path / "e.onnx", metadata=end_to_end), "it is an end-to-end graph"),
        (write_predictor(tmp_path / "b.onnx", batch=4), "batch of its composite is fixed to 4"),
        (write_predictor(tmp_path / "s.onnx", size=128), "must map `composite` Nx3x256x256"),
        (write_engine(tmp_path / "p.onnx"), "it is a TensorRT engine already"),
    ):
        with pytest.raises(ModelError, match=words):
            build_engine(path, tmp_path / "out.engine", module=RTX)
    with pytest.raises(EngineError, match="is a folder"):
        build_engine(good, tmp_path, module=RTX)
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": (4, 2)}, r"1 <= OPT <= MAX <= 1024; got 4 2\. Give two"),
        ({"batch": (0, 2)}, r"got 0 2"),
        ({"batch": (1, 100_000_000)}, r"MAX <= 1024; got 1 100000000"),
        ({"workspace_mib": 0}, "1 MiB or more; got 0. Give more, or"),
        ({"optimization_level": 6}, "0 to 5; got 6"),
        ({"hardware_compatibility": "all"}, "must be one of none, same-compute-capability"),
        ({"compute_capabilities": ("9.0",)}, r"different ones of 7\.5.*got 9\.0"),
        ({"compute_capabilities": ("8.6", "8.6")}, r"got 8\.6, 8\.6"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BuildOptions(**options)


def test_options_of_the_other_module_are_refused(tmp_path: Path) -> None:
    onnx_path, engine = write_predictor(tmp_path / "a.onnx"), tmp_path / "a.engine"
    for options in (
        BuildOptions(hardware_compatibility="ampere-plus"),
        BuildOptions(version_compatible=True),
    ):
        with pytest.raises(ValueError, match="is an option of tensorrt; the module is"):
            build_engine(onnx_path, engine, options, RTX)
    with pytest.raises(ValueError, match="`timing_cache` is an option of tensorrt"):
        build_engine(onnx_path, engine, ADA, RTX, timing_cache=tmp_path / "t.cache")
    with pytest.raises(ValueError, match="`compute_capabilities` is an option of tensorrt_rtx"):
        ADA.check_module("tensorrt")


def test_compute_capabilities_change_what_is_built(tmp_path: Path) -> None:
    onnx_path = write_predictor(tmp_path / "a.onnx")
    sizes = set()
    for listed in (("8.9",), ("8.0", "8.6", "12.0")):
        options = BuildOptions(compute_capabilities=listed)
        report = build_engine(onnx_path, tmp_path / "a.engine", options, RTX)
        assert report["options"]["compute_capabilities"] == list(listed)
        sizes.add(report["engine"]["bytes"])
    assert len(sizes) == 2
    turing = BuildOptions(compute_capabilities=("7.5",))
    with pytest.raises(EngineError, match=r"FP32 GEMM is not supported.*Leave compute .* 7\.5 out"):
        build_engine(onnx_path, tmp_path / "a.engine", turing, RTX)


def test_progress_is_shown_and_an_interrupt_ends_the_build(tmp_path: Path) -> None:
    onnx_path, text = write_predictor(tmp_path / "a.onnx"), io.StringIO()
    build_engine(onnx_path, tmp_path / "a.engine", ADA, RTX, progress=BuildProgress(text))
    assert "s  Building engine\n" in text.getvalue()

    class Interrupted(BuildProgress):
        def step(self, phase: str, step: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx_path, tmp_path / "b.engine", ADA, RTX, progress=Interrupted(text))
    assert not list(tmp_path.glob("b.*"))


def test_progress_on_a_terminal_rewrites_one_line() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    text = Terminal()
    progress = BuildProgress(text)
    progress.start("Building engine", 6)
    progress.start("Optimizing graph", 30)
    progress.step("Optimizing graph", 11)
    shown = text.getvalue()
    assert "\n" not in shown
    assert shown.rsplit("\r", 1)[-1].rstrip() == "Building engine 0/6 > Optimizing graph 12/30"


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "export/build_engine.py", *map(str, words)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_command_builds_and_describes(tmp_path: Path) -> None:
    onnx_path, engine = write_predictor(tmp_path / "a.onnx"), tmp_path / "out" / "a.engine"
    words = ["--module", RTX, "--batch", "2", "8", "--compute-capability", "8.6", "8.9"]
    began = time.perf_counter()
    result = call(onnx_path, "--output", engine, *words)
    assert result.returncode == 0, result.stderr
    assert "largest batch 8" in result.stdout and "Building engine" in result.stderr
    assert time.perf_counter() - began < 60
    kept = description_path(engine).read_text()
    description_path(engine).unlink()
    result = call(onnx_path, "--describe", engine)
    assert result.returncode == 0, result.stderr
    facts, built = json.loads(description_path(engine).read_text()), json.loads(kept)
    for key in ("engine_sha256", "onnx_sha256", "module", "version", "metadata"):
        assert facts[key] == built[key]
    description_path(engine).write_text(kept)
    describe_engine(engine, onnx_path)
    assert description_path(engine).read_text() == kept
    other = write_predictor(tmp_path / "b.onnx", filters=("shadow",))
    with pytest.raises(EngineError, match="must be described by the model that it was built from"):
        describe_engine(engine, other)
    assert description_path(engine).read_text() == kept


def test_command_refuses_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx_path = write_predictor(tmp_path / "a.onnx")
    for words, code, said in (
        (["--output", "a.plan"], 2, "must end in .engine; got a.plan"),
        (["--output", "a.engine", "--describe", "b.engine"], 2, "not allowed with"),
        (["--describe", "a.engine", "--timing-cache", "t"], 2, "--timing-cache is for building"),
        (["--output", str(tmp_path / "a.engine"), "--batch", "9", "8"], 2, "got 9 8"),
        (["--describe", str(tmp_path / "none.engine")], 2, "does not exist"),
    ):
        try:
            assert command.main([str(onnx_path), *words]) == code
        except SystemExit as stopped:
            assert stopped.code == code
        captured = capsys.readouterr()
        assert said in captured.err and captured.out == "" and "Traceback" not in captured.err
    assert [p.name for p in tmp_path.iterdir()] == ["a.onnx"]


def test_network_of_the_parser_is_strongly_typed(tmp_path: Path) -> None:
    """The precision is the file's: FP16 nodes stay FP16, FP32 nodes stay FP32."""
    model = onnx.load(write_predictor(tmp_path / "a.onnx"))
    graph = model.graph
    pool = graph.node[0]
    graph.node.insert(0, helper.make_node("Cast", ["composite"], ["h"], to=TensorProto.FLOAT16))
    pool.input[0], pooled = "h", pool.output[0]
    pool.output[0] = "pooled_h"
    graph.node.insert(2, helper.make_node("Cast", ["pooled_h"], [pooled], to=TensorProto.FLOAT))
    onnx.save(model, tmp_path / "mixed.onnx")
    report = build_engine(tmp_path / "mixed.onnx", tmp_path / "mixed.engine", ADA, RTX)
    assert precisions(report, "REDUCE") | precisions(report, "POOLING") == {"FLOAT", "HALF"}
