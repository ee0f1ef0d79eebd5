"""`python -m train norms`: give each look of a trained network averages of its own.

python -m train norms CKPT --config recipes/cpu.json --output NEW.safetensors [--steps 40]

In training batch norm takes a batch's mean and variance, and each look has its own. A network that
has one running average for all its looks, and those of weights that were averaged, are used with
others than they were trained with. Here they are measured, on composites of training's kind; no
weight changes.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from harmonizer.usage import check_outputs, check_suffix
from train.checkpoints import checkpoint_notes, load_checkpoint, save_checkpoint
from train.fitting.config import ConfigError, FitConfig
from train.fitting.distributed import Processes
from train.fitting.fit import open_batches
from train.fitting.flags import Parser, fit_config
from train.fitting.objective import build_objective
from train.fitting.state import with_own_norms
from train.registry import Network, build_network

FIRST = 1_000_000
"""The first step whose batches are looked at: beyond those of any run."""


@torch.no_grad()
def measure_norms(network: Network, config: FitConfig, steps: int) -> Network:
    """The network with averages of its own for each look.

    Args:
        network: Its weights; not changed.
        config: Of the data, and what the batches are like.
        steps: How many batches.

    Raises:
        ConfigError: If the network has no more than one look or stage, or no statistics.
    """
    try:
        own = dataclasses.replace(network.config, own_norms=True)
    except ValueError as error:
        raise ConfigError(f"{error} There is nothing to measure.") from error
    result = build_network(own)
    result.load_state_dict(with_own_norms(network.state_dict(), result.state_dict()))
    assert result.statistics is not None and isinstance(result.statistics.normalize, nn.ModuleList)
    result.eval()
    for norm in result.statistics.normalize:
        assert isinstance(norm, nn.BatchNorm1d)
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    config = dataclasses.replace(config, network=own, compile=False)
    data = open_batches(config, Processes(torch.device("cpu")))
    objective = build_objective(config)
    for step in range(FIRST, FIRST + steps):
        batch = data[step]
        made = int(batch.synthetic.sum())
        objective(result, batch, made, torch.tensor([made, len(batch.photo) - made]))
    return result.eval()


def main(arguments: Sequence[str]) -> int:
    """Measure, and write the checkpoint."""
    parser = Parser("python -m train norms", (__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="trained network")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint to write")
    parser.add_argument("--steps", type=_positive, default=40, help="batches (default 40)")
    parser.add_argument("--half", action="store_true", help="store large tensors in half precision")
    options = parser.parse_args(arguments)
    check_suffix("--output", options.output, ".safetensors")
    check_outputs({"--output": options.output}, [options.checkpoint])
    network, notes = load_checkpoint(options.checkpoint), checkpoint_notes(options.checkpoint)
    config = fit_config(options)
    measured = measure_norms(network, config, options.steps)
    notes["norms"] = options.steps * config.batch
    save_checkpoint(measured, options.output, notes, options.half)
    print(options.output)
    return 0


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; got {text!r}")
    return number
