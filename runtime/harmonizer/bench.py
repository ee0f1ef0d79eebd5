"""What predicting and rendering cost on this machine.

Times whole calls on arrays, with the statistics pass included: nothing is left out of a "render".
Files are neither read nor written while the clock runs.
"""

import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from harmonizer import __version__
from harmonizer.frame import Thumbnails
from harmonizer.harmonizer import Harmonizer
from harmonizer.latency import (
    TYPICAL,
    Array,
    Measurement,
    picture,
    rectangle,
    summarize,
    time_calls,
)

SCHEMA_VERSION = 1

FOREGROUNDS = (1.0, 0.25)
"""Foreground shares: the whole image, and a rectangle of a quarter of its area."""


def environment(threads: int) -> dict[str, object]:
    """Hardware, versions and settings that a result depends on."""
    from harmonizer._native import isa

    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "isa": isa(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "harmonizer": __version__,
        "numpy": np.__version__,
        "onnxruntime": version("onnxruntime"),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def measured_commit(folder: Path) -> str:
    """What is measured, marked if the tree differs from it: git's word on a folder.

    Where a copy without git's folder is measured, `HARMONIZER_COMMIT` says it.
    """
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        found = result.stdout.strip()
    except OSError:
        found = ""
    return os.environ.get("HARMONIZER_COMMIT") or found or "unknown"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def run_cases(
    harmonizer: Harmonizer, sizes: list[tuple[int, int]], dtypes: list[str], seconds: float
) -> list[Measurement]:
    """Time copy, thumbnail, prediction, rendering and the whole call for every case."""
    results = []
    for width, height in sizes:
        for dtype in dtypes:
            image = picture(width, height, dtype)
            out = np.empty_like(image)

            def timed(
                name: str, share: float, call: Callable[[], object], like: Array = image
            ) -> None:
                results.append(summarize(name, like, share, time_calls(call, seconds)))

            timed("copy", 1.0, lambda o=out, i=image: np.copyto(o, i))  # type: ignore[misc]
            for share in FOREGROUNDS:
                mask = rectangle(width, height, share)

                def render(i: Array = image, m: Array = mask, o: Array = out) -> object:
                    return harmonizer.render(i, m, TYPICAL, o)

                def whole(i: Array = image, m: Array = mask, o: Array = out) -> object:
                    arguments, _ = harmonizer.examine(i, m)
                    return harmonizer.render(i, m, arguments, o)

                timed("render", share, render)
                timed("predict+render", share, whole)
            mask = rectangle(width, height, 0.25)

            def small(i: Array = image, m: Array = mask) -> Thumbnails:
                with harmonizer.open(i, m) as frame:
                    return frame.thumbnails(harmonizer.network.contract.crops)

            timed("thumbnail", 0.25, small)
            seen = small()
            timed("network", 0.25, lambda s=seen: harmonizer.network.predict(s))  # type: ignore[misc]
    return results


def table(results: list[Measurement]) -> str:
    """The measurements as text."""
    lines = [f"{'':24}{'size':>11}{'type':>9}{'mask':>6}{'p50 ms':>10}{'p90':>9}{'p99':>9}"]
    lines += [
        f"{r.name:24}{f'{r.width}x{r.height}':>11}{r.dtype:>9}{r.foreground:>6.0%}"
        f"{r.p50_ms:>10.2f}{r.p90_ms:>9.2f}{r.p99_ms:>9.2f}"
        for r in results
    ]
    return "\n".join(lines)


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


def verdicts(figures: Iterable[Mapping[str, Any]]) -> str:
    """Figures that `judge` made, as text, a line each."""
    said = {True: "met", False: "NOT met", None: ""}
    return "\n".join(
        f"{row['name']:64}{row['value']:>10.3f}  {row.get('target', ''):14} {said[row.get('met')]}"
        for row in figures
    )
