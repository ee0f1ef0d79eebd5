"""S2CRNet's frames on a GPU against the CPU: cropped thumbnails, labels, curves, thin masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from curves import random_slopes
from gpu_device import (
    EMULATED,
    EMULATED_ONLY,
    OnDevice,
    counts,
    emulator,
    fetch,
)
from gpu_frames import assert_close, scene
from tiny_predictor import write_curve_predictor, write_predictor
from video_clips import disc
from video_clips import picture as video_picture

from export import tolerances
from harmonizer.arguments import Arguments
from harmonizer.contract import LABELS, Contract
from harmonizer.errors import DeviceMemoryError, HarmonizerWarning, MaskError, ModelError
from harmonizer.frame import Network
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import picture
from harmonizer.renderer import CpuRenderer
from harmonizer.video import Smoothing, harmonize_frames

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]

NAME = ("piecewise_curve",)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_curve_predictor(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture
def on_cpu(model: Path) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cpu", threads=1, label="food") as made:
        yield made


@pytest.fixture
def on_gpu(model: Path, device: None) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cuda", 1, label="food") as made, made.renderer.device.current():
        yield made


def thin_mask(mask: np.ndarray) -> np.ndarray:
    thin = np.zeros_like(mask)
    thin[20, 9:50] = 255
    return thin


@pytest.mark.parametrize(
    ("stages", "label"), [(1, "person"), (2, None), (2, "vehicle"), (3, "-")], ids=str
)
def test_frame_equals_cpu(stages: int, label: str | None, tmp_path: Path) -> None:
    labelled = label != "-"
    path = write_curve_predictor(tmp_path / "tiny.onnx", stages, labelled)
    shown = label if labelled else None
    image, mask = scene()
    with (
        Harmonizer(path, "cpu", threads=1, label=shown) as cpu,
        Harmonizer(path, "cuda", threads=1, label=shown) as gpu,
    ):
        assert gpu.filters == NAME
        predicted, expected = gpu.predict(image, mask), cpu.predict(image, mask)
        assert predicted.sizes == expected.sizes == (192 * stages,)
        np.testing.assert_allclose(predicted.array(), expected.array(), rtol=0, atol=1e-5)
        for strength in (1.0, 0.0, 1.5):
            assert_close(gpu(image, mask, strength), cpu(image, mask, strength))
        assert np.abs(gpu(image, mask).astype(int) - image).max() > 5, "the curves must bend"


@pytest.mark.parametrize("dtype", ("uint16", "float32"))
def test_frame_of_other_types_equals_cpu(
    on_cpu: Harmonizer, on_gpu: Harmonizer, dtype: str
) -> None:
    image, mask = picture(70, 60, dtype), scene(70, 60)[1]
    difference = np.abs(on_gpu(image, mask).astype(float) - on_cpu(image, mask))
    assert difference.max() <= {"uint16": 8, "float32": 1e-4}[dtype]


def test_frames_on_device_and_batches_equal_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    sizes = [(131, 90), (64, 48), (90, 131), (33, 257)]
    scenes = [scene(*size) for size in sizes]
    images, masks = [image for image, _ in scenes], [mask for _, mask in scenes]
    expected = [on_cpu(image, mask) for image, mask in scenes]
    out = OnDevice(images[0].copy())
    for _ in range(3):
        assert_close(on_gpu(OnDevice(images[0]), OnDevice(masks[0]), out=out).fetch(), expected[0])
    for largest in (64, 3):  # at once, and in two parts
        on_gpu.predictor.largest_batch = largest
        for drawn, wanted in zip(on_gpu.batch(images, masks), expected, strict=True):
            assert_close(drawn, wanted)
        sent: list[Any] = [OnDevice(array) for array in (*images, *masks)]
        results = on_gpu.batch(sent[: len(images)], sent[len(images) :])
        for drawn, wanted in zip(results, expected, strict=True):
            assert_close(fetch(drawn), wanted)
    for drawn, wanted in zip(on_gpu.each(scenes), expected, strict=True):
        assert_close(drawn, wanted)


@pytest.mark.parametrize("smoothing", [Smoothing(), Smoothing(every=3)])
def test_video_frames_equal_the_cpus(
    on_cpu: Harmonizer, on_gpu: Harmonizer, smoothing: Smoothing
) -> None:
    frames = [(video_picture(i), disc(i), i / 25) for i in range(5)]
    expected = harmonize_frames(on_cpu, frames, smoothing)
    for one, other in zip(expected, harmonize_frames(on_gpu, frames, smoothing), strict=True):
        assert_close(other.image, one.image)


def test_masks_say_what_they_say_on_the_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    for odd in (np.zeros_like(mask), np.full_like(mask, 255)):
        with pytest.warns(HarmonizerWarning) as expected:
            theirs = on_cpu(image, odd)
        with pytest.warns(HarmonizerWarning) as said:
            assert_close(on_gpu(image, odd), theirs)
        assert [str(w.message) for w in said] == [str(w.message) for w in expected]
        arguments, concerns = on_gpu.examine(OnDevice(image), OnDevice(odd))
        assert concerns == on_cpu.examine(image, odd)[1]
        assert arguments.sizes == (384,)


def test_thin_masks_are_refused_as_on_the_cpu(on_cpu: Harmonizer, on_gpu: Harmonizer) -> None:
    image, mask = scene()
    for thin in (thin_mask(mask), np.ascontiguousarray(thin_mask(mask.T).T)):
        with pytest.raises(MaskError, match="must cover a region 2 pixels high and wide"):
            on_cpu(image, thin)
        calls = (
            lambda thin=thin: on_gpu(image, thin),
            lambda thin=thin: on_gpu.predict(image, thin),
            lambda thin=thin: on_gpu(OnDevice(image), OnDevice(thin)),
            lambda thin=thin: on_gpu.batch([image, image], [mask, thin]),
            lambda thin=thin: list(on_gpu.each([(image, mask), (image, thin)])),
        )
        for call in calls:
            with pytest.raises(MaskError, match=r"2 pixels high and wide.*1 pixel high or wide"):
                call()
        assert_close(on_gpu(image, mask), on_cpu(image, mask))


def test_thin_mask_on_a_callers_stream_draws_the_composite(on_gpu: Harmonizer) -> None:
    import pycuda.driver as cuda

    image, mask = scene()
    source, out = OnDevice(image), OnDevice(np.zeros_like(image))
    caller = cuda.Stream(1)
    on_gpu(source, OnDevice(thin_mask(mask)), out=out, stream=caller)
    caller.synchronize()
    np.testing.assert_array_equal(out.fetch(), image)


def test_what_does_not_go_together_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`label` must be one of person"):
        Harmonizer(model, "cuda", threads=1, label="tree")
    plain = write_predictor(tmp_path / "plain.onnx")
    with pytest.raises(ValueError, match="`label` must go with a model that reads one"):
        Harmonizer(plain, "cuda", threads=1, label="food")
    broken = write_curve_predictor(tmp_path / "nan.onnx", offset=float("nan"))
    image, mask = scene()
    with Harmonizer(broken, "cuda", threads=1) as harmonizer:
        for call in (harmonizer, harmonizer.predict):
            with pytest.raises(ModelError, match="finite numbers"):
                call(image, mask)


def test_surfaces_of_decoders_are_refused(on_gpu: Harmonizer) -> None:
    from harmonizer.cuda.surfaces import Surface

    luma = OnDevice(np.full((90, 132), 80, np.uint8))
    chroma = OnDevice(np.full((45, 66, 2), 128, np.uint8))
    frame = Surface(luma, chroma, matrix="bt709", full_range=False)
    with pytest.raises(ValueError, match="Convert it to R, G and B"):
        on_gpu(frame, OnDevice(scene(132, 90)[1]))
    image, mask = scene()
    assert on_gpu(image, mask).shape == image.shape


class CurvePredictor:
    """Writes slopes with copies on the stream, the label's row over the first five of them."""

    contract = Contract("s2crnet", NAME, (384,), labelled=True)
    filters = NAME
    largest_batch = 3

    def __init__(self, thumbnail_type: str = "float32") -> None:
        self.thumbnail_type = thumbnail_type
        self.slopes = random_slopes(np.random.default_rng(8)).reshape(-1)
        self.memory = OnDevice(self.slopes)
        self.seen: list[tuple[int, ...]] = []

    def enqueue(self, batch: int, inputs: Any, arguments: int, stream: int) -> None:
        from cuda.bindings import driver

        self.seen.append(tuple(inputs))
        row = len(LABELS) * np.dtype(self.thumbnail_type).itemsize
        for index in range(batch):
            target, label = arguments + index * 4 * 384, inputs[2] + index * row
            for copy in ((target, self.memory.pointer, 4 * 384), (target, label, row)):
                (status,) = driver.cuMemcpyDtoDAsync(*copy, stream)
                assert not status

    def close(self) -> None:
        self.memory.allocation.free()


def test_label_reaches_every_frame_of_captured_batches(device: None) -> None:
    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    from harmonizer.cuda.renderer import CudaRenderer

    image, mask = scene()
    cpu, renderer = CpuRenderer(1), CudaRenderer()
    label = LABELS.index("vehicle")
    with renderer.device.current():
        predictor = CurvePredictor()
        network = Network(predictor, label)
        predictor.slopes[:5] = np.eye(5)[label]
        arguments = Arguments.from_array(predictor.slopes, NAME, (384,)).clamped()
        expected = cpu.draw(image, mask, cpu.measure(image, arguments))
        source, cover = OnDevice(image), OnDevice(mask)
        outs = [OnDevice(image.copy()) for _ in range(5)]
        for count in (1, 5, 2):  # the label's rows grow, and what was captured goes on
            for _ in range(4):
                renderer.batch(network, [source] * count, [cover] * count, 1.0, outs[:count])
                for out in outs[:count]:
                    assert_close(out.fetch(), expected)
        assert renderer.graph_status == "on"
        if EMULATED:
            before = counts().launches, counts().copies
            renderer.batch(network, [source] * 2, [cover] * 2, 1.0, outs[:2])
            assert counts().launches == before[0]
            assert counts().copies - before[1] == 2, "the two reports alone"
        renderer.close(network.predictor)


def test_half_precision_gets_half_thumbnails_and_label(device: None) -> None:
    import pycuda.driver as cuda

    pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    from harmonizer.cuda.renderer import CudaRenderer

    image, mask = scene()
    renderer = CudaRenderer()
    with renderer.device.current():
        predictor = CurvePredictor("float16")
        network = Network(predictor, 1)
        renderer.batch(network, [image], [mask], 1.0, [None])
        shapes = ((1, 3, 256, 256), (1, 3, 256, 256), (1, 5))
        arrays = [np.empty(shape, np.float16) for shape in shapes]
        for array, address in zip(arrays, predictor.seen[-1], strict=True):
            cuda.memcpy_dtoh(array, address)
        for ours, theirs in zip(
            arrays, CpuRenderer(1).region_thumbnails(image, mask), strict=False
        ):
            assert np.abs(ours.astype(np.float32) - theirs).max() <= tolerances.CUDA_THUMBNAIL_F16
        np.testing.assert_array_equal(arrays[2], [[0, 1, 0, 0, 0]])
        renderer.close(network.predictor)


@pytest.mark.skipif(not EMULATED, reason=EMULATED_ONLY)
def test_out_of_memory_leaves_no_label_unwritten(model: Path, on_cpu: Harmonizer) -> None:
    image, mask = scene()
    expected = on_cpu(image, mask)
    failed = 0
    for successes in range(6, 13):
        with Harmonizer(model, "cuda", threads=1, label="food") as made:
            emulator().hz_driver_fail_after(successes)
            try:
                made(image, mask)
            except DeviceMemoryError:
                failed += 1
            finally:
                emulator().hz_driver_fail_after(-1)
            assert_close(made(image, mask), expected)
    assert failed > 3
