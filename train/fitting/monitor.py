"""What one can watch of a run: progress bar, log.jsonl, TensorBoard, validation."""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from tqdm import tqdm

from harmonizer.errors import HarmonizerError
from train.data.inexact import move_edge
from train.evaluation.metrics import foreground_mse, geometric_ratio
from train.evaluation.triplets import Named, inexact_errors
from train.filters import split_arguments
from train.fitting.config import ConfigError, FitConfig
from train.fitting.events import Events
from train.fitting.log import LOG, Log, read_log
from train.fitting.objective import Outcome
from train.fitting.state import State
from train.fitting.step import SUMS
from train.registry import Network

SCORE = "score"
"""What checkpoints are chosen by: the lower the better."""

GRID_ROWS = 4
"""Rows of the before/after picture."""

SHOWN = 3
"""Names that a note states."""


class WatchError(HarmonizerError, RuntimeError):
    """What can be watched of a run could not be written."""


class Validation:
    """fMSE on a set of composites that is kept at hand.

    Args:
        composites: Name, composite, mask and photograph of each, as `train.evaluation.triplets`
            yields them; those without foreground are left out.
        device: Where to keep them.

    Raises:
        ConfigError: If there is none.
    """

    def __init__(self, composites: Iterable[Named], device: torch.device) -> None:
        kept = [tensors for _, *tensors in composites if tensors[1].any()]
        if not kept:
            raise ConfigError(
                "validation needs photographs with a mask; the folder of --val lists none. Name "
                "their masks in the column `mask` of its MANIFEST.csv, or leave out --val."
            )
        self.composite, self.mask, self.target = (
            torch.cat(tensors).to(device) for tensors in zip(*kept, strict=True)
        )

    @torch.inference_mode()
    def __call__(self, network: Network, batch: int = 16) -> dict[str, float]:
        """Mean fMSE before and after, their ratio, and that of the images, geometrically.

        The last also with inexact masks, inside both. The network's mode is put back.
        """
        training = network.training
        network.eval()
        old, new = self._measure(network, self.mask, batch)
        shown = self.mask.clone()
        for place, error in enumerate(inexact_errors(len(shown))):
            shown[place] = move_edge(shown[place : place + 1], error)[0]
        inexact = self._measure(network, shown, batch)
        network.train(training)
        means = {"before": old.mean().item(), "after": new.mean().item()}
        return means | {
            "ratio": means["after"] / means["before"],
            "geometric": geometric_ratio(old.tolist(), new.tolist()),
            "geometric_inexact": geometric_ratio(*(figures.tolist() for figures in inexact)),
        }

    def _measure(self, network: Network, shown: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """fMSE of each image before and after; the network sees and draws with `shown`."""
        tensors = (self.composite, self.mask, shown, self.target)
        before, after = [], []
        for composite, mask, its, target in zip(
            *(torch.split(tensor, batch) for tensor in tensors), strict=True
        ):
            output = network.render(composite, its, network(*network.prepare(composite, its)))[-1]
            inside = torch.minimum(mask, its)
            before.append(foreground_mse(composite, target, inside))
            after.append(foreground_mse(output, target, inside))
        return torch.cat(before), torch.cat(after)


class Monitor:
    """Writes what the first process sees of a run.

    Args:
        output: The run's folder.
        config: The run.
        first, steps: Steps already done, and at the end.
        validations: What to measure whenever a checkpoint is saved, by the sets' names.

    Raises:
        LogError: If the folder holds a log that is none.
        MissingPackageError: If TensorBoard is wanted and not installed.
        WatchError: If a file cannot be written; so do `record` and `review`.
    """

    def __init__(
        self,
        output: Path,
        config: FitConfig,
        first: int,
        steps: int,
        validations: Mapping[str, Validation],
    ) -> None:
        self.config, self.validations = config, validations
        with _writing(output):
            self.log = Log(output / LOG, first)
            scores = [line[SCORE] for line in read_log(output / LOG) if SCORE in line]
            self.events = Events(output, first) if config.tensorboard else None
        self._best = min(scores, default=math.inf)
        self.progress = tqdm(
            initial=first, total=steps, unit="step", mininterval=5, dynamic_ncols=True
        )
        self._sums: list[Tensor] = []
        self._arguments: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.close()
        if self.events is not None:
            self.events.close()

    def note(self, what: str, images: Sequence[str]) -> None:
        """Say how many images something holds for, and name the first."""
        if images:
            more = "; ..." if len(images) > SHOWN else ""
            self.progress.write(
                f"{what}: {len(images):,} ({'; '.join(images[:SHOWN])}{more})", file=sys.stderr
            )

    def record(self, state: State, sums: Tensor, outcome: Outcome) -> None:
        """Take in a step; every `log_every` steps write scalars and histograms.

        Args:
            state: After the step.
            sums: What `SUMS` names, over all processes.
            outcome: This process's.
        """
        self.progress.update()
        self._sums.append(sums)
        if self.events is not None:
            self._arguments.append((outcome.arguments, outcome.predicted))
        if state.step % self.config.log_every:
            return
        means = dict(zip(SUMS, torch.stack(self._sums).mean(dim=0).tolist(), strict=True))
        scalars = {"loss": means["loss"], "final_loss": means["after"]}
        for name in ("ratio", "pairs_ratio"):
            before = means[name.replace("ratio", "before")]
            if before:
                scalars[name] = means[name.replace("ratio", "after")] / before
        scalars["learning_rate"] = state.optimizers[0].param_groups[0]["lr"]
        if state.scaler.is_enabled():
            scalars["loss_scale"] = state.scaler.get_scale()
        scalars["seconds"] = round(state.seconds, 1)
        shown = {name: f"{scalars[name]:.3f}" for name in scalars if name.endswith("ratio")}
        self.progress.set_postfix(shown, refresh=False)
        with _writing(self.log.path.parent):
            self._write(state.step, scalars)
            self._histograms(state.step)
        self._sums.clear()
        self._arguments.clear()

    def review(self, state: State, outcome: Outcome) -> bool:
        """With a checkpoint: the picture, and fMSE on the validation composites.

        Returns:
            Whether it is the best so far: no earlier one has a lower `score`, the geometric mean of
            the sets' geometric ratios, with exact and with inexact masks. Without sets the last one
            is.
        """
        best = True
        if self.validations:
            scalars: dict[str, float] = {}
            for name, validation in self.validations.items():
                measured = validation(state.best)
                scalars |= {f"{name}_{what}": value for what, value in measured.items()}
            kinds = ("geometric", "geometric_inexact")
            ratios = [scalars[f"{name}_{kind}"] for name in self.validations for kind in kinds]
            scalars[SCORE] = math.prod(ratios) ** (1 / len(ratios))
            best = scalars[SCORE] <= self._best
            self._best = min(self._best, scalars[SCORE])
            with _writing(self.log.path.parent):
                self._write(state.step, scalars)
        if self.events is not None:
            chosen = torch.linspace(0, len(outcome.mask) - 1, GRID_ROWS).round().long()
            columns = (
                outcome.composite,
                outcome.mask.expand_as(outcome.output),
                outcome.output,
                outcome.target,
            )
            rows = torch.cat([column[chosen] for column in columns], dim=3)
            picture = torch.cat(list(rows), dim=1).clamp(0, 1)
            with _writing(self.log.path.parent):
                self.events.image("composite, mask, result, target", picture, state.step)
        return best

    def _write(self, step: int, scalars: Mapping[str, float]) -> None:
        self.log.write(step, scalars)
        if self.events is not None:
            for name, value in scalars.items():
                self.events.scalar(name, value, step)

    def _histograms(self, step: int) -> None:
        """Of the arguments since the last one; the true ones are the synthesised images' alone."""
        if self.events is None:
            return
        network = self.config.network
        for kind, filters, tensors in zip(
            ("true", "predicted"),
            (network.synthesis_filters, network.filters),
            zip(*self._arguments, strict=True),
            strict=True,
        ):
            arguments = torch.cat(tensors)
            columns = split_arguments(arguments, filters, len(arguments))
            for name, column in zip(filters, columns, strict=True):
                self.events.histogram(f"arguments/{name}/{kind}", column.flatten(), step)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what a full disk means, instead of its number."""
    try:
        yield
    except OSError as error:
        raise WatchError(
            f"log and TensorBoard's files in {folder} cannot be written: "
            f"{error.strerror or error}. Make room there."
        ) from error
