"""`harmonizer curves`: the tone curves of a composite's look, as a picture and as files."""

import argparse
from pathlib import Path

from harmonizer import __version__
from harmonizer.cli import SUCCESS
from harmonizer.cli.looks import add_look_arguments, open_look
from harmonizer.curves import plot, tabulate
from harmonizer.lut import format_curves
from harmonizer.storage import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Plot what harmonization does to each channel of a composite's foreground, for a model\n"
        "that predicts curves (S2CRNet) or arguments that keep the channels apart, and save it\n"
        "as a one-dimensional .cube LUT or as arguments that can be edited and drawn again."
    )
    add_look_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CURVES.png")
    parser.add_argument("--cube", type=Path, metavar="LOOK.cube", help="save them as a 1D LUT")
    parser.add_argument(
        "--save-arguments", type=Path, metavar="FILE.json", help="save the slopes of the curves"
    )


def run(options: argparse.Namespace) -> int:
    """Write the picture and the files; print the arguments on stdout."""
    suffixes = {"--output": ".png", "--cube": ".cube", "--save-arguments": ".json"}
    look = open_look(options, suffixes)
    table = tabulate(look.tools.renderer, look.plan)
    write_atomically(options.output, plot(table, options.composite.name))
    if options.cube is not None:
        comments = (
            f"harmonizer {__version__}: {look.arguments}",
            "display-referred RGB; made for the foreground of one image",
        )
        write_atomically(options.cube, format_curves(table, options.composite.stem, comments))
    if options.save_arguments is not None:
        look.arguments.save(options.save_arguments)
    look.say_notes()
    print(look.arguments)
    return SUCCESS
