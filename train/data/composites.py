"""Composites from a batch of photographs, made where its tensors lie: each kind its own way.

- by filters: the paper's (`synthesis`), the only kind whose arguments and stages are known;
- recoloured: the foreground takes on a donor's colours (`transfer`);
- retouched: the foreground is developed apart, in linear light (`development`);
- pairs: real composites, taken as they are.

Before any of it, whole photographs may be developed at random, which is the target then; at the
end, whole composites may be softened and go through JPEG, and what the network is shown may be an
inexact mask. Recoloured and retouched foregrounds start from the
photograph as it was: composite = mask * moved(photo) + (1 - mask) * developed(photo).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from train.data import development, inexact, transfer
from train.data.batches import FILTERED, RECOLOURED, RETOUCHED, Batch
from train.data.config import DataConfig
from train.data.jpeg import jpeg
from train.data.synthesis import jitter, synthesize
from train.filters import apply_filters

BY_FILTERS = 0.5
"""Share of the developed photographs that the six filters develop, at a random strength; the others
are developed in linear light."""

QUALITY = (55.0, 98.0)
"""JPEG qualities, drawn uniformly."""

_DEVELOPED = slice(0, development.DICE)
_RETOUCH = slice(_DEVELOPED.stop, _DEVELOPED.stop + development.DICE)
_TRANSFER = slice(_RETOUCH.stop, _RETOUCH.stop + transfer.DICE)
_WHETHER, _STRENGTH, _WHETHER_JPEG, _QUALITY = range(_TRANSFER.stop, _TRANSFER.stop + 4)
_ARGUMENTS = slice(_QUALITY + 1, _QUALITY + 1 + len(DEFAULT_FILTERS))
_WHETHER_SOFT, _SOFTNESS = range(_ARGUMENTS.stop, _ARGUMENTS.stop + 2)
_INEXACT = slice(_SOFTNESS + 1, _SOFTNESS + 1 + inexact.DICE)


@dataclass
class Composer:
    """Makes composites; the image work may be compiled.

    Attributes:
        config: Which shares of what.
        filters: What composites by filters are made with.
        synthesize, develop, draw: The parts that are worth compiling.
    """

    config: DataConfig
    filters: Sequence[str]
    synthesize: Callable[..., tuple[Tensor, list[Tensor]]] = synthesize
    develop: Callable[..., Tensor] = development.develop
    draw: Callable[..., list[Tensor]] = apply_filters

    def compile(self) -> None:
        """Compile the parts, in place; sizes of groups vary from batch to batch."""
        for name in ("synthesize", "develop", "draw"):
            setattr(self, name, torch.compile(getattr(self, name), dynamic=True))

    @torch.no_grad()
    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Composites, the masks that the network is shown, and targets.

        Args:
            batch: n images, the kinds in rising order.

        Returns:
            The composites (n, 3, S, S), the masks (n, 1, S, S), and k targets: those of the earlier
            stages for the images by filters alone, that of the last stage for all, since of the
            others only the result is known.
        """
        made = int((batch.kind == FILTERED).sum())
        target = self._developed(batch)
        if not self.config.develop_share:
            target[:made] = jitter(target[:made], batch.jitter[:made])
        composite = batch.composite.clone()
        stages: list[Tensor] = [target[:0]] * (len(self.filters) - 1)
        if made:
            inputs = (t[:made] for t in (target, batch.mask, batch.arguments))
            composite[:made], (*stages, _) = self.synthesize(*inputs, self.filters)
        for kind, move in ((RECOLOURED, self._recoloured), (RETOUCHED, self._retouched)):
            (its,) = (batch.kind == kind).nonzero(as_tuple=True)
            if len(its):
                mask = batch.mask[its]
                composite[its] = mask * move(batch, its) + (1 - mask) * target[its]
        composite, *stages = self._softened([composite, *stages, target], batch)
        shown = inexact.make_inexact(batch.mask, batch.dice[:, _INEXACT], self.config.inexact_share)
        return self._coded(composite, batch), shown, stages

    def _developed(self, batch: Batch) -> Tensor:
        """The photographs, some of them developed; a pair's target is never touched."""
        target, share = batch.photo.clone(), self.config.develop_share
        whether, own = batch.dice[:, _WHETHER], batch.kind <= RETOUCHED
        by_filters = own & (whether < share * BY_FILTERS)
        (its,) = by_filters.nonzero(as_tuple=True)
        if len(its):
            ranges = [OPERATIONS[name].synthesis_range for name in DEFAULT_FILTERS]
            unit = (2 * batch.dice[its, _ARGUMENTS] - 1) * batch.dice[its, _STRENGTH, None]
            arguments = unit * torch.tensor(ranges, device=unit.device)
            target[its] = self.draw(target[its], arguments, DEFAULT_FILTERS)[-1]
        (its,) = (own & (whether < share) & ~by_filters).nonzero(as_tuple=True)
        if len(its):
            target[its] = self.develop(target[its], batch.dice[its, _DEVELOPED])
        return target

    def _recoloured(self, batch: Batch, its: Tensor) -> Tensor:
        photo, mask, donor = (t[its] for t in (batch.photo, batch.mask, batch.donor))
        return transfer.recolour(photo, mask, donor, batch.dice[its, _TRANSFER])

    def _retouched(self, batch: Batch, its: Tensor) -> Tensor:
        return self.develop(batch.photo[its], batch.dice[its, _RETOUCH])

    def _softened(self, images: list[Tensor], batch: Batch) -> list[Tensor]:
        """Composites and their targets alike; a stage's are those of the first images."""
        soft = (batch.dice[:, _WHETHER_SOFT] < self.config.soft_share) & (batch.kind <= RETOUCHED)
        (its,) = soft.nonzero(as_tuple=True)
        amount = batch.dice[:, _SOFTNESS]
        for image in images:
            mine = its[its < len(image)]
            if len(mine):
                image[mine] = inexact.soften(image[mine], amount[mine])
        return images

    def _coded(self, composite: Tensor, batch: Batch) -> Tensor:
        coded = (batch.dice[:, _WHETHER_JPEG] < self.config.jpeg_share) & (batch.kind <= RETOUCHED)
        (its,) = coded.nonzero(as_tuple=True)
        if len(its):
            least, best = QUALITY
            quality = least + (best - least) * batch.dice[its, _QUALITY]
            composite[its] = jpeg(composite[its], quality)
        return composite
