"""The CPU benchmark: this project beside eager PyTorch, in one run on the same threads.

    python bench/cpu.py --output bench/results/cpu.json

Each pair is measured in alternating rounds, so that a drift of the machine's speed meets both; a
ratio is the median over the rounds. Nothing is subtracted: "render" includes the statistics pass,
and eager PyTorch is given its images as ready float tensors, without conversion or blending (the
second pair of ratios includes those, because that is the job that the renderer does).
"""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from bench.results_file import ROOT, check_output, show, write_result
from harmonizer.arguments import Arguments
from harmonizer.bench import judge, run_cases
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import TYPICAL, Measurement, picture, rectangle, summarize, time_calls
from harmonizer.usage import says_errors, tool_parser
from train.checkpoints import load_harmonizer
from train.filters import apply_filters, blend
from train.network import HarmonizerNet

HD, UHD = (1920, 1080), (3840, 2160)
ROUNDS = 7

TARGETS = {
    "render: eager filters / renderer": ("at least", 60.0),
    "predict+render: eager / harmonizer": ("at least", 25.0),
    "render: full mask / 25 % mask": ("at least", 2.0),
    "draw: full mask / 25 % mask": ("at least", 2.5),
    "render: renderer / copy of the image, 3840x2160": ("at most", 7.0),
    "render: soft mask / hard mask": ("at most", 1.3),
    "render: uint16 / uint8": ("at most", 2.0),
    "render: float32 / uint8": ("at most", 2.0),
    "render: extreme arguments / ordinary ones": ("at most", 2.0),
    "render: 3840x2160 / 1920x1080": ("at most", 4.4),
    "cold start: harmonizer image, 1080p JPEG, seconds": ("at most", 1.5),
    "memory: extra MB of rendering 3840x2160": ("at most", 16.0),
    "S2CRNet: predict+render 2048x2048, seconds": ("at most", 0.1),
}
"""What the project set itself; ratios that are not listed are reported without a target."""

EXTREME = Arguments(TYPICAL.filters, (0.9, -0.9, 0.9, 0.95, -0.9, 0.8))
"""Near the ends of every range, where float does not suffice and powers are steep."""

MEMORY_PROBE = """
import resource, sys
import numpy as np
from harmonizer.latency import (TYPICAL, picture, rectangle)
from harmonizer.renderer import CpuRenderer
renderer = CpuRenderer(int(sys.argv[1]))
small = picture(640, 360)
renderer.draw(small, None, renderer.measure(small, TYPICAL))
image, mask = picture(3840, 2160), rectangle(3840, 2160, 1.0)
out = np.ones_like(image)
# The peak so far holds what making the picture took: start from a fresh high-water mark.
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
renderer.draw(image, mask, renderer.measure(image, TYPICAL), out)
print((peak() - before) / 1024)
"""


class Eager:
    """The same work in eager PyTorch, float32."""

    def __init__(self, network: HarmonizerNet, pixels: np.ndarray, mask: np.ndarray) -> None:
        self.network = network
        self.pixels, self.mask_u8 = torch.from_numpy(pixels), torch.from_numpy(mask)
        self.image, self.mask = self.load()
        self.arguments = torch.from_numpy(TYPICAL.array())[None]

    def load(self) -> tuple[torch.Tensor, torch.Tensor]:
        """uint8 arrays to float tensors."""
        image = self.pixels.permute(2, 0, 1)[None].float() / 255
        return image, self.mask_u8[None, None].float() / 255

    @torch.inference_mode()
    def filters(self) -> object:
        """The six filters, float tensor to float tensor."""
        return apply_filters(self.image, self.arguments)[-1]

    @torch.inference_mode()
    def same_job(self) -> object:
        """What the renderer does: uint8 image and mask in, uint8 image out."""
        image, mask = self.load()
        output = blend(apply_filters(image, self.arguments)[-1], image, mask)
        return (output[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).contiguous()

    @torch.inference_mode()
    def predict_and_filter(self) -> object:
        """Thumbnail, network and filters, float tensor to float tensor."""
        arguments = self.network.predict_arguments(self.image, self.mask)
        return apply_filters(self.image, arguments)[-1]


def paired(
    first: Callable[[], object], second: Callable[[], object]
) -> tuple[list[float], list[float], float]:
    """Alternate two functions; all times in ms, and the median ratio first / second."""
    times: tuple[list[float], list[float]] = ([], [])
    ratios = []
    for _ in range(ROUNDS):
        a = time_calls(first, seconds=0.2, at_least=2)
        b = time_calls(second, seconds=0.2, at_least=2)
        times[0].extend(a)
        times[1].extend(b)
        ratios.append(statistics.median(a) / statistics.median(b))
    return times[0], times[1], statistics.median(ratios)


def cold_start(folder: Path, threads: int) -> list[float]:
    """Seconds of `harmonizer image` on a 1080p JPEG, whole process, several runs."""
    Image.fromarray(picture(*HD)).save(folder / "composite.jpg", quality=92)
    Image.fromarray(rectangle(*HD, 0.25)).save(folder / "mask.png")
    command = [str(Path(sys.executable).with_name("harmonizer")), "image"]
    command += [str(folder / name) for name in ("composite.jpg", "mask.png")]
    command += ["-o", str(folder / "out.jpg"), "--threads", str(threads)]

    def call() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return [ms / 1e3 for ms in time_calls(call, seconds=3, at_least=5)]


def extra_memory(threads: int) -> float:
    """Megabytes that rendering takes beyond image, mask and output, in a fresh process."""
    command = [sys.executable, "-c", MEMORY_PROBE, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def curves(threads: int) -> Measurement:
    """The shipped S2CRNet on what its paper times: 2048x2048, nine tenths of it foreground."""
    image, mask = picture(2048, 2048), rectangle(2048, 2048, 0.9)
    with Harmonizer(ROOT / "models/s2crnet.onnx", threads=threads) as harmonizer:
        times = time_calls(lambda: harmonizer(image, mask), seconds=3.0)
    return summarize("S2CRNet", image, 0.9, times)


def compare(checkpoint: Path, threads: int) -> tuple[list[Measurement], dict[str, float]]:
    """Everything measured: latencies, and named ratios or figures."""
    torch.set_num_threads(threads)
    figures: dict[str, float] = {}
    with Harmonizer(threads=threads) as harmonizer:
        results = run_cases(harmonizer, [HD, UHD], ["uint8"], seconds=1.0)
        results += run_cases(harmonizer, [HD], ["uint16", "float32"], seconds=0.5)
        image, full, quarter = picture(*HD), rectangle(*HD, 1.0), rectangle(*HD, 0.25)
        large, large_full = picture(*UHD), rectangle(*UHD, 1.0)
        out, large_out = np.empty_like(image), np.empty_like(large)
        network = load_harmonizer(checkpoint)
        eager = Eager(network, image, full)

        def render(mask: np.ndarray = full, arguments: Arguments = TYPICAL) -> object:
            return harmonizer.render(image, mask, arguments, out)

        plan = harmonizer.renderer.measure(image, TYPICAL)

        def draw(mask: np.ndarray) -> object:
            return harmonizer.renderer.draw(image, mask, plan, out)

        def render_large() -> object:
            return harmonizer.render(large, large_full, TYPICAL, large_out)

        soft = np.linspace(1, 254, full.size).astype(np.uint8).reshape(full.shape)
        deep, deep_out = picture(*HD, dtype="uint16"), np.empty_like(image, dtype=np.uint16)
        real, real_out = picture(*HD, dtype="float32"), np.empty_like(image, dtype=np.float32)

        def whole() -> object:
            arguments, _ = harmonizer.examine(image, full)
            return harmonizer.render(image, full, arguments, out)

        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "render: eager filters / renderer": (eager.filters, render),
            "render: eager, same job / renderer": (eager.same_job, render),
            "predict+render: eager / harmonizer": (eager.predict_and_filter, whole),
            "render: full mask / 25 % mask": (render, lambda: render(quarter)),
            "draw: full mask / 25 % mask": (lambda: draw(full), lambda: draw(quarter)),
            "render: 3840x2160 / 1920x1080": (render_large, render),
            "render: renderer / copy of the image": (render, lambda: np.copyto(out, image)),
            "render: renderer / copy of the image, 3840x2160": (
                render_large,
                lambda: np.copyto(large_out, large),
            ),
            "render: soft mask / hard mask": (lambda: render(soft), render),
            "render: uint16 / uint8": (
                lambda: harmonizer.render(deep, full, TYPICAL, deep_out),
                render,
            ),
            "render: float32 / uint8": (
                lambda: harmonizer.render(real, full, TYPICAL, real_out),
                render,
            ),
            "render: extreme arguments / ordinary ones": (lambda: render(full, EXTREME), render),
        }
        for name, (first, second) in pairs.items():
            first_ms, _, figures[name] = paired(first, second)
            if "eager" in name:
                side = name.split("/")[0].strip()
                results.append(summarize(side, image, 1.0, first_ms))
    with tempfile.TemporaryDirectory() as folder:
        seconds = statistics.median(cold_start(Path(folder), threads))
        figures["cold start: harmonizer image, 1080p JPEG, seconds"] = seconds
    results.append(curves(threads))
    figures["S2CRNet: predict+render 2048x2048, seconds"] = results[-1].p50_ms / 1e3
    figures["memory: extra MB of rendering 3840x2160"] = extra_memory(threads)
    return results, figures


@says_errors("cpu")
def main() -> int:
    """Measure, check the result against the schema, write it, print it."""
    parser = tool_parser(__doc__)
    parser.add_argument("--output", type=Path, required=True, help="result JSON")
    parser.add_argument("--threads", type=int, default=2, help="of every contestant (%(default)s)")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/harmonizer.safetensors")
    args = parser.parse_args()
    check_output(args.output)
    results, figures = compare(args.checkpoint, args.threads)
    judged = [judge(name, value, TARGETS) for name, value in figures.items()]
    show(write_result(args.output, args.threads, results, judged, torch=torch.__version__))
    return 0


if __name__ == "__main__":
    sys.exit(main())
