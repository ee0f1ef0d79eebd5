"""A folder of photographs, with masks or without, packed for training."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.data.iharmony4 import FOLDERS
from train.data.packing import (
    PACKED_SIZE,
    PLANE,
    PackedImages,
    check_mask,
    decode,
    open_packed,
)
from train.data.regions import superpixels

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
"""What counts as an image file in a folder without a manifest."""

PLANES = 5
"""R, G, B, mask (0 without one), superpixel labels."""


@dataclass(frozen=True)
class Photo:
    """A photograph and its mask, relative to the folder; no mask is None."""

    file: str
    mask: str | None


def list_photos(folder: str | Path) -> list[Photo]:
    """The photographs of a folder.

    With MANIFEST.csv: what its columns `file` and `mask` (may be empty) name. Without: every image
    file at any depth that is not hidden; the mask of `a/x.jpg` is `a/masks/x.png`, `masks/x.png`
    beside `a`, or `a/x_mask.png`, whichever exists.

    Raises:
        FileNotFoundError: If the folder is absent or the manifest names absent files.
        ValueError: If the manifest lacks a column, there is no photograph, or the folder is
            iHarmony4's, whose composites are no photographs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"photographs must be in a folder; {folder} is none. Check the path."
        )
    manifest = folder / "MANIFEST.csv"
    photos = _listed(manifest) if manifest.is_file() else _found(folder)
    if not photos:
        raise ValueError(
            f"{folder} must hold photographs ({', '.join(sorted(SUFFIXES))}, or MANIFEST.csv that "
            "names them); there are none. Name the folder of the photographs."
        )
    return photos


def _listed(manifest: Path) -> list[Photo]:
    with manifest.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"file", "mask"} <= set(reader.fieldnames or []):
            raise ValueError(
                f"{manifest} must have the columns `file` and `mask`; got {reader.fieldnames}. "
                "Name them in its first line."
            )
        return [Photo(row["file"], row["mask"] or None) for row in reader]


def _found(folder: Path) -> list[Photo]:
    hidden = set(hidden_images(folder))
    images = {
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and (p.is_file() or not p.exists())  # a link to nothing is an absent photograph
        and p.relative_to(folder).as_posix() not in hidden
    }
    composite = min((p for p in images if p.parent.name == FOLDERS[0]), default=None)
    if composite is not None:
        raise ValueError(
            f"{folder} must hold natural photographs; {composite.parent} looks like iHarmony4's "
            "composites. Name its root with --pairs instead; if these are photographs after all, "
            "list them in MANIFEST.csv."
        )
    photos = []
    for path in sorted(images):
        if path.parent.name == "masks" or path.stem.endswith("_mask"):
            continue
        beside = [path.parent / "masks", path.parent.parent / "masks"]
        masks = [place / f"{path.stem}.png" for place in beside]
        masks.append(path.with_name(f"{path.stem}_mask.png"))
        mask = next((m.relative_to(folder).as_posix() for m in masks if m in images), None)
        photos.append(Photo(path.relative_to(folder).as_posix(), mask))
    return photos


def hidden_images(folder: Path) -> list[str]:
    """Image files by name that are no photographs: hidden ones, and those in hidden folders.

    macOS puts a file ``._x.jpg`` (AppleDouble) beside each ``x.jpg`` on foreign disks, and into
    ``__MACOSX`` in archives.
    """
    found = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file())
    return [
        path.as_posix()
        for path in found
        if path.suffix.lower() in SUFFIXES
        and any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    ]


def other_files(folder: Path) -> list[str]:
    """Files that are neither hidden nor named as images are."""
    found = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file())
    return [
        path.as_posix()
        for path in found
        if path.suffix.lower() not in SUFFIXES and not any(p.startswith(".") for p in path.parts)
    ]


def absent_files(folder: str | Path, photos: list[Photo]) -> list[str]:
    """Files that the photographs need and that are not there."""
    named = [name for photo in photos for name in (photo.file, photo.mask) if name]
    return [name for name in named if not (Path(folder) / name).is_file()]


def open_photos(folder: str | Path, cache: str | Path, max_corrupt: float = 0.01) -> PackedImages:
    """Pack a folder of photographs on first use; later calls map the cache.

    Args:
        folder: See `list_photos`.
        cache: Folder of all caches: 320 KiB a photograph.
        max_corrupt: Share of the photographs that may be unusable: unreadable, or with a mask that
            is unreadable, of another size, or without foreground.

    Raises:
        FileNotFoundError: If the folder, a listed file or what a link names is absent.
        ValueError: If there is no photograph, or too many are not usable.
        OSError: If the disk has too little space.
    """
    folder = Path(folder)
    photos = list_photos(folder)
    absent = absent_files(folder, photos)
    if absent:
        raise FileNotFoundError(
            f"all photographs and masks of {folder} must exist; {len(absent):,} do not, "
            f"{absent[0]} first: MANIFEST.csv or a link names it. python -m train check-data "
            f"{folder} --report FILE names all."
        )
    return open_packed(
        cache,
        "photographs",
        folder,
        [(photo.file, photo.mask) for photo in photos],
        lambda row: _pack(folder, photos[row]),
        PLANES,
        max_corrupt,
    )


def read_photo(folder: Path, photo: Photo) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """The photograph (256, 256, 3) and its mask (256, 256).

    Raises:
        ValueError: If the mask has another size than the photograph or no foreground, or a file is
            not usable.
        OSError: If a file cannot be read.
    """
    pixels, size = decode(folder / photo.file, "RGB", upright=True)
    if photo.mask is None:
        return pixels, None
    mask, mask_size = decode(folder / photo.mask, "L")
    if mask_size != size:
        raise ValueError(
            f"mask {photo.mask} must have the photograph's size {size[0]}x{size[1]}; it has "
            f"{mask_size[0]}x{mask_size[1]}"
        )
    check_mask(mask, photo.mask)
    return pixels, mask


def _pack(folder: Path, photo: Photo) -> tuple[NDArray[np.uint8], float]:
    pixels, mask = read_photo(folder, photo)
    packed = np.zeros((PLANES, PACKED_SIZE, PACKED_SIZE), np.uint8)
    packed[:3] = pixels.transpose(2, 0, 1)
    if mask is not None:
        packed[3] = mask
    packed[4] = superpixels(pixels)
    return packed, float(packed[3].sum(dtype=np.int64)) / (255 * PLANE)
