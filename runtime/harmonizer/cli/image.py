"""`harmonizer image`: one composite."""

import argparse
import json
import sys
import time
from pathlib import Path

from harmonizer.cli import SUCCESS
from harmonizer.cli.options import (
    add_input_options,
    add_output_options,
    add_recipe_options,
    check_format_options,
    check_masks,
    image_format,
    open_tools,
    place_of,
    read_file_options,
    read_recipe,
    say,
)
from harmonizer.cli.placing import add_placing_options, read_placing
from harmonizer.composites import harmonize_file
from harmonizer.images.files import FORMATS, output_format
from harmonizer.images.memory import Blob, Place, Sink
from harmonizer.limits import max_file_bytes
from harmonizer.storage import write_atomically
from harmonizer.usage import UsageError, check_outputs, check_suffix

_STREAM = Path("-")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Harmonize one composite, or a cut-out on a background. In and out:\n"
        f"{', '.join(dict.fromkeys(FORMATS.values()))};\n"
        "in alone: HEIC, GIF, BMP, Photoshop. EXIF, XMP, resolution and ICC profile are carried\n"
        "over. An existing output is replaced; an input is not, unless asked. A - is standard\n"
        "input or output."
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
    parser.add_argument(
        "--format", type=image_format, metavar="png", help="of an OUT of -; a file's name says it"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object in place of the arguments' line"
    )
    add_recipe_options(parser)
    add_placing_options(parser)
    parser.add_argument(
        "--save-composite", type=Path, metavar="FILE", help="the composite made of a cut-out"
    )
    parser.add_argument("--save-mask", type=Path, metavar="FILE", help="and its mask")
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
    check_masks(options.composite, options.mask, options.fit_mask)
    placing = read_placing(options)
    for flag in ("save_composite", "save_mask"):
        path = getattr(options, flag)
        if path is not None and placing is None:
            name = "--" + flag.replace("_", "-")
            raise UsageError(f"{name} writes what --background makes; there is none. Drop it.")
        if path is not None:
            output_format(path)
    output = _output(options)
    check_format_options(options, output_format(output))
    for flag in ("save_arguments", "save_plan"):
        check_suffix("--" + flag.replace("_", "-"), getattr(options, flag), ".json")
    check_outputs(
        {
            "--output": None if isinstance(output, Sink) else output,
            "--save-arguments": options.save_arguments,
            "--save-plan": options.save_plan,
            "--save-composite": options.save_composite,
            "--save-mask": options.save_mask,
        },
        (
            options.composite,
            options.mask,
            options.background,
            options.arguments,
            options.model,
        ),
        options.overwrite_input,
    )
    recipe = read_recipe(options)
    tools = open_tools(options, recipe)
    start = time.perf_counter()
    composite, mask = _inputs(options)
    result = harmonize_file(
        tools,
        composite,
        mask,
        output,
        recipe,
        read_file_options(options, placing, (options.save_composite, options.save_mask)),
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
    if isinstance(output, Sink):
        sys.stdout.buffer.write(output.data)
        sys.stdout.flush()
    height, width = result.shape
    elapsed_ms = 1000 * (time.perf_counter() - start)
    if options.json:
        facts = {
            "output": str(options.output),
            "width": width,
            "height": height,
            "backend": tools.renderer.backend,
            "milliseconds": round(elapsed_ms, 1),
            **result.arguments.document(),
            "notes": list(result.notes),
        }
        print(json.dumps(facts))
    elif not isinstance(output, Sink):
        print(result.arguments)
    done = f"{width}x{height}, {place_of(tools)}, {elapsed_ms:.0f} ms without start-up"
    say("wrote", f"{output} ({done})")
    return SUCCESS


def _output(options: argparse.Namespace) -> Place:
    """Where the picture is written.

    Raises:
        UsageError: If it is standard output without a format, or JSON is to go there, too; or a
            file's format is given twice.
    """
    if options.output != _STREAM:
        if options.format is not None:
            raise UsageError(f"--format is for -o -; {options.output} names its own. Drop it.")
        return Path(options.output)
    if options.format is None:
        raise UsageError("-o - needs --format, such as --format png. Add it, or name a file.")
    if options.json:
        raise UsageError("--json goes to standard output, as -o - does; drop one of the two.")
    return Sink(options.format, "standard output")


def _inputs(options: argparse.Namespace) -> tuple[Path | Blob, Path | Blob | None]:
    """Composite and mask, one of which may come by standard input."""
    if _STREAM not in (options.composite, options.mask):
        return options.composite, options.mask
    limit = max_file_bytes(options.max_pixels)
    blob = Blob(sys.stdin.buffer.read(limit + 1), "standard input")
    return (blob, options.mask) if options.composite == _STREAM else (options.composite, blob)
