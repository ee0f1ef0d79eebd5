"""What the tests of the loop share: tiny data, small configurations, command lines."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from training_data import write_photos, write_tree

from train.data.config import DataConfig
from train.fitting.config import FitConfig
from train.fitting.distributed import Processes
from train.network import NetworkConfig

STATISTICS = NetworkConfig(encoder=None, statistics=True)
BOTH = NetworkConfig(statistics=True)
CPU = Processes(torch.device("cpu"))


class Workshop:
    """A folder with four photographs, four pairs and a cache, and runs over them.

    Args:
        folder: An empty one.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "photos").mkdir()
        self.photos = write_photos(folder / "photos")
        self.pairs = write_tree(folder / "pairs", subsets=("HCOCO",))
        self.cache = folder / "cache"

    def places(self) -> list[str | Path]:
        """Flags that name the photographs and the cache."""
        return ["--data", self.photos, "--cache", self.cache]

    def data(self, pairs: bool = False) -> DataConfig:
        return DataConfig(
            photos=(str(self.photos),),
            pairs=str(self.pairs) if pairs else None,
            subsets=("HCOCO",),
            cache=str(self.cache),
        )

    def config(self, pairs: bool = False, **changes: Any) -> FitConfig:
        """Statistics alone, 64x64, batches of 4; no worker processes and no TensorBoard."""
        fields: dict[str, Any] = {
            "data": self.data(pairs),
            "network": STATISTICS,
            "size": 64,
            "batch": 4,
            "samples": 48,
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "workers": 0,
            "log_every": 1,
            "tensorboard": False,
        }
        return FitConfig(**(fields | changes))


def command(*arguments: str | Path, processes: int = 1) -> list[str]:
    """The command line of `python -m train`, under torchrun for several processes."""
    start = [sys.executable]
    if processes > 1:
        count = f"--nproc-per-node={processes}"
        start += ["-m", "torch.distributed.run", "--standalone", count]
    return [*start, "-m", "train", *map(str, arguments)]


def log_lines(output: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
