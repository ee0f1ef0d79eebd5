"""Compare a model's images with the photographs: tables, files, and the worst cases as pictures.

python train/evaluate.py --predictor models/harmonizer.onnx --size 256 original

docs/evaluation.md says what is measured and how. `evaluate.py video ...` measures flicker and
accuracy of video instead (docs/video.md).
"""

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from PIL import Image

from harmonizer import __version__
from harmonizer.endings import ending_well
from harmonizer.storage import write_atomically
from harmonizer.usage import check_outputs, check_suffix, says_errors, tool_parser
from train.data.iharmony4 import SUBSETS
from train.data.opening import data_folder
from train.evaluation.metrics import PROTOCOLS
from train.evaluation.predictors import UPSAMPLES, Kind, Method
from train.evaluation.report import (
    Row,
    compare_published,
    contact_sheet,
    jsonable,
    picture_bytes,
    published_table,
    summarise,
    summary_table,
)
from train.evaluation.scoring import Score, Scorer, Size, Task, score_all
from train.evaluation.triplets import REAL_PAIRS, benchmark_triplets, inexact, yardsticks

KINDS: tuple[Kind, ...] = ("checkpoint", "predictor", "end-to-end", "black-box")
SIZES: tuple[Size, ...] = ("256", "original")
PACKAGES = ("numpy", "onnxruntime", "pillow", "scikit-image", "torch")
BENCHMARK = "iharmony4"
LISTS = ("MANIFEST.csv", "index.csv", *(f"{name}/{name}_test.txt" for name in SUBSETS))
"""Files that may list the images of a set."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; what cannot go together is refused here, before any work.

    Raises:
        UsageError: If flags contradict each other, or an output would replace the model or another
            output, or has a wrong suffix.
        StorageError: If an output cannot be written.
    """
    parser = tool_parser("MSE, fMSE, PSNR and SSIM of a model's images.", "evaluate")
    add = parser.add_argument_group("what is evaluated (one of)").add_argument
    add("--checkpoint", type=Path, metavar="CKPT", help="torch network, drawn by the torch filters")
    add("--predictor", type=Path, metavar="ONNX", help="predictor, drawn by the fused renderer")
    add("--end-to-end", type=Path, metavar="ONNX", help="harmonizes in the graph, at any size")
    add("--black-box", type=Path, metavar="ONNX", help="any 256x256 image-to-image network")
    add("--upsample", choices=UPSAMPLES, help="of the black box's answer to the original size")
    add = parser.add_argument_group("on what (default: both, in $HARMONIZER_DATA)").add_argument
    add(
        "--val",
        type=Path,
        metavar="DIR",
        help="MANIFEST.csv: the sets that checkpoints are chosen by, made composites at 256",
    )
    add("--iharmony4", type=Path, metavar="DIR", help="its own layout, or triplets in index.csv")
    add("--subsets", nargs="+", choices=SUBSETS, default=(), help="of iHarmony4 (all)")
    add("--size", nargs="+", choices=SIZES, default=["256"], help="one or both (256)")
    add("--protocol", choices=PROTOCOLS, default="plain", help="mask and PSNR range (plain)")
    add = parser.add_argument_group("how").add_argument
    add("--jobs", type=int, default=1, metavar="N", help="processes of one thread each (1)")
    add("--resume", action="store_true", help="continue the run that wrote --csv")
    add = parser.add_argument_group("output").add_argument
    add("--csv", type=Path, metavar="FILE", help="figures per image, written as they are made")
    add("--json", type=Path, metavar="FILE", help="tables, settings, versions, images")
    add("--sheet", type=Path, metavar="FILE", help="the worst cases: composite, mask, ours, real")
    add("--worst", type=int, default=8, metavar="N", help="how many of them (%(default)s)")
    add("--published", type=Path, metavar="CSV", help="published figures per image, to compare")
    args = parser.parse_args(argv)

    kinds = [kind for kind in KINDS if getattr(args, kind.replace("-", "_"))]
    if len(kinds) != 1:
        given = " and ".join(f"--{kind}" for kind in kinds) or "none"
        parser.error(f"one of --{', --'.join(KINDS)} must name the model; got {given}. Give one.")
    (kind,) = kinds
    if args.upsample and kind != "black-box":
        parser.error(f"--upsample is for --black-box; --{kind} draws at any size. Leave it out.")
    if kind == "black-box" and "original" in args.size and not args.upsample:
        parser.error(f"--black-box at original size needs --upsample {' or '.join(UPSAMPLES)}.")
    upsample = args.upsample if "original" in args.size else None
    args.method = Method(kind, getattr(args, kind.replace("-", "_")), upsample)
    if args.val and "256" not in args.size:
        parser.error("--val composites are made at 256x256; add 256 to --size, or leave --val out.")
    if args.published and ((args.val and not args.iharmony4) or "original" not in args.size):
        parser.error("--published figures are for iHarmony4 at original size; add --size original.")
    if args.resume and not args.csv:
        parser.error("--resume continues the file of --csv; name it.")
    for name in ("jobs", "worst"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1; got {getattr(args, name)}. Give 1 or more.")
    if args.sheet and args.sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        parser.error(f"--sheet must end in .jpg or .png; got {args.sheet.name}. Rename it.")
    _check_files(args, [args.method.path, args.published])
    check_suffix("--json", args.json, ".json")
    if not args.val and not args.iharmony4:
        args.val, args.iharmony4 = data_folder() / "val", data_folder() / "iharmony4"
    return args


def _check_files(args: argparse.Namespace, inputs: Iterable[Path | None]) -> None:
    outputs = {"--csv": args.csv, "--json": args.json, "--sheet": args.sheet}
    check_outputs(outputs, inputs)


def build_tasks(args: argparse.Namespace) -> list[Task]:
    """The images of the chosen sets at the chosen sizes, set by set and size by size.

    Raises:
        FileNotFoundError, ValueError: As `train.evaluation.triplets` does, or if none is
            left.
    """
    tasks = []
    if args.val and "256" in args.size:
        for name, triplets in yardsticks(args.val).items():
            tasks += [Task(name, "256", t) for t in triplets]
            tasks += [Task(f"{name}, inexact masks", "256", t) for t in inexact(triplets)]
    if args.iharmony4:
        triplets = benchmark_triplets(args.iharmony4, args.subsets)
        tasks += [Task(BENCHMARK, size, t) for size in SIZES if size in args.size for t in triplets]
    if not tasks:
        raise ValueError("there must be images to evaluate; the lists are empty. Name others.")
    return tasks


def run(args: argparse.Namespace) -> None:
    """Evaluate as the flags say.

    Raises:
        UsageError: If an output would replace a file of the sets.
        HarmonizerError, OSError, ValueError: If a model, an image or a file is at fault.
    """
    scorer = Scorer(args.method, args.protocol)  # a wrong model is said before the data are read
    tasks = build_tasks(args)
    folders = [args.val, args.iharmony4, args.val and args.val.parent / REAL_PAIRS]
    lists = [folder / name for folder in folders if folder for name in LISTS]
    pictures = [path for task in tasks for path in task.triplet.files]
    _check_files(args, [*lists, *pictures])
    scores = score_all(tasks, scorer, args.jobs, args.csv, args.resume)
    skipped = [f"{s.name} ({s.size})" for s in scores if s.empty]
    if len(skipped) == len(scores):
        raise ValueError(
            f"an image must have a foreground; all {len(scores)} masks are empty. Check the masks."
        )
    tables = []
    for (name, size), group in groupby(scores, key=lambda s: (s.set, s.size)):
        rows = summarise(list(group))
        title = f"{name}, {'256x256' if size == '256' else 'original size'}"
        print(f"\n{title}, protocol {args.protocol}, composite -> harmonized\n")
        print(summary_table(rows))
        tables.append({"set": name, "size": size, "rows": rows})
    if skipped:
        print(f"\nskipped for an empty mask: {len(skipped)}: {', '.join(skipped)}")
    published: list[Row] = []
    if args.published:
        chosen = [s for s in scores if s.set == BENCHMARK and s.size == "original"]
        published = compare_published(chosen, args.published, args.method.path.name)
        print(f"\noriginal size, images with figures in {args.published.name}\n")
        print(published_table(published))
    if args.json:
        document = {
            "settings": {
                "kind": args.method.kind,
                "model": args.method.path.name,
                "sha256": args.method.sha256(),
                "upsample": args.method.upsample,
                "protocol": args.protocol,
            },
            "versions": {
                "harmonizer": __version__,
                "python": platform.python_version(),
                **{package: version(package) for package in PACKAGES},
            },
            "tables": tables,
            "published": published,
            "skipped": skipped,
            "images": [asdict(score) for score in scores],
        }
        write_atomically(args.json, (json.dumps(jsonable(document), indent=2) + "\n").encode())
    if args.sheet:
        sheet = worst_cases(scorer, tasks, scores, args.worst)
        write_atomically(args.sheet, picture_bytes(sheet, args.sheet))


def worst_cases(
    scorer: Scorer, tasks: Sequence[Task], scores: Sequence[Score], count: int
) -> Image.Image:
    """Composite, mask, harmonized image and photograph of the images with the highest fMSE.

    An image that was evaluated at both sizes appears once, where it is worse.
    """
    order = sorted(
        (index for index, score in enumerate(scores) if not score.empty),
        key=lambda index: -scores[index].fmse_after,
    )
    chosen: dict[tuple[str, str], int] = {}
    for index in order:
        chosen.setdefault((scores[index].set, scores[index].name), index)
    cases = []
    for index in list(chosen.values())[:count]:
        score = scores[index]
        composite, mask, real, output = scorer.images(tasks[index])
        if output is not None:
            caption = f"{score.name}: fMSE {score.fmse_before:.0f} -> {score.fmse_after:.0f}"
            cases.append(([caption], (composite, mask, output, real)))
    return contact_sheet(cases)


@says_errors("evaluate")
def main(argv: Sequence[str] | None = None) -> int:
    """The command line; 0 on success, 2 for bad input, 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["video"]:
            from train.evaluation import video

            return video.main(words[1:], data_folder())
        run(parse(argv))
    except KeyboardInterrupt:
        print("evaluate: interrupted; with --csv, --resume continues.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(ending_well(main))
