"""Training batches from photographs and from real composites, by step.

A batch is a pure function of seed and step: workers, ranks and resuming change nothing. What is
drawn for an image follows from its position in the global batch.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from harmonizer.ops import check_filters
from train.data.iharmony4 import SUBSETS, open_pairs
from train.data.packing import PackedImages
from train.data.photos import open_photos
from train.data.regions import random_region
from train.data.synthesis import DISTRIBUTIONS, draw_arguments
from train.data.transfer import likest, transfer_colours

MIN_FRACTION, MAX_FRACTION = 0.005, 0.95
"""Foreground shares of a crop that are worth a training step."""

DONOR_STEP, DONOR_LEAST = 4, 16
"""A colour transfer reads every fourth pixel of the other foreground, and wants that many."""

DONORS = 8
"""A colour transfer takes the likest of one to so many other foregrounds: most composites are then
mild, as in iHarmony4, where the two show the same kind of thing."""

_DRAWS, _REGION, _ORDER, _TRANSFER = 1, 2, 3, 4
"""Keep the streams of random numbers apart."""


@dataclass(frozen=True)
class Batch:
    """This process's share of one global batch; all tensors on one device.

    Attributes:
        photo: (n, 3, S, S) float32 in [0, 1]: what the network should restore (before jitter for
            synthetic images).
        mask: (n, 1, S, S) in [0, 1], never empty.
        composite: (n, 3, S, S): the composite of a pair; equal to `photo` where synthetic.
        synthetic: (n,) bool: composites that the filters are to make. They come first; after them
            what has no arguments behind it, composites by colour transfer and pairs.
        arguments: (n, k) float32: what the filters synthesise with; 0 for pairs.
        jitter: (n, 4) float32 in [-1, 1]: amounts for `synthesis.jitter`; 0 for pairs.
    """

    photo: Tensor
    mask: Tensor
    composite: Tensor
    synthetic: Tensor
    arguments: Tensor
    jitter: Tensor

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
class DataConfig:
    """Where training images come from.

    Attributes:
        photos: Folders of photographs (MANIFEST.csv, or any image files; masks optional).
        pairs: iHarmony4's root: real composites. Without `photos`, its real images and masks are
            also what composites are synthesised from, as in the paper.
        subsets: Which of iHarmony4's subsets.
        pair_share: Share of pairs in a batch, where `pairs` is given.
        transfer_share: Share of the other composites that are made by colour transfer instead of
            by the filters.
        region_share: How often a photograph with a mask gets a random region instead.
        crop: Smallest side of a random crop as a share of the image's, drawn for each side by
            itself; 1 does not crop.
        distribution: Of the filters' arguments: "uniform", "gaussian" or "varied" (see
            `synthesis.draw_arguments`).
        max_corrupt: Largest share of unusable images; with more, nothing is trained.
        cache: Folder for packed images.
    """

    photos: tuple[str, ...] = ()
    pairs: str | None = None
    subsets: tuple[str, ...] = SUBSETS
    pair_share: float = 0.5
    transfer_share: float = 0.0
    region_share: float = 0.0
    crop: float = 0.5
    distribution: str = "uniform"
    max_corrupt: float = 0.01
    cache: str = "build/cache"

    def __post_init__(self) -> None:
        if isinstance(self.photos, str) or isinstance(self.subsets, str):
            raise TypeError("`photos` and `subsets` must be tuples of names; got a string.")
        for name in ("pair_share", "transfer_share", "region_share", "max_corrupt"):
            share = getattr(self, name)
            if not 0 <= share <= 1:
                raise ValueError(f"`{name}` must lie in [0, 1]; got {share}.")
        if not 0 < self.crop <= 1:
            raise ValueError(f"`crop` must lie in (0, 1]; got {self.crop}.")
        if self.region_share and self.pairs is not None and not self.photos:
            raise ValueError(
                f"`region_share` replaces masks of `photos`; got {self.region_share} with `pairs` "
                "alone, whose composites hold for their own masks. Leave it out, or name the "
                "photographs with --data."
            )
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(
                f"`distribution` must be one of {', '.join(DISTRIBUTIONS)}; got "
                f"{self.distribution!r}."
            )
        unknown = set(self.subsets) - set(SUBSETS)
        if unknown or not self.subsets:
            raise ValueError(
                f"`subsets` must be some of {', '.join(SUBSETS)}; got {', '.join(self.subsets)}."
            )


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
            raise ValueError("training needs `photos` or `pairs`; neither is given.")
        if size < 1 or batch < 1 or seed < 0 or not 0 <= rank < world:
            raise ValueError(
                "`size` and `batch` must be at least 1, `seed` at least 0 and `rank` in [0, world);"
                f" got {size}, {batch}, {seed}, {rank} of {world}."
            )
        paired = 0 if config.pairs is None else round(batch * config.pair_share)
        self.parts = (batch - paired, paired)
        self.transferred = round(self.parts[0] * config.transfer_share)
        self._starts = (0, self.parts[0] - self.transferred, self.parts[0], batch)
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
            if source.fractions[row] > 0 and not _usable(source.fractions[row])
        )
        places = config.photos if pairs is None else (*config.photos, str(config.pairs))
        self.fingerprints = {
            place: source.folder.name for place, source in zip(places, opened, strict=True)
        }
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    def __getitem__(self, step: int) -> Batch:
        if step < 0:
            raise IndexError(f"a step must be at least 0; got {step}.")
        random = self._random(_DRAWS, step)
        generator = torch.Generator().manual_seed(int(random.integers(2**63)))
        made = self._starts[1]
        arguments = torch.zeros(self.batch, len(self.filters))
        arguments[:made] = draw_arguments(made, self.filters, generator, self.config.distribution)
        amounts = torch.zeros(self.batch, 4)
        amounts[:made] = torch.rand(made, 4, generator=generator) * 2 - 1
        crops = random.random((self.batch, 7))
        own = [self._share(first, end) for first, end in itertools.pairwise(self._starts)]
        side, crop = self.size, self.config.crop
        photo, moved, pair = (
            _crop(self._read(stream, step, positions), crops[positions], side, crop)
            for stream, positions in zip((0, 0, 1), own, strict=True)
        )
        mine = torch.tensor([position for positions in own for position in positions])
        target = torch.cat([photo[:, :3], moved[:, :3], pair[:, 3:6]])
        composites = [photo[:, :3], self._transfer(moved, step, own[1]), pair[:, :3]]
        return Batch(
            photo=target,
            mask=torch.cat([photo[:, -1:], moved[:, -1:], pair[:, -1:]]),
            # One storage where it can be: workers then send it once.
            composite=torch.cat(composites) if len(mine) > len(own[0]) else target,
            synthetic=mine < made,
            arguments=arguments[mine],
            jitter=amounts[mine],
        )

    def _random(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *key])

    def _share(self, first: int, end: int) -> range:
        """This rank's positions from `first` to `end`: every `world`-th of the whole batch."""
        return range(first + (self.rank - first) % self.world, end, self.world)

    def _transfer(self, stacked: Tensor, step: int, positions: range) -> Tensor:
        """Give each foreground the colours of another photograph's: (n, 3, S, S)."""
        result = stacked[:, :3].clone()
        for image, plain, position in zip(result, stacked, positions, strict=True):
            random = self._random(_TRANSFER, step, position)
            mask = plain[-1]
            inside = mask > 0
            if inside.sum() < 2:
                continue
            colours = plain[:3, inside].T.numpy()
            rows = random.integers(len(self.streams[0]), size=random.integers(1, DONORS + 1))
            donors = [_foreground(*self.streams[0][row]) for row in rows]
            moved = transfer_colours(colours, likest(colours, donors), random)
            alpha = mask[inside]
            image[:, inside] = alpha * torch.from_numpy(moved).T + (1 - alpha) * image[:, inside]
        return result

    def _read(self, stream: int, step: int, positions: range) -> Tensor:
        """Stacked uint8 images of the positions, their masks last: (n, 4 or 7, 256, 256)."""
        first = self.parts[0] if stream else 0
        stacked = []
        for position in positions:
            turn, place = divmod(
                step * self.parts[stream] + position - first, len(self.streams[stream])
            )
            source, row = self.streams[stream][self._order(stream, turn)[place]]
            image = source.pixels[row]
            if stream:
                stacked.append(image)
            elif image.shape[0] == 7:
                stacked.append(image[3:])
            else:
                random = self._random(_REGION, step, position)
                stacked.append(self._photograph(image, source.fractions[row], random))
        planes = 7 if stream else 4
        if not stacked:
            return torch.empty(0, planes, 256, 256, dtype=torch.uint8)
        return torch.from_numpy(np.stack(stacked))

    def _photograph(
        self, image: NDArray[np.uint8], fraction: float, random: np.random.Generator
    ) -> NDArray[np.uint8]:
        if _usable(fraction) and random.random() >= self.config.region_share:
            return image[:4]
        return np.concatenate([image[:3], random_region(image[:3], image[4], random)[None]])

    def _order(self, stream: int, turn: int) -> NDArray[np.int64]:
        key = (stream, turn)
        if key not in self._orders:
            random = self._random(_ORDER, stream, turn)
            # A batch may touch two passes; older ones are not needed again.
            kept = {k: v for k, v in self._orders.items() if k[0] != stream or k[1] == turn - 1}
            self._orders = kept | {key: random.permutation(len(self.streams[stream]))}
        return self._orders[key]


def _usable(fraction: float) -> bool:
    return MIN_FRACTION < fraction < MAX_FRACTION


def _foreground(source: PackedImages, row: int) -> NDArray[np.float32]:
    """A subsample of an image's foreground, or of all of it where that is tiny: (m, 3)."""
    image = source.pixels[row][..., ::DONOR_STEP, ::DONOR_STEP]
    image = image[3:] if len(image) == 7 else image[:4]
    colours = image[:3, image[3] > 127]
    if colours.shape[1] < DONOR_LEAST:
        colours = image[:3].reshape(3, -1)
    scaled: NDArray[np.float32] = colours.T.astype(np.float32) / 255
    return scaled


def _crop(stacked: Tensor, draws: NDArray[np.float64], size: int, smallest: float) -> Tensor:
    """Crop, flip and rotate each image in one sampling; keep a useful foreground.

    Args:
        stacked: (n, c, S, S) uint8, mask last.
        draws: (n, 7) in [0, 1): two scales, two shifts, two flips, transposition.
        size: Side of the result.
        smallest: Side of a crop as a share of the image's, at least.

    Returns:
        (n, c, size, size) float32 in [0, 1].
    """
    images = stacked.float()
    scale = smallest + (1 - smallest) * draws[:, :2]
    # Reduced images are subsampled, as the colour statistics will: averaging narrows histograms.
    mode = "nearest" if size <= smallest * images.shape[-1] else "bilinear"
    shift = (2 * draws[:, 2:4] - 1) * (1 - scale)
    flip = np.where(draws[:, 4:6] < 0.5, -1.0, 1.0)
    transposed = draws[:, 6] < 0.5
    cropped = _sample(images, scale * flip, shift, transposed, size, mode)
    fraction = cropped[:, -1].mean(dim=(1, 2)).numpy() / 255
    poor = (fraction < MIN_FRACTION) | (fraction > MAX_FRACTION)
    if poor.any():
        whole = _sample(images[poor], flip[poor], 0 * shift[poor], transposed[poor], size, mode)
        # A foreground of a few pixels can fall between the samples; averaging cannot miss it.
        lost = whole[:, -1].amax(dim=(1, 2)) == 0
        whole[lost] = F.interpolate(images[poor][lost], (size, size), mode="area")
        cropped[poor] = whole
    return cropped.div_(255).clamp_(0, 1)  # bilinear weights add up to 1 but for rounding


def _sample(
    images: Tensor,
    scale: NDArray[np.float64],
    shift: NDArray[np.float64],
    transposed: NDArray[np.bool_],
    size: int,
    mode: str,
) -> Tensor:
    centres = (2 * np.arange(size) + 1) / size - 1
    x, y = (scale[:, i, None] * centres + shift[:, i, None] for i in (0, 1))
    grid = np.empty((len(images), size, size, 2), np.float32)
    turned = transposed[:, None, None]
    grid[..., 0] = np.where(turned, x[:, :, None], x[:, None, :])
    grid[..., 1] = np.where(turned, y[:, None, :], y[:, :, None])
    return F.grid_sample(images, torch.from_numpy(grid), mode, "border", align_corners=False)


def measure_loader(batches: TrainingBatches, workers: int = 0, seconds: float = 5.0) -> float:
    """Images per second that this process's loader delivers, after one batch of warm-up."""
    loader = DataLoader(batches, batch_size=None, sampler=range(10**9), num_workers=workers)
    stream = iter(loader)
    next(stream)
    images, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        images += len(next(stream).photo)
    return images / (time.perf_counter() - began)
