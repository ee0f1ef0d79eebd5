"""What the benchmarks of the repository share about their result files.

python -m bench.results_file FILE.json ...     holds results against the schema
"""

import json
import sys
from pathlib import Path

import jsonschema

from harmonizer.bench import measured_commit

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = Path(__file__).with_name("schema.json")


def commit() -> str:
    """The commit that was measured, marked if the tree differs from it."""
    return measured_commit(ROOT)


def check(document: object) -> None:
    """Hold a result against the schema.

    Raises:
        jsonschema.ValidationError: If it does not keep it.
    """
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        check(json.loads(Path(name).read_text(encoding="utf-8")))
