"""From a batch of photographs to what is minimised: synthesize, predict, draw, compare."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from harmonizer.contract import LABELS
from train.colour_statistics import subsample
from train.data.batches import Batch
from train.data.composites import Composer
from train.filters import apply_filters, blend
from train.fitting.config import FitConfig
from train.fitting.losses import STAGE_LOSSES, image_loss, masked_l1
from train.s2crnet import S2CRNetConfig, draw_curves, prepare_inputs

AMP = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What the encoder is autocast to, by the name in a configuration."""


@dataclass(frozen=True)
class Outcome:
    """What a micro-batch of n images came to; the first s of them are synthesised.

    Attributes:
        loss: This micro-batch's part of the step's loss, with its gradient.
        before, after: (n,) the final loss of the composite as it is, and of the result.
        arguments: (s, k), what was synthesised with.
        predicted: (n, k).
        composite, output, target: (n, 3, S, S) in [0, 1].
        mask: (n, 1, S, S).
    """

    loss: Tensor
    before: Tensor
    after: Tensor
    arguments: Tensor
    predicted: Tensor
    composite: Tensor
    output: Tensor
    target: Tensor
    mask: Tensor


LOG_FLOOR = 0.01
"""Added to a loss before its logarithm: below it, a composite is as good as its photograph."""

ObjectiveFunction = Callable[[Callable[..., Tensor], Batch, int, Tensor], Outcome]
"""What the loop minimises: see `Objective.__call__`."""


def build_objective(config: FitConfig) -> ObjectiveFunction:
    """The loss of a configuration's network."""
    if isinstance(config.network, S2CRNetConfig):
        return CurveObjective(config, config.network)
    return Objective(config)


class Objective:
    """Harmonizer's loss, stage by stage; its image work is compiled if the run is to be."""

    def __init__(self, config: FitConfig) -> None:
        self.config = config
        self.make = Composer(config.data, config.network.synthesis_filters)
        self._draw = draw_stages
        if config.compile:
            self.make.compile()
            self._draw = torch.compile(draw_stages)

    def __call__(
        self, predict: Callable[..., Tensor], batch: Batch, synthetic: int, totals: Tensor
    ) -> Outcome:
        """Loss of a micro-batch.

        Args:
            predict: The network, or what wraps it.
            batch: n images, the pairs last.
            synthetic: How many of them are to be synthesised.
            totals: (2,) how many images the whole step synthesises and how many pairs it has, over
                all processes and micro-batches: what the means divide by.
        """
        config, filters, mask = self.config, self.config.network.filters, batch.mask
        composite, shown, targets = self.make(batch)
        looks = predict(composite, shown, AMP[config.amp], True).unbind()
        if config.loss_size:
            # The network has seen every pixel; drawing and comparing some of them is enough.
            composite, mask = (subsample(t, config.loss_size) for t in (composite, mask))
            targets = [subsample(t, config.loss_size) for t in targets]
        made_total, pair_total = totals.clamp(min=1).unbind()
        loss = composite.new_zeros(())
        for predicted in looks:
            output, losses = self._draw(composite, mask, predicted, targets, filters)
            after = losses[-1]
            losses[-1] = after[:synthetic]
            of_size = config.log_weight * (after + LOG_FLOOR).log()
            made = STAGE_LOSSES[config.loss](losses) + config.final_weight * after[:synthetic]
            made = made + of_size[:synthetic]
            paired = config.pair_weight * after[synthetic:] + of_size[synthetic:]
            loss = loss + (made.sum() / made_total + paired.sum() / pair_total) / len(looks)
        with torch.no_grad():
            before = image_loss(composite, targets[-1], mask)
        return Outcome(
            loss,
            before=before,
            after=after.detach(),
            arguments=batch.arguments[:synthetic],
            predicted=predicted.detach(),
            composite=composite,
            output=output.detach(),
            target=targets[-1],
            mask=mask,
        )


class CurveObjective:
    """S2CRNet's loss: each stage's distance from the photograph itself.

    A stage undoes no filter of its own, so that composites of all kinds are treated alike.
    """

    def __init__(self, config: FitConfig, network: S2CRNetConfig) -> None:
        self.config, self.network = config, network
        self.make = Composer(config.data, network.synthesis_filters)
        self._draw = draw_curved
        if config.compile:
            self.make.compile()
            self._draw = torch.compile(draw_curved)

    def __call__(
        self, predict: Callable[..., Tensor], batch: Batch, synthetic: int, totals: Tensor
    ) -> Outcome:
        """Loss of a micro-batch; see `Objective.__call__`."""
        config, mask = self.config, batch.mask
        composite, shown, targets = self.make(batch)
        target, size = targets[-1], composite.shape[-1]
        labels = (
            [LABELS[index] for index in batch.label.tolist()] if self.network.semantic else None
        )
        inputs = prepare_inputs(self.network, composite, shown, labels, size)
        slopes = predict(*inputs, amp=AMP[config.amp])
        output, losses = self._draw(composite, mask, slopes, target)
        weighed = STAGE_LOSSES[config.loss](losses) + config.final_weight * losses[-1]
        made_total, pair_total = totals.clamp(min=1).unbind()
        of_size = config.log_weight * (losses[-1] + LOG_FLOOR).log()
        made = weighed[:synthetic] + of_size[:synthetic]
        paired = config.pair_weight * weighed[synthetic:] + of_size[synthetic:]
        with torch.no_grad():
            before = masked_l1(composite, target, mask)
        return Outcome(
            made.sum() / made_total + paired.sum() / pair_total,
            before=before,
            after=losses[-1].detach(),
            arguments=batch.arguments[:synthetic],
            predicted=slopes.detach(),
            composite=composite,
            output=output.detach(),
            target=target,
            mask=mask,
        )


def draw_stages(
    composite: Tensor,
    mask: Tensor,
    predicted: Tensor,
    targets: Sequence[Tensor],
    filters: Sequence[str],
) -> tuple[Tensor, list[Tensor]]:
    """Draw the predicted arguments and compare every stage with its target.

    Returns:
        The harmonized images (n, 3, S, S), and the loss of each stage's images.
    """
    stages = [
        blend(stage, composite, mask) for stage in apply_filters(composite, predicted, filters)
    ]
    losses = [
        image_loss(stage[: len(target)], target, mask[: len(target)])
        for stage, target in zip(stages, targets, strict=True)
    ]
    return stages[-1], losses


def draw_curved(
    composite: Tensor, mask: Tensor, slopes: Tensor, target: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """Draw the predicted curves and compare every stage with the photograph.

    Returns:
        The harmonized images (n, 3, S, S), and the loss of each stage's images.
    """
    stages = [blend(stage, composite, mask) for stage in draw_curves(composite, slopes)]
    return stages[-1], [masked_l1(stage, target, mask) for stage in stages]
