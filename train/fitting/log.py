"""A run's log: one JSON object a line, of which a killed run may leave the last one unfinished."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harmonizer.errors import HarmonizerError
from harmonizer.storage import write_atomically

LOG = "log.jsonl"


class LogError(HarmonizerError, ValueError):
    """A run's log is not what a run writes."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The finished lines of a log; text after the last line break is left out.

    Raises:
        FileNotFoundError: If there is no log.
        LogError: If a finished line is no object with a step.
    """
    *lines, _ = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            int(record["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise LogError(
                f"{path} must hold one JSON object with a step a line; line {number} is "
                f"{line[:40]!r}. Delete that line."
            ) from error
        records.append(record)
    return records


class Log:
    """Writes a run's log.

    Args:
        path: The file; its lines after step `first` are dropped, because those steps are done
            again.
        first: Steps already done.

    Raises:
        LogError: If the file is no log.
        OSError: If it cannot be read.
        StorageError: If it cannot be written.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        kept = read_log(path) if first and path.exists() else []
        lines = [json.dumps(record) + "\n" for record in kept if record["step"] <= first]
        write_atomically(path, "".join(lines).encode())

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add a line.

        Raises:
            OSError: If there is no room; the line may then be there in part.
        """
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")
