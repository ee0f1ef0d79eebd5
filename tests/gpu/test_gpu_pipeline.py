"""Whole frames on a GPU against the CPU: batches, streams, threads, DLPack, memory, closing."""

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dlpack_producer import Producer
from gpu_device import (
    EMULATED,
    EMULATED_ONLY,
    OnDevice,
    counts,
    emulator,
    fetch,
    held,
    nothing_left,
)
from gpu_frames import assert_close, scene
from tiny_predictor import write_predictor

from harmonizer.arguments import Arguments
from harmonizer.contract import Contract
from harmonizer.errors import (
    ArgumentsError,
    DeviceError,
    DeviceMemoryError,
    HarmonizerWarning,
    ModelError,
)
from harmonizer.frame import Network
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import TYPICAL, picture, rectangle

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]


@pytest.fixture
def on_cpu(model: Path) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cpu", threads=1) as made:
        yield made


@pytest.fixture
def on_gpu(model: Path, device: None) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cuda", threads=1) as made, made.renderer.device.current():
        yield made


def test_frame_equals_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    assert on_gpu.backend == "cuda"
    predicted, expected = on_gpu.predict(image, mask), on_cpu.predict(image, mask)
    assert predicted.filters == expected.filters
    assert predicted.numbers == pytest.approx(expected.numbers, abs=1e-5)
    for strength in (1.0, 0.0, 0.5, 1.5):
        assert_close(on_gpu(image, mask, strength), on_cpu(image, mask, strength))
    copy = image.copy()
    assert on_gpu(copy, mask, out=copy) is copy
    assert_close(copy, on_cpu(image, mask))


@pytest.mark.parametrize("dtype", ("uint16", "float32"))
def test_frame_of_other_types_equals_cpu(
    on_cpu: Harmonizer, on_gpu: Harmonizer, dtype: str
) -> None:
    image, mask = picture(70, 60, dtype), rectangle(70, 60, 0.3)
    difference = np.abs(on_gpu(image, mask).astype(float) - on_cpu(image, mask))
    assert difference.max() <= {"uint16": 8, "float32": 1e-4}[dtype]


def test_frame_on_device_equals_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    source, cover, out = OnDevice(image), OnDevice(mask), OnDevice(image.copy())
    expected = on_cpu(image, mask)
    for _ in range(3):
        assert on_gpu(source, cover, out=out) is out
        assert_close(out.fetch(), expected)
    assert_close(fetch(on_gpu(source, cover)), expected)
    assert on_gpu.predict(source, cover) == on_gpu.predict(image, mask)


def test_render_and_prepare_go_through_the_gpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    assert_close(on_gpu.render(image, mask, TYPICAL), on_cpu.render(image, mask, TYPICAL))
    assert on_gpu.measure(image, TYPICAL).filters == TYPICAL.filters
    mapping = dict(TYPICAL)
    assert_close(on_gpu.render(image, mask, mapping), on_cpu.render(image, mask, mapping))


def test_masks_that_show_nothing_warn_as_on_the_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, _ = scene(1200, 700)
    empty = np.zeros((700, 1200), np.uint8)
    speck = empty.copy()
    speck[4, 4] = 255  # between the points that the thumbnail samples
    for mask in (empty, speck, np.full_like(empty, 255)):
        with pytest.warns(HarmonizerWarning) as expected:
            theirs = on_cpu(image, mask)
        with pytest.warns(HarmonizerWarning) as said:
            ours = on_gpu(image, mask)
        assert [str(w.message) for w in said] == [str(w.message) for w in expected]
        assert_close(ours, theirs)
        assert on_gpu.examine(image, mask)[1] == on_cpu.examine(image, mask)[1]
        assert on_gpu.examine(OnDevice(image), OnDevice(mask))[1] == on_cpu.examine(image, mask)[1]


def test_batch_equals_single_frames(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    sizes = [(131, 90), (64, 48), (90, 131), (33, 257)]
    scenes = [scene(*size) for size in sizes]
    images, masks = [image for image, _ in scenes], [mask for _, mask in scenes]
    expected = on_cpu.batch(images, masks)
    for drawn, wanted in zip(on_gpu.batch(images, masks), expected, strict=True):
        assert_close(drawn, wanted)
    on_gpu.predictor.largest_batch = 3  # in two parts
    sent: list[Any] = [OnDevice(array) for array in (*images, *masks)]
    results = on_gpu.batch(sent[: len(images)], sent[len(images) :])
    for drawn, wanted in zip(results, expected, strict=True):
        assert_close(fetch(drawn), wanted)
    with pytest.raises(ValueError, match="same length, at least 1; got 0, 0 and 0"):
        on_gpu.batch([], [])
    with pytest.raises(ValueError, match="got 4, 1 and 4"):
        on_gpu.batch(images, masks[:1])


def test_stream_of_frames_equals_single_calls(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    frames = []
    for shift in range(9):
        image, mask = scene()
        frames.append((np.roll(image, 7 * shift, axis=1), mask))
    results = list(on_gpu.each(frames))
    assert len(results) == len(frames)
    for drawn, (image, mask) in zip(results, frames, strict=True):
        assert_close(drawn, on_cpu(image, mask))


def test_streams_at_the_same_time_and_abandoned_ones_share_the_slots(
    on_cpu: Harmonizer, on_gpu: Harmonizer
) -> None:
    image, mask = scene()
    expected = on_cpu(image, mask)
    first = on_gpu.each([(image, mask)] * 6)
    second = on_gpu.each([(image, mask)] * 6)
    assert_close(next(first), expected)
    assert_close(next(second), expected)
    assert_close(on_gpu(image, mask), expected)
    first.close()
    rest = list(second)
    assert len(rest) == 5
    for drawn in rest:
        assert_close(drawn, expected)

    def broken() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield image, mask
        yield image, mask[:-1]

    with pytest.raises(ValueError, match="height and width"):
        list(on_gpu.each(broken()))
    assert_close(on_gpu(image, mask), expected)


@pytest.mark.parametrize("given", (False, True), ids=("predicted", "given arguments"))
def test_callers_stream_is_respected(on_cpu: Harmonizer, on_gpu: Harmonizer, given: bool) -> None:
    import pycuda.driver as cuda

    image, mask = scene()
    caller = cuda.Stream(1)
    cover, source, out = OnDevice(mask), OnDevice(np.zeros_like(image)), OnDevice(image.copy())
    host = cuda.pagelocked_empty(image.shape, np.uint8)
    result = cuda.pagelocked_empty(image.shape, np.uint8)
    for shift in range(5):
        moved = np.roll(image, shift, axis=0)
        host[:] = moved
        result[:] = 0
        cuda.memcpy_htod_async(source.allocation, host, caller)
        if given:
            arguments = Arguments(TYPICAL.filters, (shift / 10, *TYPICAL.numbers[1:]))
            on_gpu.render(source, cover, arguments, out, stream=caller)
            expected = on_cpu.render(moved, mask, arguments)
        else:
            on_gpu(source, cover, out=out, stream=int(caller.handle))
            expected = on_cpu(moved, mask)
        cuda.memcpy_dtoh_async(result, out.allocation, caller)
        caller.synchronize()
        assert_close(result, expected)


def test_producers_stream_of_the_interface_is_waited_for(
    on_cpu: Harmonizer, on_gpu: Harmonizer
) -> None:
    import pycuda.driver as cuda

    image, mask = scene()
    producer = cuda.Stream(1)
    source, cover = OnDevice(np.zeros_like(image), stream=int(producer.handle)), OnDevice(mask)
    host = cuda.pagelocked_empty(image.shape, np.uint8)
    host[:] = image
    cuda.memcpy_htod_async(source.allocation, host, producer)
    assert_close(fetch(on_gpu(source, cover)), on_cpu(image, mask))


@pytest.mark.parametrize("versioned", (True, False))
def test_dlpack_arrays_are_used_in_place_and_released(
    on_cpu: Harmonizer, on_gpu: Harmonizer, versioned: bool
) -> None:
    image, mask = scene()
    planar = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    source, cover = Producer(planar, versioned), Producer(mask, versioned)
    out = Producer(np.zeros_like(image), versioned)
    on_gpu(source, cover, out=out)
    assert_close(out.memory.fetch(), on_cpu(image, mask))
    gc.collect()
    assert [p.released == p.made == 1 for p in (source, cover, out)] == [True] * 3
    assert source.asked[0] > 2
    if versioned:
        with pytest.raises(ValueError, match="`out` must be writable"):
            on_gpu(source, cover, out=Producer(image, read_only=True))
    with pytest.raises(ValueError, match="it is on GPU 3"):
        on_gpu(Producer(image, versioned, device_id=3), cover)


def test_several_instances_in_several_threads(model: Path, on_cpu: Harmonizer) -> None:
    image, mask = scene()
    expected = on_cpu(image, mask)
    failures: list[BaseException] = []
    with Harmonizer(model, "cuda", threads=1) as shared:

        def work(number: int) -> None:
            try:
                with Harmonizer(model, "cuda", threads=1) as own:
                    for _ in range(3):
                        assert_close(own(image, mask), expected)
                        assert_close(shared(image, mask), expected)
            except BaseException as error:  # any failure must reach the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures


def test_closed_harmonizer_says_so(model: Path) -> None:
    harmonizer = Harmonizer(model, "cuda", threads=1)
    harmonizer.close()
    harmonizer.close()
    with pytest.raises(DeviceError, match="must be open; it was closed"):
        harmonizer(*scene())


def test_dropped_harmonizer_frees_everything(model: Path) -> None:
    harmonizer = Harmonizer(model, "cuda", threads=1)
    harmonizer(*scene())
    harmonizer.predictor.close()
    before = held() if EMULATED else {}
    del harmonizer
    gc.collect()
    assert not EMULATED or before["device_allocations"] > held()["device_allocations"] == 0


def test_bad_calls_leave_the_harmonizer_usable(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    with pytest.raises(TypeError, match="`mask` must be an array to predict with"):
        on_gpu(image, None)
    with pytest.raises(ArgumentsError, match="strength must lie in"):
        on_gpu(image, mask, 2.0)
    with pytest.raises(ValueError, match="height and width"):
        on_gpu(image, mask[1:])
    if EMULATED:  # a GPU's driver may crash on a handle that is none
        with pytest.raises(DeviceError, match="streams must be of this GPU"):
            on_gpu(OnDevice(image), OnDevice(mask), stream=123456)
    assert_close(on_gpu(image, mask), on_cpu(image, mask))


def test_model_without_finite_answer_is_refused(tmp_path: Path) -> None:
    path = write_predictor(tmp_path / "nan.onnx", offset=float("nan"))
    image, mask = scene()
    with Harmonizer(path, "cuda", threads=1) as broken:
        for call in (broken, broken.predict):
            with pytest.raises(ModelError, match="finite numbers"):
                call(image, mask)


class FixedPredictor:
    """Writes the same arguments with copies on the stream: what a graph may contain."""

    filters = TYPICAL.filters
    contract = Contract("harmonizer", filters, (1,) * len(filters))
    thumbnail_type = "float32"
    largest_batch = 4

    def __init__(self) -> None:
        import pycuda.driver as cuda

        self._cuda = cuda
        self.arguments = OnDevice(TYPICAL.array())

    def enqueue(self, batch: int, inputs: Any, arguments: int, stream: int) -> None:
        from cuda.bindings import driver

        size = 4 * len(self.filters)
        for index in range(batch):
            (status,) = driver.cuMemcpyDtoDAsync(
                arguments + index * size, self.arguments.pointer, size, stream
            )
            assert not status

    def close(self) -> None:
        self.arguments.allocation.free()


def test_whole_frame_is_one_graph(on_cpu: Harmonizer, device: None) -> None:
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    from harmonizer.cuda.renderer import CudaRenderer

    image, mask = scene()
    renderer = CudaRenderer()
    with renderer.device.current():
        predictor = FixedPredictor()
        network = Network(predictor)
        source, cover, out = OnDevice(image), OnDevice(mask), OnDevice(image.copy())
        expected = on_cpu.render(image, mask, TYPICAL.clamped())
        for _ in range(4):
            renderer.batch(network, [source], [cover], 1.0, [out])
            assert_close(out.fetch(), expected)
        assert renderer.graph_status == "on"
        if EMULATED:
            before = counts().launches
            renderer.batch(network, [source], [cover], 1.0, [out])
            assert counts().launches == before
        renderer.close(network.predictor)


def test_predictor_that_cannot_be_captured_falls_back_and_says_so(
    on_cpu: Harmonizer, device: None, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    from harmonizer.cuda.renderer import CudaRenderer

    class Waiting(FixedPredictor):
        def enqueue(self, *arguments: Any) -> None:
            from cuda.bindings import driver

            super().enqueue(*arguments)
            (status,) = driver.cuStreamSynchronize(arguments[-1])
            if status:
                raise ModelError(f"cannot wait: {status.name}")

    image, mask = scene()
    renderer = CudaRenderer()
    with renderer.device.current():
        network = Network(Waiting())
        source, cover, out = OnDevice(image), OnDevice(mask), OnDevice(image.copy())
        expected = on_cpu.render(image, mask, TYPICAL.clamped())
        for _ in range(3):
            renderer.batch(network, [source], [cover], 1.0, [out])
            assert_close(out.fetch(), expected)
        assert renderer.graph_status.startswith("off: the frame cannot be captured")
        assert "not as CUDA graphs" in caplog.text
        renderer.close(network.predictor)


@pytest.mark.skipif(not EMULATED, reason=EMULATED_ONLY)
def test_out_of_memory_is_said_and_leaks_nothing(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    expected = on_cpu(image, mask)
    assert_close(on_gpu(image, mask), expected)
    large, large_mask = scene(900, 700)
    before = held()
    for successes in range(12):
        emulator().hz_driver_fail_after(successes)
        try:
            on_gpu.batch([large] * 2, [large_mask] * 2)
        except DeviceMemoryError as error:
            assert "smaller batch" in str(error) or "fewer frames" in str(error)
        emulator().hz_driver_fail_after(-1)
        assert_close(on_gpu(image, mask), expected)
    emulator().hz_driver_set_memory(counts().device_bytes + (1 << 20))
    try:
        with pytest.raises(DeviceMemoryError, match="Use a smaller batch"):
            on_gpu.batch([large] * 8, [large_mask] * 8)
    finally:
        emulator().hz_driver_set_memory(1 << 30)
    assert_close(on_gpu(image, mask), expected)
    assert before["streams"] == held()["streams"]


@pytest.mark.skipif(not EMULATED, reason=EMULATED_ONLY)
def test_out_of_memory_when_made_leaks_nothing(model: Path) -> None:
    for successes in range(4):
        emulator().hz_driver_fail_after(successes)
        try:
            with nothing_left(), Harmonizer(model, "cuda", threads=1) as made:
                made(*scene())
        except DeviceMemoryError:
            pass
        finally:
            emulator().hz_driver_fail_after(-1)
