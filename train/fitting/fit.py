"""A training run: check, set up, loop over the batches, leave checkpoint, state and log."""

import contextlib
import copy
import ctypes
import dataclasses
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from harmonizer.errors import HarmonizerError
from harmonizer.storage import make_folder, write_atomically
from train.data.batches import Batch, TrainingBatches, ignore_signals
from train.data.resident import ResidentBatches
from train.efficientnet import DepthEncoder
from train.evaluation.triplets import named_thumbnails, yardsticks
from train.fitting.config import ConfigError, FitConfig, to_json
from train.fitting.distributed import Processes, synchronize_batch_norm
from train.fitting.monitor import Monitor, Validation, WatchError
from train.fitting.objective import build_objective
from train.fitting.pieces import cut
from train.fitting.state import (
    CHECKPOINT,
    CONFIG,
    STATE,
    SaveError,
    State,
    check_folder,
    initial_network,
)
from train.fitting.step import Stepper
from train.frozen import FrozenStages
from train.registry import Network

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h


class InterruptedFitError(HarmonizerError, RuntimeError):
    """The run was asked to stop; the message says what is saved."""


class FinishedRunError(HarmonizerError, ValueError):
    """The run to resume has no steps left."""


def fit(
    config: FitConfig,
    output: str | Path,
    resume: bool = False,
    processes: Processes | None = None,
) -> Path:
    """Train; write checkpoint, state, `config.json`, `log.jsonl` and TensorBoard's files.

    Args:
        config: The run.
        output: Folder for what is written.
        resume: Go on exactly where the run in `output` was saved.
        processes: This process and its peers; alone on the GPU or the CPU by default.

    Returns:
        The checkpoint's path.

    Raises:
        NotFiniteError: If a loss or a gradient is not finite.
        InterruptedFitError: After SIGINT or SIGTERM, once the state is saved; after a second
            SIGINT, at once.
        SaveError: If a checkpoint cannot be written.
        WatchError: If the log or TensorBoard's files cannot; the state then is saved.
        FileNotFoundError: If the data or, with `resume`, the state is absent.
        FileExistsError: Without `resume`, if the output folder holds a run.
        FinishedRunError: If the run to resume has no steps left.
        ValueError: If it has another configuration, or the configuration does not fit the data, the
            checkpoint or the machine.
    """
    output = Path(output)
    processes = processes or Processes(default_device())
    check_folder(output, config, resume)
    check_machine(config, processes)
    keep_freed_memory()
    # A run that goes on has its weights from its state, wherever it once started.
    state, predict = prepare(
        dataclasses.replace(config, init=None) if resume else config, processes
    )
    data = open_batches(config, processes)
    state.data = data.fingerprints
    steps = count_steps(config, data)
    if resume:
        state.load(output)
        if state.step >= steps:
            raise FinishedRunError(
                f"the run in {output} must have steps left; it has done {state.step} of {steps}. "
                "Give more --epochs or --samples to go on."
            )
    stepper = Stepper(config, output, processes, state, predict, build_objective(config))
    with contextlib.ExitStack() as stack:
        monitor = None
        if processes.rank == 0:
            validations = {}
            if config.val:
                # Of the six default filters whatever the network's own: runs compare.
                validations = {
                    name: Validation(named_thumbnails(triplets), processes.device)
                    for name, triplets in yardsticks(Path(config.val)).items()
                }
            for folder in (output, *([Path(config.pieces)] if config.pieces else [])):
                make_folder(folder)
            write_atomically(output / CONFIG, to_json(config).encode())
            monitor = stack.enter_context(Monitor(output, config, state.step, steps, validations))
            monitor.note("left out as unusable", data.skipped)
            monitor.note("given random regions for masks of poor size", data.replaced)
        asked = stack.enter_context(StopRequests())
        try:
            images = load(data, config, state.step, steps, processes.device)
            _loop(stepper, images, steps, output, monitor, asked)
        except KeyboardInterrupt as stopped:
            saved = "nothing is saved"
            if (output / STATE).exists():
                saved = f"go on from the last save with --output {output} --resume"
            raise InterruptedFitError(f"interrupted within a step; {saved}.") from stopped
    return output / CHECKPOINT


def _loop(
    stepper: Stepper,
    batches: Iterable[Batch],
    steps: int,
    output: Path,
    monitor: Monitor | None,
    asked: "StopRequests",
) -> None:
    state, config = stepper.state, stepper.config
    began = saved = time.monotonic()
    for batch in batches:
        sums, outcome = stepper(batch, steps, asked.stop)
        stop = sums[-1].item() > 0
        state.seconds += time.monotonic() - began
        if monitor is not None:
            try:
                monitor.record(state, sums, outcome)
                overdue = began - saved > 60 * config.save_minutes > 0
                if stop or overdue or state.step == steps or state.step % config.save_every == 0:
                    state.save(output, config)
                    saved = time.monotonic()
                    if monitor.review(state, outcome):
                        state.keep(output)
                    _cut(state, output, config)
            except WatchError as error:
                state.save(output, config)
                raise WatchError(
                    f"{error} The state of step {state.step} is saved; go on with --output "
                    f"{output} --resume."
                ) from error
        if stop and state.step < steps:
            raise InterruptedFitError(
                f"interrupted after step {state.step} of {steps}; the state is saved. Go on with "
                f"--output {output} --resume."
            )
        began = time.monotonic()


def _cut(state: State, output: Path, config: FitConfig) -> None:
    """Put what was saved into the folder of pieces, if there is one."""
    if config.pieces is None:
        return
    try:
        cut(output, Path(config.pieces))
    except OSError as error:
        raise SaveError(
            f"step {state.step} is saved in {output}, but its pieces cannot be written to "
            f"{config.pieces}: {error.strerror or error}. Make room there, then continue with "
            "--resume."
        ) from error


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> None:
    """Let this process's C library keep what it frees, where that library is glibc.

    It would otherwise give every large tensor back to the system and have the next one's pages
    zeroed anew: more than half of a small network's step on a CPU.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        for parameter, value in ((_MMAP_THRESHOLD, 1 << 30), (_TRIM_THRESHOLD, (1 << 31) - 1)):
            library.mallopt(parameter, value)


def check_machine(config: FitConfig, processes: Processes) -> None:
    """Refuse what the configuration is right about, but not here.

    Raises:
        ConfigError: If the batch does not divide, or the GPU has no bfloat16.
    """
    parts = processes.world * config.accumulate
    if config.batch % parts:
        fitting = parts * (config.batch // parts + 1)
        raise ConfigError(
            f"batch must be a multiple of processes times accumulate; got {config.batch} for "
            f"{processes.world} times {config.accumulate}. Give --batch {fitting}."
        )
    gpu = processes.device.type == "cuda"
    if config.amp == "bf16" and gpu and not torch.cuda.is_bf16_supported(False):
        raise ConfigError(
            f"amp bf16 needs a GPU that computes in bfloat16; {torch.cuda.get_device_name()} does "
            "not. Give --amp fp16."
        )


def open_batches(config: FitConfig, processes: Processes) -> TrainingBatches:
    """The batches by step; one process of each machine packs the images while the others wait."""

    def opened() -> TrainingBatches:
        return TrainingBatches(
            config.data,
            config.network.synthesis_filters,
            size=config.size,
            batch=config.batch,
            seed=config.seed,
            rank=processes.rank,
            world=processes.world,
        )

    if processes.local_rank > 0:
        processes.wait()
        return opened()
    data = opened()
    processes.wait()
    return data


def count_steps(config: FitConfig, data: TrainingBatches) -> int:
    """Steps of the whole run."""
    if config.samples is not None:
        return config.samples // config.batch
    return config.epochs * data.steps_per_epoch


def load(
    data: TrainingBatches, config: FitConfig, first: int, steps: int, device: torch.device
) -> Iterable[Batch]:
    """The batches of steps `first` to `steps`: made by the workers, or on the device.

    Raises:
        ResidentError: If the images are to lie on the device, and do not fit.
    """
    if config.data.resident:
        return ResidentBatches(data, device).steps(first, steps, config.workers)
    return DataLoader(
        data,
        batch_size=None,
        sampler=range(first, steps),
        num_workers=config.workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=ignore_signals,
    )


def prepare(config: FitConfig, processes: Processes) -> tuple[State, Callable[..., Tensor]]:
    """What a run changes, at step 0, and the network to call: wrapped if there are more processes.

    Raises:
        CheckpointError: If `config.init` does not fit.
    """
    network = initial_network(config).to(processes.device).train()
    # First, for what is frozen then is not exchanged between processes.
    optimizers = build_optimizers(network, config)
    if config.channels_last:
        network.to(memory_format=torch.channels_last)
    average = copy.deepcopy(network) if config.ema else None
    predict: Callable[..., Tensor] = network
    if config.compile:
        network.compile_parts()
    if processes.world > 1:
        synchronize_batch_norm(network)
        devices = [processes.device] if processes.device.type == "cuda" else None
        predict = DistributedDataParallel(network, device_ids=devices)
    scaler = torch.amp.GradScaler(processes.device.type, enabled=config.amp == "fp16")
    return State(network, average, optimizers, scaler), predict


SMALLEST_MATRIX = 16
"""Rows and columns that a matrix must have for Muon; narrower ones are near to vectors."""


def build_optimizers(network: Network, config: FitConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW for what is trained (without decay, it is Adam), and Muon for matrices if asked.

    The encoder stands apart from the rest; `share` is what a group's rate is of the schedule's.
    Muon orthogonalises a matrix's momentum; its steps are scaled to the size of AdamW's. Source:
    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Liu et al., arXiv 2502.16982.
    """
    encoder = network.encoder
    if isinstance(encoder, DepthEncoder):
        encoder.tune(config.tune_from, config.tune == "pointwise")
        if config.frozen == "onnxruntime":
            encoder.frozen = FrozenStages(encoder)
    its = set() if encoder is None else {id(p) for p in encoder.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    matrices = [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Linear) and min(module.weight.shape) >= SMALLEST_MATRIX
        if id(module.weight) not in its and config.optimizer == "muon"
    ]
    apart = its | {id(p) for p in matrices}
    groups = (
        ([p for p in trained if id(p) not in apart], 1.0),
        ([p for p in trained if id(p) in its], config.encoder_rate),
    )
    rate, decay = config.learning_rate, config.weight_decay
    found = [{"params": params, "share": share} for params, share in groups if params]
    adamw = torch.optim.AdamW(found, rate, weight_decay=decay, fused=True)
    if not matrices:
        return (adamw,)
    group = {"params": matrices, "share": config.matrix_rate}
    muon = torch.optim.Muon([group], rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
    return adamw, muon


class StopRequests:
    """Notes the first SIGINT or SIGTERM, so that the step at hand is finished and saved.

    A second SIGINT stops at once.
    """

    def __init__(self) -> None:
        self.stop = False

    def __enter__(self) -> Self:
        signals = (signal.SIGINT, signal.SIGTERM)
        self._before = {number: signal.signal(number, self._note) for number in signals}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
