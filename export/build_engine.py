"""Build a TensorRT engine from a predictor's ONNX file; the precision is the file's own.

python export/build_engine.py MODEL.onnx --output FILE.engine [--module auto|tensorrt|tensorrt_rtx]
python export/build_engine.py MODEL.onnx --describe FILE.engine    (an engine that trtexec built)
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from harmonizer.endings import ending_well
from harmonizer.engine import BuildOptions, EnginePredictor, build_engine, describe_engine
from harmonizer.engine.library import MODULES
from harmonizer.engine.options import COMPATIBILITIES, COMPUTE_CAPABILITIES
from harmonizer.engine.progress import BuildProgress
from harmonizer.errors import HarmonizerError
from harmonizer.gpu import has_gpu
from harmonizer.usage import said, says_errors, tool_parser

ONLY_BUILDING = ("workspace", "optimization_level", "timing_cache", "compute_capability", "tf32")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        UsageError: If it contradicts itself.
    """
    parser = tool_parser(__doc__)
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--output", type=Path, metavar="FILE.engine", help="build this engine")
    what.add_argument(
        "--describe",
        type=Path,
        metavar="FILE.engine",
        help="write the description of an engine that trtexec built from MODEL.onnx",
    )
    parser.add_argument("--module", choices=["auto", *MODULES], default="auto")
    parser.add_argument(
        "--batch",
        type=int,
        nargs=2,
        metavar=("OPT", "MAX"),
        help="batch to be fastest at, and largest batch (default 1 16; the smallest is 1)",
    )
    parser.add_argument("--workspace", type=int, metavar="MIB", help="most scratch memory")
    parser.add_argument("--optimization-level", type=int, metavar="0..5")
    parser.add_argument("--timing-cache", type=Path, metavar="FILE", help="read and written")
    parser.add_argument("--hardware-compatibility", choices=COMPATIBILITIES, default="none")
    parser.add_argument("--version-compatible", action="store_true")
    parser.add_argument("--tf32", action="store_true", help="10 bits of mantissa for float32")
    parser.add_argument(
        "--compute-capability",
        nargs="+",
        metavar="X.Y",
        help=f"GPUs to build for, of {' '.join(COMPUTE_CAPABILITIES)} (tensorrt_rtx)",
    )
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    args = parser.parse_args(words)
    engine = args.output or args.describe
    if engine.suffix != ".engine":
        parser.error(f"the engine's name must end in .engine; got {engine.name}. Rename it.")
    if args.describe is not None:
        for name in (*ONLY_BUILDING, "batch"):
            if getattr(args, name):
                parser.error(
                    f"--{name.replace('_', '-')} is for building; with --describe the engine is "
                    "built already. Leave it out."
                )
    return args


@says_errors("build_engine")
def main(words: list[str] | None = None) -> int:
    """The command line; 0 on success, 1 without a GPU or TensorRT, 2 for bad input."""
    args = parse(words)
    try:
        if args.describe is not None:
            return _describe(args)
        options = BuildOptions(
            batch=tuple(args.batch or (1, 16)),
            workspace_mib=args.workspace,
            optimization_level=args.optimization_level,
            hardware_compatibility=args.hardware_compatibility,
            version_compatible=args.version_compatible,
            tf32=args.tf32,
            compute_capabilities=tuple(args.compute_capability or ()),
        )
        progress = None if args.quiet else BuildProgress()
        report = build_engine(
            args.model, args.output, options, args.module, args.timing_cache, progress
        )
    except (HarmonizerError, OSError, ValueError) as error:
        print(f"build_engine: error: {said(error)}", file=sys.stderr)
        return 2 if isinstance(error, (OSError, ValueError)) else 1
    print(_summary(args.output, report))
    return 0


def _describe(args: argparse.Namespace) -> int:
    path = describe_engine(
        args.describe, args.model, args.hardware_compatibility, args.version_compatible
    )
    if not has_gpu():
        print(f"{path}: written; the engine was not loaded, as there is no GPU to load it on")
        return 0
    with EnginePredictor(
        args.describe, args.model, args.module, allow_host_code=args.version_compatible
    ) as predictor:
        print(
            f"{path}: written; the engine loads, takes {predictor.thumbnail_type} thumbnails, at "
            f"most {predictor.largest_batch} at once, and predicts {', '.join(predictor.filters)}"
        )
    return 0


def _summary(output: Path, report: dict[str, Any]) -> str:
    precisions: dict[str, int] = {}
    for by_precision in report["network"]["by_type_and_precision"].values():
        for name, count in by_precision.items():
            precisions[name] = precisions.get(name, 0) + count
    listed = ", ".join(f"{count} {name}" for name, count in sorted(precisions.items()))
    seconds = report["seconds"]
    return (
        f"{output} ({report['engine']['bytes'] / 1e6:.1f} MB) by {report['module']} "
        f"{report['version']}: parsed in {seconds['parse']:.1f} s, built in "
        f"{seconds['build']:.1f} s; layers as parsed: {listed}; largest batch "
        f"{report['options']['batch'][1]}; report in {output.name}.report.json"
    )


if __name__ == "__main__":
    sys.exit(ending_well(main))
