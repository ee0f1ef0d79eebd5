"""Training batches from photographs and from real composites, by step.

A batch is a pure function of seed and step: workers, ranks and resuming change nothing. What is
drawn for an image follows from its position in the global batch.
"""

import dataclasses
import itertools
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harmonizer.contract import DEFAULT_LABEL, LABELS
from harmonizer.ops import check_filters
from train.data import crops, development, inexact, reshaping, transfer
from train.data.config import DataConfig
from train.data.crops import usable
from train.data.iharmony4 import open_pairs
from train.data.neighbours import REGIONS, Neighbours, open_neighbours
from train.data.packing import PACKED_SIZE
from train.data.photos import open_photos
from train.data.regions import random_region
from train.data.synthesis import draw_arguments

FILTERED, RECOLOURED, RETOUCHED, PAIRED = range(4)
"""Kinds of composites, in the order in which they stand in a batch."""

DONOR_STEP = PACKED_SIZE // transfer.READ
"""A colour transfer reads every n-th pixel of the donor."""

DICE = 2 * development.DICE + transfer.DICE + inexact.DICE + 12 + reshaping.DICE
"""Random numbers for what `composites.Composer` makes of an image, and `reshaping` of its mask."""

_RESHAPED = slice(DICE - reshaping.DICE, DICE)

UNTOLD = 0.3
"""Share of the foregrounds whose label is kept back: most users give none."""

_DRAWS, _REGION, _ORDER, _DONOR, _LABEL = 1, 2, 3, 4, 5
"""Keep the streams of random numbers apart."""


@dataclass(frozen=True)
class Batch:
    """This process's share of one global batch; all tensors on one device.

    Attributes:
        photo: (n, 3, S, S) float32 in [0, 1]: what the network should restore (before jitter for
            synthetic images).
        mask: (n, 1, S, S) in [0, 1], never empty.
        composite: (n, 3, S, S): the composite of a pair; equal to `photo` elsewhere.
        donor: (n, 4, READ, READ) in [0, 1]: where recoloured, another photograph and its mask.
        kind: (n,) int64, rising: what is to be made of each image.
        label: (n,) int64: what each foreground shows, an index into `LABELS`; `DEFAULT_LABEL`
            where that is not told, everywhere without a neighbour table, which knows it.
        arguments: (n, k) float32: what the filters synthesise with; 0 for the other kinds.
        jitter: (n, 4) float32 in [-1, 1]: amounts for `synthesis.jitter`; 0 for the other kinds.
        dice: (n, DICE) float32 in [0, 1): for everything else that is random about an image.
    """

    photo: Tensor
    mask: Tensor
    composite: Tensor
    donor: Tensor
    kind: Tensor
    label: Tensor
    arguments: Tensor
    jitter: Tensor
    dice: Tensor

    @property
    def synthetic(self) -> Tensor:
        """(n,) bool: composites that the filters are to make; they come first."""
        return self.kind == FILTERED

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        tensors = [function(getattr(self, field.name)) for field in dataclasses.fields(self)]
        return Batch(*tensors)

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """The batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The batch in page-locked memory; DataLoader(pin_memory=True) calls it."""
        return self._map(Tensor.pin_memory)


@dataclass(frozen=True)
class Draws:
    """What is random about this process's share of a batch: small, and the same on any device.

    Attributes:
        places: Of each image, its stream (photographs or pairs) and its place in that.
        entries: (p,) of each photograph, the neighbour table's entry that is its foreground; empty
            without a table.
        donors: Of each recoloured image, its donor: a place, or an entry of the table.
        crops: (n, crops.DRAWS) in [0, 1).
        kind, arguments, jitter, dice: As in `Batch`.
        positions: Of each image, its place in the global batch.
        step: Which batch it is.
    """

    places: tuple[tuple[int, int], ...]
    entries: NDArray[np.int64]
    donors: tuple[int, ...]
    crops: NDArray[np.float64]
    kind: Tensor
    arguments: Tensor
    jitter: Tensor
    dice: Tensor
    positions: tuple[int, ...]
    step: int


class TrainingBatches(Dataset[Batch]):
    """Batches by step.

    Each of the two streams, photographs and pairs, goes through its images in a new random order
    on every pass, so that none comes again before all have come. A global batch is dealt out image
    by image: of the parts that it consists of, each process gets its share to within one image.

    Attributes:
        images: Images of one epoch: photographs to synthesise from, and pairs.
        steps_per_epoch: Steps that see that many images.
        skipped: "file: reason" of what could not be used.
        replaced: Photographs whose own mask is too small or too large to train with; they get
            random regions.
        fingerprints: What was packed, by the folder that it came from.
    """

    def __init__(
        self,
        config: DataConfig,
        filters: Sequence[str],
        *,
        size: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Open, and on first use pack, the images.

        Args:
            config: Where they come from.
            filters: What composites are synthesised with.
            size: Side of the images in pixels.
            batch: Images of the global batch.
            seed: Decides everything that is random.
            rank: This process's number.
            world: Number of processes.

        Raises:
            ValueError: If the batch fits neither the data nor the processes, or too many files
                are unusable.
            OSError: If files are absent, or the disk has too little space.
        """
        if not config.photos and config.pairs is None:
            raise ValueError("training needs `photos` or `pairs`; neither is given. Name one.")
        if size < 1 or batch < 1 or seed < 0 or not 0 <= rank < world:
            raise ValueError(
                "`size` and `batch` must be at least 1, `seed` at least 0 and `rank` in [0, world);"
                f" got {size}, {batch}, {seed}, {rank} of {world}. Change what lies beyond."
            )
        paired = 0 if config.pairs is None else round(batch * config.pair_share)
        self.parts = (batch - paired, paired)
        moved = round(self.parts[0] * config.transfer_share)
        retouched = round(self.parts[0] * config.retouch_share)
        first = self.parts[0] - retouched
        self._starts = (0, first - moved, first, self.parts[0], batch)
        if batch % world:
            raise ValueError(
                f"a batch must be a multiple of the {world} processes; got {batch}. Give --batch "
                f"{batch + -batch % world}."
            )
        pairs = None
        if config.pairs is not None and (paired or not config.photos):
            pairs = open_pairs(config.pairs, config.subsets, config.cache, config.max_corrupt)
        photos = [open_photos(p, config.cache, config.max_corrupt) for p in config.photos]
        self.filters = check_filters(filters)
        self.config, self.size, self.batch, self.seed = config, size, batch, seed
        self.rank, self.world = rank, world
        sources = photos or ([] if pairs is None else [pairs])
        self.streams = (
            [(source, int(row)) for source in sources for row in source.rows],
            [] if pairs is None else [(pairs, int(row)) for row in pairs.rows],
        )
        for stream, part, what in zip(
            self.streams, self.parts, ("photographs", "pairs"), strict=True
        ):
            if part > len(stream):
                raise ValueError(
                    f"a batch must not need more {what} than there are; it needs {part} of "
                    f"{len(stream)} usable ones. Choose a smaller --batch or add data."
                )
        self.images = sum(len(s) for s, part in zip(self.streams, self.parts, strict=True) if part)
        self.steps_per_epoch = -(-self.images // batch)
        opened = photos if pairs is None else [*photos, pairs]
        self.skipped = tuple(line for source in opened for line in source.skipped)
        self.replaced = tuple(
            source.names[row]
            for source in photos
            for row in source.rows
            if source.fractions[row] > 0 and not usable(source.fractions[row])
        )
        places = config.photos if pairs is None else (*config.photos, str(config.pairs))
        self.fingerprints = {
            place: source.folder.name for place, source in zip(places, opened, strict=True)
        }
        self.neighbours: Neighbours | None = None
        if config.donors == "kind":
            self.neighbours = open_neighbours(photos, config.cache)
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    def __getitem__(self, step: int) -> Batch:
        return self.read(self.draw(step))

    def draw(self, step: int) -> Draws:
        """Everything random about this process's share of a batch.

        Raises:
            IndexError: If there is no such step.
        """
        if step < 0:
            raise IndexError(f"a step must be at least 0; got {step}. Count from 0.")
        random = self._random(_DRAWS, step)
        generator = torch.Generator().manual_seed(int(random.integers(2**63)))
        made = self._starts[1]
        arguments = torch.zeros(self.batch, len(self.filters))
        arguments[:made] = draw_arguments(made, self.filters, generator, self.config.distribution)
        amounts = torch.zeros(self.batch, 4)
        amounts[:made] = torch.rand(made, 4, generator=generator) * 2 - 1
        drawn = random.random((self.batch, crops.DRAWS))
        dice = torch.rand(self.batch, DICE, generator=generator)
        own = [self._share(first, end) for first, end in itertools.pairwise(self._starts)]
        mine = [position for positions in own for position in positions]
        places = tuple(
            (stream := int(position >= self.parts[0]), self._place(stream, step, position))
            for position in mine
        )
        entries = self._entries(step, mine, places)
        return Draws(
            places=places,
            entries=entries,
            donors=self._donors(step, own, entries),
            crops=drawn[mine],
            kind=torch.tensor([kind for kind, part in enumerate(own) for _ in part]),
            arguments=arguments[mine],
            jitter=amounts[mine],
            dice=dice[mine],
            positions=tuple(mine),
            step=step,
        )

    def read(self, draws: Draws) -> Batch:
        """The images of a batch, cropped."""
        photos = int((draws.kind < PAIRED).sum())
        stacked = (
            [self._photograph(draws, index) for index in range(photos)],
            [self._pixels(*draws.places[index]) for index in range(photos, len(draws.places))],
        )
        size, config = self.size, self.config
        photo, pair = (
            crops.crop_images(_stack(images, planes), drawn, size, config.crop, config.whole_share)
            for images, planes, drawn in zip(
                stacked, (self.planes, 7), (draws.crops[:photos], draws.crops[photos:]), strict=True
            )
        )
        target = torch.cat([photo[:, :3], pair[:, 3:6]])
        donor = torch.zeros(len(target), 4, transfer.READ, transfer.READ)
        (its,) = (draws.kind == RECOLOURED).nonzero(as_tuple=True)
        for index, number in zip(its, draws.donors, strict=True):
            donor[index] = torch.from_numpy(self._donor(number).astype(np.float32)) / 255
        return Batch(
            photo=target,
            mask=torch.cat([self.outline(photo, draws.dice[:photos]), pair[:, -1:]]),
            # One storage where it can be: workers then send it once.
            composite=torch.cat([target[:photos], pair[:, :3]]) if len(pair) else target,
            donor=donor,
            kind=draws.kind,
            label=self.labels(draws),
            arguments=draws.arguments,
            jitter=draws.jitter,
            dice=draws.dice,
        )

    @property
    def planes(self) -> int:
        """Of a stacked photograph: R, G, B, another region where masks are reshaped, the mask."""
        return 5 if self.config.reshape_share else 4

    def outline(self, photo: Tensor, dice: Tensor) -> Tensor:
        """The masks of cropped photographs (n, planes, S, S), some of them reshaped."""
        mask, share = photo[:, -1:], self.config.reshape_share
        if not share:
            return mask
        return reshaping.reshape_masks(mask, photo[:, 3:4], dice[:, _RESHAPED], share)

    def others(self, draws: Draws) -> NDArray[np.int64]:
        """(n,) for each photograph, the number of another of its regions in the table."""
        which = draws.dice[:, _RESHAPED][:, reshaping.OTHER].numpy()
        numbers: NDArray[np.int64] = (which * REGIONS).astype(np.int64)
        return numbers

    def labels(self, draws: Draws) -> Tensor:
        """What the foregrounds of a batch show, as in `Batch`."""
        labels = torch.full((len(draws.places),), LABELS.index(DEFAULT_LABEL))
        if self.neighbours is not None:
            known = torch.from_numpy(self.neighbours.labels[draws.entries].astype(np.int64))
            told = self._random(_LABEL, draws.step).random(self.batch) >= UNTOLD
            its = torch.from_numpy(told[list(draws.positions)])[: len(known)]
            labels[: len(known)][its] = known[its]
        return labels

    def _random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])

    def _share(self, first: int, end: int) -> range:
        """This rank's positions from `first` to `end`: every `world`-th of the whole batch."""
        return range(first + (self.rank - first) % self.world, end, self.world)

    def _place(self, stream: int, step: int, position: int) -> int:
        """The place in its stream of the image at a position of the global batch."""
        first = self.parts[0] if stream else 0
        turn, place = divmod(
            step * self.parts[stream] + position - first, len(self.streams[stream])
        )
        return int(self._order(stream, turn)[place])

    def _entries(
        self, step: int, positions: Sequence[int], places: Sequence[tuple[int, int]]
    ) -> NDArray[np.int64]:
        """Which of a photograph's foregrounds in the neighbour table each photograph gets."""
        if self.neighbours is None:
            return np.empty(0, np.int64)
        entries = []
        for position, (_, place) in zip(positions, places, strict=True):
            random = self._random(_REGION, step, position)
            whether, which = random.random(2)
            entries.append(
                self.neighbours.choose(place, whether >= self.config.region_share, which)
            )
        return np.array(entries, np.int64)

    def _donors(
        self, step: int, own: Sequence[range], entries: NDArray[np.int64]
    ) -> tuple[int, ...]:
        first = len(own[FILTERED])
        donors = []
        for index, position in enumerate(own[RECOLOURED], first):
            random = self._random(_DONOR, step, position)
            if self.neighbours is None:
                donors.append(int(random.integers(len(self.streams[0]))))
            else:
                near = self.neighbours.near[entries[index]]
                donors.append(int(near[random.integers(len(near))]))
        return tuple(donors)

    def _photograph(self, draws: Draws, index: int) -> NDArray[np.uint8]:
        """A photograph and the mask of its foreground: (4, 256, 256)."""
        place = draws.places[index][1]
        image = self._pixels(0, place)
        if len(image) == 7:
            return image[3:]
        if self.neighbours is not None:
            image = self.neighbours.image(image, int(draws.entries[index]))
            if self.planes == 4:
                return image
            other = self.neighbours.region(place, int(self.others(draws)[index]))
            return np.concatenate([image[:3], other[None], image[3:]])
        source, row = self.streams[0][place]
        random = self._random(_REGION, draws.step, draws.positions[index])
        if usable(source.fractions[row]) and random.random() >= self.config.region_share:
            return image[:4]
        return np.concatenate([image[:3], random_region(image[:3], image[4], random)[None]])

    def _pixels(self, stream: int, place: int) -> NDArray[np.uint8]:
        source, row = self.streams[stream][place]
        pixels: NDArray[np.uint8] = source.pixels[row]
        return pixels

    def _donor(self, number: int) -> NDArray[np.uint8]:
        """(4, READ, READ): a donor's colours and where its foreground is."""
        place = number if self.neighbours is None else int(self.neighbours.entries[number, 0])
        image = self._pixels(0, place)
        if self.neighbours is not None:
            image = self.neighbours.image(image, number)
        image = image[3:] if len(image) == 7 else image[:4]
        return image[:, DONOR_STEP // 2 :: DONOR_STEP, DONOR_STEP // 2 :: DONOR_STEP]

    def _order(self, stream: int, turn: int) -> NDArray[np.int64]:
        key = (stream, turn)
        if key not in self._orders:
            random = self._random(_ORDER, stream, turn)
            # A batch may touch two passes; older ones are not needed again.
            kept = {k: v for k, v in self._orders.items() if k[0] != stream or k[1] == turn - 1}
            self._orders = kept | {key: random.permutation(len(self.streams[stream]))}
        return self._orders[key]


def _stack(images: Sequence[NDArray[np.uint8]], planes: int) -> Tensor:
    if not images:
        return torch.empty(0, planes, PACKED_SIZE, PACKED_SIZE, dtype=torch.uint8)
    return torch.from_numpy(np.stack(images))


def ignore_signals(_: int) -> None:
    """For a loader's worker, which ends with the process that it works for.

    Ctrl-C and SIGTERM often reach a whole process group; the step at hand still needs its images.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def measure_loader(batches: Dataset[Batch], workers: int = 0, seconds: float = 5.0) -> float:
    """Images per second that this process's loader delivers, after one batch of warm-up."""
    loader = DataLoader(batches, batch_size=None, sampler=range(10**9), num_workers=workers)
    stream = iter(loader)
    next(stream)
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        images += len(next(stream).photo)
    return images / (time.perf_counter() - began)
