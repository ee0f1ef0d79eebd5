"""How often a picture is checked, scanned for NaN, sent to a GPU and fetched on each road."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_predictor import write_curve_predictor, write_predictor
from video_clips import HEIGHT, WIDTH, disc, picture, write_clip

from harmonizer import Harmonizer, arrays
from harmonizer import masks as mask_checks
from harmonizer.cli import main
from harmonizer.video import Smoothing, harmonize_frames

COUNT = 4
"""Pictures of the roads that take several."""

SHAPES = {(HEIGHT, WIDTH, 3), (WIDTH, HEIGHT, 3)}


@dataclass
class Costs:
    """Of one picture."""

    checks: float = 0
    scans: float = 0
    uploads: float = 0
    downloads: float = 0


@contextmanager
def counted() -> Iterator[Costs]:
    """Count what happens to arrays of the pictures' shape."""
    costs = Costs()

    def counting(name: str, call: Callable[..., Any], place: int) -> Callable[..., Any]:
        def counted_call(*arguments: Any) -> Any:
            array = arguments[place]
            floats = name != "scans" or array.dtype == np.float32
            named = name != "checks" or arguments[1] == "image"
            if getattr(array, "shape", None) in SHAPES and floats and named:
                setattr(costs, name, getattr(costs, name) + 1)
            return call(*arguments)

        return counted_call

    from harmonizer.cuda.slot import Slot

    with pytest.MonkeyPatch.context() as patch:
        for name, owner, method, place in (
            ("checks", arrays, "check_type", 0),
            ("checks", mask_checks, "check_type", 0),
            ("scans", arrays, "check_unit_range", 0),
            ("scans", mask_checks, "check_unit_range", 0),
            ("uploads", Slot, "upload", 2),
            ("downloads", Slot, "download", 3),
        ):
            patch.setattr(owner, method, counting(name, getattr(owner, method), place))
        yield costs


def measured(road: Callable[[], int]) -> Costs:
    """The costs of one picture of a road, which returns how many it took."""
    with counted() as costs:
        count = road()
    return Costs(*(value / count for value in vars(costs).values()))


def roads(folder: Path, backend: str) -> dict[str, Callable[[], int]]:
    """Every road that pictures take, by name; those of arrays take float32."""
    model = write_predictor(folder / "tiny.onnx")
    curves = write_curve_predictor(folder / "curves.onnx")
    for part in ("composites", "masks"):
        (folder / part).mkdir()
    for index in range(COUNT):
        Image.fromarray(picture(index)).save(folder / f"composites/{index}.png")
        Image.fromarray(disc(index)).save(folder / f"masks/{index}.png")
    clips = [
        str(write_clip(folder / f"{name}.mp4", map(draw, range(COUNT))))
        for name, draw in (("c", picture), ("m", disc))
    ]
    images = [(picture(index) / 255).astype(np.float32) for index in range(COUNT)]
    masks = [disc(index) for index in range(COUNT)]
    files = [str(folder / "composites/0.png"), str(folder / "masks/0.png")]

    def command(name: str, model: Path, output: str, *words: str, count: int = 1) -> int:
        words = (name, *words, "-o", str(folder / output), "--backend", backend)
        assert main([*words, "--model", str(model), "--threads", "1"]) == 0
        return count

    def calls(work: Callable[[Harmonizer], Any], path: Path = model, count: int = 1) -> int:
        with Harmonizer(path, backend, threads=1) as harmonizer:  # type: ignore[arg-type]
            work(harmonizer)
        return count

    def frames(harmonizer: Harmonizer, every: int, ahead: int = 0) -> None:
        times = [index / 25 for index in range(COUNT)]
        smoothing = Smoothing(every=every)
        pairs = zip(images, masks, times, strict=True)
        assert len(list(harmonize_frames(harmonizer, pairs, smoothing, None, ahead))) == COUNT

    return {
        "predict": lambda: calls(lambda h: h.predict(images[0], masks[0])),
        "render": lambda: calls(
            lambda h: h.render(images[0], masks[0], dict.fromkeys(h.filters, 0.1))
        ),
        "call": lambda: calls(lambda h: h(images[0], masks[0])),
        "call, curves": lambda: calls(lambda h: h(images[0], masks[0]), curves),
        "batch of arrays": lambda: calls(lambda h: h.batch(images, masks), count=COUNT),
        "stream": lambda: calls(
            lambda h: list(h.each(zip(images, masks, strict=True))), count=COUNT
        ),
        "frames": lambda: calls(lambda h: frames(h, 1), count=COUNT),
        "frames, ahead": lambda: calls(lambda h: frames(h, 1, 2), count=COUNT),
        "frames, every third": lambda: calls(lambda h: frames(h, 3), count=COUNT),
        "frames, curves": lambda: calls(lambda h: frames(h, 1), curves, COUNT),
        "image": lambda: command("image", model, "o.png", *files),
        "image, curves": lambda: command("image", curves, "p.png", *files),
        "batch": lambda: command(
            "batch", model, "out", str(folder / "composites"), str(folder / "masks"), count=COUNT
        ),
        "lut": lambda: command("lut", model, "o.cube", *files),
        "curves": lambda: command("curves", curves, "q.png", *files),
        "video": lambda: command("video", model, "o.mp4", *clips, count=COUNT),
        "video, every third": lambda: command(
            "video", model, "p.mp4", *clips, "--every", "3", count=COUNT
        ),
        "video, curves": lambda: command("video", curves, "q.mp4", *clips, count=COUNT),
    }
