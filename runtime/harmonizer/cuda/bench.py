"""What a GPU costs: drawing, whole frames and transfers, beside a copy on the device.

Times on the device are taken with CUDA events on one stream, a pair for each call; "host to host"
is wall time of the whole call, transfers included. The same frames run as a CUDA graph and call by
call. What else a module has to offer on the same GPU is measured in the same run.
What one H100 gave is in bench/results/gpu.json.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import numpy as np

from harmonizer import _native
from harmonizer.bench import measured_commit
from harmonizer.cuda.arrays import packed
from harmonizer.cuda.queueing import FrameTask
from harmonizer.cuda.renderer import CudaRenderer
from harmonizer.cuda.transfer import pinned_empty
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import TYPICAL, Measurement, picture, rectangle, summarize, time_calls

SIZES = [(1920, 1080), (3840, 2160), (7680, 4320)]
SHARES = (1.0, 0.25)
BATCHES = (1, 16)
PACKAGES = ("pycuda", "cuda-bindings", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "torch")

Cases = Callable[[tuple[int, int]], Iterator[tuple[str, Callable[[], object]]]]
"""What a rival offers for a size: names and calls, each a whole frame, complete on return."""

TARGETS = {
    "apply: share of copy bandwidth at 7680x4320, full mask": ("at least", 0.7),
    "thumbnail+histogram: share of copy bandwidth at 7680x4320": ("at least", 0.7),
    "render: microseconds at 1920x1080, full mask, graph": ("at most", 30.0),
    "frame on device: eager PyTorch / harmonizer at 1920x1080": ("at least", 10.0),
    "host to host: whole call / its transfers at 3840x2160": ("at most", 1.5),
}
"""What the project set itself for a GPU of the H200's class."""


class Buffer:
    """Device memory with a numpy array's content, as libraries hand it over."""

    def __init__(self, cuda: Any, array: np.ndarray) -> None:
        self.allocation = cuda.mem_alloc(array.nbytes)
        cuda.memcpy_htod(self.allocation, array)
        cuda.Context.synchronize()  # streams that do not wait for the default one read it
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (int(self.allocation), False),
            "strides": None,
            "version": 3,
            "stream": None,
        }


class Bench:
    """Measures with events on one stream.

    Args:
        renderer: Whose GPU is used; its context is current.
        seconds: Time for each case.
    """

    def __init__(self, renderer: CudaRenderer, seconds: float) -> None:
        self.renderer, self.seconds = renderer, seconds
        self.cuda = renderer.device.pycuda
        self.stream = self.cuda.Stream(1)
        self.results: list[Measurement] = []

    def on_device(
        self,
        name: str,
        image: np.ndarray,
        share: float,
        call: Callable[[], object],
        stream: Any | None = None,
    ) -> float:
        """Time calls that queue work on a stream (`self.stream`); returns the median in ms."""
        stream = stream or self.stream
        for _ in range(5):  # the second call captures a graph
            call()
        stream.synchronize()
        events = [(self.cuda.Event(), self.cuda.Event()) for _ in range(50)]
        times: list[float] = []
        end = time.perf_counter() + self.seconds
        while not times or time.perf_counter() < end:
            for start, stop in events:
                start.record(stream)
                call()
                stop.record(stream)
            stream.synchronize()
            times += [max(stop.time_since(start), 1e-6) for start, stop in events]
        return self.add(name, image, share, times)

    def on_host(
        self, name: str, image: np.ndarray, share: float, call: Callable[[], object]
    ) -> float:
        """Time calls that return when they are done; returns the median in ms."""
        return self.add(name, image, share, time_calls(call, self.seconds))

    def add(self, name: str, image: np.ndarray, share: float, times: list[float]) -> float:
        """Note measured times; returns their median."""
        self.results.append(summarize(name, image, share, times))
        return statistics.median(times)


def copy_time(bench: Bench, image: np.ndarray) -> float:
    """Median ms of copying an image on the device: 6 bytes of traffic a pixel."""
    source = Buffer(bench.cuda, image)
    target = bench.cuda.mem_alloc(image.nbytes)
    copy = bench.cuda.memcpy_dtod_async
    return bench.on_device(
        "copy on device",
        image,
        1.0,
        lambda: copy(target, source.allocation, image.nbytes, bench.stream),
    )


def transfer_time(bench: Bench, image: np.ndarray, mask: np.ndarray) -> float:
    """Median ms of image and mask to the device and the image back, page-locked, one after one."""
    device = [bench.cuda.mem_alloc(array.nbytes) for array in (image, mask)]

    def call() -> None:
        for target, array in zip(device, (image, mask), strict=True):
            bench.cuda.memcpy_htod_async(target, array, bench.stream)
        bench.cuda.memcpy_dtoh_async(image, device[0], bench.stream)
        bench.stream.synchronize()

    return bench.on_host("transfers alone", image, 1.0, call)


def measuring_time(bench: Bench, image: np.ndarray) -> float:
    """Median ms of thumbnail, histogram and a look at the mask: 4 bytes read a pixel."""
    height, width = image.shape[:2]
    pixels, mask = Buffer(bench.cuda, image), Buffer(bench.cuda, rectangle(width, height, 1.0))
    task = FrameTask(
        packed(int(pixels.allocation), height, width, 3, _native.U8),
        packed(int(mask.allocation), height, width, 1, _native.U8),
        None,
        TYPICAL.filters,
    )
    frames = bench.renderer.frames
    with frames.slot() as slot:
        return bench.on_device(
            "thumbnail+histogram",
            image,
            1.0,
            lambda: frames.queue(slot, [task], _native.PHASE_MEASURE, thumbnails=True),
            slot.stream,
        )


def pinned(array: np.ndarray) -> np.ndarray:
    """A copy in page-locked memory."""
    copy = pinned_empty(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


def measure_size(
    bench: Bench, plain: CudaRenderer, harmonizer: Harmonizer, size: tuple[int, int]
) -> dict[str, float]:
    """Every case of one size; returns medians in ms by name and share."""
    image = picture(*size)
    found = {"copy": copy_time(bench, image), "measure": measuring_time(bench, image)}
    for share in SHARES:
        found |= measure_device(bench, plain, harmonizer, image, share)
        found |= measure_host(bench, image, share)
    return found


def measure_device(
    bench: Bench, plain: CudaRenderer, harmonizer: Harmonizer, image: np.ndarray, share: float
) -> dict[str, float]:
    """Device to device: drawing with and without graphs, and the frame with its network."""
    found = {}
    plan = bench.renderer.measure(image, TYPICAL)
    source: Any = Buffer(bench.cuda, image)
    out: Any = Buffer(bench.cuda, image)
    coverage: Any = Buffer(bench.cuda, rectangle(image.shape[1], image.shape[0], share))
    for label, renderer in (("graph", bench.renderer), ("plain", plain)):

        def render(renderer: CudaRenderer = renderer) -> None:
            renderer.render(source, coverage, TYPICAL, out, bench.stream)

        def draw(renderer: CudaRenderer = renderer) -> None:
            renderer.draw(source, coverage, plan, out, bench.stream)

        for name, call in (("render", render), ("apply", draw)):
            found[f"{name} {label} {share}"] = bench.on_device(
                f"{name}, {label}", image, share, call
            )

    def frame() -> None:
        harmonizer(source, coverage, out=out, stream=bench.stream)

    found[f"frame {share}"] = bench.on_device("frame on device", image, share, frame)
    return found


def measure_host(bench: Bench, image: np.ndarray, share: float) -> dict[str, float]:
    """Host to host, from page-locked and from ordinary memory, and the transfers alone."""
    mask = rectangle(image.shape[1], image.shape[0], share)
    sets = {
        "render, host to host": [pinned(array) for array in (image, mask, image)],
        "render, pageable": [image, mask, np.empty_like(image)],
    }
    found = {}
    for name, (source, coverage, out) in sets.items():

        def call(
            source: np.ndarray = source, coverage: np.ndarray = coverage, out: np.ndarray = out
        ) -> object:
            return bench.renderer.render(source, coverage, TYPICAL, out)

        found[f"{name} {share}"] = bench.on_host(name, image, share, call)
    found["transfers"] = transfer_time(bench, *sets["render, host to host"][:2])
    return found


def measure_batch(bench: Bench, harmonizer: Harmonizer, size: tuple[int, int], count: int) -> float:
    """Median ms of a batch of frames on the device, for one frame."""
    image, mask = picture(*size), rectangle(*size, 0.25)
    images: list[Any] = [Buffer(bench.cuda, image) for _ in range(count)]
    outs: list[Any] = [Buffer(bench.cuda, image) for _ in range(count)]
    masks: list[Any] = [Buffer(bench.cuda, mask)] * count

    def batch() -> None:
        harmonizer.batch(images, masks, outs=outs, stream=bench.stream)

    return bench.on_device(f"batch of {count} on device", image, 0.25, batch) / count


def gpu_environment(renderer: CudaRenderer) -> dict[str, object]:
    """The GPU, its driver, and the versions of what drives it."""
    gpu = renderer.device.gpu
    found: dict[str, object] = {
        "gpu": gpu.name,
        "compute_capability": ".".join(map(str, gpu.capability)),
        "driver_cuda": ".".join(map(str, gpu.driver)),
        "multiprocessors": renderer.device.processors,
        "gpu_memory_mb": renderer.device.free_memory()[1] >> 20,
        "graphs": renderer.graph_status,
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"commit": measured_commit(Path(__file__).parent)}


def figures_of(
    found: dict[tuple[int, int], dict[str, float]], rivals: Sequence[str]
) -> dict[str, float]:
    """The ratios that have targets, and their like for the other sizes."""
    figures = {}
    for (width, height), times in found.items():
        size = f"{width}x{height}"
        # A copy moves 6 bytes a pixel; applying reads image and mask and writes the output: 7.
        share = (7 / times["apply graph 1.0"]) / (6 / times["copy"])
        figures[f"apply: share of copy bandwidth at {size}, full mask"] = share
        share = (4 / times["measure"]) / (6 / times["copy"])
        figures[f"thumbnail+histogram: share of copy bandwidth at {size}"] = share
        for label in ("graph", "plain"):
            microseconds = 1e3 * times[f"render {label} 1.0"]
            figures[f"render: microseconds at {size}, full mask, {label}"] = microseconds
        figures[f"render: full mask / 25 % mask at {size}"] = (
            times["render graph 1.0"] / times["render graph 0.25"]
        )
        figures[f"host to host: whole call / its transfers at {size}"] = (
            times["render, host to host 1.0"] / times["transfers"]
        )
        for name in times.keys() & set(rivals):
            figures[f"frame on device: {name} / harmonizer at {size}"] = (
                times[name] / times["frame 1.0"]
            )
    return figures


def measure_gpu(
    harmonizer: Harmonizer,
    sizes: Sequence[tuple[int, int]],
    seconds: float,
    batches: Sequence[int] = BATCHES,
    cases: Cases | None = None,
) -> tuple[list[Measurement], dict[str, float], dict[str, object]]:
    """Measure everything on a harmonizer's GPU.

    Args:
        harmonizer: On backend "cuda".
        sizes: Of pictures, (W, H).
        seconds: For each case.
        batches: Frames of a batch, at the first size.
        cases: What else to measure.

    Returns:
        Measurements, figures by name, and what they depend on.
    """
    found: dict[tuple[int, int], dict[str, float]] = {}
    rivals: dict[str, None] = {}
    renderer = cast(CudaRenderer, harmonizer.renderer)
    with (
        CudaRenderer(renderer.device.gpu.ordinal, graphs=False) as plain,
        renderer.device.current(),
    ):
        bench = Bench(renderer, seconds)
        for size in sizes:
            found[size] = measure_size(bench, plain, harmonizer, size)
            for name, call in cases(size) if cases else ():
                found[size][name] = bench.on_host(f"frame, {name}", picture(*size), 1.0, call)
                rivals[name] = None
        figures = figures_of(found, list(rivals))
        width, height = sizes[0]
        for count in batches:
            name = f"batch of {count} at {width}x{height}: ms for a frame"
            figures[name] = measure_batch(bench, harmonizer, sizes[0], count)
        about = gpu_environment(renderer)
        about["predictor"] = type(harmonizer.predictor).__name__
        bench.stream.synchronize()
        results = bench.results
        del bench
    return results, figures, about
