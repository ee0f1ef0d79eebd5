"""Model repositories for Triton: held against its own definition, and asked by its own client.

No Triton server runs here: one of its protocol takes its place, with ONNX Runtime behind it.
"""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from image_graphs import write_graph
from PIL import Image
from repository import ROOT
from tensorrt_stand_in import write_pair
from tiny_predictor import write_predictor

from export.triton_repository import END_TO_END, NAME, main
from harmonizer import Harmonizer
from harmonizer.contract import END_TO_END_FORMAT
from harmonizer.engine.files import (
    description_path,
    make_description,
    read_engine_file,
    read_model,
    to_json,
)

pytest.importorskip("tritonclient.grpc", reason="harmonizer[triton] is not installed")

import grpc
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc


def read_config(folder: Path) -> model_config_pb2.ModelConfig:
    """A configuration by Triton's definition, which knows no other fields."""
    text = (folder / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_repository_of_a_predictor_is_what_triton_defines(tmp_path: Path) -> None:
    model = write_predictor(tmp_path / "m.onnx")
    words = [str(model), "--output", str(tmp_path / "r"), "--max-batch", "8", "--instances", "2"]
    assert main(words) == 0
    folder = tmp_path / "r" / NAME
    config = read_config(folder)
    assert (folder / "1/model.onnx").read_bytes() == model.read_bytes()
    assert (config.name, config.backend, config.max_batch_size) == (NAME, "onnxruntime", 8)
    assert [(i.name, list(i.dims), i.data_type) for i in config.input] == [
        ("composite", [3, 256, 256], model_config_pb2.TYPE_FP32),
        ("mask", [1, 256, 256], model_config_pb2.TYPE_FP32),
    ]
    assert [(o.name, list(o.dims)) for o in config.output] == [("arguments", [6])]
    assert config.instance_group[0].count == 2
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert config.dynamic_batching.max_queue_delay_microseconds == 1000
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 256
    assert config.version_policy.latest.num_versions == 2
    warm = {
        w.batch_size: {k: list(v.dims) for k, v in w.inputs.items()} for w in config.model_warmup
    }
    assert warm[8] == warm[1] == {"composite": [3, 256, 256], "mask": [1, 256, 256]}


def test_versions_lie_side_by_side_and_none_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_predictor(tmp_path / "m.onnx")
    words = [str(model), "--output", str(tmp_path / "r")]
    assert main(words) == 0 and main([*words, "--version", "2"]) == 0
    assert main(words) == 2
    assert "1 must not be there yet" in capsys.readouterr().err
    assert main([*words, "--version", "3", "--max-batch", "4"]) == 2
    assert "config.pbtxt must be what this model needs" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "r" / NAME).iterdir()) == [
        "1",
        "2",
        "config.pbtxt",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{folder}/absent.onnx --output r", "absent.onnx"),
        (
            "{folder}/m.onnx --end-to-end {folder}/m.onnx --output {folder}/a",
            "must be an end-to-end",
        ),
        ("{folder}/m.onnx --engine {folder}/m.onnx --output {folder}/b", "m.onnx"),
    ],
)
def test_what_is_no_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    write_predictor(tmp_path / "m.onnx")
    assert main(words.format(folder=tmp_path).split()) == 2
    assert said in capsys.readouterr().err


def test_end_to_end_graph_takes_pictures_of_any_size(tmp_path: Path) -> None:
    model = write_predictor(tmp_path / "m.onnx")
    whole = write_graph(
        tmp_path / "e.onnx",
        {"composite": ("N", 3, "H", "W"), "mask": ("N", 1, "H", "W")},
        [onnx.helper.make_node("Mul", ["composite", "mask"], ["harmonized"])],
        {"harmonized": ("N", 3, "H", "W")},
        metadata={
            "harmonizer.format": END_TO_END_FORMAT,
            "harmonizer.filters": '["brightness"]',
        },
    )
    repository = tmp_path / "r"
    words = [str(model), "--end-to-end", str(whole), "--output", str(repository)]
    assert main(words) == 0
    config = read_config(repository / END_TO_END)
    assert [list(i.dims) for i in config.input] == [[3, -1, -1], [1, -1, -1]]
    warm = config.model_warmup[0].inputs
    assert {k: list(v.dims) for k, v in warm.items()} == {
        "composite": [3, 256, 256],
        "mask": [1, 256, 256],
    }
    assert config.parameters["filters"].string_value == "brightness"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("--device gpu", ""),
        ("", "runs on a GPU; the device is cpu"),
        ("--device gpu --max-batch 17", "its largest is 16"),
    ],
)
def test_engine_is_served_by_tensorrt_where_it_is_the_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    engine, model = write_pair(tmp_path)
    words = [str(model), "--engine", str(engine), "--output", str(tmp_path / "r"), *more.split()]
    assert main(words) == 2
    assert "must be described as built from" in capsys.readouterr().err
    file = read_model(model)
    facts = make_description(
        read_engine_file(engine),
        file.sha256,
        file.metadata,
        None,
        {"batch": [1, 16]},
    )
    description_path(engine).write_bytes(to_json(facts))
    assert main(words) == (2 if said else 0)
    assert said in capsys.readouterr().err
    if not said:
        config = read_config(tmp_path / "r" / NAME)
        assert config.backend == "tensorrt"
        assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
        assert (tmp_path / "r" / NAME / "1/model.plan").read_bytes() == engine.read_bytes()


class Stand(service_pb2_grpc.GRPCInferenceServiceServicer):
    """What the client asks of a server, answered by ONNX Runtime from a repository."""

    def __init__(self, repository: Path) -> None:
        self.folder = repository / NAME
        self.config = read_config(self.folder)
        self.session = onnxruntime.InferenceSession(self.folder / "1/model.onnx")

    def ModelConfig(self, request, context):  # noqa: N802 - the protocol's name
        return service_pb2.ModelConfigResponse(config=self.config)

    def ModelInfer(self, request, context):  # noqa: N802
        feeds = {}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            (known,) = [i for i in self.config.input if i.name == tensor.name]
            assert list(tensor.shape)[1:] == list(known.dims) and tensor.datatype == "FP32"
            feeds[tensor.name] = np.frombuffer(raw, np.float32).reshape(tensor.shape)
        (numbers,) = self.session.run(None, feeds)
        answer = service_pb2.ModelInferResponse(
            model_name=NAME, raw_output_contents=[numbers.tobytes()]
        )
        answer.outputs.add(name="arguments", datatype="FP32", shape=numbers.shape)
        return answer


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    assert main([str(ROOT / "models/harmonizer.onnx"), "--output", str(tmp_path / "r")]) == 0
    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Stand(tmp_path / "r"), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def test_client_example_draws_what_the_library_draws(address: str, scene: Path) -> None:
    command = [
        sys.executable,
        ROOT / "examples/triton_client.py",
        address,
        "c.jpg",
        "m.png",
        "o.png",
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with Harmonizer(backend="cpu") as harmonizer:
        harmonizer.harmonize_file("c.jpg", "m.png", "wanted.png")
    drawn, wanted = (np.asarray(Image.open(n)).astype(int) for n in ("o.png", "wanted.png"))
    assert np.abs(drawn - wanted).max() <= 1, "another number of threads, other last bits"
