"""Clips to measure video on: some whose right answer is known, some real composites."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harmonizer.arguments import Arguments
from harmonizer.masks import Levels
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from harmonizer.renderer import CpuRenderer
from harmonizer.video.masks import luma_mask
from train.evaluation.triplets import read_image, validation_triplets

Pixels = NDArray[np.uint8]

SIDE = 256
"""Height and width of the synthetic clips."""

RATE = 24.0
LONG_SIDE = 480


@dataclass(frozen=True)
class Clip:
    """A composite video in memory.

    Attributes:
        name: For tables.
        composites: (H, W, 3) each.
        masks: (H, W) each.
        reals: The right answers, or empty where they are not known.
        times: Seconds.
    """

    name: str
    composites: list[Pixels]
    masks: list[Pixels]
    reals: list[Pixels]
    times: list[float]


def synthetic_clips(folder: Path, count: int, frames: int, seed: int) -> Iterator[Clip]:
    """Photographs whose own object moves over them, in colours changed by constant arguments.

    The camera pans; the object moves along its own path. Every second clip is lit ever less
    (factor 1 to 0.7), object and background alike. The photograph's object is changed once, by
    arguments drawn from the synthesis ranges (validation's own), with the whole photograph's
    statistics, so that one constant correction is right throughout. Every frame gets sensor noise
    of 1.5 levels.

    Args:
        folder: With MANIFEST.csv, as `validation_triplets` reads.
        count: Clips.
        frames: In each.
        seed: Of the choice, the paths and the noise.

    Raises:
        FileNotFoundError, ValueError: If the folder is not such.
    """
    random = np.random.default_rng(seed)
    renderer = CpuRenderer(1)
    triplets = validation_triplets(folder)
    chosen = random.permutation(len(triplets))[:count]
    for number, index in enumerate(chosen):
        triplet = triplets[int(index)]
        real, mask = _read(triplet.real), _read_mask(triplet.mask)
        arguments = Arguments(triplet.filters, triplet.arguments)
        changed = renderer.draw(real, None, renderer.measure(real, arguments))
        dims = np.linspace(1, 0.7, frames) if number % 2 else np.ones(frames)
        angle = random.uniform(0, 2 * np.pi)
        clip = Clip(f"moving {Path(triplet.real).stem}", [], [], [], [])
        for step in range(frames):
            share = step / max(frames - 1, 1)
            pan = round(12 * np.sin(2 * np.pi * share))
            shift = (
                round(18 * np.sin(angle + 2 * np.pi * share)),
                round(30 * np.cos(angle + 2 * np.pi * share)),
            )
            background = np.roll(real, pan, axis=1)
            cover = np.roll(mask, shift, axis=(0, 1))
            noise = random.normal(0, 1.5, (*cover.shape, 1))
            pair = []
            for source in (real, changed):
                moved = np.roll(source, shift, axis=(0, 1))
                mixed = background + (moved.astype(np.float32) - background) * (
                    cover[..., None] / np.float32(255)
                )
                pair.append(np.clip(mixed * dims[step] + noise + 0.5, 0, 255).astype(np.uint8))
            clip.reals.append(pair[0])
            clip.composites.append(pair[1])
            clip.masks.append(cover)
            clip.times.append(step / RATE)
        yield clip


def recoloured_clips(folder: Path, count: int, seed: int) -> Iterator[Clip]:
    """A real video and mask whose object is changed by constant arguments, several times.

    Args:
        folder: With frames.mp4 and mask.mp4.
        count: How many sets of arguments.
        seed: Of the arguments.
    """
    reals, masks, times = read_video(folder / "frames.mp4", folder / "mask.mp4", Levels(64, 192))
    random = np.random.default_rng(seed)
    renderer = CpuRenderer(1)
    for number in range(count):
        values = (random.uniform(-1, 1) * OPERATIONS[n].synthesis_range for n in DEFAULT_FILTERS)
        plan = renderer.measure(reals[0], Arguments(DEFAULT_FILTERS, tuple(values)))
        composites = [renderer.draw(r, m, plan) for r, m in zip(reals, masks, strict=True)]
        yield Clip(f"{folder.name} {number}", composites, masks, reals, times)


def composed_clip(folder: Path) -> Clip:
    """A real composite: foreground.mp4 over background.mp4 where mask.mp4 says; no right answer."""
    over, masks, times = read_video(folder / "foreground.mp4", folder / "mask.mp4", Levels())
    below, _, _ = read_video(folder / "background.mp4", folder / "mask.mp4", Levels())
    composites = []
    for front, back, mask in zip(over, below, masks, strict=True):
        mixed = back + (front.astype(np.float32) - back) * (mask[..., None] / np.float32(255))
        composites.append((mixed + 0.5).astype(np.uint8))
    return Clip(folder.name, composites, masks, [], times)


def read_video(
    path: Path, mask: Path, levels: Levels
) -> tuple[list[Pixels], list[Pixels], list[float]]:
    """Frames, masks and times, scaled so that the long side is at most 480."""
    images: list[Pixels] = []
    masks: list[Pixels] = []
    times: list[float] = []
    with av.open(str(path)) as video, av.open(str(mask)) as cover:
        for frame, other in zip(video.decode(video=0), cover.decode(video=0), strict=True):
            factor = min(1, LONG_SIDE / max(frame.width, frame.height))
            size = round(frame.height * factor), round(frame.width * factor)
            small = frame.reformat(width=size[1], height=size[0], format="rgb24")
            images.append(np.ascontiguousarray(small.to_ndarray()))
            masks.append(luma_mask(other, levels, size))
            times.append(float(frame.time))
    return images, masks, times


def _read(path: Path) -> Pixels:
    image = Image.fromarray(read_image(path, "RGB"))
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.uint8)


def _read_mask(path: Path) -> Pixels:
    image = Image.fromarray(read_image(path, "L"))
    return np.array(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.uint8)
