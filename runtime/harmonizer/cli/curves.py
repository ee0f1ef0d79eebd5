"""`harmonizer curves`: the tone curves of a composite's look, as a picture and as files."""

import argparse
from pathlib import Path

from harmonizer import __version__
from harmonizer.cli import SUCCESS
from harmonizer.cli.options import (
    add_input_options,
    add_recipe_options,
    check_masks,
    open_tools,
    read_recipe,
    say,
)
from harmonizer.curves import plot, tabulate
from harmonizer.images.files import load_pair
from harmonizer.lut import format_curves
from harmonizer.storage import write_atomically
from harmonizer.usage import UsageError, check_outputs, check_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Plot what harmonization does to each channel of a composite's foreground, for a model\n"
        "that predicts curves (S2CRNet) or arguments that keep the channels apart, and save it\n"
        "as a one-dimensional .cube LUT or as arguments that can be edited and drawn again."
    )
    parser.add_argument("composite", type=Path, metavar="COMPOSITE")
    parser.add_argument("mask", type=Path, nargs="?", metavar="MASK")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CURVES.png")
    parser.add_argument("--cube", type=Path, metavar="LOOK.cube", help="save them as a 1D LUT")
    parser.add_argument(
        "--save-arguments", type=Path, metavar="FILE.json", help="save the slopes of the curves"
    )
    add_recipe_options(parser)
    add_input_options(parser)


def run(options: argparse.Namespace) -> int:
    """Write the picture and the files; print the arguments on stdout."""
    if options.fit_mask and options.mask is None:
        raise UsageError("--fit-mask scales a MASK; there is none. Name one, or drop --fit-mask.")
    check_masks(options.composite, options.mask)
    check_suffix("--output", options.output, ".png")
    check_suffix("--cube", options.cube, ".cube")
    check_suffix("--save-arguments", options.save_arguments, ".json")
    check_outputs(
        {
            "--output": options.output,
            "--cube": options.cube,
            "--save-arguments": options.save_arguments,
        },
        (options.composite, options.mask, options.arguments, options.model),
    )
    recipe = read_recipe(options)
    photo, mask, notes = load_pair(
        options.composite,
        options.mask,
        options.max_pixels,
        options.fit_mask,
        options.mask_levels,
        invert_mask=options.invert_mask,
    )
    tools = open_tools(options, recipe)
    with tools.open(photo.pixels, mask, brief=True) as frame:
        arguments, concerns = recipe.follow(frame, mask)
        plan = frame.measure(arguments)
    table = tabulate(tools.renderer, plan)
    write_atomically(options.output, plot(table, options.composite.name))
    if options.cube is not None:
        comments = (
            f"harmonizer {__version__}: {arguments}",
            "display-referred RGB; made for the foreground of one image",
        )
        write_atomically(options.cube, format_curves(table, options.composite.stem, comments))
    if options.save_arguments is not None:
        arguments.save(options.save_arguments)
    for note in (*notes, *(f"{options.composite}: {concern}" for concern in concerns)):
        say("note", note)
    print(arguments)
    return SUCCESS
