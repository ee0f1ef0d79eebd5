"""iHarmony4 in its own layout: subsets, lists, and the files that belong together.

Cong et al., DoveNet, arXiv 1911.13239, and the dataset's repository. A subset's folder holds
`composite_images/X_k_v.jpg`, `masks/X_k.png`, `real_images/X.jpg` and the lists
`<subset>_train.txt` and `<subset>_test.txt`, one composite a line. Copies differ: lines may carry a
path, and resized copies other suffixes; both are understood.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.packing import (
    PACKED_SIZE,
    PLANE,
    PackedImages,
    check_mask,
    decode,
    open_packed,
)

SUBSETS = ("HCOCO", "HFlickr", "HAdobe5k", "Hday2night")

PUBLISHED = {
    "HCOCO": {"train": 38545, "test": 4283},
    "HAdobe5k": {"train": 19437, "test": 2160},
    "HFlickr": {"train": 7449, "test": 828},
    "Hday2night": {"train": 311, "test": 133},
}
"""Composites in the published lists."""

FOLDERS = ("composite_images", "masks", "real_images")

PLANES = 7
"""Composite R, G, B; real R, G, B; mask."""


@dataclass(frozen=True)
class Pair:
    """Files of one composite, relative to the root: composite, mask, real image."""

    composite: str
    mask: str
    real: str


@dataclass(frozen=True)
class Listed:
    """What one list of a subset names.

    Attributes:
        composites: The names on its lines, without path and suffix, each once.
        pairs: Of those, the ones whose three files are there.
        absent: Files that the list needs and that are not there.
        misnamed: Lines that are no X_k_v name.
        repeated: Composites named more than once.
    """

    composites: tuple[str, ...]
    pairs: tuple[Pair, ...]
    absent: tuple[str, ...]
    misnamed: tuple[str, ...]
    repeated: tuple[str, ...]


class Subset:
    """The files of one subset, found by name without suffix.

    Raises:
        FileNotFoundError: If the subset or one of its three folders is absent.
    """

    def __init__(self, root: str | Path, name: str) -> None:
        self.root, self.name = Path(root), name
        missing = [f for f in FOLDERS if not (self.root / name / f).is_dir()]
        if missing:
            raise FileNotFoundError(
                f"{self.root / name} must hold {', '.join(FOLDERS)}, as iHarmony4's subsets do; "
                f"absent: {', '.join(missing)}. Complete the copy, or leave the subset out with "
                "--subsets."
            )
        self.files = {
            folder: {
                p.stem: p.name
                for p in sorted((self.root / name / folder).iterdir())
                if not p.name.startswith(".")
            }
            for folder in FOLDERS
        }

    def listed(self, split: str) -> Listed:
        """What `<subset>_<split>.txt` names.

        Raises:
            FileNotFoundError: If there is no such list.
        """
        path = self.root / self.name / f"{self.name}_{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} must list the {split} composites of {self.name}; it is absent. Complete "
                "the copy, or leave the subset out with --subsets."
            )
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        stems = [Path(line.replace("\\", "/")).stem for line in lines if line]
        pairs, misnamed, absent = [], [], dict[str, None]()
        count = Counter(stems)
        for stem in count:
            parts = stem.rsplit("_", 2)
            if len(parts) != 3 or not all(parts):
                misnamed.append(stem)
                continue
            wanted = zip(FOLDERS, (stem, f"{parts[0]}_{parts[1]}", parts[0]), strict=True)
            found = [
                (f"{self.name}/{folder}/", part, self.files[folder].get(part))
                for folder, part in wanted
            ]
            absent.update({place + part: None for place, part, file in found if file is None})
            files = [place + file for place, _, file in found if file]
            if len(files) == len(FOLDERS):
                pairs.append(Pair(*files))
        repeated = tuple(stem for stem, times in count.items() if times > 1)
        return Listed(tuple(count), tuple(pairs), tuple(absent), tuple(misnamed), repeated)


def open_pairs(
    root: str | Path, subsets: Sequence[str], cache: str | Path, max_corrupt: float = 0.01
) -> PackedImages:
    """Pack the train lists of the subsets on first use; later calls map the cache.

    Args:
        root: Holds the subsets' folders.
        subsets: Some of `SUBSETS`.
        cache: Folder of all caches: 448 KiB a composite, 30 GB for all four subsets.
        max_corrupt: Share of the composites that may be unusable: unreadable, of unequal sizes, or
            without foreground.

    Raises:
        FileNotFoundError: If a subset, a list or a listed file is absent.
        ValueError: If a list has names of another form, or too many composites are not usable.
        OSError: If the disk has too little space.
    """
    root = Path(root)
    pairs: list[Pair] = []
    for name in subsets:
        listed = Subset(root, name).listed("train")
        for wrong, what in ((listed.absent, "exist"), (listed.misnamed, "be named X_k_v")):
            if wrong:
                raise (FileNotFoundError if wrong is listed.absent else ValueError)(
                    f"what {name}_train.txt lists must {what}; {len(wrong):,} do not, {wrong[0]} "
                    f"first. python -m train check-data {root} --report FILE names all."
                )
        pairs += listed.pairs
    return open_packed(
        cache,
        "pairs",
        root,
        [(pair.composite, pair.mask, pair.real) for pair in pairs],
        lambda row: _pack(root, pairs[row]),
        PLANES,
        max_corrupt,
    )


def read_pair(
    root: Path, pair: Pair
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Composite (256, 256, 3), mask (256, 256) and real image (256, 256, 3).

    Raises:
        ValueError: If the sizes differ, the mask has no foreground, or a file is not usable.
        OSError: If a file cannot be read.
    """
    composite, size = decode(root / pair.composite, "RGB")
    mask, mask_size = decode(root / pair.mask, "L")
    real, real_size = decode(root / pair.real, "RGB")
    for name, other in ((pair.mask, mask_size), (pair.real, real_size)):
        if other != size:
            raise ValueError(
                f"{name} must have the composite's size {size[0]}x{size[1]}; it has "
                f"{other[0]}x{other[1]}"
            )
    check_mask(mask, pair.mask)
    return composite, mask, real


def _pack(root: Path, pair: Pair) -> tuple[NDArray[np.uint8], float]:
    composite, mask, real = read_pair(root, pair)
    packed = np.empty((PLANES, PACKED_SIZE, PACKED_SIZE), np.uint8)
    packed[:3] = composite.transpose(2, 0, 1)
    packed[3:6] = real.transpose(2, 0, 1)
    packed[6] = mask
    return packed, float(mask.sum(dtype=np.int64)) / (255 * PLANE)
