"""Run by torchrun in test_distributed.py: what each of two processes computes, written to files."""

import json
import sys
from pathlib import Path

import torch
from timm.layers import BatchNormAct2d

from train.fitting.config import FitConfig, from_dict
from train.fitting.distributed import SynchronizedBatchNorm, join_processes
from train.fitting.fit import open_batches, prepare
from train.fitting.objective import Objective
from train.fitting.step import Stepper


def main(folder: Path) -> None:
    """Batch norm on this process's share, then gradients and three steps of a run."""
    config = from_dict(FitConfig, json.loads((folder / "config.json").read_text()))
    with join_processes() as processes:
        share = slice(processes.rank, None, processes.world)
        norm = SynchronizedBatchNorm(BatchNormAct2d(6, act_layer=torch.nn.SiLU))
        x = torch.load(folder / "x.pt")[share].requires_grad_()
        y = norm(x)
        y.pow(3).sum().backward()
        found = {"y": y.detach(), "x": x.grad, **norm.state_dict()}
        torch.save(found, folder / f"norm-{processes.rank}.pt")

        state, predict = prepare(config, processes)
        batches = open_batches(config, processes)
        step = Stepper(config, folder, processes, state, predict, Objective(config))
        for index in range(3):
            sums_now, _ = step(batches[index], 3, False)
            if index == 0:
                sums = sums_now
                gradients = {n: p.grad.clone() for n, p in state.network.named_parameters()}
        assert state.average is not None
        found = {
            "gradients": gradients,
            "sums": sums,
            "network": state.network.state_dict(),
            "average": state.average.state_dict(),
        }
        torch.save(found, folder / f"steps-{processes.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
