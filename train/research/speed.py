"""`python -m train speed`: images per second of loader and model, and what they mean for a run."""

import time
from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from train.data.batches import Batch, TrainingBatches, measure_loader
from train.data.iharmony4 import PUBLISHED
from train.data.resident import ResidentBatches
from train.fitting.config import FitConfig
from train.fitting.distributed import Processes
from train.fitting.fit import check_machine, default_device, open_batches, prepare
from train.fitting.flags import Parser, fit_config
from train.fitting.objective import build_objective
from train.fitting.step import Stepper

EPOCHS = 60
EPOCH = 2 * sum(lists["train"] for lists in PUBLISHED.values())
"""Images of one epoch of the paper's recipe: iHarmony4's 65,742 training composites once, beside as
many synthesised ones."""


def measure_steps(config: FitConfig, batches: TrainingBatches, seconds: float) -> float:
    """Images per second of whole steps, forward to update, on one batch that is at hand."""
    processes = Processes(default_device())
    state, predict = prepare(config, processes)
    step = Stepper(config, None, processes, state, predict, build_objective(config))
    batch = batches[0]

    def finish_step() -> float:
        step(batch, 10**9, stop=False)
        if processes.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(3):  # compilers and autotuners do their work first
        began = finish_step()
    count, now = 0, began
    while now - began < seconds:
        now, count = finish_step(), count + 1
    return count * config.batch / (now - began)


def main(arguments: Sequence[str]) -> int:
    """Measure as the flags say and print."""
    parser = Parser("python -m train speed", "Measure loader and model on this machine.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each (default 20)")
    options = parser.parse_args(arguments)
    config = fit_config(options)
    processes = Processes(default_device())
    check_machine(config, processes)
    batches = open_batches(config, processes)
    images: Dataset[Batch] = batches
    if config.data.resident:
        images = ResidentBatches(batches, processes.device)
    loader = measure_loader(images, config.workers, options.seconds)
    model = measure_steps(config, batches, options.seconds)
    name = "CPU" if processes.device.type == "cpu" else torch.cuda.get_device_name()
    hours = EPOCHS * EPOCH / min(loader, model) / 3600
    print(f"device           {name}, {torch.get_num_threads()} threads")
    where = "on the device" if config.data.resident else f"{config.workers} workers"
    print(f"loader           {loader:.1f} images/s, {where}")
    print(f"model            {model:.1f} images/s, {config.size}x{config.size}, whole steps")
    print(f"slower           {'loader' if loader < model else 'model'}")
    print(f"{EPOCHS}-epoch recipe  {hours:.1f} hours: {EPOCHS} x {EPOCH:,} images by the slower")
    return 0
