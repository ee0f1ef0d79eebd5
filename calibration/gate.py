"""Compare two models and say whether the candidate draws the reference's pictures.

python -m calibration.gate REFERENCE CANDIDATE [--budget fp32|fp16|int8] [--html FILE] [--json FILE]

Each is a torch checkpoint, an ONNX predictor of any precision, or a TensorRT engine (on a machine
with a GPU). Exit code: 0 if every budget is kept, 1 if one is not, 2 for bad input, 3 if every one
is kept, but on a part of the images only (--limit), which proves nothing.
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch

from calibration.judging import LIMITS, Row, default_sets, judge, verdict
from calibration.models import ENGINES, Model, open_model
from calibration.outputs import prepare_outputs
from calibration.report import argument_rows, write_html
from harmonizer import __version__
from harmonizer.documents import read_document
from harmonizer.endings import ending_well
from harmonizer.engine.files import description_path
from harmonizer.errors import brief
from harmonizer.storage import write_atomically
from harmonizer.usage import says_errors, tool_parser
from train.data.opening import data_folder
from train.evaluation.report import jsonable, markdown
from train.evaluation.triplets import Triplet, benchmark_triplets, validation_triplets

PARTLY = 3
"""Exit code of budgets that are kept on a part of the images."""

PACKAGES = ("numpy", "onnxruntime", "scikit-image", "torch")


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with 2 where it contradicts itself."""
    parser = tool_parser(__doc__, "python -m calibration.gate")
    parser.add_argument("reference", type=Path, help="what the pictures are to be like")
    parser.add_argument("candidate", type=Path, help="what is judged")
    parser.add_argument("--budget", choices=list(LIMITS), help="the candidate's own by default")
    parser.add_argument("--levels", type=float, help="largest difference in 8-bit levels")
    parser.add_argument("--delta-e", type=float, help="largest mean delta-E 2000")
    parser.add_argument("--fmse-change", type=float, help="largest relative change of mean fMSE")
    parser.add_argument("--val", type=Path, metavar="DIR", help="photographs with MANIFEST.csv")
    parser.add_argument("--iharmony4", type=Path, metavar="DIR", help="its layout, or index.csv")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"first N images of each set: a quick look, no proof (exit code {PARTLY} if kept)",
    )
    parser.add_argument("--sensitivity", type=Path, metavar="FILE", help="report of quantize.py")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--html", type=Path, metavar="FILE", help="self-contained report")
    parser.add_argument("--worst", type=int, default=6, metavar="N", help="pictures (%(default)s)")
    args = parser.parse_args(words)
    for name in ("levels", "delta_e", "fmse_change"):
        value = getattr(args, name)
        if value is not None and not value >= 0:
            parser.error(
                f"--{name.replace('_', '-')} must be at least 0; got {value}. Give 0 or more."
            )
    for name in ("limit", "worst"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1; got {value}. Give 1 or more.")
    if args.sensitivity and not args.html:
        parser.error("--sensitivity is drawn in the report; name one with --html.")
    return args


def evaluation_sets(args: argparse.Namespace) -> dict[str, list[Triplet]]:
    """The images of the named sets, or of both in the shared data.

    Raises:
        FileNotFoundError, ValueError: As `train.evaluation.triplets` does.
    """
    folders: dict[str, Path | None] = {"val": args.val, "iharmony4": args.iharmony4}
    if not any(folders.values()):
        folders = dict(default_sets(data_folder()))
    read = {"val": validation_triplets, "iharmony4": benchmark_triplets}
    sets = {name: read[name](folder) for name, folder in folders.items() if folder is not None}
    return {name: triplets[: args.limit] for name, triplets in sets.items()}


def run(args: argparse.Namespace) -> bool:
    """Compare as the flags say; whether the candidate passed.

    Raises:
        HarmonizerError, OSError, ValueError: If a model, an image or a file is at fault.
    """
    models = (args.reference, args.candidate)
    described = [description_path(path) for path in models if path.suffix in ENGINES]
    prepare_outputs(
        {"--json": args.json, "--html": args.html}, [*models, *described, args.sensitivity]
    )
    sensitivity = _read_sensitivity(args.sensitivity) if args.sensitivity else None
    sets = evaluation_sets(args)
    reference = open_model(args.reference)
    candidate = open_model(args.candidate)
    budget = args.budget or candidate.precision
    if budget not in LIMITS:
        raise ValueError(
            f"{args.candidate} must say a precision of {', '.join(LIMITS)}; it says {budget!r}. "
            "Choose one with --budget."
        )
    if sensitivity is not None:
        _check_sensitivity(args.sensitivity, sensitivity, (reference, candidate))
    limits = LIMITS[budget]
    for flag, name in (
        ("levels", "levels_max"),
        ("delta_e", "delta_e_mean"),
        ("fmse_change", "fmse_change"),
    ):
        if getattr(args, flag) is not None:
            limits = replace(limits, **{name: getattr(args, flag)})
    try:
        judgement = judge(reference, candidate, sets.items(), args.worst)
    finally:
        reference.close()
        candidate.close()
    checks = verdict(judgement, limits)
    passed = all(check["passed"] for check in checks)
    document = {
        "format": "harmonizer-gate",
        "format_version": 1,
        "passed": passed,
        "reference": reference.facts(),
        "candidate": candidate.facts(),
        "budget": {"name": budget, **asdict(limits)},
        "complete": args.limit is None,
        "checks": checks,
        "arguments": judgement.arguments(),
        "sets": {name: judgement.summary(name) for name in sets},
        "skipped": judgement.skipped,
        "versions": {name: version(name) for name in PACKAGES} | {"harmonizer": __version__},
        "machine": platform.machine(),
        "images": [case.row() for case in judgement.cases],
    }
    print(text_report(document))
    if args.json:
        text = json.dumps(jsonable(document), indent=1) + "\n"
        write_atomically(args.json, text.encode())
    if args.html:
        write_html(args.html, document, judgement, sensitivity)
    return passed


def _read_sensitivity(path: Path) -> Row:
    try:
        document: Row = read_document(path)
        if document["format"] != "harmonizer-precision-report":
            raise ValueError(f"its format is {document['format']!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be a report of calibration/quantize.py; it is not ({brief(error)}). Name "
            "the FILE.report.json beside the quantised model."
        ) from error
    return document


def _check_sensitivity(path: Path, document: Row, models: Iterable[Model]) -> None:
    """Refuse a report about neither model, nor about what an engine among them was built from."""
    about = {str(document.get(name)) for name in ("source_sha256", "output_sha256")}
    if not about & {sha256 for model in models for sha256 in (model.sha256, model.onnx_sha256)}:
        raise ValueError(
            f"{path} must be about the reference or the candidate; it is about the reduction of "
            f"{document.get('source')} (SHA-256 {str(document.get('source_sha256'))[:16]}...). "
            "Name the report beside the quantised model, or leave --sensitivity out."
        )


def text_report(document: Row) -> str:
    """The figures as Markdown tables, and the verdict."""
    arguments = document["arguments"]
    header = [
        "set",
        "images",
        "levels max",
        "p99.9",
        "PSNR",
        "delta-E mean",
        "max",
        "fMSE",
        "change",
    ]
    body = [
        [
            name,
            str(row["images"]),
            str(row["levels_max"]),
            str(row["levels_p999"]),
            "equal" if row["psnr"] is None else f"{row['psnr']:.1f}",
            f"{row['delta_e_mean']:.4f}",
            f"{row['delta_e_max']:.2f}",
            f"{row['fmse_reference']:.1f} -> {row['fmse_candidate']:.1f}",
            f"{row['fmse_change']:+.3%}",
        ]
        for name, row in document["sets"].items()
    ]
    per_filter = argument_rows(arguments)
    failed = [check for check in document["checks"] if not check["passed"]]
    lines = [
        markdown(header, body),
        "",
        markdown(["argument", "max abs difference", "mean"], per_filter),
        "",
    ]
    if "contrast" in arguments["filters"]:
        lines.append(f"contrast on another step: {arguments['contrast_steps']} images")
    if document["skipped"]:
        lines.append(f"skipped for a mask without a region: {', '.join(document['skipped'])}")
    lines += [
        f"failed: {check['set']}: {check['check']} is {check['measured']:.5g}, allowed is "
        f"{check['limit']:g}"
        for check in failed
    ]
    word = "PASSED" if document["passed"] else "FAILED"
    partly = "" if document["complete"] else " on a part of the images only: no proof"
    lines.append(f"{word}: budget {document['budget']['name']}{partly}")
    return "\n".join(lines)


@says_errors("gate")
def main(words: Sequence[str] | None = None) -> int:
    """The command line.

    Returns:
        0 if the candidate passes, 1 if not, 2 for bad input, 3 if it passes on a part of the images
        (--limit), 130 if stopped.
    """
    args = parse(words)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums then have one order on every machine
    try:
        if not run(args):
            return 1
        return 0 if args.limit is None else PARTLY
    except KeyboardInterrupt:
        print("gate: interrupted; nothing was judged", file=sys.stderr)
        return 130
    finally:
        torch.set_num_threads(threads)


if __name__ == "__main__":
    sys.exit(ending_well(main))
