"""What the benchmarks share in their result files: figures beside targets, and the commit."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = Path(__file__).with_name("schema.json")


def judge(
    name: str, value: float, targets: Mapping[str, tuple[str, float]], digits: int = 3
) -> dict[str, object]:
    """A figure with its target, ("at least" or "at most", value), and whether it was met."""
    row: dict[str, object] = {"name": name, "value": round(value, digits)}
    if name in targets:
        bound, target = targets[name]
        met = value >= target if bound == "at least" else value <= target
        row |= {"target": f"{bound} {target:g}", "met": met}
    return row


def commit() -> str:
    """The commit that was measured, marked if the tree differs from it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "unknown"
