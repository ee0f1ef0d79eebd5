"""Photographs with masks, packed once into a memory-mapped array, drawn as random batches."""

import csv
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

PACKED_SIZE = 256
"""Photographs are kept as squares of this side, aspect not kept, like the network's thumbnails."""

MIN_FRACTION, MAX_FRACTION = 0.005, 0.95
"""Foreground shares of a crop that are worth a training step."""


@dataclass(frozen=True)
class PackedPhotos:
    """All photographs of a folder in one uint8 array, R, G, B and mask.

    Attributes:
        pixels: (n, 256, 256, 4) uint8, memory-mapped.
        masked: (n,) bool: whether the photograph has a mask of its own.
        fractions: (n,) mask area as a share of the image, 0 where there is no mask.
    """

    pixels: NDArray[np.uint8]
    masked: NDArray[np.bool_]
    fractions: NDArray[np.float64]

    @classmethod
    def open(cls, folder: str | Path, cache: str | Path) -> "PackedPhotos":
        """Pack a folder on first use; later calls map the cache.

        Args:
            folder: Holds MANIFEST.csv with the columns `file` and `mask` (mask may be empty).
            cache: Folder for the packed array; its name follows from the manifest's content.

        Raises:
            FileNotFoundError: If there is no manifest, or it names an absent file.
            ValueError: If the manifest lacks a column.
        """
        folder = Path(folder)
        manifest = folder / "MANIFEST.csv"
        if not manifest.is_file():
            raise FileNotFoundError(
                f"{folder} must hold MANIFEST.csv with the columns `file` and `mask`; it does not."
            )
        content = manifest.read_bytes()
        reader = csv.DictReader(content.decode("utf-8").splitlines())
        if not {"file", "mask"} <= set(reader.fieldnames or []):
            raise ValueError(
                f"{manifest} must have the columns `file` and `mask`; got {reader.fieldnames}."
            )
        rows = list(reader)
        packed = Path(cache) / f"photos-{_fingerprint(folder, content, rows)}.npy"
        if not packed.is_file():
            packed.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=packed.parent) as unfinished:
                array = np.lib.format.open_memmap(
                    Path(unfinished) / packed.name,
                    "w+",
                    np.uint8,
                    (len(rows), PACKED_SIZE, PACKED_SIZE, 4),
                )
                for index, row in enumerate(tqdm(rows, desc="packing photographs", unit="photo")):
                    array[index] = _pack(folder, row)
                array.flush()
                (Path(unfinished) / packed.name).rename(packed)
        pixels = np.load(packed, mmap_mode="r")
        masked = np.array([bool(row["mask"]) for row in rows])
        fractions = np.zeros(len(rows))
        for index in np.flatnonzero(masked).tolist():
            fractions[index] = pixels[index, :, :, 3].mean() / 255
        return cls(pixels, masked, fractions)

    def __len__(self) -> int:
        return len(self.pixels)


def _fingerprint(folder: Path, manifest: bytes, rows: list[dict[str, str]]) -> str:
    """Changes whenever the manifest or one of the files that it names does."""
    digest = hashlib.sha256(manifest + f"{folder.resolve()} {PACKED_SIZE}".encode())
    for row in rows:
        for name in filter(None, (row["file"], row["mask"])):
            facts = (folder / name).stat()
            digest.update(f"{name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _pack(folder: Path, row: dict[str, str]) -> NDArray[np.uint8]:
    size = (PACKED_SIZE, PACKED_SIZE)
    result = np.zeros((*size, 4), np.uint8)
    with Image.open(folder / row["file"]) as photo:
        result[:, :, :3] = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    if row["mask"]:
        with Image.open(folder / row["mask"]) as mask:
            result[:, :, 3] = np.asarray(mask.convert("L").resize(size, Image.Resampling.BILINEAR))
    return result


def batches(
    photos: PackedPhotos, batch: int, size: int, seed: int, borrow: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random crops with flips and 90-degree rotations, for ever.

    Args:
        photos: Where to draw from.
        batch: Images per batch.
        size: Side of the square crops returned, in pixels.
        seed: The sequence follows from it.
        borrow: Give photographs without a mask the mask of another photograph; otherwise they
            are left out.

    Yields:
        Photographs (batch, 3, size, size) and masks (batch, 1, size, size), float32 in [0, 1].

    Raises:
        ValueError: If there are fewer usable photographs than `batch`.
    """
    random = np.random.default_rng(seed)
    usable = (photos.fractions > MIN_FRACTION) & (photos.fractions < MAX_FRACTION)
    own = np.flatnonzero(usable)
    pool = np.concatenate([own, np.flatnonzero(~photos.masked)]) if borrow else own
    if not 1 <= batch <= len(pool) or not len(own):
        raise ValueError(
            f"`batch` must be 1 to the number of usable photographs, of which at least one has a "
            f"mask covering {MIN_FRACTION:.1%} to {MAX_FRACTION:.0%}; got batch {batch} for "
            f"{len(pool)} photographs, {len(own)} with such a mask."
        )
    while True:
        order = random.permutation(pool)
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            lenders = np.where(photos.masked[chosen], chosen, random.choice(own, batch))
            colours = torch.from_numpy(photos.pixels[chosen][..., :3]).permute(0, 3, 1, 2)
            masks = torch.from_numpy(photos.pixels[lenders][..., 3:]).permute(0, 3, 1, 2)
            stacked = torch.cat([colours, masks], dim=1).float() / 255
            cropped = _crop(stacked, size, random)
            yield cropped[:, :3], cropped[:, 3:]


def _crop(stacked: Tensor, size: int, random: np.random.Generator) -> Tensor:
    """Crop, flip and rotate each image in one bilinear sampling; keep a useful foreground."""
    whole = np.zeros((len(stacked), 2, 3), np.float32)
    theta = whole.copy()
    for index in range(len(stacked)):
        scale = random.uniform(0.5, 1.0, 2)
        shift = random.uniform(-1, 1, 2) * (1 - scale)
        turn = np.diag(random.choice([-1.0, 1.0], 2))
        if random.random() < 0.5:
            turn = turn[::-1]
        whole[index, :, :2] = turn
        theta[index, :, :2] = np.diag(scale) @ turn
        theta[index, :, 2] = shift
    cropped = _sample(stacked, theta, size)
    fraction = cropped[:, 3].mean(dim=(1, 2))
    poor = (fraction < MIN_FRACTION) | (fraction > MAX_FRACTION)
    if poor.any():
        cropped[poor] = _sample(stacked[poor], whole[poor.numpy()], size)
    return cropped


def _sample(stacked: Tensor, theta: NDArray[np.float32], size: int) -> Tensor:
    shape = [len(stacked), stacked.shape[1], size, size]
    grid = F.affine_grid(torch.from_numpy(theta), shape, align_corners=False)
    return F.grid_sample(stacked, grid, padding_mode="border", align_corners=False)
