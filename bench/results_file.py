"""What the benchmarks of the repository share about their result files.

python -m bench.results_file FILE.json ...     holds results against the schema
"""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema

from harmonizer.bench import SCHEMA_VERSION, environment, measured_commit, table, verdicts
from harmonizer.latency import Measurement
from harmonizer.storage import check_writable, write_atomically

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = Path(__file__).with_name("schema.json")


def check(document: object) -> None:
    """Hold a result against the schema.

    Raises:
        jsonschema.ValidationError: If it does not keep it.
    """
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))


def check_output(output: Path | None) -> None:
    """Refuse, before anything is measured, an output that could not be written; its folder is made.

    Raises:
        OSError: If the folder cannot be made.
        StorageError: If the file cannot be written.
    """
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        check_writable(output)


def write_result(
    output: Path | None,
    threads: int,
    results: Sequence[Measurement],
    figures: list[dict[str, object]],
    **about: object,
) -> dict[str, Any]:
    """Hold a result against the schema, and write it.

    Args:
        output: Where; None to keep it.
        threads: Of what was measured.
        results: Latencies.
        figures: What `judge` made of the others.
        about: Further versions and circumstances.

    Returns:
        The document.
    """
    circumstances = {"commit": measured_commit(ROOT), "load": round(os.getloadavg()[0], 2)}
    document = {
        "schema_version": SCHEMA_VERSION,
        "environment": environment(threads) | about | circumstances,
        "measurements": [asdict(result) for result in results],
        "figures": figures,
    }
    check(document)
    if output is not None:
        write_atomically(output, (json.dumps(document, indent=2) + "\n").encode())
    return document


def show(document: dict[str, Any]) -> None:
    """Print latencies and figures."""
    print(table([Measurement(**row) for row in document["measurements"]]), end="\n\n")
    print(verdicts(document["figures"]))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(json.loads(Path(name).read_text(encoding="utf-8")))
