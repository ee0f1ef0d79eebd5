"""What foregrounds show, and which are of a kind: a table made once, beside the packed images.

Every photograph gets a few fixed random regions; they and its own mask are its foregrounds. Each
is embedded by a pretrained network that looks at its bounding box and an eighth around it, and
knows its nearest of the same sort (own masks outline things, regions outline anything). What is
nearer than a near-duplicate would be is left out, and so is the photograph itself.
"""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from harmonizer.systems import available_cores
from train.data.crops import usable
from train.data.labels import labels_of
from train.data.packing import PACKED_SIZE, PackedImages, in_parallel, remove_cache, to_be_made
from train.data.regions import enlarge, random_region
from train.pretrained import SHA256, Embedder

REGIONS = 3
"""Random regions of each photograph."""

REGION_SIDE = PACKED_SIZE // 2
"""They are kept at half the size, and enlarged without stairs."""

NEAREST = 24
"""Donors to draw from."""

DUPLICATE = 0.93
"""Cosine above which two crops show the same photograph once more."""

MARGIN = 1 / 8
LOOK = 128
"""Side of the crop that is embedded."""

FORMAT = 3
"""Counts changes of what the table holds; part of its name."""

_TABLES = ("entries", "near", "labels")
_SOURCES = "sources.json"
_SEED = 7
_BATCH = 64
_CHUNK = 1024
_WORTH_PROCESSES = 1024  # photographs; processes take seconds to start

Place = tuple[PackedImages, int]


@dataclass(frozen=True)
class Neighbours:
    """The table of a list of photographs.

    Attributes:
        folder: Where it is kept.
        regions: (photographs, REGIONS, REGION_SIDE, REGION_SIDE) uint8 masks, memory-mapped.
        entries: (e, 2): of each foreground, its photograph's place and its region, or -1 for the
            photograph's own mask, which comes first of a photograph's.
        first: (photographs + 1,) where each photograph's entries begin.
        near: (e, NEAREST) entries, the nearest first; what lacks so many repeats them.
        labels: (e,) indices into `LABELS`: what each foreground shows.
    """

    folder: Path
    regions: NDArray[np.uint8]
    entries: NDArray[np.int32]
    first: NDArray[np.int64]
    near: NDArray[np.int32]
    labels: NDArray[np.uint8]

    def __reduce__(self) -> tuple[Callable[[Path], "Neighbours"], tuple[Path]]:
        return load_neighbours, (self.folder,)

    def choose(self, place: int, own: bool, which: float) -> int:
        """An entry of a photograph: its own mask if that is wanted and there is one, or a region.

        Args:
            place: The photograph's.
            own: Whether its own mask is wanted.
            which: In [0, 1), chooses the region.
        """
        first = int(self.first[place])
        masked = int(self.entries[first, 1] < 0)
        if own and masked:
            return first
        return first + masked + int(which * REGIONS)

    def image(self, packed: NDArray[np.uint8], entry: int) -> NDArray[np.uint8]:
        """(4, 256, 256): a packed photograph and the mask of one of its foregrounds."""
        place, region = self.entries[entry]
        if region < 0:
            return packed[:4]
        return np.concatenate([packed[:3], self.region(place, region)[None]])

    def region(self, place: int, number: int) -> NDArray[np.uint8]:
        """(256, 256): one of a photograph's random regions."""
        return _enlarged(self.regions[place, number])


def load_neighbours(folder: Path) -> Neighbours:
    """Map a table.

    Raises:
        ValueError: If its files do not fit together.
    """
    try:
        regions = np.load(folder / "regions.npy", mmap_mode="r")
        entries, near, labels = (np.load(folder / f"{name}.npy") for name in _TABLES)
        if not len(labels) == len(near) == len(entries) or len(regions) != entries[-1, 0] + 1:
            raise ValueError(
                f"{len(regions)} photographs, {len(entries)}, {len(near)} and {len(labels)} entries"
            )
    except (OSError, ValueError, IndexError) as error:
        raise ValueError(
            f"the neighbour table {folder} must be whole; it is damaged ({error}). Delete that "
            "folder; it is made again on the next start."
        ) from error
    first = np.searchsorted(entries[:, 0], np.arange(len(regions) + 1))
    return Neighbours(folder, regions, entries, first, near, labels)


def open_neighbours(sources: Sequence[PackedImages], cache: str | Path) -> Neighbours:
    """The table of these photographs, made on first use: minutes for ten thousand.

    Args:
        sources: The packed photographs; a place counts through their usable rows.
        cache: Folder of all caches.

    Raises:
        PretrainedError: If the pretrained weights are not at hand.
        ValueError: If the table is damaged.
        OSError: If the disk has too little space.
    """
    names = json.dumps([source.folder.name for source in sources])
    text = f"{FORMAT} {SHA256} {names}"
    folder = Path(cache) / f"neighbours-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with to_be_made(folder) as unfinished:
        if unfinished is not None:
            _make(unfinished, sources)
    if unfinished is not None:
        _remove_orphans(folder.parent)
    return load_neighbours(folder)


def places_of(sources: Sequence[PackedImages]) -> list[Place]:
    """Every usable photograph of the sources, in the order in which a table counts them."""
    return [(source, int(row)) for source in sources for row in source.rows]


def _remove_orphans(cache: Path) -> None:
    """Remove tables of photographs whose packed images are gone."""
    for path in cache.glob(f"neighbours-*/{_SOURCES}"):
        if not all((cache / name).is_dir() for name in json.loads(path.read_text("utf-8"))):
            remove_cache(path.parent)


def _make(folder: Path, sources: Sequence[PackedImages]) -> None:
    places = places_of(sources)
    embedder = Embedder()  # first, since it may be absent
    shape = (len(places), REGIONS, REGION_SIDE, REGION_SIDE)
    regions = np.lib.format.open_memmap(folder / "regions.npy", "w+", np.uint8, shape)
    for place, masks in enumerate(_all_regions(sources)):
        regions[place] = masks
    regions.flush()
    entries = np.array(
        [
            (place, region)
            for place, (source, row) in enumerate(places)
            for region in range(-1 if usable(source.fractions[row]) else 0, REGIONS)
        ],
        np.int32,
    )
    vectors, labels = _embed(embedder, places, entries, regions)
    made_of = (entries, nearest(vectors, entries), labels.to(torch.uint8).cpu().numpy())
    for name, table in zip(_TABLES, made_of, strict=True):
        np.save(folder / f"{name}.npy", table)
    names = json.dumps([source.folder.name for source in sources])
    (folder / _SOURCES).write_text(names, encoding="utf-8")


def _all_regions(sources: Sequence[PackedImages]) -> Iterator[NDArray[np.uint8]]:
    """Regions of each photograph in turn.

    Processes make many of them: growing one is a long walk in Python, for which threads queue.
    """
    workers = available_cores()
    places = places_of(sources)
    numbers = tqdm(range(len(places)), "regions", unit="image", disable=None)
    if workers == 1 or len(places) < _WORTH_PROCESSES:
        yield from (_regions(places[number], number) for number in numbers)
        return
    context = multiprocessing.get_context("spawn")
    # Of the sources, only their folders travel: what is larger than a pipe's buffer would make
    # each process wait until the one before it has started.
    with ProcessPoolExecutor(workers, context, _Worker.open, (sources,)) as pool:
        made = pool.map(_Worker.regions, range(len(places)), chunksize=32)
        yield from (masks for _, masks in zip(numbers, made, strict=True))


class _Worker:
    """What a process that makes regions has at hand."""

    places: Sequence[Place] = ()

    @classmethod
    def open(cls, sources: Sequence[PackedImages]) -> None:
        cls.places = places_of(sources)

    @classmethod
    def regions(cls, number: int) -> NDArray[np.uint8]:
        return _regions(cls.places[number], number)


def _regions(place: Place, number: int) -> NDArray[np.uint8]:
    source, row = place
    image = source.pixels[row]
    masks = [
        random_region(image[:3], image[4], np.random.default_rng([_SEED, number, region]))
        for region in range(REGIONS)
    ]
    return np.stack(masks)[:, ::2, ::2]


def _enlarged(region: NDArray[np.uint8]) -> NDArray[np.uint8]:
    whole: NDArray[np.uint8] = enlarge(torch.from_numpy(np.array(region))[None])[0].numpy()
    return whole


def _embed(
    embedder: Embedder,
    places: Sequence[Place],
    entries: NDArray[np.int32],
    regions: NDArray[np.uint8],
) -> tuple[Tensor, Tensor]:
    """(e, WIDTH) of all entries, and (e,) their labels."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    embedder.to(device)

    def crop(entry: int) -> NDArray[np.uint8]:
        place, region = entries[entry]
        source, row = places[place]
        image = source.pixels[row]
        mask = image[3] if region < 0 else _enlarged(regions[place, region])
        return crop_foreground(image[:3], mask)

    def batches() -> Iterator[Tensor]:
        waiting = []
        for image in in_parallel(crop, range(len(entries)), "embedding foregrounds"):
            waiting.append(image)
            if len(waiting) == _BATCH:
                yield torch.from_numpy(np.stack(waiting))
                waiting.clear()
        if waiting:
            yield torch.from_numpy(np.stack(waiting))

    vectors, labels = [], []
    with torch.inference_mode():
        for batch in batches():
            embedded, logits = embedder(batch.to(device).float() / 255)
            vectors.append(embedded)
            labels.append(labels_of(logits))
    return torch.cat(vectors), torch.cat(labels)


def crop_foreground(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(3, LOOK, LOOK): the mask's bounding box and a margin, sampled from (3, S, S)."""
    spans = []
    for axis in (1, 0):
        held = np.flatnonzero((mask > 127).any(axis=axis))
        low, high = (held[0], held[-1] + 1.0) if len(held) else (0.0, float(len(mask)))
        margin = MARGIN * (high - low)
        low, high = max(0.0, low - margin), min(float(len(mask)), high + margin)
        spans.append(((np.arange(LOOK) + 0.5) / LOOK * (high - low) + low).astype(np.intp))
    return image[:, spans[0][:, None], spans[1]]


def nearest(vectors: Tensor, entries: NDArray[np.int32]) -> NDArray[np.int32]:
    """(e, NEAREST): of each entry the nearest of its sort, other photographs' and no duplicates.

    Args:
        vectors: (e, WIDTH), unit length.
        entries: (e, 2), as in `Neighbours`.
    """
    near = np.empty((len(entries), NEAREST), np.int32)
    photo = torch.from_numpy(entries[:, 0]).to(vectors.device)
    for sort in (entries[:, 1] < 0, entries[:, 1] >= 0):
        its = torch.from_numpy(np.flatnonzero(sort)).to(vectors.device)
        kept = min(NEAREST, len(its))
        for first in range(0, len(its), _CHUNK):
            mine = its[first : first + _CHUNK]
            likeness = vectors[mine] @ vectors[its].T
            likeness[(photo[mine, None] == photo[its]) | (likeness > DUPLICATE)] = -1
            found = likeness.topk(kept, dim=1)
            # Where there are too few others, the first one stands in for what is no donor.
            order = torch.where(found.values > -1, found.indices, found.indices[:, :1])
            order = order[:, torch.arange(NEAREST, device=order.device) % kept]
            near[mine.cpu().numpy()] = its[order].int().cpu().numpy()
    return near
