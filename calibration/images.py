"""The images that ranges are measured on: composites as the model will see them, checked first."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.errors import CalibrationError
from calibration.inputs import Feed, has_region, model_inputs, perturbing_filters
from export.tolerances import CALIBRATION_IMAGES
from harmonizer.contract import THUMBNAIL_SIZE, Contract
from harmonizer.errors import ImageFileError
from train.data.iharmony4 import SUBSETS, Subset, read_pair
from train.data.opening import data_folder
from train.data.photos import list_photos, read_photo
from train.data.synthesis import draw_arguments, synthesize

SEED = 1202
"""Of the choice of images and of the composites made from them; other than the evaluation's."""

FLAT = 2.0
"""Standard deviation in levels below which a picture shows nothing."""

GREY = 1.0
"""Mean difference between channels in levels below which a picture has no colours."""

UNLIKE_SHARE = 0.1
"""Share of unlike pictures in a set above which it is refused."""


@dataclass(frozen=True)
class ImageSet:
    """Thumbnails to run the model on.

    Attributes:
        names: Of the images.
        scenes: For each, `composite` (1, 3, 256, 256) and `mask` (1, 1, 256, 256), float32 in
            [0, 1]: what is drawn.
        contract: Of the model that is to see them.
    """

    names: tuple[str, ...]
    scenes: tuple[Feed, ...]
    contract: Contract

    @cached_property
    def feeds(self) -> tuple[Feed, ...]:
        """What the model reads of each."""
        return tuple(
            model_inputs(self.contract, scene["composite"], scene["mask"], index)
            for index, scene in enumerate(self.scenes)
        )

    @property
    def sha256(self) -> str:
        """Of the inputs' bytes: what the model saw, wherever it came from."""
        digest = hashlib.sha256()
        for feed in self.feeds:
            for name in self.contract.inputs:
                digest.update(np.ascontiguousarray(feed[name]).tobytes())
        return digest.hexdigest()

    def split(self, count: int) -> tuple["ImageSet", "ImageSet"]:
        """The first `count` images, and the rest."""
        first = ImageSet(self.names[:count], self.scenes[:count], self.contract)
        return first, ImageSet(self.names[count:], self.scenes[count:], self.contract)


def load_images(folder: str | Path, count: int, contract: Contract, probes: int = 0) -> ImageSet:
    """Read a seeded choice of a folder's images.

    Args:
        folder: iHarmony4's own layout (its train lists), or photographs as
            `train.data.photos.list_photos` finds them, whose masked region (an ellipse where there
            is no mask) is perturbed by random arguments.
        count: How many; all that there are, if fewer.
        contract: Of the model that is to see them.
        probes: How many of them are to judge by, beside those that give the ranges.

    Raises:
        CalibrationError: If there are fewer than `CALIBRATION_IMAGES` and the probes, they are
            unlike what the model is for, or they are what the gate judges by.
        FileNotFoundError: If there is no such folder.
        ImageFileError: If an image cannot be read.
    """
    folder = Path(folder)
    _refuse_evaluation(folder)
    layout = [subset for subset in SUBSETS if (folder / subset).is_dir()]
    filters = perturbing_filters(contract)
    composites = _pairs(folder, layout, count) if layout else _synthesised(folder, count, filters)
    names, scenes = [], []
    progress = tqdm(composites, "reading images", count, disable=None, unit="image")
    for name, scene in progress:
        names.append(name)
        scenes.append(scene)
    wanted = CALIBRATION_IMAGES + probes
    if len(scenes) < wanted:
        judging = f", and {probes} others to judge the result by" if probes else ""
        raise CalibrationError(
            f"calibration wants {wanted} images or more: {CALIBRATION_IMAGES} for the ranges, "
            "because with fewer the range of an activation depends on which images they happen to "
            f"be{judging}; {folder} gives {len(scenes)}. Add photographs, or name a larger folder."
        )
    images = ImageSet(tuple(names), tuple(scenes), contract)
    check_likeness(images)
    return images


def _refuse_evaluation(folder: Path) -> None:
    shared = data_folder()
    own = folder.resolve()
    judged = [(shared / name).resolve() for name in ("val", "iharmony4")]
    inside = any(own.is_relative_to(each) or each.is_relative_to(own) for each in judged)
    if inside or (folder / "index.csv").is_file():
        raise CalibrationError(
            f"calibration images must not be those that the gate judges by; {folder} is an "
            "evaluation set, or part of one, or contains one. Name a folder of training "
            "photographs."
        )


def _chosen(total: int, count: int) -> list[int]:
    order = np.random.default_rng(SEED).permutation(total)
    return sorted(int(index) for index in order[:count])


def _synthesised(folder: Path, count: int, filters: Sequence[str]) -> Iterator[tuple[str, Feed]]:
    photos = list_photos(folder)
    generator = torch.Generator().manual_seed(SEED)
    for index in _chosen(len(photos), count):
        name = photos[index].file
        try:
            pixels, coverage = read_photo(folder, photos[index])
        except (OSError, ValueError) as error:
            raise ImageFileError(
                f"{folder / name} must be a readable photograph; {error}. Copy it again, or take "
                "it out."
            ) from error
        photo = torch.from_numpy(_unit(pixels)).permute(2, 0, 1)[None]
        mask = torch.from_numpy(_unit(_ellipse() if coverage is None else coverage))[None, None]
        arguments = draw_arguments(1, filters, generator)
        composite, _ = synthesize(photo, mask, arguments, filters)
        yield name, {"composite": composite.contiguous().numpy(), "mask": mask.numpy()}


def _unit(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    return stored.astype(np.float32) / np.float32(255)


def _ellipse() -> NDArray[np.uint8]:
    y, x = np.mgrid[-1 : 1 : THUMBNAIL_SIZE * 1j, -1 : 1 : THUMBNAIL_SIZE * 1j]
    return np.where((x / 0.5) ** 2 + (y / 0.6) ** 2 < 1, 255, 0).astype(np.uint8)


def _pairs(folder: Path, subsets: Sequence[str], count: int) -> Iterator[tuple[str, Feed]]:
    pairs = [pair for name in subsets for pair in Subset(folder, name).listed("train").pairs]
    for index in _chosen(len(pairs), count):
        pair = pairs[index]
        try:
            composite, mask, _ = read_pair(folder, pair)
        except (OSError, ValueError) as error:
            raise ImageFileError(
                f"{folder / pair.composite} and its mask must be readable; {error}. Copy them "
                "again."
            ) from error
        image = np.ascontiguousarray(composite.transpose(2, 0, 1))[None]
        yield pair.composite, {"composite": _unit(image), "mask": _unit(mask[None, None])}


def check_likeness(images: ImageSet) -> None:
    """Refuse thumbnails of another form, and sets of pictures unlike coloured photographs.

    Raises:
        CalibrationError: As said; the message names an example.
    """
    complaints = []
    for name, scene in zip(images.names, images.scenes, strict=True):
        for key, channels in (("composite", 3), ("mask", 1)):
            _check_form(name, key, scene[key], channels)
        colours = 255 * scene["composite"][0].transpose(1, 2, 0)
        inside = scene["mask"][0, 0] > 0.5
        if inside.all() or not inside.any():
            complaints.append(f"{name} has no {'back' if inside.all() else 'fore'}ground")
        elif not has_region(images.contract, scene["mask"]):
            complaints.append(f"{name} has a foreground of a single row or column")
        # Foreground and background apart: the foreground was perturbed.
        elif max(colours[inside].std(axis=0).max(), colours[~inside].std(axis=0).max()) < FLAT:
            complaints.append(f"{name} is of one colour")
        elif np.ptp(colours[~inside], axis=1).mean() < GREY:
            complaints.append(f"{name} is grey")
    if len(complaints) > UNLIKE_SHARE * len(images.scenes):
        raise CalibrationError(
            "calibration images must be like what the model will see, coloured photographs with a "
            f"foreground and a background; {len(complaints)} of {len(images.scenes)} are not "
            f"({'; '.join(complaints[:3])}). Name a folder of photographs."
        )


def _check_form(name: str, key: str, array: NDArray[np.float32], channels: int) -> None:
    shape = (1, channels, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    if array.shape != shape or array.dtype != np.float32:
        raise CalibrationError(
            f"`{key}` of {name} must be {shape} float32; got {array.shape} {array.dtype}. "
            "Resize and convert it as the runtime does: CpuRenderer.thumbnail."
        )
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise CalibrationError(
            f"`{key}` of {name} must lie in [0, 1], not normalised and not on the 0..255 scale; it "
            f"runs from {low:g} to {high:g}. Divide by 255, and subtract no means."
        )
