"""Models and descriptions of somebody else: refused with one line before they run."""

import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorrt_stand_in
from onnx import TensorProto, helper, numpy_helper
from repository import ROOT
from tensorrt_stand_in import write_pair
from tiny_predictor import write_predictor

from harmonizer.cli import main
from harmonizer.engine import EnginePredictor, describe_engine
from harmonizer.errors import EngineError, HarmonizerError, ModelError
from harmonizer.interruptible import DeadlineError, run_interruptibly
from harmonizer.onnx_files import HASHES, hashes_of, read_onnx
from harmonizer.predictor import OnnxPredictor

THUMBNAILS = np.zeros((1, 3, 256, 256), np.float32), np.zeros((1, 1, 256, 256), np.float32)


def bent(path: Path, change: Any) -> Path:
    """A predictor after `change(model)`."""
    model = onnx.load(write_predictor(path))
    change(model)
    onnx.save(model, path)
    return path


def add_loop(model: onnx.ModelProto) -> None:
    """The answer goes through a loop of 2^62 turns."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["on_out"]),
            helper.make_node("Identity", ["x"], ["x_out"]),
        ],
        "body",
        [
            value("i", TensorProto.INT64, []),
            value("on", TensorProto.BOOL, []),
            value("x", TensorProto.FLOAT, None),
        ],
        [value("on_out", TensorProto.BOOL, []), value("x_out", TensorProto.FLOAT, None)],
    )
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(
        helper.make_node("Loop", ["most", "", "once"], ["arguments"], body=body)
    )
    model.graph.initializer.append(numpy_helper.from_array(np.int64(2**62), "most"))


def add_operator(model: onnx.ModelProto) -> None:
    model.graph.node[-1].op_type = "RandomNormalLike"


def add_domain(model: onnx.ModelProto) -> None:
    model.graph.node[-1].domain = "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def spoil(value: float, halves: bool = False) -> Any:
    def change(model: onnx.ModelProto) -> None:
        weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
        weights[0, 0] = value
        kind = np.float16 if halves else np.float32
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights.astype(kind), "matrix"))

    return change


def spoil_listed(model: onnx.ModelProto) -> None:
    """A NaN in float_data, where other exporters put weights."""
    weights = numpy_helper.to_array(model.graph.initializer[1]).tolist()
    weights[0] = float("nan")
    tensor = helper.make_tensor("bias", TensorProto.FLOAT, [len(weights)], weights)
    model.graph.initializer[1].CopyFrom(tensor)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_loop, "Loop has a graph inside"),
        (add_operator, "not all known: RandomNormalLike"),
        (add_domain, "com.example.Gemm"),
        (spoil(np.nan), "`matrix` are not finite"),
        (spoil(np.inf), "`matrix` are not finite"),
        (spoil(np.nan, halves=True), "`matrix` are not finite"),
        (spoil_listed, "`bias` are not finite"),
    ],
)
def test_predictor_outside_the_contract_is_refused_before_it_runs(
    tmp_path: Path, change: Any, words: str
) -> None:
    path = bent(tmp_path / "a.onnx", change)
    began = time.monotonic()
    with pytest.raises(ModelError, match=words):
        OnnxPredictor(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("harmonizer.filters", "[" * 100_000),
        ("harmonizer.filters", '{"a": ' * 5000),
        ("harmonizer.sizes", "[" * 100_000),
        ("harmonizer.sizes", '{"shadow": [1]}'),
        ("harmonizer.sizes", '{"shadow": true}'),
        ("harmonizer.labels", "[" * 100_000),
        ("harmonizer.labels", "[1,"),
        ("harmonizer.format_version", "1" * 100_000),
    ],
)
def test_predictor_of_malformed_metadata_is_refused_in_few_words(
    tmp_path: Path, key: str, value: str
) -> None:
    path = write_predictor(tmp_path / "a.onnx", metadata={key: value})
    with pytest.raises(ModelError) as caught:
        OnnxPredictor(path)
    assert len(str(caught.value)) < 1000


def test_predictor_of_metadata_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = write_predictor(tmp_path / "a.onnx").read_bytes()
    (tmp_path / "a.onnx").write_bytes(data.replace(b"harmonizer-predictor", b"\xff" * 20))
    with pytest.raises(ModelError, match="must be a complete ONNX model"):
        OnnxPredictor(tmp_path / "a.onnx")


def test_predictor_that_swells_meets_the_end_of_the_pool(tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        nodes = [helper.make_node("Concat", ["composite"] * 64, ["d0"], axis=2)]
        nodes += [
            helper.make_node("Concat", [f"d{i}"] * 64, [f"d{i + 1}"], axis=2) for i in range(3)
        ]
        nodes += [helper.make_node("GlobalAveragePool", ["d3"], ["swollen"])]
        for node in reversed(nodes):
            model.graph.node.insert(0, node)
        for node in model.graph.node[len(nodes) :]:
            node.input[:] = ["swollen" if name == "composite" else name for name in node.input]

    predictor = OnnxPredictor(bent(tmp_path / "a.onnx", change))
    with pytest.raises(ModelError, match="must run on thumbnails"):
        predictor.predict(*THUMBNAILS)


def test_run_interruptibly_stops_at_the_deadline() -> None:
    told = threading.Event()
    with pytest.raises(DeadlineError, match=r"longer than 0\.05 s"):
        run_interruptibly(lambda: told.wait(20), told.set, 0.05)
    assert told.is_set()
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, told.set, 20)


def test_hashes_are_those_of_the_shipped_models() -> None:
    models = ROOT / "models"
    listed = (path for path in models.iterdir() if path.suffix in (".onnx", ".safetensors"))
    assert (models / HASHES).read_bytes() == hashes_of(listed), "run make model"
    assert (ROOT / "runtime/harmonizer/assets" / HASHES).samefile(models / HASHES)


def test_shipped_model_of_another_hash_is_refused(tmp_path: Path) -> None:
    path = write_predictor(tmp_path / "harmonizer.onnx")
    (tmp_path / HASHES).write_bytes(hashes_of(iter([path])))
    OnnxPredictor(path).close()
    write_predictor(path, offset=0.5)
    with pytest.raises(ModelError, match="must be the model that was shipped"):
        OnnxPredictor(path)
    (tmp_path / HASHES).write_bytes(b"[]")
    with pytest.raises(ModelError, match="cannot be read"):
        OnnxPredictor(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("options", {"version_compatible": "yes"}),
        ("options", {"batch": [1, -1]}),
        ("options", {"compute_capabilities": [[]]}),
        ("options", {"compute_capabilities": 8.6}),
        ("options", {"hardware_compatibility": {}}),
        ("gpu", "H200"),
        ("gpu", {"name": 5, "compute_capability": "9.0"}),
        ("gpu", {}),
        ("metadata", {"harmonizer.filters": 5}),
        ("metadata", {"harmonizer.filters": None}),
        ("version", 10),
        ("onnx_sha256", None),
        ("onnx_sha256", ["a"]),
        ("module", "os"),
    ],
)
def test_description_of_another_schema_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    tensorrt_stand_in.install(monkeypatch)
    engine, onnx_path = write_pair(tmp_path)
    path = describe_engine(engine, onnx_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(EngineError, match=f"in the terms of build_engine; {key}"):
        EnginePredictor(engine)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"5", b"null", b'{"format": {}}', b"\xff"])
def test_description_that_is_no_object_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    tensorrt_stand_in.install(monkeypatch)
    engine, onnx_path = write_pair(tmp_path)
    describe_engine(engine, onnx_path).write_bytes(content)
    with pytest.raises(EngineError, match="it is damaged"):
        EnginePredictor(engine)


def test_mutated_models_are_refused_or_sound(tmp_path: Path) -> None:
    whole = write_predictor(tmp_path / "a.onnx").read_bytes()
    generator = random.Random(7)
    path = tmp_path / "b.onnx"
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(generator.choice((1, 1, 3))):
            data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(data[: generator.choice((len(data), generator.randrange(len(data))))])
        try:
            with OnnxPredictor(path, threads=1) as predictor:
                assert np.isfinite(predictor.predict(*THUMBNAILS)).all()
        except HarmonizerError:
            continue


def test_reading_the_shipped_models_finds_nothing_to_complain_of() -> None:
    for name in ("harmonizer.onnx", "s2crnet.onnx"):
        assert read_onnx(ROOT / "models" / name).complaints == ()


def test_image_with_a_loop_for_a_model_answers_at_once(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bent(Path("loop.onnx"), add_loop)
    assert main(["image", "c.png", "m.png", "-o", "o.png", "--model", "loop.onnx"]) == 2
    assert "graph inside" in capsys.readouterr().err
    assert not Path("o.png").exists()
