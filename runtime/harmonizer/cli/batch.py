"""`harmonizer batch`: a folder of composites."""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

from harmonizer.batch import RECORD_NAME, available_cores, run_batch
from harmonizer.checks import MAX_THREADS
from harmonizer.cli import FAILURE, SUCCESS
from harmonizer.cli.cluster import (
    add_cluster_options,
    check_cluster,
    has_addresses,
    on_ray,
    place,
    run_objects,
)
from harmonizer.cli.following import follow, report
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
from harmonizer.cli.placing import add_placing_options, read_placing
from harmonizer.errors import StorageError
from harmonizer.images.files import FORMATS, Pixels
from harmonizer.others import find_others
from harmonizer.pairing import Item, Outcome, pair_files, split_layout, with_backgrounds
from harmonizer.picture import FileOptions, open_picture
from harmonizer.recipes import Recipe
from harmonizer.storage import check_writable, make_folder
from harmonizer.systems import return_large_blocks
from harmonizer.usage import UsageError, check_suffix

_MOST_WORKERS = 4
"""Default limit: each worker holds an image in memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Harmonize every image below a folder. The mask of COMPOSITES/a/b.jpg is MASKS/a/b.*, or\n"
        "without the last _number of the name (iHarmony4). Without MASKS, the subfolders\n"
        "composite/ and mask/ (or composites/ and masks/, composite_images/ and masks/) are used\n"
        "if they are there, else b_mask.png beside b.jpg, else alpha channels. What is done is\n"
        f"skipped when run again (OUTDIR/{RECORD_NAME} says what is); bad files are reported\n"
        "at the end, exit code 1. Other files in these folders are counted and named."
    )
    parser.add_argument("composites", type=place, metavar="COMPOSITES")
    parser.add_argument("masks", type=place, nargs="?", metavar="MASKS")
    parser.add_argument("-o", "--output", type=place, required=True, metavar="OUTDIR")
    parser.add_argument(
        "--format",
        type=image_format,
        metavar="png",
        help="of the outputs; default: as the input, or png where that is not written",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="PAGE.html",
        help="write a page of before and after, arguments, and what failed and why",
    )
    parser.add_argument("--force", action="store_true", help="do again what is done")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"files at a time; default: cores, up to {_MOST_WORKERS}",
    )
    add_cluster_options(parser)
    add_recipe_options(parser)
    add_placing_options(parser, "put the foreground on it; a folder has one of each cut-out's name")
    add_input_options(parser)
    add_output_options(parser)


def run(options: argparse.Namespace) -> int:
    """Do the folder; print the counts on stdout and the failures on stderr."""
    if options.jobs is not None and not 1 <= options.jobs <= MAX_THREADS:
        few = options.jobs < 1
        rule, more = ("at least 1", "more") if few else (f"at most {MAX_THREADS}", "fewer")
        raise UsageError(
            f"--jobs must be {rule}; got {options.jobs}. Give {more}, or leave it out."
        )
    check_suffix("--report", options.report, ".html")
    if options.format is not None:
        check_format_options(options, FORMATS[options.format])
    recipe = read_recipe(options)
    check_cluster(options)
    if has_addresses(options):
        return run_objects(options, recipe)
    composites, masks = options.composites, options.masks
    if masks is None:
        composites, masks = split_layout(composites)
    check_masks(composites, masks)
    items, failures = pair_files(composites, masks, options.output, options.format)
    placing = read_placing(options)
    if placing is not None:
        items, without = with_backgrounds(items, composites, options.background)
        failures += without
    others = find_others(composites, masks, options.output, items, failures)
    for note in others.notes():
        say("note", note)
    if options.report is not None:
        check_writable(options.report)
    make_folder(options.output)
    check_writable(options.output / RECORD_NAME)
    how = read_file_options(options, placing)
    with contextlib.ExitStack() as stack:
        if options.ray is None:
            results = _on_threads(options, items, recipe, how)
        else:
            results = stack.enter_context(on_ray(options, items, recipe, how))
        outcomes = follow(results, len(items), failures)
    rest = f", {others.count()} other files left alone" if others.count() else ""
    said = report(outcomes, failures) + rest
    if options.report is not None:
        rows = [(item, outcomes[item.composite]) for item in items if item.composite in outcomes]
        shown = {item.composite for item, _ in rows}
        lost = [(None, failure) for failure in failures if failure.composite not in shown]
        for note in _write_report(options, [*rows, *lost], how, said):
            say("note", note)
    print(said)
    return FAILURE if failures else SUCCESS


def _on_threads(
    options: argparse.Namespace, items: list[Item], recipe: Recipe, how: FileOptions
) -> Iterator[Outcome]:
    return_large_blocks()
    cores = available_cores()
    workers = options.jobs or min(cores, _MOST_WORKERS)
    tools = open_tools(options, recipe, options.threads or max(1, cores // workers))
    return run_batch(tools, items, options.output, recipe, how, workers, options.force)


def _write_report(
    options: argparse.Namespace,
    rows: list[tuple[Item | None, Outcome]],
    how: FileOptions,
    said: str,
) -> tuple[str, ...]:
    """Write the page of --report; what could not be shown.

    Raises:
        StorageError: If it cannot be written.
    """
    from harmonizer.sheet import write_sheet

    def load(item: Item) -> Pixels:
        return open_picture(item.composite, item.mask, item.own(how)).image

    try:
        return write_sheet(options.report, f"{options.composites} - harmonized", rows, load, said)
    except OSError as error:
        raise StorageError(
            f"{options.report} cannot be written: {error.strerror or error}. Name another place."
        ) from error
