"""What is attacked: for each kind of file, sound seeds, and what must hold of every mutation.

A target is done with a file in one of two ways: it is refused by an error of this package, in one
line, or it is taken and what was read of it is right. Anything else is a finding.
"""

import contextlib
import io
import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.with_name("helpers"))]

from mutation import mutated, mutated_document  # noqa: E402
from pictures import grain, image_seeds, studio_seeds  # noqa: E402

from harmonizer.errors import HarmonizerError  # noqa: E402

MAX_PIXELS = 1_000_000
SEEDS = HERE / "seeds"

Dice = random.Random


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        name: As the table has it.
        aim: How many mutations the table is made of.
        inputs: Gives mutated files without end.
        run: Reads the file at a path; returns why what it took is wrong, or None.
    """

    name: str
    aim: int
    inputs: Callable[[Dice], Iterator[tuple[str, bytes]]]
    run: Callable[[Path], str | None]


def image_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated images."""
    return _mutations(image_seeds(), dice)


def studio_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated images of the formats of studios, and of floats."""
    return _mutations(studio_seeds(), dice)


def _mutations(seeds: list[tuple[str, bytes]], dice: Dice) -> Iterator[tuple[str, bytes]]:
    while True:
        name, data = dice.choice(seeds)
        yield name, mutated(data, dice, head=200)


def run_image(path: Path) -> str | None:
    """Read as a photograph; a PNG that is taken holds the pixels that its seed has."""
    from harmonizer.images.files import load_photo

    photo = load_photo(path, MAX_PIXELS, colour_management=True)
    height, width, channels = photo.pixels.shape
    if channels != 3 or height * width > MAX_PIXELS:
        return f"it has the shape {photo.pixels.shape}"
    if photo.colours is not None and not np.isfinite(photo.colours.to_srgb(photo.pixels)).all():
        return "what is drawn on is not finite"
    if photo.form == "PNG":
        sound = [load for load in _sound_pngs() if load.shape == photo.pixels.shape]
        if not any(np.array_equal(photo.pixels, pixels) for pixels in sound):
            return "a PNG with other pixels was taken for sound"
    return None


def run_mask(path: Path) -> str | None:
    """Read as a mask; a PNG that is taken holds the values of one of the seeds."""
    from harmonizer.images.files import load_mask

    mask, _ = load_mask(path, MAX_PIXELS, may_be_faint=True)
    if mask.ndim != 2 or mask.size > MAX_PIXELS or mask.dtype not in (np.uint8, np.uint16):
        return f"it has the shape {mask.shape} and the type {mask.dtype}"
    sound = [load for load in _sound_masks() if load.shape == mask.shape]
    if path.suffix == ".png" and not any(np.array_equal(mask, values) for values in sound):
        return "a PNG with other values was taken for sound"
    return None


@cache
def _sound_masks() -> list[np.ndarray[Any, Any]]:
    from harmonizer.images.files import load_mask

    return _sound(lambda path: load_mask(path, may_be_faint=True)[0])


@cache
def _sound_pngs() -> list[np.ndarray[Any, Any]]:
    from harmonizer.images.files import load_photo

    return _sound(lambda path: load_photo(path).pixels)


def _sound(read: Callable[[Path], np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """What is read of the sound PNGs among the seeds."""
    import tempfile

    arrays = []
    with tempfile.TemporaryDirectory() as folder:
        for name, data in image_seeds():
            if name.endswith(".png"):
                (Path(folder) / name).write_bytes(data)
                with contextlib.suppress(HarmonizerError):  # the corpus has such that are refused
                    arrays.append(read(Path(folder) / name))
    return arrays


@cache
def model_seeds() -> list[bytes]:
    """Predictors of one layer."""
    import tempfile

    from tiny_predictor import write_curve_predictor, write_predictor

    with tempfile.TemporaryDirectory() as folder:
        whole = write_predictor(Path(folder) / "a.onnx").read_bytes()
        curves = write_curve_predictor(Path(folder) / "b.onnx").read_bytes()
    return [whole, whole, curves, *(p.read_bytes() for p in sorted(SEEDS.glob("model-*")))]


def model_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated predictors."""
    while True:
        yield "a.onnx", mutated(dice.choice(model_seeds()), dice, head=700)


def run_model(path: Path) -> str | None:
    """Load, and predict for a grey thumbnail."""
    from harmonizer.predictor import OnnxPredictor

    with OnnxPredictor(path, threads=1) as predictor:
        shapes = predictor.contract.inputs.values()
        inputs = [np.full((1, *shape), 0.5, np.float32) for shape in shapes]
        answer = predictor.predict(*inputs)
    return None if np.isfinite(answer).all() else "it predicted numbers that are not finite"


@cache
def description_seed() -> tuple[Any, bytes]:
    """A description, and the engine that it describes."""
    import tempfile

    import tensorrt_stand_in

    from harmonizer.engine import describe_engine

    with tempfile.TemporaryDirectory() as folder:
        engine, onnx = tensorrt_stand_in.write_pair(Path(folder))
        path = describe_engine(engine, onnx, "ampere-plus", version_compatible=True)
        facts = json.loads(path.read_text())
        facts["gpu"] = {"name": "Stand-in 1", "compute_capability": "9.0"}
        facts["options"] |= {"batch": [1, 16], "compute_capabilities": ["9.0"], "tf32": False}
        return facts, engine.read_bytes()


def description_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated descriptions."""
    while True:
        yield "a.engine.json", mutated_document(description_seed()[0], dice)


def run_description(path: Path) -> str | None:
    """Read the description, its contract, and check the GPU that it names."""
    from harmonizer.contract import read_contract
    from harmonizer.engine.checks import check_gpu
    from harmonizer.engine.files import read_description, read_engine_file
    from harmonizer.gpu import Gpu

    engine = path.with_suffix("")
    engine.write_bytes(description_seed()[1])
    facts = read_description(read_engine_file(engine))
    if facts is None:
        return "it was not found"
    check_gpu(engine, facts, Gpu("Stand-in 1", "9.0"))
    read_contract(engine, facts["metadata"])
    return None


@cache
def checkpoint_seeds() -> list[tuple[str, bytes, Any]]:
    """Small checkpoints, with their headers."""
    import tempfile

    import torch

    from train.checkpoints import save_checkpoint
    from train.network import HarmonizerNet, NetworkConfig

    torch.set_num_threads(1)
    config = NetworkConfig(filters=("brightness",), encoder=None, statistics=True)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(HarmonizerNet(config), Path(folder) / "a.safetensors")
        data = (Path(folder) / "a.safetensors").read_bytes()
    buffer = io.BytesIO()
    torch.save({"backbone._conv_fg.weight": torch.zeros(16, 4, 3, 3)}, buffer)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    return [("a.safetensors", data, header), ("a.pth", buffer.getvalue(), None)]


def checkpoint_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated checkpoints: anywhere, in the header, and in the configuration."""
    while True:
        name, data, header = dice.choice((checkpoint_seeds()[0], *checkpoint_seeds()))
        if header is None or dice.random() < 0.4:
            yield name, mutated(data, dice, head=2000)
            continue
        length = int.from_bytes(data[:8], "little")
        changed = json.loads(json.dumps(header))
        if dice.random() < 0.7:
            config = json.loads(changed["__metadata__"]["config"])
            text = mutated_document(config, dice).decode("latin-1")
            changed["__metadata__"]["config"] = text
            packed = json.dumps(changed).encode()
        else:
            packed = mutated_document(changed, dice)
        packed = packed.ljust(-(-len(packed) // 8) * 8)
        yield name, len(packed).to_bytes(8, "little") + packed + data[8 + length :]


def run_checkpoint(path: Path) -> str | None:
    """Load; weights that are taken are finite."""
    from train.checkpoints import load_checkpoint

    network = load_checkpoint(path)
    finite = all(tensor.isfinite().all() for tensor in network.state_dict().values())
    return None if finite else "its weights are not finite"


@cache
def clip_seeds() -> list[tuple[str, bytes]]:
    """Short clips in several containers."""
    import tempfile

    import av

    clips = []
    kinds = (("a.mp4", "mpeg4"), ("a.mkv", "ffv1"), ("a.avi", "mpeg4"), ("a.mov", "h264"))
    with tempfile.TemporaryDirectory() as folder:
        for name, codec in (*kinds, ("a.ts", "mpeg2video"), ("a.webm", "libvpx-vp9")):
            path = Path(folder) / name
            with av.open(str(path), "w") as container:
                stream: Any = container.add_stream(codec, rate=25)
                stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
                for index in range(6):
                    array = np.roll(grain(3, False), index, 1)
                    array = np.ascontiguousarray(np.resize(array, (32, 48, 3)))
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(array, "rgb24")))
                container.mux(stream.encode(None))
            clips.append((name, path.read_bytes()))
    return clips


def clip_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated clips."""
    while True:
        name, data = dice.choice(clip_seeds())
        yield name, mutated(data, dice, head=400)


def run_clip(path: Path) -> str | None:
    """Read every frame, at most a thousand."""
    from contextlib import closing

    from harmonizer.video.reader import VideoReader

    with closing(VideoReader(path, max_pixels=MAX_PIXELS)) as reader:
        for picture in reader.pictures():
            if picture.frame.width * picture.frame.height > MAX_PIXELS:
                return f"a frame has {picture.frame.width}x{picture.frame.height} pixels"
            if picture.index > 1000:
                break
    return None


ARGUMENTS: dict[str, Any] = {
    "format": "harmonizer-arguments",
    "version": 1,
    "filters": ["temperature", "contrast", "shadow"],
    "arguments": {"temperature": 0.1, "contrast": -0.2, "shadow": 0.0},
}
PLAN: dict[str, Any] = {
    "format": "harmonizer-plan",
    "version": 1,
    "steps": [
        {"operation": "temperature", "argument": 0.1, "statistics": [0.5, 0.4, 0.3]},
        {"operation": "contrast", "argument": -0.2, "statistics": [0.5]},
    ],
}
TRACK: list[dict[str, Any]] = [
    {"format": "harmonizer-track", "version": 1, "filters": ["contrast"]},
    {
        "frame": 0,
        "time": 0.0,
        "cut": True,
        "arguments": {"contrast": 0.1},
        "statistics": {"contrast": [0.5]},
    },
    {"frame": 1, "time": 0.04, "arguments": None},
]


def document_inputs(dice: Dice) -> Iterator[tuple[str, bytes]]:
    """Mutated arguments, plans and tracks."""
    while True:
        kind = dice.randrange(3)
        if kind == 0:
            yield "a.json", mutated_document(ARGUMENTS, dice)
        elif kind == 1:
            yield "plan.json", mutated_document(PLAN, dice)
        else:
            lines = [json.dumps(line).encode() for line in TRACK]
            at = dice.randrange(len(lines))
            lines[at] = mutated_document(TRACK[at], dice)
            yield "a.jsonl", b"\n".join(lines) + b"\n"


def run_document(path: Path) -> str | None:
    """Read as what it is; what is taken is finite and within the ranges."""
    from harmonizer.arguments import Arguments
    from harmonizer.documents import read_document
    from harmonizer.plan import Plan
    from harmonizer.video.track import Track

    if path.suffix == ".jsonl":
        track = Track.load(path)
        given = [entry.arguments for entry in track.entries if entry.arguments is not None]
        numbers = [number for item in given for number in item.array()]
    elif path.name == "plan.json":
        try:
            document = read_document(path)
        except ValueError:
            return None
        plan = Plan.from_document(document)
        numbers = [number for step in plan.steps for number in step.statistics]
    else:
        numbers = list(Arguments.load(path).array())
    return None if np.isfinite(numbers).all() else "numbers that are not finite were taken"


TARGETS = (
    Target("images", 20_000, image_inputs, run_image),
    Target("images of studios and floats", 8_000, studio_inputs, run_image),
    Target("masks", 4_000, image_inputs, run_mask),
    Target("models", 2_000, model_inputs, run_model),
    Target("engine descriptions", 2_000, description_inputs, run_description),
    Target("checkpoints", 1_500, checkpoint_inputs, run_checkpoint),
    Target("clips", 900, clip_inputs, run_clip),
    Target("JSON documents", 4_000, document_inputs, run_document),
)

REFUSALS: tuple[type[BaseException], ...] = (HarmonizerError, FileNotFoundError)
"""How a file is refused: in one line, by an error of this package."""
