"""`harmonizer batch`: a folder of composites."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from harmonizer.batch import RECORD_NAME, available_cores, pair_files, run_batch, split_layout
from harmonizer.checks import MAX_THREADS
from harmonizer.cli import FAILURE, SUCCESS
from harmonizer.cli.flags import with_flags
from harmonizer.cli.options import (
    add_input_options,
    add_output_options,
    add_recipe_options,
    check_format_options,
    check_masks,
    image_format,
    open_tools,
    read_file_options,
    read_recipe,
    say,
)
from harmonizer.files import FORMATS, check_writable, make_folder
from harmonizer.others import find_others
from harmonizer.usage import UsageError

_MOST_WORKERS = 4
"""Default limit: each worker holds an image in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Harmonize every image below a folder. The mask of COMPOSITES/a/b.jpg is MASKS/a/b.*, or\n"
        "without the last _number of the name (iHarmony4). Without MASKS, the subfolders\n"
        "composite/ and mask/ (or composites/ and masks/, composite_images/ and masks/) are used\n"
        "if they are there, else the alpha channels. What is done is skipped when run again\n"
        f"(OUTDIR/{RECORD_NAME} says what is); bad files are reported at the end, exit code 1.\n"
        "Other files in these folders are counted and named."
    )
    parser.add_argument("composites", type=Path, metavar="COMPOSITES")
    parser.add_argument("masks", type=Path, nargs="?", metavar="MASKS")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUTDIR")
    parser.add_argument(
        "--format", type=image_format, metavar="png", help="of the outputs; default: as the input"
    )
    parser.add_argument("--force", action="store_true", help="do again what is done")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"files at a time; default: cores, up to {_MOST_WORKERS}",
    )
    add_recipe_options(parser)
    add_input_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Do the folder; print the counts on stdout and the failures on stderr."""
    if options.jobs is not None and not 1 <= options.jobs <= MAX_THREADS:
        rule = "at least 1" if options.jobs < 1 else f"at most {MAX_THREADS}"
        raise UsageError(f"--jobs must be {rule}; got {options.jobs}.")
    if options.format is not None:
        check_format_options(options, FORMATS[options.format])
    recipe = read_recipe(options)
    composites, masks = options.composites, options.masks
    if masks is None:
        composites, masks = split_layout(composites)
    check_masks(composites, masks)
    jobs, failures = pair_files(composites, masks, options.output, options.format)
    others = find_others(composites, masks, options.output, jobs, failures)
    for note in others.notes():
        say("note", note)
    make_folder(options.output)
    check_writable(options.output / RECORD_NAME)
    cores = available_cores()
    workers = options.jobs or min(cores, _MOST_WORKERS)
    tools = open_tools(options, recipe, options.threads or max(1, cores // workers))

    from tqdm import tqdm

    counts = Counter(outcome.status for outcome in failures)
    results = run_batch(
        tools, jobs, options.output, recipe, read_file_options(options), workers, options.force
    )
    for outcome in tqdm(results, total=len(jobs), unit="image", disable=None):
        counts[outcome.status] += 1
        for note in outcome.notes:
            tqdm.write(f"harmonizer: note: {with_flags(note)}", file=sys.stderr)
        if outcome.status == "failed":
            failures.append(outcome)
    for outcome in sorted(failures, key=lambda failure: failure.composite):
        say("failed", f"{outcome.composite}: {outcome.error}")
    rest = f", {others.count()} other files left alone" if others.count() else ""
    print(f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed{rest}")
    return FAILURE if failures else SUCCESS
