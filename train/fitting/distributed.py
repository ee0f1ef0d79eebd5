"""Several training processes, started by torchrun, that compute what one would with the batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from harmonizer.errors import HarmonizerError

TIMEOUT = timedelta(hours=2)
"""Longest wait for the other processes: one of them packs the photographs while the others wait. A
process that dies is noticed at once, by torchrun and by its closed connections."""


class DistributedError(HarmonizerError, ValueError):
    """The processes do not fit the machine."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        device: Where this one computes.
        rank, world: Its number, and how many there are.
        local_rank: Its number on this machine.
    """

    device: torch.device
    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the processes, in place; no gradient."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Until every process has come here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the other processes as torchrun's environment says; alone without it.

    GPUs talk through NCCL, CPUs through gloo.

    Raises:
        DistributedError: If the machine has fewer GPUs than processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.device_count()
    if gpus and local_rank >= gpus:
        raise DistributedError(
            f"each process needs a GPU of its own; got {os.environ['LOCAL_WORLD_SIZE']} processes "
            f"for {gpus} GPUs. Lower --nproc-per-node."
        )
    device = torch.device("cuda", local_rank) if gpus else torch.device("cpu")
    if world == 1:
        yield Processes(device)
        return
    if gpus:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpus else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(device, dist.get_rank(), world, local_rank)
    finally:
        dist.destroy_process_group()


class _Sum(torch.autograd.Function):
    """The sum over the processes; each one's loss depends on it, so gradients are summed too."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class SynchronizedBatchNorm(nn.Module):
    """Batch norm with the statistics of all processes' images, on any backend.

    It takes over a batch norm's parameters and buffers under their own names, and the activation of
    timm's `BatchNormAct2d`, so that checkpoints stay the same. (torch's SyncBatchNorm knows
    neither CPUs nor that activation.)

    Args:
        source: A BatchNorm1d or BatchNorm2d, or timm's BatchNormAct2d.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, source: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = source.weight, source.bias
        for name, buffer in source.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.eps, self.momentum = source.eps, source.momentum or 0.1
        self.drop = getattr(source, "drop", nn.Identity())
        self.act = getattr(source, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) or (N, C, H, W), this process's share, to the same shape."""
        if self.training:
            mean, variance = self._statistics(x)
            scale = self.weight * (variance + self.eps).rsqrt()
            shape = (1, -1) + (1,) * (x.ndim - 2)
            shift = (self.bias - mean * scale).view(shape)
            x = (x * scale.view(shape) + shift).to(x.dtype)
        else:
            x = F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        result: Tensor = self.act(self.drop(x))
        return result

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance over all processes; updates the running ones."""
        axes = [0, *range(2, x.ndim)]
        # Sums of squares cancel badly around a far mean; around the running mean they do not.
        centre = self.running_mean.clone()
        deviation = x.float() - centre.view(1, -1, *(1,) * (x.ndim - 2))
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        local = torch.cat([deviation.sum(axes), deviation.square().sum(axes), count])
        total: Tensor = _Sum.apply(local)
        first, second = (total[:-1] / total[-1]).chunk(2)
        variance = (second - first.square()).clamp(min=0)
        with torch.no_grad():
            unbiased = variance * total[-1] / (total[-1] - 1)
            self.running_mean.lerp_(centre + first, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        return centre + first, variance


def synchronize_batch_norm(network: nn.Module) -> None:
    """Replace every batch norm of a network, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(module, name, SynchronizedBatchNorm(child))
