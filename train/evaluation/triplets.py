"""The evaluation sets: composite, mask and photograph, listed first and read one at a time.

- Made ones: photographs of a folder with MANIFEST.csv, made into composites at random from a fixed
  seed, at 256x256 only: by filters (*val*), by the colours of another photograph's foreground of
  the same kind (*recoloured*), or developed as a whole and the foreground apart (*developed*).
- Benchmark: iHarmony4 in its own layout with its `*_test.txt` lists, or a folder of triplets that
  an `index.csv` lists.

Files are read as Pillow decodes them, EXIF orientation not applied, as the literature does.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonizer.contract import THUMBNAIL_SIZE
from harmonizer.errors import ImageFileError
from harmonizer.masks import faintness
from harmonizer.ops import DEFAULT_FILTERS
from train.data import development, transfer
from train.data.iharmony4 import SUBSETS, Subset
from train.data.opening import open_image
from train.data.synthesis import draw_arguments, synthesize
from train.network import thumbnail

FULL = 1.0
"""The strength of what is recoloured or developed: mild composites would say little."""

VAL_SEED, RECOLOURED_SEED, DEVELOPED_SEED = 2207, 2208, 2209
DONORS = Path(__file__).with_name("donors.csv")
"""Whose colours each photograph of val takes on: one of the 24 of train whose foregrounds are most
like it to the pretrained encoder, drawn once. `python -m train.evaluation.donors` made it."""

VAL, RECOLOURED, DEVELOPED, REAL_PAIRS = "val", "recoloured", "developed", "real_pairs"
"""The sets that checkpoints are chosen by."""

MASK_ERROR = 2
"""Pixels of a thumbnail by which the masks of inexact sets are too wide and too tight, in turn."""

UNKNOWN = "unknown"
"""The subset of triplets whose index does not name one of the four."""

EDGE = 1 << 16
"""Bytes at either end of a file that tell it from others of its size."""

Named = tuple[str, Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Triplet:
    """Where one evaluation image comes from.

    Attributes:
        name: Of the composite, without suffix.
        subset: One of iHarmony4's, `UNKNOWN`, or empty for a synthetic set.
        mask, real: Files of the mask and of the photograph.
        composite: Its file; None if it is synthesised.
        filters, arguments: What a composite is synthesised with.
        donor: Files of the photograph and mask whose colours the foreground takes on.
        dice: What is random about a composite that is recoloured or developed.
        mask_error: Pixels of its thumbnail by which the mask that a model is shown is too wide, or,
            if negative, too tight.
    """

    name: str
    subset: str
    mask: Path
    real: Path
    composite: Path | None = None
    filters: tuple[str, ...] = ()
    arguments: tuple[float, ...] = ()
    donor: tuple[Path, Path] | None = None
    dice: tuple[float, ...] = ()
    mask_error: int = 0

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that it is read from."""
        composite = (self.composite,) if self.composite else ()
        return (*composite, self.mask, self.real, *(self.donor or ()))

    def digest(self) -> str:
        """16 digits that tell this triplet from another one of its name.

        They follow from the files' sizes and both their ends, and from what is synthesised, not
        from places and times.

        Raises:
            ImageFileError: If a file cannot be read.
        """
        made: tuple[object, ...] = (self.filters, self.arguments, self.dice)
        if self.mask_error:
            made += (self.mask_error,)
        digest = hashlib.sha256(repr(made).encode())
        for path in self.files:
            try:
                with path.open("rb") as file:
                    size = file.seek(0, os.SEEK_END)
                    digest.update(b"%d " % size)
                    for start in (0, max(0, size - EDGE)):
                        file.seek(start)
                        digest.update(file.read(EDGE))
            except OSError as error:
                raise ImageFileError(
                    f"{path} must be an image; it cannot be read ({error.strerror or error}). Copy "
                    "it again."
                ) from error
        return digest.hexdigest()[:16]

    def pixels(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Composite (the photograph, if it is yet to be synthesised), mask and photograph.

        Returns:
            (H, W, 3), (H, W) and (H, W, 3) uint8.

        Raises:
            ImageFileError: If a file cannot be read, the sizes differ, or the mask's values are of
                another scale.
        """
        real, mask = read_image(self.real, "RGB"), read_image(self.mask, "L")
        composite = read_image(self.composite, "RGB") if self.composite else real
        for path, array in ((self.composite or self.real, composite), (self.mask, mask)):
            if array.shape[:2] != real.shape[:2]:
                raise ImageFileError(
                    "composite, mask and photograph must have one size; "
                    f"{path} is {array.shape[1]}x{array.shape[0]} and {self.real} is "
                    f"{real.shape[1]}x{real.shape[0]}. Are they of one triplet?"
                )
        brightest, name = float(mask.max()), f"the mask in {self.mask}"
        if faint := faintness(brightest, 255, name, "Multiply it by {factor}."):
            raise ImageFileError(faint)
        return composite, mask, real

    def thumbnails(self) -> tuple[Tensor, Tensor, Tensor]:
        """Composite (1, 3, 256, 256), mask (1, 1, 256, 256), photograph; float32 in [0, 1].

        Raises:
            ImageFileError: As `pixels` does.
        """
        composite, mask, real = (thumbnail(planes(array)) for array in self.pixels())
        if self.filters:
            arguments = torch.tensor([self.arguments])
            composite, _ = synthesize(real, mask, arguments, self.filters)
        elif self.donor is not None:
            donor = torch.cat(
                [
                    thumbnail(planes(read_image(path, mode)))
                    for path, mode in zip(self.donor, ("RGB", "L"), strict=True)
                ],
                dim=1,
            )
            step = THUMBNAIL_SIZE // transfer.READ
            donor = donor[..., step // 2 :: step, step // 2 :: step]
            moved = transfer.recolour(real, mask, donor, torch.tensor([self.dice]))
            composite = mask * moved + (1 - mask) * real
        elif self.dice:
            whole, apart = torch.tensor([self.dice]).chunk(2, dim=1)
            moved, real = development.develop(real, apart), development.develop(real, whole)
            composite = mask * moved + (1 - mask) * real
        return composite, mask, real


def planes(array: NDArray[Any]) -> Tensor:
    """(H, W, C) or (H, W), uint8 or float32 in [0, 1], to (1, C, H, W) float32 in [0, 1]."""
    unit = array.astype(np.float32) / 255 if array.dtype == np.uint8 else array
    tensor = torch.from_numpy(unit)
    return (tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor[None])[None]


def inexact_errors(count: int) -> list[int]:
    """The mask errors of an inexact set's images: too wide and too tight in turn."""
    return [MASK_ERROR if place % 2 == 0 else -MASK_ERROR for place in range(count)]


def inexact(triplets: Sequence[Triplet]) -> list[Triplet]:
    """The same images, whose masks are shown with an edge that is off."""
    errors = inexact_errors(len(triplets))
    return [replace(t, mask_error=error) for t, error in zip(triplets, errors, strict=True)]


def validation_triplets(folder: Path, filters: tuple[str, ...] = DEFAULT_FILTERS) -> list[Triplet]:
    """Photographs with masks of a folder with a manifest, each with its arguments.

    The arguments follow from the order of the manifest: every subset of the list is the same
    composites.

    Raises:
        FileNotFoundError: If the manifest or a file that it names is absent.
        ValueError: If the manifest lacks a column.
    """
    generator = torch.Generator().manual_seed(VAL_SEED)
    triplets = []
    for row in _table(folder / "MANIFEST.csv", ("file", "mask")):
        if row["mask"]:
            arguments = draw_arguments(1, filters, generator)[0].tolist()
            photo, mask = folder / row["file"], folder / row["mask"]
            triplets.append(Triplet(photo.stem, "", mask, photo, None, filters, tuple(arguments)))
    return _checked(triplets, folder / "MANIFEST.csv")


def recoloured_triplets(folder: Path, donors: Path = DONORS) -> list[Triplet]:
    """The photographs of a folder that a list of donors names, each with its donor's full colours.

    Args:
        folder: As `validation_triplets` takes it; donors lie in the folder beside it.
        donors: CSV with the columns file, donor and donor_mask, the latter two from that folder on.

    Returns:
        An empty list if the list names no photograph of the folder: it is another data set's.

    Raises:
        FileNotFoundError: If the manifest or a file that is named is absent.
        ValueError: If a list lacks a column.
    """
    named = {row["file"]: row for row in _table(donors, ("file", "donor", "donor_mask"))}
    generator = torch.Generator().manual_seed(RECOLOURED_SEED)
    triplets = []
    for row in _table(folder / "MANIFEST.csv", ("file", "mask")):
        method = torch.rand(1, generator=generator).item()
        if row["mask"] and row["file"] in named:
            donor = named[row["file"]]
            photo, mask = folder / row["file"], folder / row["mask"]
            files = (folder.parent / donor["donor"], folder.parent / donor["donor_mask"])
            triplets.append(Triplet(photo.stem, "", mask, photo, donor=files, dice=(method, FULL)))
    return _checked(triplets, donors)


def developed_triplets(folder: Path) -> list[Triplet]:
    """The photographs of a folder, developed as a whole and their foregrounds apart, both strongly.

    Raises:
        FileNotFoundError: If the manifest or a file that it names is absent.
        ValueError: If the manifest lacks a column.
    """
    generator = torch.Generator().manual_seed(DEVELOPED_SEED)
    triplets = []
    for row in _table(folder / "MANIFEST.csv", ("file", "mask")):
        dice = torch.rand(2, development.DICE, generator=generator)
        dice[:, 0] = FULL
        if row["mask"]:
            photo, mask = folder / row["file"], folder / row["mask"]
            triplets.append(
                Triplet(photo.stem, "", mask, photo, dice=tuple(dice.flatten().tolist()))
            )
    return _checked(triplets, folder / "MANIFEST.csv")


def yardsticks(folder: Path) -> dict[str, list[Triplet]]:
    """The sets that checkpoints are chosen by, by name; of all but val, those that the data has.

    Args:
        folder: As `validation_triplets` takes it; `real_pairs` and the donors lie beside it.

    Raises:
        FileNotFoundError, ValueError: As the functions above do.
    """
    sets = {
        VAL: validation_triplets(folder),
        RECOLOURED: recoloured_triplets(folder),
        DEVELOPED: developed_triplets(folder),
    }
    if (folder.parent / REAL_PAIRS / "index.csv").is_file():
        sets[REAL_PAIRS] = benchmark_triplets(folder.parent / REAL_PAIRS)
    return {name: triplets for name, triplets in sets.items() if triplets or name == VAL}


def benchmark_triplets(folder: Path, subsets: Sequence[str] = ()) -> list[Triplet]:
    """The triplets of `index.csv`, or else the test lists of iHarmony4's own layout.

    Args:
        folder: Holds `index.csv` with the columns composite, mask, real and subset; or the subset
            folders, each with composite_images, masks, real_images and `SUBSET_test.txt`.
        subsets: Which ones; all by default.

    Raises:
        FileNotFoundError: If a subset, a list or a file that it names is absent.
        ValueError: If the index lacks a column, or a list's line is not a composite's name.
    """
    index = folder / "index.csv"
    if not index.is_file():
        if not any((folder / subset).is_dir() for subset in SUBSETS):
            _check_folder(folder)
            raise FileNotFoundError(
                f"{folder} must hold index.csv, or iHarmony4's folders {', '.join(SUBSETS)}; it "
                "holds neither. Name the folder of the data set."
            )
        return [t for subset in subsets or SUBSETS for t in _test_list(folder, subset)]
    triplets = [
        Triplet(
            Path(row["composite"]).stem,
            row["subset"] if row["subset"] in SUBSETS else UNKNOWN,
            folder / row["mask"],
            folder / row["real"],
            folder / row["composite"],
        )
        for row in _table(index, ("composite", "mask", "real", "subset"))
    ]
    return _checked([t for t in triplets if not subsets or t.subset in subsets], index)


def _test_list(folder: Path, subset: str) -> list[Triplet]:
    listed = Subset(folder, subset).listed("test")
    if listed.misnamed:
        raise ValueError(
            f"{subset}_test.txt must list composites, PHOTO_MASK_VERSION.jpg; it has "
            f"{listed.misnamed[0]!r} and {len(listed.misnamed) - 1} more of another form. Take the "
            "list of the data set."
        )
    if listed.absent:
        raise FileNotFoundError(_absence(f"{subset}_test.txt", listed.absent))
    return [
        Triplet(
            Path(p.composite).stem, subset, folder / p.mask, folder / p.real, folder / p.composite
        )
        for p in listed.pairs
    ]


def _checked(triplets: list[Triplet], source: Path) -> list[Triplet]:
    """The triplets, all of whose files are there."""
    absent = [str(path) for t in triplets for path in t.files if not path.is_file()]
    if absent:
        raise FileNotFoundError(_absence(str(source), absent))
    return triplets


def _absence(source: str, absent: Sequence[str]) -> str:
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    return (
        f"every file that {source} names must be there; absent: {', '.join(absent[:3])}{more}. "
        "Complete the data set, or take the lines out."
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} must be a folder; it is none. Check the path, and HARMONIZER_DATA, which "
            "says where the shared data are."
        )


def _table(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    _check_folder(path.parent)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} must hold {path.name} with the columns {', '.join(columns)}; there is "
            "no such file. Name the folder of the data set."
        )
    reader = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    missing = [name for name in columns if name not in (reader.fieldnames or [])]
    if missing:
        raise ValueError(
            f"{path} must have the columns {', '.join(columns)}; it lacks {', '.join(missing)}. "
            "Name them in its first line."
        )
    return list(reader)


def read_image(path: Path, mode: str) -> NDArray[np.uint8]:
    """The pixels of an image file in Pillow's `mode`.

    Raises:
        ImageFileError: If it cannot be read.
    """
    try:
        with open_image(path) as image:
            return np.array(image.convert(mode))
    except Exception as error:  # Pillow's decoders raise whatever broken bytes lead them to
        raise ImageFileError(
            f"{path} must be an image; it cannot be read ({error}). Copy it again."
        ) from error


def named_thumbnails(triplets: Iterable[Triplet]) -> Iterator[Named]:
    """Name, composite (1, 3, 256, 256), mask (1, 1, 256, 256) and photograph of each triplet."""
    for triplet in triplets:
        yield (triplet.name, *triplet.thumbnails())


def validation_composites(folder: Path) -> Iterator[Named]:
    """The thumbnails of `validation_triplets`."""
    return named_thumbnails(validation_triplets(folder))


def benchmark_composites(folder: Path) -> Iterator[Named]:
    """The thumbnails of `benchmark_triplets`."""
    return named_thumbnails(benchmark_triplets(folder))
