"""Reduce a predictor's precision where it does not show: INT8 (Q/DQ) or half precision.

python calibration/quantize.py MODEL.onnx --images DIR --output FILE.int8.onnx
    [--precision int8|fp16] [--method auto|minmax|percentile|entropy|mse] [--cache FILE]
    [--keep BLOCK ...]

Writes the graph, and FILE.report.json with every block's sensitivity. The graph is for TensorRT;
docs/precision.md says which file is for which target. The proof is `python -m calibration.gate`.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import onnx

from calibration.equalize import equalize
from calibration.errors import BudgetError, CalibrationError
from calibration.graph import PredictorGraph, load_graph
from calibration.images import ImageSet, load_images
from calibration.outputs import prepare_outputs
from calibration.ranges import METHODS, Method, calibrate
from calibration.rewrite import halve_blocks, quantize_blocks
from calibration.rows import scale_rows
from calibration.search import (
    BUDGETS,
    Budget,
    Found,
    Judge,
    Reduced,
    Rewrite,
    check_keep,
    search,
)
from export.tolerances import CALIBRATION_IMAGES
from harmonizer import __version__
from harmonizer.endings import ending_well
from harmonizer.storage import write_atomically
from harmonizer.usage import says_errors, tool_parser

IMAGES = 128
PROBES = 64
"""Images that the search judges by, beside those that ranges are measured on. With 24, none showed
an outlier that some of 72 did."""

AUTO: Literal["auto"] = "auto"

POLICY: dict[Reduced, tuple[str, ...]] = {"int8": (), "fp16": ("regressor", "curves.")}
"""How the names of blocks begin that stay in float32 by policy; what else stays is measured. The
last layer's error is the arguments' own, a step of contrast is 1/255 and a curve adds up its
slopes: in half precision its few products save nothing that would be worth that."""

REPORT = ".report.json"

FEWER = "with fewer images ranges depend on which they happen to be"


def reduce_precision(
    graph: PredictorGraph,
    images: ImageSet,
    precision: Reduced,
    method: Method | Literal["auto"] = AUTO,
    cache: Path | None = None,
    keep: Collection[str] = (),
    budget: Budget | None = None,
) -> tuple[Found, dict[str, Any]]:
    """Search for the cheapest graph of a precision within a budget.

    Args:
        graph: The float32 predictor.
        images: The last `PROBES` judge, the others give the ranges.
        precision: "int8" or "fp16".
        method: Of the ranges (INT8); "auto" takes the one with which the probes lose least.
        cache: File of the ranges, one for each method with "auto"; see `calibration.cache`.
        keep: Blocks that stay in float32.
        budget: What may be lost on the probes; the precision's own by default.

    Returns:
        What was found, its model with metadata, and the report.

    Raises:
        BudgetError, CacheError, CalibrationError, ValueError: As the parts do.
    """
    budget = BUDGETS[precision] if budget is None else budget
    if len(images.feeds) < PROBES + 2:
        raise CalibrationError(
            f"there must be more images than the {PROBES} that judge, two at least; got "
            f"{len(images.feeds)}. Load {CALIBRATION_IMAGES + PROBES}."
        )
    fitting, probes = images.split(len(images.feeds) - PROBES)
    kept = {*keep, *(b for b in graph.blocks if b.startswith(POLICY[precision]))}
    judge = Judge(graph, probes)
    methods: dict[Method, float] = {}
    if precision == "int8":
        graph = equalize(graph, fitting.feeds)
        scaled = scale_rows(graph, graph.blocks)
        candidates = [block for block in graph.blocks if block not in kept]
        tried: dict[Method, dict[str, float]] = {}
        for name, path in _caches(cache, method).items():
            tried[name] = calibrate(scaled, fitting, name, path)
            methods[name] = judge(quantize_blocks(scaled, candidates, tried[name])).delta_e_mean
        chosen = min(methods, key=lambda name: methods[name])
        ranges = tried[chosen]

        def rewrite(blocks: Collection[str]) -> onnx.ModelProto:
            return quantize_blocks(scale_rows(graph, blocks), blocks, ranges)

    else:

        def rewrite(blocks: Collection[str]) -> onnx.ModelProto:
            return halve_blocks(graph, blocks)

    found = search(graph, checked(rewrite), judge, budget, kept)
    facts: dict[str, Any] = {
        "source_sha256": graph.sha256,
        "precision": precision,
        "budget": str(budget),
        "blocks": list(found.blocks),
    }
    if precision == "int8":
        facts |= {
            "method": chosen,
            "images": len(fitting.feeds),
            "images_sha256": fitting.sha256,
        }
    _describe(found.model, precision, facts)
    report = {
        "format": "harmonizer-precision-report",
        "format_version": 1,
        "source": graph.path.name,
        **facts,
        "methods": methods,
        "kept": sorted(kept),
        "probes": len(probes.feeds),
        "versions": {name: version(name) for name in ("onnx", "onnxruntime", "numpy")},
        "harmonizer": __version__,
        **found.report(graph),
    }
    return found, report


def _caches(cache: Path | None, method: Method | Literal["auto"]) -> dict[Method, Path | None]:
    """The methods to try, each with its file, if any."""
    if method != AUTO:
        return {method: cache}
    return {name: cache and cache.with_suffix(f".{name}.json") for name in METHODS}


def checked(rewrite: Rewrite) -> Rewrite:
    """The same, with every graph checked to be valid ONNX."""

    def rewritten(blocks: Collection[str]) -> onnx.ModelProto:
        model = rewrite(blocks)
        onnx.checker.check_model(model)
        return model

    return rewritten


def _describe(model: onnx.ModelProto, precision: str, facts: dict[str, Any]) -> None:
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    metadata |= {"harmonizer.precision": precision, "harmonizer.reduction": json.dumps(facts)}
    onnx.helper.set_model_props(model, metadata)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with 2 where it contradicts itself."""
    parser = tool_parser(__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="float32 predictor")
    parser.add_argument(
        "--images",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"photographs or iHarmony4, {CALIBRATION_IMAGES + PROBES} or more; not the gate's",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.onnx")
    parser.add_argument("--precision", choices=list(BUDGETS), default="int8")
    parser.add_argument(
        "--count",
        type=int,
        default=IMAGES,
        help=f"images for the ranges (%(default)s), at least {CALIBRATION_IMAGES}: {FEWER}",
    )
    parser.add_argument("--method", choices=[AUTO, *METHODS], help="of the ranges (auto: the best)")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="ranges to reuse, or to write")
    parser.add_argument("--keep", nargs="+", default=(), metavar="BLOCK", help="stays in float32")
    parser.add_argument("--delta-e", type=float, help="mean delta-E that may be lost")
    parser.add_argument("--levels", type=float, help="largest difference in levels allowed")
    args = parser.parse_args(words)
    if args.output.suffix != ".onnx":
        parser.error(f"--output must end in .onnx; got {args.output.name}. Rename it.")
    if args.output.resolve() == args.model.resolve():
        parser.error(
            f"--output must be another file than the model; both are {args.model}. Rename it."
        )
    if args.count < CALIBRATION_IMAGES:
        parser.error(
            f"--count must be at least {CALIBRATION_IMAGES}, because {FEWER}; got {args.count}. "
            "Give more, or leave it out."
        )
    for name in ("method", "cache"):
        if getattr(args, name) is not None and args.precision == "fp16":
            parser.error(f"--{name} is for the ranges of int8; fp16 needs none. Leave it out.")
    for name in ("delta_e", "levels"):
        limit = getattr(args, name)
        if limit is not None and not limit >= 0:
            parser.error(
                f"--{name.replace('_', '-')} must be at least 0; got {limit}. Give 0 or more."
            )
    if args.cache is not None and args.cache.suffix != ".json":
        parser.error(f"--cache must end in .json; got {args.cache.name}. Rename it.")
    return args


@says_errors("quantize")
def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 on success, 1 if no graph fits, 2 for bad input, 130 if interrupted."""
    args = parse(words)
    report_path = args.output.with_name(args.output.name + REPORT)
    try:
        caches = _caches(args.cache, args.method or AUTO)
        absent = {f"--cache ({name})": p for name, p in caches.items() if p and not p.exists()}
        prepare_outputs(
            {"--output": args.output, f"{REPORT} of --output": report_path, **absent},
            [args.model, *(p for p in caches.values() if p and p.exists())],
        )
        graph = load_graph(args.model)
        check_keep(graph, args.keep)
        images = load_images(args.images, args.count + PROBES, graph.contract, PROBES)
        budget = BUDGETS[args.precision]
        if args.delta_e is not None:
            budget = replace(budget, delta_e_mean=args.delta_e)
        if args.levels is not None:
            budget = replace(budget, levels_max=args.levels)
        found, report = reduce_precision(
            graph, images, args.precision, args.method or AUTO, args.cache, args.keep, budget
        )
        reduced = found.model.SerializeToString()
        report["output_sha256"] = hashlib.sha256(reduced).hexdigest()
        write_atomically(args.output, reduced)
        write_atomically(report_path, (json.dumps(report, indent=1) + "\n").encode())
    except BudgetError as error:
        print(f"quantize: no file written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("quantize: interrupted; nothing written but caches", file=sys.stderr)
        return 130
    print(_summary(args.output, graph, found, report))
    return 0


def _summary(output: Path, graph: PredictorGraph, found: Found, report: dict[str, Any]) -> str:
    floats = [block for block in graph.blocks if block not in found.blocks]
    return (
        f"{output} ({output.stat().st_size / 1e6:.1f} MB, float32 "
        f"{graph.path.stat().st_size / 1e6:.1f} MB): {len(found.blocks)} of {len(graph.blocks)} "
        f"blocks in {report['precision']}, {report['reduced_share']:.1%} of the multiplications; "
        f"float32: {', '.join(floats) or 'none'}\non {report['probes']} probes: {found.error}\n"
        f"sensitivity of every block: {output.name}{REPORT}"
    )


if __name__ == "__main__":
    sys.exit(ending_well(main))
