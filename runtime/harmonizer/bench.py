"""`harmonizer bench`: what predicting and rendering cost on this machine.

Times whole calls on arrays, with the statistics pass included: nothing is left out of a "render".
Files are neither read nor written while the clock runs.
"""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from harmonizer import __version__
from harmonizer.backends import BACKENDS
from harmonizer.files import write_atomically
from harmonizer.harmonizer import Harmonizer
from harmonizer.measuring import (
    TYPICAL,
    Array,
    Measurement,
    measure,
    picture,
    rectangle,
    summarize,
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
                results.append(summarize(name, like, share, measure(call, seconds)))

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
            small = harmonizer.renderer.thumbnail(image, mask)
            timed(
                "thumbnail",
                0.25,
                lambda i=image, m=mask: harmonizer.renderer.thumbnail(i, m),  # type: ignore[misc]
            )
            timed("network", 0.25, lambda s=small: harmonizer.predictor.predict(*s))  # type: ignore[misc]
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--model", type=Path, help="predictor ONNX file (the shipped one)")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument(
        "--threads", type=_threads, default=os.cpu_count() or 1, help="(%(default)s)"
    )
    parser.add_argument(
        "--size",
        type=_size,
        action="append",
        metavar="WxH",
        help="image size, may be given several times (1920x1080 and 3840x2160)",
    )
    parser.add_argument(
        "--dtype",
        choices=["uint8", "uint16", "float32"],
        action="append",
        help="pixel type, may be given several times (uint8)",
    )
    parser.add_argument(
        "--against",
        metavar="MODULE",
        help="on a GPU: measure a module's `cases` in the same run (the repository's bench.rivals)",
    )
    parser.add_argument("--seconds", type=_seconds, default=1.0, help="time for each case")
    parser.add_argument("-o", "--output", type=Path, help="write the result as JSON")


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if width < 1 or height < 1:
        raise argparse.ArgumentTypeError(f"a size is WxH in pixels, such as 1920x1080; got {text}")
    return width, height


def _threads(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0; got {text!r}")
    return value


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


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON where asked."""
    from harmonizer.cli import UsageError

    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "environment": environment(args.threads),
    }
    with Harmonizer(args.model, args.backend, args.threads) as harmonizer:
        document["environment"]["backend"] = harmonizer.backend
        if harmonizer.backend == "cuda":
            from harmonizer.cuda.bench import SIZES, TARGETS, load_rivals, measure_gpu

            _refuse_on_gpu(args)
            cases = load_rivals(args.against) if args.against else None
            results, figures, about = measure_gpu(
                harmonizer, args.size or SIZES, args.seconds, cases=cases
            )
            document["environment"] |= about
            document["figures"] = [judge(*figure, TARGETS, 4) for figure in figures.items()]
        elif args.against:
            raise UsageError("--against is measured on a GPU; this is backend cpu. Leave it out.")
        else:
            sizes = args.size or [(1920, 1080), (3840, 2160)]
            results = run_cases(harmonizer, sizes, args.dtype or ["uint8"], args.seconds)
    document["measurements"] = [asdict(result) for result in results]
    print(table(results))
    for row in document.get("figures", ()):
        verdict = {True: "met", False: "NOT met"}.get(row.get("met"), "")
        print(f"{row['name']:64}{row['value']:>10.3f}  {row.get('target', ''):14} {verdict}")
    if args.output:
        write_atomically(args.output, (json.dumps(document, indent=2) + "\n").encode())
        print(f"wrote {args.output}", file=sys.stderr)
    return 0


def _refuse_on_gpu(args: argparse.Namespace) -> None:
    from harmonizer.cli import UsageError

    if args.dtype not in (None, ["uint8"]):
        raise UsageError(
            f"--dtype must be uint8 on a GPU, whose figures are per byte; got "
            f"{', '.join(args.dtype)}. Leave it out, or pass --backend cpu."
        )
