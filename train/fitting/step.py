"""One training step: forward and backward over the micro-batches, guard, update, average."""

import dataclasses
import io
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harmonizer.errors import HarmonizerError, StorageError
from harmonizer.storage import write_atomically
from train.data.batches import Batch
from train.fitting.config import FitConfig
from train.fitting.distributed import Processes
from train.fitting.objective import ObjectiveFunction, Outcome
from train.fitting.state import State, follow

MILESTONES = (25 / 60, 50 / 60)
"""Where the step schedule falls to a tenth, as shares of the run: epochs 25 and 50 of 60."""

WARM_UP = 200
"""Steps of the cosine schedule's warm-up, or a twentieth of a shorter run."""

MAX_SKIPPED = 20
"""Steps in a row that fp16's loss scaler may skip while it looks for its scale."""

SUMS = ("loss", "after", "before", "pairs_after", "pairs_before", "stop")
"""What a step adds up over processes, in this order."""


class NotFiniteError(HarmonizerError, RuntimeError):
    """The loss or a gradient was not finite; the message says where the batch is."""


def rate(config: FitConfig, step: int, steps: int) -> float:
    """The learning rate of a step, out of `steps`."""
    if config.schedule == "step":
        return config.learning_rate * 0.1 ** sum(step >= share * steps for share in MILESTONES)
    warm = min(WARM_UP, max(1, steps // 20))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    turn = math.pi * (step - warm) / max(1, steps - warm)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(turn)))


def micro_batches(batch: Batch, count: int) -> Iterator[tuple[Batch, int]]:
    """Deal a batch's images out in turn; with each part, how many of it are to be synthesised."""
    synthetic = int(batch.synthetic.sum())
    names = [field.name for field in dataclasses.fields(batch)]
    for first in range(count):
        part = {name: getattr(batch, name)[first::count] for name in names}
        yield Batch(**part), len(range(first, synthetic, count))


@dataclass
class Stepper:
    """Takes the steps of a run.

    Attributes:
        config: The run.
        output: Folder for a batch whose loss is not finite; None keeps none.
        processes: This process and its peers.
        state: What the steps change.
        predict: The network, or what wraps it.
        objective: What is minimised.
        skipped: Steps in a row that the loss scaler skipped.
    """

    config: FitConfig
    output: Path | None
    processes: Processes
    state: State
    predict: Callable[..., Tensor]
    objective: ObjectiveFunction
    skipped: int = 0

    def __call__(self, batch: Batch, steps: int, stop: bool) -> tuple[Tensor, Outcome]:
        """Take the next step.

        Args:
            batch: This process's images, on the CPU.
            steps: Of the whole run, for the schedule.
            stop: Whether this process was asked to stop.

        Returns:
            What `SUMS` names, added up over all processes, and the last micro-batch's outcome.

        Raises:
            NotFiniteError: If loss or gradient is not finite.
        """
        config, state = self.config, self.state
        # What layers draw, if they draw, follows from seed, step and process too.
        torch.manual_seed((config.seed * 1_000_003 + state.step) * 4096 + self.processes.rank)
        for optimizer in state.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * rate(config, state.step, steps)
            optimizer.zero_grad(set_to_none=True)
        sums, outcome = self._backward(batch)
        sums[-1] = stop
        self.processes.sum(sums)
        for optimizer in state.optimizers:
            state.scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), config.clip or math.inf)
        self._guard(batch, sums[0].item(), norm.item())
        for optimizer in state.optimizers:
            state.scaler.step(optimizer)
        state.scaler.update()
        if state.average is not None and not self.skipped:
            decay = min(config.ema, (1 + state.step) / (10 + state.step))
            follow(state.average, state.network, decay)
        state.step += 1
        return sums, outcome

    def _backward(self, batch: Batch) -> tuple[Tensor, Outcome]:
        """Add up the micro-batches' gradients, and this process's part of `SUMS`."""
        processes, count = self.processes, self.config.accumulate
        device = processes.device
        images = len(batch.photo)
        synthetic = int(batch.synthetic.sum())
        totals = processes.sum(torch.tensor([synthetic, images - synthetic], device=device))
        sums = torch.zeros(len(SUMS), device=device)
        for index, (part, made) in enumerate(micro_batches(batch, count)):
            with self._communication(last=index == count - 1):
                outcome = self.objective(self.predict, part.to(device), made, totals)
                # DistributedDataParallel takes the processes' mean; the loss is their sum.
                state_loss = self.state.scaler.scale(outcome.loss * processes.world)
                state_loss.backward()
            after, before = outcome.after, outcome.before
            sums[0] += outcome.loss.detach()
            for place, values in enumerate(
                (after[:made], before[:made], after[made:], before[made:])
            ):
                sums[1 + place] += values.sum()
        sums[1:3] /= totals[0].clamp(min=1)
        sums[3:5] /= totals[1].clamp(min=1)
        return sums, outcome

    def _communication(self, last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged once, with the last micro-batch."""
        if isinstance(self.predict, DistributedDataParallel) and not last:
            return self.predict.no_sync()
        return nullcontext()

    def _guard(self, batch: Batch, loss: float, norm: float) -> None:
        """Stop at what is not finite; fp16's scaler may skip steps whose gradients overflow."""
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        bearable = MAX_SKIPPED if self.state.scaler.is_enabled() else 0
        if math.isfinite(loss) and self.skipped <= bearable:
            return
        raise NotFiniteError(
            f"loss {loss:g}, gradient norm {norm:g} at step {self.state.step}: both must be "
            f"finite. {self._keep(batch)} Lower the learning rate, or look at the batch."
        )

    def _keep(self, batch: Batch) -> str:
        """Save a batch, if that can be; say where it is."""
        if self.output is None:
            return "The batch is not kept."
        rank = f"-{self.processes.rank}" if self.processes.world > 1 else ""
        path = self.output / f"not-finite{rank}.pt"
        fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
        buffer = io.BytesIO()
        torch.save(fields | {"step": self.state.step}, buffer)
        try:
            write_atomically(path, buffer.getvalue())
        except StorageError as error:
            return f"The batch could not be saved: {error}"
        return f"The batch is in {path}."
