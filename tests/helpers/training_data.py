"""Tiny data sets made of scikit-image's photographs: a folder, and iHarmony4 in its own layout."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from export.samples import sample_photos
from harmonizer.ops import DEFAULT_FILTERS
from train.data.batches import TrainingBatches
from train.data.config import DataConfig
from train.data.iharmony4 import SUBSETS

DARKER = 0.6
"""What the composites' foregrounds are multiplied by."""


def write_photos(folder: Path) -> Path:
    """Three photographs with masks, after the first one upside down without, and a manifest."""
    rows = [("unmasked.png", "")]
    for photo in sample_photos():
        Image.fromarray(photo.pixels).save(folder / f"{photo.name}.png")
        Image.fromarray(photo.mask).save(folder / f"{photo.name}_mask.png")
        rows.append((f"{photo.name}.png", f"{photo.name}_mask.png"))
    Image.fromarray(sample_photos()[0].pixels[::-1].copy()).save(folder / "unmasked.png")
    return write_manifest(folder, rows)


def write_manifest(folder: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """MANIFEST.csv of photographs and masks."""
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "mask"), *rows])
    return folder


def write_greys(folder: Path) -> Path:
    """Ten photographs of one grey level each, which tells them apart after any crop."""
    for level in range(0, 250, 25):
        Image.new("RGB", (64, 48), (level, level, level)).save(folder / f"{level}.png")
    return folder


def write_tree(
    root: Path, suffix: str = ".png", subsets: Sequence[str] = SUBSETS, versions: int = 2
) -> Path:
    """Each subset gets the three photographs at its own size, one mask, `versions` composites.

    The first two photographs are in the train list, the third is in the test list.
    """
    for number, name in enumerate(subsets):
        names: list[str] = []
        for folder in ("composite_images", "masks", "real_images"):
            (root / name / folder).mkdir(parents=True)
        for index, photo in enumerate(sample_photos()):
            size = (160 + 20 * number, 120 + 10 * index)
            real = Image.fromarray(photo.pixels).resize(size)
            mask = Image.fromarray(photo.mask).resize(size)
            pixels = np.asarray(real).astype(np.float64)
            alpha = np.asarray(mask)[..., None] / 255
            stem = f"{name[1].lower()}{index}"
            real.save(root / name / "real_images" / f"{stem}{suffix}")
            mask.save(root / name / "masks" / f"{stem}_1.png")
            for version in range(1, versions + 1):
                pasted = pixels * (1 - alpha * (1 - DARKER / version))
                file = f"{stem}_1_{version}{suffix}"
                composite = Image.fromarray(pasted.round().astype(np.uint8))
                composite.save(root / name / "composite_images" / file)
                names.append(f"{stem}_1_{version}.jpg")
        write_lists(root, name, names[: 2 * versions], names[2 * versions :])
    return root


def write_lists(root: Path, name: str, train: Sequence[str], test: Sequence[str]) -> None:
    """Replace a subset's lists."""
    for split, lines in (("train", train), ("test", test)):
        text = "".join(f"{line}\n" for line in lines)
        (root / name / f"{name}_{split}.txt").write_text(text, encoding="utf-8")


def truncate(path: Path) -> None:
    """Cut an image file in half, as an interrupted download leaves it."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def make_batches(config: DataConfig, **changes: int) -> TrainingBatches:
    """Batches of four at 64x64, or as the changes say."""
    options = {"size": 64, "batch": 4, "seed": 7} | changes
    return TrainingBatches(config, DEFAULT_FILTERS, **options)
