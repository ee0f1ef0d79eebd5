"""Harmonize the rows of Parquet files on a cluster; run again, go on where it stopped.

python examples/ray/parquet.py pictures.parquet harmonized/ done/

A row has `id`, `image` and `mask` (bytes or addresses). Needs harmonizer[ray].
"""

import sys

import ray.data
from ray.data.checkpoint import CheckpointConfig

from harmonizer.ray.crew import Crew
from harmonizer.ray.rows import harmonize_rows


def run(source: str, output: str, done: str, workers: int = 1) -> None:
    """Read, harmonize, write; `done` is Ray's own record of the rows that were written."""
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="id", checkpoint_path=done, delete_checkpoint_on_success=False
    )
    rows = harmonize_rows(ray.data.read_parquet(source), crew=Crew(workers), suffix=".jpg")
    rows.write_parquet(output)


if __name__ == "__main__":
    source, output, done = sys.argv[1:4]
    run(source, output, done)
