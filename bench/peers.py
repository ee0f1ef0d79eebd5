"""Other ways to the same picture on a CPU, in one run: how long they take, and how near they come.

    pip install opencv-python-headless kornia opencolorio pyvips pyvips-binary
    python -m bench.peers --output bench/results/peers.json

Every contestant starts from a uint8 array of 1920x1080 and ends with one, whole image, the six
default filters at arguments of an ordinary correction; statistics of the picture are part of the
job. What is not installed is named and left out. Look-up tables are made beforehand, and hold for
one picture.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.cpu import HD, Eager
from bench.results_file import ROOT, check_output, show, write_result
from export.to_onnx import export
from harmonizer.bench import judge
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import TYPICAL, picture, rectangle, summarize, time_calls
from harmonizer.lut import build_lattice, format_cube
from harmonizer.predictor import plain_session
from harmonizer.usage import says_errors, tool_parser
from train.checkpoints import load_harmonizer
from train.filters import apply_filters

CHECKPOINT = ROOT / "models/harmonizer.safetensors"
ROUNDS = 5
EPSILON = 1e-6

TEMPERATURE, BRIGHTNESS, CONTRAST, SATURATION, HIGHLIGHT, SHADOW = TYPICAL.array().tolist()
GAIN = 1 / (1 - BRIGHTNESS + EPSILON) if BRIGHTNESS >= 0 else 1 + BRIGHTNESS
SLOPE = 255 / (256 - np.floor(255 * CONTRAST)) - 1 if CONTRAST > 0 else CONTRAST

Bytes = NDArray[np.uint8]
Contestant = Callable[[], Bytes]


def exact(image: Bytes) -> NDArray[np.float64]:
    """The filters in float64, in levels, not rounded."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].double() / 255
    arguments = torch.from_numpy(TYPICAL.array())[None].double()
    drawn: NDArray[np.float64] = apply_filters(tensor, arguments)[-1][0].permute(1, 2, 0).numpy()
    return drawn * 255


def tensor_to_bytes(tensor: torch.Tensor) -> Bytes:
    """(1, 3, H, W) in [0, 1] to an (H, W, 3) array."""
    rounded: Bytes = (tensor[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).contiguous().numpy()
    return rounded


def temperature_gains(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors of the three channels."""
    size = abs(TEMPERATURE)
    moved = means + np.array([max(-TEMPERATURE, 0), size / 2, max(TEMPERATURE, 0)])
    gains: NDArray[np.float64] = (
        moved.mean() / (moved + EPSILON) + 1 - means.mean() / (means + EPSILON)
    )
    return gains


def opencv(image: Bytes) -> Contestant:
    """The formulas in OpenCV's and NumPy's whole-array steps, float32."""
    import cv2

    def run() -> Bytes:
        x: Any = cv2.multiply(image, (1 / 255,) * 4, dtype=cv2.CV_32F)
        gains = temperature_gains(np.array(cv2.mean(x)[:3]))
        x = np.minimum(cv2.multiply(x, (*gains, 0)), 1)
        x = np.minimum(x * np.float32(GAIN), 1)
        mean = float(np.mean(cv2.mean(x)[:3]))
        x = np.clip(x + (x - np.float32(mean)) * np.float32(SLOPE), 0, 1)
        r, g, b = cv2.split(x)
        high, low = cv2.max(cv2.max(r, g), b), cv2.min(cv2.min(r, g), b)
        light = (high + low) / 2
        chroma = (high - low) / (np.minimum(high + low, 2 - high - low) + np.float32(EPSILON))
        if SATURATION >= 0:
            factor = 1 / (np.maximum(chroma, np.float32(1 - SATURATION)) + np.float32(EPSILON))
        else:
            factor = np.full_like(light, 1 + SATURATION)
        x = cv2.merge([np.clip(light + (c - light) * factor, 0, 1) for c in (r, g, b)])
        x = 1 - np.minimum(cv2.pow(1 - x + np.float32(1e-9), HIGHLIGHT + 1), 1)
        x = np.minimum(cv2.pow(x + np.float32(1e-9), 1 - SHADOW), 1)
        return np.asarray((x * 255 + np.float32(0.5)).astype(np.uint8))

    return run


def kornia_filters(image: Bytes) -> Contestant:
    """The nearest filters that kornia has: its formulas are others."""
    import kornia.enhance as enhance

    def run() -> Bytes:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            x = enhance.adjust_brightness_accumulative(x, 1 + BRIGHTNESS)
            x = enhance.adjust_contrast_with_mean_subtraction(x, 1 + CONTRAST)
            x = enhance.adjust_saturation(x, 1 + SATURATION)
            x = enhance.adjust_gamma(x, 1 - SHADOW)
            return tensor_to_bytes(x.clamp(0, 1))

    return run


def libvips(image: Bytes, threads: int) -> Contestant:
    """The formulas in libvips' arithmetic, float32, in its own threads."""
    os.environ["VIPS_CONCURRENCY"] = str(threads)
    import pyvips

    def clip(x: Any) -> Any:
        x = (x > 1).ifthenelse(1, x)
        return (x < 0).ifthenelse(0, x)

    def larger(a: Any, b: Any) -> Any:
        return (a > b).ifthenelse(a, b)

    def smaller(a: Any, b: Any) -> Any:
        return (a < b).ifthenelse(a, b)

    def run() -> Bytes:
        x = pyvips.Image.new_from_array(image).linear(1 / 255, 0)
        gains = temperature_gains(np.array([x[c].avg() for c in range(3)]))
        x = clip(x.linear(gains.tolist(), [0, 0, 0]))
        x = clip(x.linear(GAIN, 0))
        x = clip(x.linear(1 + SLOPE, -SLOPE * x.avg()))
        r, g, b = x.bandsplit()
        high, low = larger(larger(r, g), b), smaller(smaller(r, g), b)
        light = (high + low) / 2
        chroma = (high - low) / (smaller(high + low, 2 - high - low) + EPSILON)
        factor = 1 / (larger(chroma, 1 - SATURATION) + EPSILON)
        x = clip((x - light) * factor + light)
        x = clip(1 - clip((1 - x + 1e-9) ** (HIGHLIGHT + 1)))
        x = clip((x + 1e-9) ** (1 - SHADOW))
        return np.asarray((x * 255 + 0.5).cast("uchar").numpy())

    return run


def opencolorio(image: Bytes, cube: Path) -> Contestant:
    """A look-up table of 33 points by OpenColorIO, tetrahedral."""
    import PyOpenColorIO as ocio  # noqa: N813

    transform = ocio.FileTransform(
        src=str(cube), interpolation=ocio.Interpolation.INTERP_TETRAHEDRAL
    )
    processor = ocio.Config.CreateRaw().getProcessor(transform)
    cpu = processor.getOptimizedCPUProcessor(
        ocio.BIT_DEPTH_UINT8, ocio.BIT_DEPTH_UINT8, ocio.OPTIMIZATION_DEFAULT
    )
    height, width, _ = image.shape

    def run() -> Bytes:
        out = image.copy()
        packed = ocio.PackedImageDesc(
            out, width, height, ocio.CHANNEL_ORDERING_RGB, ocio.BIT_DEPTH_UINT8, 1, 3, 3 * width
        )
        cpu.apply(packed)
        return out

    return run


def ffmpeg(image: Bytes, cube: Path) -> Contestant:
    """The same table by ffmpeg's lut3d, tetrahedral, through PyAV, in as many threads as cores."""
    import av
    import av.filter

    def run() -> Bytes:
        graph = av.filter.Graph()
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
        )
        lut = graph.add("lut3d", f"file={cube}:interp=tetrahedral")
        sink = graph.add("buffersink")
        source.link_to(lut)
        lut.link_to(sink)
        graph.configure()
        graph.push(frame)
        drawn: Any = graph.pull()
        return np.asarray(drawn.to_ndarray(format="rgb24"), dtype=np.uint8)

    return run


def drawing(
    image: Bytes, harmonizer: Harmonizer, threads: int, folder: Path
) -> Iterator[tuple[str, Contestant]]:
    """Who draws given arguments; the first is this project.

    Yields:
        A name and what it does.
    """
    out, mask = np.empty_like(image), rectangle(*HD, 1.0)

    def renderer() -> Bytes:
        harmonizer.render(image, mask, TYPICAL, out)
        return out

    yield "harmonizer", renderer
    eager = Eager(load_harmonizer(CHECKPOINT), image, mask)
    yield "eager PyTorch", lambda: np.asarray(eager.same_job())

    compiled = torch.compile(lambda x: apply_filters(x, eager.arguments)[-1])

    def compiled_job() -> Bytes:
        with torch.no_grad():
            return tensor_to_bytes(compiled(eager.load()[0]))

    yield "torch.compile", compiled_job
    cube = folder / "filters.cube"
    lattice = build_lattice(harmonizer.renderer, harmonizer.renderer.measure(image, TYPICAL), 33)
    cube.write_bytes(format_cube(lattice, "filters"))
    others: dict[str, Callable[[], Contestant]] = {
        "OpenCV and NumPy": lambda: opencv(image),
        "libvips": lambda: libvips(image, threads),
        "kornia": lambda: kornia_filters(image),
        "33-point table, OpenColorIO": lambda: opencolorio(image, cube),
        "33-point table, ffmpeg": lambda: ffmpeg(image, cube),
    }
    for name, make in others.items():
        try:
            yield name, make()
        except ImportError as error:
            print(f"{name}: left out, {error}")


def predicting(
    image: Bytes, harmonizer: Harmonizer, threads: int, folder: Path
) -> Iterator[tuple[str, Contestant]]:
    """Who predicts the arguments and draws; the first is this project.

    Yields:
        A name and what it does.
    """
    mask = rectangle(*HD, 1.0)
    yield "harmonizer, predicting", lambda: np.asarray(harmonizer(image, mask), np.uint8)

    eager = Eager(load_harmonizer(CHECKPOINT), image, mask)

    def eager_job() -> Bytes:
        with torch.inference_mode():
            eager.image, eager.mask = eager.load()
            return tensor_to_bytes(eager.predict_and_filter())  # type: ignore[arg-type]

    yield "eager PyTorch, predicting", eager_job
    path = folder / "end_to_end.onnx"
    export(CHECKPOINT, path, "end-to-end")
    session = plain_session(path, threads)
    names = [entry.name for entry in session.get_inputs()]

    def whole_graph() -> Bytes:
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32) / 255
        cover = mask[None, None].astype(np.float32) / 255
        drawn = session.run(None, dict(zip(names, (planes, cover), strict=True)))[0]
        return np.asarray((drawn[0].transpose(1, 2, 0) * 255 + 0.5).astype(np.uint8))

    yield "end-to-end ONNX, ONNX Runtime", whole_graph


@says_errors("peers")
def main() -> int:
    """Measure in turns, check the result against the schema, write it, print it."""
    parser = tool_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="result JSON")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant (%(default)s)")
    args = parser.parse_args()
    check_output(args.output)
    torch.set_num_threads(args.threads)
    image = picture(*HD).astype(np.uint8)
    truth = exact(image)
    results, figures = [], []
    with tempfile.TemporaryDirectory() as name, Harmonizer(threads=args.threads) as harmonizer:
        for group in (drawing, predicting):
            contestants = dict(group(image, harmonizer, args.threads, Path(name)))
            times: dict[str, list[float]] = {name: [] for name in contestants}
            for _ in range(ROUNDS):
                for who, run in contestants.items():
                    times[who] += time_calls(run, seconds=0.3, at_least=2)
            results += [summarize(who, image, 1.0, spent) for who, spent in times.items()]
            first = results[-len(contestants)].p50_ms
            for who in list(contestants)[1:]:
                spent = next(row.p50_ms for row in results if row.name == who)
                figures.append(judge(f"{who}: times this project's", spent / first, {}))
            if group is drawing:
                for who, run in contestants.items():
                    off = np.abs(run().astype(np.float64) - truth)
                    figures.append(judge(f"{who}: mean levels off", off.mean(), {}))
                    figures.append(judge(f"{who}: most levels off", off.max(), {}))
    show(write_result(args.output, args.threads, results, figures, torch=torch.__version__))
    return 0


if __name__ == "__main__":
    sys.exit(main())
