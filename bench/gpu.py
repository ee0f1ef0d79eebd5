"""The GPU benchmark: the CUDA renderer and whole frames, beside a copy and eager PyTorch.

    python bench/gpu.py --output bench/results/gpu.json [--model FILE.engine]

Times on the device are taken with CUDA events on the caller's stream, one pair for each call;
"host to host" is wall time of the whole call, transfers included. The same frames run as a CUDA
graph and call by call. Eager PyTorch (and torch.compile, with --compile) does the same job on the
same GPU in the same run, where a torch that sees the GPU is installed. Not run on a GPU yet.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from bench.results_file import ROOT, SCHEMA, commit, judge
from harmonizer.bench import (
    SCHEMA_VERSION,
    TYPICAL,
    Measurement,
    environment,
    measure,
    picture,
    rectangle,
    summarize,
    table,
)
from harmonizer.cuda.renderer import CudaRenderer
from harmonizer.cuda.transfer import pinned_empty
from harmonizer.files import write_atomically
from harmonizer.pipeline import Harmonizer

SIZES = [(1920, 1080), (3840, 2160), (7680, 4320)]
SHARES = (1.0, 0.25)
PACKAGES = ("pycuda", "cuda-bindings", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx", "torch")

TARGETS = {
    "apply: share of copy bandwidth at 7680x4320, full mask": ("at least", 0.7),
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
        self, name: str, image: np.ndarray, share: float, call: Callable[[], object]
    ) -> float:
        """Time calls that queue work on `stream`; returns the median in ms."""
        for _ in range(5):  # the second call captures a graph
            call()
        self.stream.synchronize()
        events = [(self.cuda.Event(), self.cuda.Event()) for _ in range(50)]
        times: list[float] = []
        end = time.perf_counter() + self.seconds
        while not times or time.perf_counter() < end:
            for start, stop in events:
                start.record(self.stream)
                call()
                stop.record(self.stream)
            self.stream.synchronize()
            times += [max(stop.time_since(start), 1e-6) for start, stop in events]
        return self.add(name, image, share, times)

    def on_host(
        self, name: str, image: np.ndarray, share: float, call: Callable[[], object]
    ) -> float:
        """Time calls that return when they are done; returns the median in ms."""
        return self.add(name, image, share, measure(call, self.seconds))

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
    found = {"copy": copy_time(bench, image)}
    for share in SHARES:
        found |= measure_device(bench, plain, harmonizer, image, share)
        found |= measure_host(bench, image, share)
    return found


def measure_device(
    bench: Bench, plain: CudaRenderer, harmonizer: Harmonizer, image: np.ndarray, share: float
) -> dict[str, float]:
    """Device to device: drawing with and without graphs, and the frame with its network."""
    found = {}
    plan = bench.renderer.prepare(image, TYPICAL)
    source, out = Buffer(bench.cuda, image), Buffer(bench.cuda, image)
    cover = Buffer(bench.cuda, rectangle(image.shape[1], image.shape[0], share))
    for label, renderer in (("graph", bench.renderer), ("plain", plain)):

        def render(renderer: CudaRenderer = renderer) -> None:
            renderer.render(source, cover, TYPICAL, out, bench.stream)

        def apply(renderer: CudaRenderer = renderer) -> None:
            renderer.apply(source, cover, plan, out, bench.stream)

        for name, call in (("render", render), ("apply", apply)):
            found[f"{name} {label} {share}"] = bench.on_device(
                f"{name}, {label}", image, share, call
            )

    def frame() -> None:
        harmonizer(source, cover, out=out, stream=bench.stream)

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
    for name, (source, cover, out) in sets.items():

        def call(
            source: np.ndarray = source, cover: np.ndarray = cover, out: np.ndarray = out
        ) -> object:
            return bench.renderer.render(source, cover, TYPICAL, out)

        found[f"{name} {share}"] = bench.on_host(name, image, share, call)
    found["transfers"] = transfer_time(bench, *sets["render, host to host"][:2])
    return found


def measure_batch(bench: Bench, harmonizer: Harmonizer, size: tuple[int, int], count: int) -> float:
    """Median ms of a batch of frames on the device, for one frame."""
    image, mask = picture(*size), rectangle(*size, 0.25)
    images = [Buffer(bench.cuda, image) for _ in range(count)]
    outs = [Buffer(bench.cuda, image) for _ in range(count)]
    covers = [Buffer(bench.cuda, mask)] * count

    def batch() -> None:
        harmonizer.batch(images, covers, outs=outs, stream=bench.stream)

    return bench.on_device(f"batch of {count} on device", image, 0.25, batch) / count


def eager_cases(
    checkpoint: Path, size: tuple[int, int], compiled: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """PyTorch doing a whole frame on the GPU: thumbnail, network, filters, blend, to uint8."""
    import torch

    from train.filters import apply_filters, blend
    from train.model import load_checkpoint

    network = load_checkpoint(checkpoint).cuda().eval()
    pixels = torch.from_numpy(picture(*size)).cuda()
    cover = torch.from_numpy(rectangle(*size, 1.0)).cuda()

    def frame() -> object:
        with torch.inference_mode():
            image = pixels.permute(2, 0, 1)[None].float() / 255
            mask = cover[None, None].float() / 255
            arguments = network.predict_arguments(image, mask)
            drawn = blend(apply_filters(image, arguments)[-1], image, mask)
            return (drawn[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8)

    yield "frame, eager PyTorch", frame
    if compiled:
        yield "frame, torch.compile", torch.compile(frame)


def torch_sees_gpu() -> bool:
    """Whether a torch that can use this GPU is installed."""
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


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
    return found


def figures_of(found: dict[tuple[int, int], dict[str, float]]) -> dict[str, float]:
    """The ratios that have targets, and their like for the other sizes."""
    figures = {}
    for (width, height), times in found.items():
        size = f"{width}x{height}"
        # A copy moves 6 bytes a pixel; applying reads image and mask and writes the output: 7.
        share = (7 / times["apply graph 1.0"]) / (6 / times["copy"])
        figures[f"apply: share of copy bandwidth at {size}, full mask"] = share
        for label in ("graph", "plain"):
            microseconds = 1e3 * times[f"render {label} 1.0"]
            figures[f"render: microseconds at {size}, full mask, {label}"] = microseconds
        figures[f"render: full mask / 25 % mask at {size}"] = (
            times["render graph 1.0"] / times["render graph 0.25"]
        )
        figures[f"host to host: whole call / its transfers at {size}"] = (
            times["render, host to host 1.0"] / times["transfers"]
        )
        if "eager" in times:
            figures[f"frame on device: eager PyTorch / harmonizer at {size}"] = (
                times["eager"] / times["frame 1.0"]
            )
    return figures


def parse_size(text: str) -> tuple[int, int]:
    """WxH."""
    width, height = map(int, text.split("x"))
    return width, height


def main() -> None:
    """Measure, check the result against the schema, write it, print it."""
    parser = argparse.ArgumentParser(description="This project on a GPU, beside eager PyTorch.")
    parser.add_argument("--output", type=Path, required=True, help="result JSON")
    parser.add_argument("--model", type=Path, help="predictor: .engine or .onnx (the shipped one)")
    parser.add_argument("--size", type=parse_size, action="append", metavar="WxH")
    parser.add_argument("--batch", type=int, default=16, help="frames in a batch (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case (%(default)s)")
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, too")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/harmonizer.safetensors")
    args = parser.parse_args()
    found = {}
    figures = {}
    with (
        Harmonizer(args.model, "cuda") as harmonizer,
        CudaRenderer(graphs=False) as plain,
        harmonizer.renderer.device.current(),
    ):
        bench = Bench(harmonizer.renderer, args.seconds)
        for size in args.size or SIZES:
            found[size] = measure_size(bench, plain, harmonizer, size)
            if torch_sees_gpu():
                for name, call in eager_cases(args.checkpoint, size, args.compile):
                    import torch

                    def waited(run: Callable[[], object] = call) -> None:
                        run()
                        torch.cuda.synchronize()

                    median = bench.on_host(name, picture(*size), 1.0, waited)
                    found[size].setdefault("eager", median)
        first = (args.size or SIZES)[0]
        for count in (1, args.batch):
            figures[f"batch of {count} at {first[0]}x{first[1]}: ms for a frame"] = measure_batch(
                bench, harmonizer, first, count
            )
        document = {
            "schema_version": SCHEMA_VERSION,
            "environment": environment(os.cpu_count() or 1)
            | gpu_environment(harmonizer.renderer)
            | {"commit": commit(), "predictor": type(harmonizer.predictor).__name__},
            "measurements": [asdict(result) for result in bench.results],
            "figures": [judge(*item, TARGETS, 4) for item in (figures_of(found) | figures).items()],
        }
        bench.stream.synchronize()
        results = bench.results
        del bench
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(args.output, (json.dumps(document, indent=2) + "\n").encode())
    print(table(results), end="\n\n")
    for row in document["figures"]:  # type: ignore[attr-defined]
        verdict = {True: "met", False: "NOT met"}.get(row.get("met"), "")
        print(f"{row['name']:64}{row['value']:>10.3f}  {row.get('target', ''):14} {verdict}")


if __name__ == "__main__":
    main()
