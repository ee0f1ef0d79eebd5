"""An engine that is asked: the order of calls, inputs, streams, failures."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import tensorrt_stand_in
from tensorrt_stand_in import (
    DataType,
    write_engine,
    write_pair,
)
from tiny_predictor import write_curve_predictor

from harmonizer.engine import EnginePredictor
from harmonizer.errors import DeviceMemoryError, EngineError
from harmonizer.ops import DEFAULT_FILTERS

KIB = 1024


def test_enqueue_calls_in_tensorrts_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    engine, onnx = write_pair(tmp_path)
    with EnginePredictor(engine, onnx) as predictor:
        assert (predictor.filters, predictor.largest_batch) == (DEFAULT_FILTERS, 16)
        assert predictor.thumbnail_type == "float32"
        state.calls.clear()
        predictor.enqueue(2, (4 * KIB, 8 * KIB), 12 * KIB, 77)
    assert state.calls == [
        (0, "set_input_shape", "composite", (2, 3, 256, 256)),
        (0, "set_input_shape", "mask", (2, 1, 256, 256)),
        (0, "set_tensor_address", "composite", 4 * KIB),
        (0, "set_tensor_address", "mask", 8 * KIB),
        (0, "set_tensor_address", "arguments", 12 * KIB),
        (0, "execute_async_v3", 77),
    ]
    predictor.close()
    with pytest.raises(EngineError, match="it was closed"):
        predictor.enqueue(2, (4 * KIB, 8 * KIB), 12 * KIB, 77)


def test_engine_of_curves_takes_regions_and_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    engine, onnx = write_engine(tmp_path / "a.engine"), write_curve_predictor(tmp_path / "a.onnx")
    with pytest.raises(EngineError, match="must map `foreground` Nx3x256x256, `background`"):
        EnginePredictor(engine, onnx)
    tails = {"foreground": (3, 256, 256), "background": (3, 256, 256), "label": (5,)}
    answer = replace(state.tensors["arguments"], shape=(-1, 384))
    state.tensors = {
        name: replace(state.tensors["mask"], shape=(-1, *tail)) for name, tail in tails.items()
    } | {"arguments": answer}
    with EnginePredictor(engine, onnx) as predictor:
        assert (predictor.contract.sizes, predictor.contract.labelled) == ((384,), True)
        state.calls.clear()
        predictor.enqueue(2, (KIB, 2 * KIB, 3 * KIB), 4 * KIB, 77)
        assert [call[3] for call in state.calls if call[1] == "set_input_shape"] == [
            (2, *tail) for tail in tails.values()
        ]
        assert (0, "set_tensor_address", "label", 3 * KIB) in state.calls
        with pytest.raises(ValueError, match="shorter"):
            predictor.enqueue(2, (KIB, 2 * KIB), 4 * KIB, 77)
    state.tensors["label"].dtype = DataType.HALF
    with pytest.raises(EngineError, match="inputs are float16 and float32"):
        EnginePredictor(engine, onnx)


def test_engine_of_half_inputs_asks_for_half_thumbnails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    for name in ("composite", "mask"):
        state.tensors[name].dtype = DataType.HALF
    state.batch = (1, 1, 1)
    predictor = EnginePredictor(*write_pair(tmp_path))
    assert (predictor.thumbnail_type, predictor.largest_batch) == ("float16", 1)


def test_streams_have_contexts_of_their_own_also_from_several_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    predictor = EnginePredictor(*write_pair(tmp_path))
    state.calls.clear()

    def work(stream: int) -> None:
        for _ in range(50):
            predictor.enqueue(stream, (256 * stream, 512 * stream), 1024 * stream, stream)

    threads = [threading.Thread(target=work, args=(stream,)) for stream in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.contexts == 4
    assert len(state.calls) == 4 * 50 * 6
    for at in range(0, len(state.calls), 6):  # calls of different threads do not interleave
        group = state.calls[at : at + 6]
        stream = group[-1][-1]
        assert len({call[0] for call in group}) == 1
        assert group[0][3][0] == stream and group[2][3] == 256 * stream


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 256, 256, 256), "`batch` must be 1 to 16.*got 0"),
        ((17, 256, 256, 256), "`batch` must be 1 to 16.*got 17. Split it, or build"),
        ((1, 0, 256, 256), "`composite` must be a device address"),
        ((1, 256, 4, 256), "`mask` must be .* a multiple of 256; got 0x4"),
        ((1, 256, 256, 300), "`arguments` must be .* got 0x12c"),
    ],
)
def test_enqueue_out_of_range_is_refused_before_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[int, ...], words: str
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    predictor = EnginePredictor(*write_pair(tmp_path))
    state.calls.clear()
    with pytest.raises(ValueError, match=words):
        predictor.enqueue(arguments[0], arguments[1:3], arguments[3], stream=1)
    assert state.calls == []


@pytest.mark.parametrize(
    "method",
    ["deserialize_cuda_engine", "create_execution_context", "set_input_shape", "execute_async_v3"],
)
@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("Serialization assertion failed.", EngineError),
        ("Error Code 2: OutOfMemory (Requested size was 73400320 bytes.)", DeviceMemoryError),
        ("CUDA error: out of memory", DeviceMemoryError),
    ],
)
def test_failures_carry_what_tensorrt_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    says: str,
    error: type[Exception],
) -> None:
    state = tensorrt_stand_in.install(monkeypatch)
    state.fails, state.says = {method}, says
    with pytest.raises(error) as caught:
        EnginePredictor(*write_pair(tmp_path)).enqueue(1, (256, 256), 256, 1)
    assert says in str(caught.value) and "not worth repeating" not in str(caught.value)
    if error is DeviceMemoryError:
        assert "smaller largest batch" in str(caught.value)
    else:
        assert isinstance(caught.value, EngineError) and caught.value.log == (says,)
