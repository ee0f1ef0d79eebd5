"""Engines are refused before they can do harm; what runs, runs in TensorRT's order of calls.

No machine that only tests has a driver. Refusals that come before TensorRT is touched are real;
those that a loaded engine causes, and the order of calls, are checked against a stand-in.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tensorrt_stand_in
from tensorrt_stand_in import (
    GPU,
    DataType,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
    contract,
    write_engine,
    write_pair,
)
from tiny_predictor import write_predictor

from export.metadata import file_sha256
from harmonizer.engine import EnginePredictor, describe_engine, is_engine_file
from harmonizer.engine.checks import engine_name
from harmonizer.engine.files import NAME_PREFIX, description_path, read_engine_file
from harmonizer.engine.library import version_tuple
from harmonizer.errors import EngineError, ModelError
from harmonizer.gpu import Gpu, has_gpu
from harmonizer.ops import DEFAULT_FILTERS

KIB = 1024
needs_no_gpu = pytest.mark.skipif(has_gpu(), reason="there is a driver with a GPU here")


def run_alone(code: str, *words: str | Path) -> str:
    """Run code in a process of its own, which must end in order, and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, (result.returncode, result.stderr)
    return result.stdout


@needs_no_gpu
@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_engine_without_a_driver_gets_one_sentence_and_the_process_lives(
    tmp_path: Path, module: str
) -> None:
    engine, onnx = write_pair(tmp_path)
    if module == "tensorrt_rtx":
        data = bytearray(engine.read_bytes())
        data[:4], data[16:24] = b"vtrt", len(data).to_bytes(8, "little")
        engine.write_bytes(data)
    said = run_alone(
        "import sys\n"
        "from harmonizer.engine import EnginePredictor\n"
        "from harmonizer.errors import DeviceError\n"
        "from harmonizer.predictor import OnnxPredictor\n"
        "try:\n"
        "    EnginePredictor(sys.argv[1], sys.argv[2])\n"
        "except DeviceError as error:\n"
        "    print(error)\n"
        "print(len(OnnxPredictor(sys.argv[2]).filters), *(m for m in sys.modules if 'tensorrt' in"
        " m.partition('.')[0] or 'pycuda' in m))\n",
        engine,
        onnx,
    )
    sentence, rest = said.splitlines()
    assert sentence.startswith("TensorRT needs a")
    assert rest == "6"  # usable, and nothing of TensorRT or PyCUDA was imported


def test_engine_files_that_are_none_are_refused_with_what_they_are(tmp_path: Path) -> None:
    onnx = write_predictor(tmp_path / "a.onnx")
    cases = {
        "absent": (None, "does not exist"),
        "empty": (b"", "it is empty"),
        "text": (b"engine, honestly", "it begins with b'engine, '"),
        "short": (b"ftrt" + bytes(10), "it begins with"),
        "onnx": (onnx.read_bytes(), "it is an ONNX model"),
        "layout": (b"ftrt\1" + bytes(40), "layout 0; it has 01000000"),
        "rtx": (b"vtrt" + bytes(12) + (900).to_bytes(8, "little") + bytes(8), "of 900 bytes"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / f"{name}.engine"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(EngineError, match=words):
            EnginePredictor(path, onnx)
    with pytest.raises(EngineError, match="is a folder"):
        EnginePredictor(tmp_path, onnx)


def test_engine_where_a_model_is_expected_is_refused(tmp_path: Path) -> None:
    engine, onnx = write_pair(tmp_path)
    assert is_engine_file(engine) and not is_engine_file(onnx) and not is_engine_file(tmp_path)
    with pytest.raises(EngineError, match="it is a TensorRT engine already"):
        EnginePredictor(engine, engine)
    with pytest.raises(ModelError, match="does not exist"):
        EnginePredictor(engine, tmp_path / "absent.onnx")


def test_plan_header_gives_the_version_that_built_it(tmp_path: Path) -> None:
    engine_file = read_engine_file(write_engine(tmp_path / "a.engine", (11, 4, 0, 106)))
    assert (engine_file.module, engine_file.version) == ("tensorrt", "11.4.0.106")
    assert version_tuple("10.16.1.11") == (10, 16, 1, 11)
    assert version_tuple("10.13.0.post1") == (10, 13, 0)


def test_engine_without_its_description_tells_the_remedies(tmp_path: Path) -> None:
    engine, onnx = write_pair(tmp_path)
    with pytest.raises(EngineError, match=r"onnx=MODEL.*--describe a\.engine"):
        EnginePredictor(engine)
    path = describe_engine(engine, onnx)
    assert path == tmp_path / "a.engine.json"
    facts = json.loads(path.read_text())
    assert json.loads(facts["metadata"]["harmonizer.filters"]) == list(DEFAULT_FILTERS)
    assert (facts["module"], facts["version"]) == ("tensorrt", "10.16.1.11")
    assert str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine_sha256": "0" * 64}, "describes another engine than a.engine, or this one is dam"),
        ({"format_version": "2"}, "must be of format harmonizer-engine 1; it is of .* 2"),
        ({"options": 7}, "must hold objects"),
        ({"module": None}, "it is damaged"),
    ],
)
def test_description_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    engine, onnx = write_pair(tmp_path)
    path = describe_engine(engine, onnx)
    facts = json.loads(path.read_text()) | change
    facts = {key: value for key, value in facts.items() if value is not None or key == "gpu"}
    path.write_text(json.dumps(facts))
    with pytest.raises(EngineError, match=words):
        EnginePredictor(engine)
    path.write_text(path.read_text()[:-20])
    with pytest.raises(EngineError, match="it is damaged"):
        EnginePredictor(engine)
    path.write_bytes(b"\xff" * 100_000)
    with pytest.raises(EngineError, match=r"it is damaged \(UnicodeDecodeError: ") as caught:
        EnginePredictor(engine)
    assert len(str(caught.value)) < 600


def test_engine_of_another_model_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, onnx = write_pair(tmp_path)
    other = write_predictor(tmp_path / "other.onnx", offset=0.5)
    describe_engine(engine, onnx)
    with pytest.raises(EngineError, match="was built from the ONNX file with SHA-256"):
        EnginePredictor(engine, other)
    # Without a description the engine's own name still tells, if build_engine made it.
    state = tensorrt_stand_in.install(monkeypatch)
    description_path(engine).unlink()
    state.name = engine_name("1" * 64, DEFAULT_FILTERS)
    with pytest.raises(EngineError, match=r"SHA-256 1{16}\.\.\., not from"):
        EnginePredictor(engine, onnx)


def test_engine_that_names_its_filters_is_held_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, onnx = write_pair(tmp_path)
    describe_engine(engine, onnx)
    state = tensorrt_stand_in.install(monkeypatch)
    sha256 = file_sha256(onnx)
    for state.name in (engine_name(sha256, DEFAULT_FILTERS), NAME_PREFIX + sha256):
        EnginePredictor(engine).close()
    state.name = engine_name(sha256, ("shadow", *DEFAULT_FILTERS[:-1]))
    with pytest.raises(EngineError, match=r"predicts shadow,temperature.* as it says itself"):
        EnginePredictor(engine)


def test_engine_of_the_other_module_is_refused(tmp_path: Path) -> None:
    engine, onnx = write_pair(tmp_path)
    with pytest.raises(EngineError, match="it was built by tensorrt, and neither runs the other's"):
        EnginePredictor(engine, onnx, "tensorrt_rtx")


@pytest.mark.parametrize(
    ("version", "compatible", "refused"),
    [
        ((10, 16, 1, 11), False, False),
        ((10, 15, 0, 2), False, True),
        ((10, 15, 0, 2), True, False),
        ((11, 4, 0, 106), False, True),
        ((11, 4, 0, 106), True, True),  # compatible with later versions, not with earlier ones
    ],
)
def test_engine_of_another_version_is_refused_unless_built_to_be_compatible(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, ...],
    compatible: bool,
    refused: bool,
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    engine, onnx = write_pair(tmp_path, version)
    describe_engine(engine, onnx, version_compatible=compatible)
    if refused:
        words = rf"was built by tensorrt {version[0]}\.{version[1]}.*installed is 10\.16\.1\.11"
        with pytest.raises(EngineError, match=words):
            EnginePredictor(engine)
        assert state.calls == []  # TensorRT was not touched
    else:
        EnginePredictor(engine)
        # Code for the host inside an engine is only run where the caller asks for it: what the
        # description says is no permission.
        EnginePredictor(engine, allow_host_code=True)
        loads = [call for call in state.calls if call[0] == "deserialize"]
        size = engine.stat().st_size
        assert loads == [("deserialize", size, False), ("deserialize", size, True)]


@pytest.mark.parametrize(
    ("built", "level", "listed", "here", "wanted"),
    [
        (GPU, "none", [], GPU, None),
        (None, "none", [], GPU, None),  # by trtexec, anywhere: TensorRT itself will tell
        (GPU, "none", [], replace(GPU, name="Stand-in 2"), "Stand-in 1"),
        (GPU, "none", [], Gpu("Other", "8.6"), "Stand-in 1"),
        (GPU, "same-compute-capability", [], replace(GPU, name="Stand-in 2"), None),
        (GPU, "same-compute-capability", [], Gpu("Other", "8.6"), "capability 9.0"),
        (GPU, "ampere-plus", [], Gpu("Other", "12.0"), None),
        (GPU, "ampere-plus", [], Gpu("Other", "7.5"), "8.0 or newer"),
        (None, "none", ["8.6", "8.9"], GPU, "8.6 or 8.9"),
        (None, "none", ["8.6", "9.0"], GPU, None),
    ],
)
def test_engine_of_another_gpu_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: Gpu | None,
    level: str,
    listed: list[str],
    here: Gpu,
    wanted: str | None,
) -> None:
    state = tensorrt_stand_in.install(monkeypatch, here)
    engine, onnx = write_pair(tmp_path)
    path = describe_engine(engine, onnx, level)
    facts = json.loads(path.read_text())
    if built is not None:
        facts["gpu"] = {"name": built.name, "compute_capability": built.compute_capability}
    facts["options"]["compute_capabilities"] = listed
    path.write_text(json.dumps(facts))
    if wanted is None:
        EnginePredictor(engine)
    else:
        with pytest.raises(EngineError, match=f"was built for .*{wanted}.*the GPU here is"):
            EnginePredictor(engine)
        assert state.calls == []


def test_engine_that_keeps_another_contract_is_refused_with_every_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    engine, onnx = write_pair(tmp_path)
    composite, mask, arguments = contract().values()
    good = {"composite": composite, "mask": mask, "arguments": arguments}
    cases = [
        ({"image": composite, "mask": mask, "arguments": arguments}, "its tensors are image, mask"),
        ({**good, "harmonized": arguments}, "its tensors are composite, mask, arguments, harmoni"),
        ({**good, "mask": replace(mask, shape=(-1, 3, 256, 256))}, r"its mask is .* \(-1, 3"),
        ({**good, "composite": replace(composite, shape=(3, 256, 256))}, r"shape \(3, 256, 256\)"),
        ({**good, "mask": replace(mask, mode=TensorIOMode.OUTPUT)}, "its mask is an .*OUTPUT"),
        ({**good, "arguments": replace(arguments, shape=(-1, 8))}, r"its arguments .*\(-1, 8\)"),
        ({**good, "arguments": replace(arguments, dtype=DataType.HALF)}, "arguments are float16"),
        ({**good, "mask": replace(mask, dtype=DataType.HALF)}, "inputs are float16 and float32"),
        ({**good, "composite": replace(composite, dtype=DataType.INT8)}, "inputs are .*INT8"),
        ({**good, "mask": replace(mask, format=TensorFormat.HWC8)}, "mask is not laid out"),
        ({**good, "mask": replace(mask, location=TensorLocation.HOST)}, "mask is not in device"),
    ]
    for state.tensors, words in cases:
        with pytest.raises(EngineError, match=words):
            EnginePredictor(engine, onnx)
    state.tensors, state.batch = good, (4, 8, 16)
    with pytest.raises(EngineError, match="its batch begins at 4"):
        EnginePredictor(engine, onnx)
    assert state.contexts == 0  # none was made ready to run
