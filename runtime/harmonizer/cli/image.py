"""`harmonizer image`: one composite."""

import argparse
import json
import time
from pathlib import Path

from harmonizer.cli import SUCCESS
from harmonizer.cli.options import (
    add_input_options,
    add_output_options,
    add_recipe_options,
    check_format_options,
    check_masks,
    open_tools,
    place_of,
    read_file_options,
    read_recipe,
    say,
)
from harmonizer.composites import harmonize_file
from harmonizer.files import output_format, write_atomically
from harmonizer.usage import UsageError, check_outputs, check_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Harmonize one composite. JPEG, PNG, TIFF and WebP in and out; EXIF, XMP, resolution and\n"
        "ICC profile are carried over. An existing output is replaced; an input is not, unless\n"
        "asked."
    )
    parser.add_argument("composite", type=Path, metavar="COMPOSITE")
    parser.add_argument(
        "mask",
        type=Path,
        nargs="?",
        metavar="MASK",
        help="white is foreground; without it the composite's alpha channel is the mask",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    add_recipe_options(parser)
    add_input_options(parser)
    add_output_options(parser)
    parser.add_argument("--save-arguments", type=Path, metavar="FILE.json")
    parser.add_argument(
        "--save-plan", type=Path, metavar="FILE.json", help="arguments and image statistics"
    )
    parser.add_argument(
        "--overwrite-input", action="store_true", help="let OUT replace the composite or the mask"
    )


def run(options: argparse.Namespace) -> int:
    """Harmonize the composite; print the arguments on stdout."""
    if options.fit_mask and options.mask is None:
        raise UsageError("--fit-mask scales a MASK; there is none. Name one, or drop --fit-mask.")
    check_masks(options.composite, options.mask)
    check_format_options(options, output_format(options.output))
    for flag in ("save_arguments", "save_plan"):
        check_suffix("--" + flag.replace("_", "-"), getattr(options, flag), ".json")
    check_outputs(
        {
            "--output": options.output,
            "--save-arguments": options.save_arguments,
            "--save-plan": options.save_plan,
        },
        (options.composite, options.mask, options.arguments, options.model),
        options.overwrite_input,
    )
    recipe = read_recipe(options)
    tools = open_tools(options, recipe)
    start = time.perf_counter()
    result = harmonize_file(
        tools, options.composite, options.mask, options.output, recipe, read_file_options(options)
    )
    for note in result.notes:
        say("note", note)
    if options.save_arguments is not None:
        result.arguments.save(options.save_arguments)
        for name, stored in result.arguments.clamped().items():
            if stored != result.arguments[name]:
                came = f"{name} {result.arguments[name]:+.3f}"
                say(
                    "note",
                    f"{options.save_arguments}: {came} is stored as it is drawn, {stored:+g}",
                )
    if options.save_plan is not None:
        document = json.dumps(result.plan.document(), indent=2) + "\n"
        write_atomically(options.save_plan, document.encode("utf-8"))
    print(result.arguments)
    height, width = result.shape
    elapsed_ms = 1000 * (time.perf_counter() - start)
    done = f"{width}x{height}, {place_of(tools)}, {elapsed_ms:.0f} ms without start-up"
    say("wrote", f"{options.output} ({done})")
    return SUCCESS
