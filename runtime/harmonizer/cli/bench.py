"""`harmonizer bench`: what predicting and rendering cost on this machine."""

import argparse
import importlib
import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonizer.backends import BACKENDS
from harmonizer.bench import SCHEMA_VERSION, environment, judge, run_cases, table, verdicts
from harmonizer.cli.options import number, thread_count
from harmonizer.harmonizer import Harmonizer
from harmonizer.storage import write_atomically
from harmonizer.usage import UsageError, check_outputs

if TYPE_CHECKING:
    from harmonizer.cuda.bench import Cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--model", type=Path, help="predictor ONNX file (the shipped one)")
    parser.add_argument("--backend", choices=BACKENDS, default="auto")
    parser.add_argument(
        "--threads", type=thread_count, default=os.cpu_count() or 1, help="(%(default)s)"
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
        help="on a GPU: measure a module's `cases` in the same run",
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


def _seconds(text: str) -> float:
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0; got {text!r}")
    return value


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON where asked."""
    check_outputs({"--output": args.output}, [args.model])
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "environment": environment(args.threads),
    }
    with Harmonizer(args.model, args.backend, args.threads) as harmonizer:
        document["environment"]["backend"] = harmonizer.backend
        if harmonizer.backend == "cuda":
            from harmonizer.cuda.bench import SIZES, TARGETS, measure_gpu

            _refuse_on_gpu(args)
            cases = _load_rivals(args.against) if args.against else None
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
    if "figures" in document:
        print(verdicts(document["figures"]))
    if args.output:
        write_atomically(args.output, (json.dumps(document, indent=2) + "\n").encode())
        print(f"wrote {args.output}", file=sys.stderr)
    return 0


def _refuse_on_gpu(args: argparse.Namespace) -> None:
    if args.dtype not in (None, ["uint8"]):
        raise UsageError(
            f"--dtype must be uint8 on a GPU, whose figures are per byte; got "
            f"{', '.join(args.dtype)}. Leave it out, or pass --backend cpu."
        )


def _load_rivals(name: str) -> "Cases":
    """The `cases` of a module.

    Raises:
        UsageError: If there is no such module, or it has none.
    """
    try:
        cases: Cases = importlib.import_module(name).cases
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"--against must name a module with `cases`, each a name and a call; {name} gives: "
            f"{error}."
        ) from error
    return cases
