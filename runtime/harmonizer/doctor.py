"""Check an installation: versions, processor, compiled renderer, model, GPU libraries, self-test.

Nothing that could crash the process is imported: GPU libraries are loaded only after the driver
has named a usable GPU, TensorRT not at all.
"""

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from harmonizer.errors import HarmonizerError
from harmonizer.tested import PACKAGES, PYTHON, outside

GPU_PACKAGES = ("pycuda", "cuda-bindings", "onnxruntime-gpu", "tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `healthy` is None where nothing depends on it."""

    topic: str
    text: str
    healthy: bool | None = True


def examine(model: Path | None = None) -> Iterator[Finding]:
    """Run every check.

    Args:
        model: The predictor to check; None for the one that ships with the package.
    """
    from harmonizer import __version__

    yield Finding("harmonizer", f"{__version__}, in {Path(__file__).parent}", None)
    python, system = platform.python_version(), platform.platform()
    beyond = outside(python, PYTHON)
    yield Finding("python", f"{python}{f' ({beyond})' if beyond else ''}, {system}", None)
    yield from map(_examine_package, PACKAGES)
    yield Finding("processor", f"{platform.machine()}, {os.cpu_count()} cores", None)
    yield from _check("renderer", _describe_renderer)
    yield from _check("model", lambda: _describe_model(model))
    yield from _check("providers", _describe_providers)
    yield from _check("pictures", _test_pictures)
    yield from _check("video", _test_video)
    yield from _gpu()
    yield from _check("self-test", lambda: _test_renderer(model))


def _check(topic: str, run: Callable[[], str]) -> Iterator[Finding]:
    """One finding: what `run` says, or why it could not."""
    try:
        yield Finding(topic, run())
    except HarmonizerError as error:
        yield Finding(topic, str(error), False)
    except Exception as error:  # a library of another version may raise anything
        yield Finding(topic, f"{type(error).__name__}: {error}", False)


def _examine_package(name: str) -> Finding:
    """Whether a package is there, and in a version that was tested."""
    version = _version(name)
    if version is None:
        return Finding(name, "missing; run `pip install harmonizer`", False)
    beyond = outside(version, PACKAGES[name])
    if beyond is None:
        return Finding(name, version)
    if beyond.startswith("older"):
        return Finding(name, f"{version}, {beyond}; run `pip install -U {name}`", False)
    return Finding(name, f"{version}, {beyond}; what follows says whether it works", None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _describe_renderer() -> str:
    from harmonizer import _native

    slow = " (no AVX2 here: drawing takes longer)" if _native.isa() == "x86-64" else ""
    return f"{_native.version()}, instruction set {_native.isa()}{slow}, {_native.LIBRARY}"


def _describe_model(model: Path | None) -> str:
    from harmonizer.predictor import OnnxPredictor, default_model

    with OnnxPredictor(model or default_model(), threads=1) as predictor:
        said = ", ".join(
            f"{key.removeprefix('harmonizer.')} {value[:60]}"
            for key, value in sorted(predictor.metadata.items())
        )
        return f"{predictor.path}, sha256 {predictor.sha256()}; {said}"


def _describe_providers() -> str:
    from harmonizer.predictor import import_onnxruntime

    return ", ".join(import_onnxruntime().get_available_providers())


def _test_pictures() -> str:
    """Write and read a small picture of every format and depth."""
    from harmonizer.images.encoding import Quality
    from harmonizer.images.files import (
        DEEP_FORMATS,
        EXTRA_FORMATS,
        FLOAT_FORMATS,
        FORMATS,
        load_photo,
        save_photo,
        to_depth,
    )

    random, done, missing = np.random.default_rng(3), [], []
    with TemporaryDirectory() as folder:
        for suffix, form in {form: (suffix, form) for suffix, form in FORMATS.items()}.values():
            if form in EXTRA_FORMATS and importlib.util.find_spec("OpenImageIO") is None:
                missing.append(form)
                continue
            depths = [8, 16] if form in DEEP_FORMATS else [8]
            depths += [32] if form in FLOAT_FORMATS else []
            for depth in depths[form == "OpenEXR" :]:
                values = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
                pixels = values.astype(np.float32) if depth == 32 else to_depth(values, depth)
                path = Path(folder) / f"picture{suffix}"
                save_photo(path, pixels, quality=Quality(lossless=True))
                read = load_photo(path, colour_management=depth == 32).pixels
                exact = depth == 32 or form in DEEP_FORMATS
                if read.shape != pixels.shape or (exact and not np.array_equal(read, pixels)):
                    raise ValueError(f"{form} must be read as it was written; it is not.")
                done.append(f"{form} {depth}")
    without = f"; {', '.join(missing)} with harmonizer[formats]" if missing else ""
    return f"writes and reads {', '.join(done)} bits{without}"


def _test_video() -> str:
    """Encode a tiny clip from images, then harmonize that clip."""
    from harmonizer.arguments import Arguments
    from harmonizer.images.files import save_photo
    from harmonizer.recipes import Recipe, Tools
    from harmonizer.renderer import CpuRenderer
    from harmonizer.video import OFF, Inputs, Job, harmonize_video
    from harmonizer.video.reader import VideoReader

    frames, tools = 3, Tools(CpuRenderer(1))
    job = Job(Recipe(Arguments(("brightness",), (0.2,))), OFF)
    pixels = np.random.default_rng(4).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "frames").mkdir()
        for index in range(frames):
            save_photo(folder / "frames" / f"{index}.png", np.roll(pixels, index, axis=1))
        mask = folder / "mask.png"
        save_photo(mask, np.where(np.indices((48, 64, 3))[1] < 32, np.uint8(255), np.uint8(0)))
        clip, output = folder / "clip.mp4", folder / "output.mp4"
        harmonize_video(tools, Inputs(folder / "frames", mask, rate=Fraction(25)), clip, job)
        report = harmonize_video(tools, Inputs(clip, mask), output, job)
        with closing(VideoReader(output)) as reader:
            count = sum(1 for _ in reader.pictures())
    if (count, report.drawn) != (frames, frames):
        raise ValueError(f"a clip of {frames} frames must stay one; {count} are left.")
    return f"decodes, draws and encodes a clip with {report.codec}"


def _gpu() -> Iterator[Finding]:
    """What backend `cuda` needs; nothing of it is needed on a machine that draws on the CPU."""
    from harmonizer.gpu import check_packages, find_gpu

    for name in GPU_PACKAGES:
        yield Finding(name, _version(name) or "not installed", None)
    try:
        gpu = find_gpu()
        capability, driver = (".".join(map(str, pair)) for pair in (gpu.capability, gpu.driver))
        text = f"{gpu.name}, compute capability {capability}, driver for CUDA {driver}"
        yield Finding("gpu", text, None)
        check_packages()
    except HarmonizerError as error:
        yield Finding("backend auto", f"draws on the CPU: {error}", None)
        yield Finding("kernels", _describe_kernel_file(), None)
        return
    yield from _check("kernels", lambda: _describe_kernels(gpu.capability))
    yield from _check("backend cuda", _test_gpu)


def _describe_kernel_file() -> str:
    from harmonizer import _native

    image = _native.LIBRARY.with_name("hz_kernels.fatbin")
    if image.is_file():
        return f"{image}, {image.stat().st_size:,} bytes"
    return f"{image} is not built; NVRTC compiles the kernels when they are needed"


def _describe_kernels(capability: tuple[int, int]) -> str:
    from harmonizer.cuda.compiled_kernels import kernel_image

    image = kernel_image(capability)
    return f"{_describe_kernel_file()}; {len(image):,} bytes for this GPU"


def _test_gpu() -> str:
    """Draw the same on both processors."""
    from harmonizer.arguments import Arguments
    from harmonizer.cuda.renderer import CudaRenderer
    from harmonizer.renderer import CpuRenderer

    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    arguments = Arguments(("temperature", "contrast", "shadow"), (0.2, 0.3, -0.2))
    cpu = CpuRenderer(1)
    expected = cpu.draw(image, None, cpu.measure(image, arguments)).astype(int)
    with CudaRenderer() as renderer:
        error = int(np.abs(renderer.render(image, None, arguments) - expected).max())
    if error > 1:
        raise ValueError(f"the GPU must draw what the CPU draws; it is off by {error} levels.")
    return "draws what the CPU draws; backend auto uses it"


def _test_renderer(model: Path | None) -> str:
    """Draw brightness 0.5 (a gain of 2) on one half of a picture; predict for it."""
    from harmonizer.arguments import Arguments
    from harmonizer.harmonizer import Harmonizer

    image = np.random.default_rng(1).integers(0, 120, (16, 24, 3), dtype=np.uint8)
    mask = np.zeros((16, 24), np.uint8)
    mask[:, 12:] = 255
    with Harmonizer(model, backend="cpu") as harmonizer:
        drawn = harmonizer.render(image, mask, Arguments(("brightness",), (0.5,)))
        arguments = harmonizer.predict(image, mask)
    if not np.array_equal(drawn[:, :12], image[:, :12]):
        raise ValueError("the background must stay bit-identical; it changed.")
    error = int(np.abs(drawn[:, 12:].astype(int) - 2 * image[:, 12:].astype(int)).max())
    if error > 1:
        raise ValueError(f"brightness 0.5 must double the foreground; it is off by {error} levels.")
    return f"draws and predicts ({arguments})"


def report(model: Path | None = None) -> bool:
    """Print every finding on stdout.

    Returns:
        Whether everything that is needed works.
    """
    healthy = True
    for finding in examine(model):
        mark = {True: "ok", False: "FAIL", None: "-"}[finding.healthy]
        print(f"{mark:<5}{finding.topic:<16}{finding.text}")
        healthy &= finding.healthy is not False
    sys.stdout.flush()
    return healthy
