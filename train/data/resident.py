"""The packed data set on the GPU: what is random is drawn on the CPU, everything else there.

The numbers are those of `TrainingBatches`, so that both make the same batches; no loader, no copy
of images, and no worker has to keep up with the device.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from train.data import crops, transfer
from train.data.batches import (
    DONOR_STEP,
    RECOLOURED,
    Batch,
    Draws,
    TrainingBatches,
    ignore_signals,
)
from train.data.packing import PACKED_SIZE, PLANE
from train.data.regions import enlarge

SPARE = 12 << 30
"""Bytes of a GPU that training itself may need."""

_CHUNK = 256


class ResidentError(ValueError):
    """The GPU is too small for the data set."""


class ResidentBatches(Dataset[Batch]):
    """`TrainingBatches` whose images lie on a device.

    Args:
        batches: What is drawn from; with a neighbour table, without pairs.
        device: Where the images are kept: 256 KiB a photograph and 48 KiB its regions.

    Raises:
        ResidentError: If they do not fit beside what training needs.
    """

    def __init__(self, batches: TrainingBatches, device: torch.device) -> None:
        assert batches.neighbours is not None
        self.batches, self.device, self.table = batches, device, batches.neighbours
        places = batches.streams[0]
        needed = len(places) * 4 * PLANE + self.table.regions.nbytes
        check_room(needed, len(places), device)
        self.pixels = torch.empty(
            len(places), 4, PACKED_SIZE, PACKED_SIZE, dtype=torch.uint8, device=device
        )
        for first in range(0, len(places), _CHUNK):
            part = [source.pixels[row][:4] for source, row in places[first : first + _CHUNK]]
            self.pixels[first : first + len(part)] = torch.from_numpy(np.stack(part))
        self.regions = torch.empty(self.table.regions.shape, dtype=torch.uint8, device=device)
        for first in range(0, len(self.regions), _CHUNK):
            masks = np.array(self.table.regions[first : first + _CHUNK])
            self.regions[first : first + len(masks)] = torch.from_numpy(masks)

    def __getitem__(self, step: int) -> Batch:
        return self.read(self.batches.draw(step))

    def steps(self, first: int, end: int, workers: int = 0) -> Iterator[Batch]:
        """The batches of steps `first` to `end`; so many processes draw what is random."""
        loader = DataLoader(
            _Drawn(self.batches),
            batch_size=None,
            sampler=range(first, end),
            num_workers=workers,
            worker_init_fn=ignore_signals,
        )
        for draws in loader:
            yield self.read(draws)

    def read(self, draws: Draws) -> Batch:
        """The images of a batch, cropped, on the device."""
        config, size = self.batches.config, self.batches.size
        images = self._images(draws.entries)
        if config.reshape_share:
            places = self.table.entries[draws.entries, 0]
            other = self._regions(places, self.batches.others(draws))
            images = torch.cat([images[:, :3], other[:, None], images[:, 3:]], dim=1)
        photo = crops.crop_images(images, draws.crops, size, config.crop, config.whole_share)
        donor = torch.zeros(len(photo), 4, transfer.READ, transfer.READ, device=self.device)
        (its,) = (draws.kind == RECOLOURED).nonzero(as_tuple=True)
        if len(its):
            start = DONOR_STEP // 2
            donors = self._images(np.array(draws.donors))[..., start::DONOR_STEP, start::DONOR_STEP]
            donor[its.to(self.device)] = donors.float() / 255
        labels = self.batches.labels(draws)
        kind, label, arguments, jitter, dice = (
            t.to(self.device, non_blocking=True)
            for t in (draws.kind, labels, draws.arguments, draws.jitter, draws.dice)
        )
        target, mask = photo[:, :3], self.batches.outline(photo, dice)
        return Batch(target, mask, target, donor, kind, label, arguments, jitter, dice)

    def _images(self, numbers: NDArray[np.int64]) -> Tensor:
        """(n, 4, 256, 256) uint8 of entries of the table."""
        places, regions = self.table.entries[numbers].T
        images = self.pixels[torch.from_numpy(places.astype(np.int64)).to(self.device)]
        (drawn,) = np.nonzero(regions >= 0)
        if len(drawn):
            its = torch.from_numpy(drawn).to(self.device)
            images[its, 3] = self._regions(places[drawn], regions[drawn])
        return images

    def _regions(self, places: NDArray[np.int64], numbers: NDArray[np.int64]) -> Tensor:
        """(n, 256, 256) uint8: random regions of photographs."""
        at = torch.from_numpy(np.stack([places, numbers]).astype(np.int64))
        return enlarge(self.regions[tuple(at.to(self.device))])


class _Drawn(Dataset[Draws]):
    """What is random about each step."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> Draws:
        return self.batches.draw(step)


def check_room(needed: int, photographs: int, device: torch.device) -> None:
    """Refuse a data set that does not fit on a GPU beside training.

    Raises:
        ResidentError: If it does not.
    """
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if needed + SPARE > free:
        raise ResidentError(
            f"{photographs:,} photographs need {needed / 1e9:.1f} GB of the GPU beside "
            f"{SPARE / 1e9:.0f} GB for training; {free / 1e9:.1f} GB are free. Leave out "
            "--resident, or name fewer photographs with --data."
        )
