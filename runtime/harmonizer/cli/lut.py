"""`harmonizer lut`: a composite's look as a .cube file."""

import argparse
from pathlib import Path

from harmonizer import __version__
from harmonizer.cli import SUCCESS
from harmonizer.cli.looks import add_look_arguments, open_look
from harmonizer.cli.options import say
from harmonizer.errors import ImageFileError
from harmonizer.lut import SIZES, TOLERABLE, build_lattice, format_cube, measure_errors
from harmonizer.storage import write_atomically


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Save what harmonization does to a composite's colours as a .cube 3D LUT for Resolve,\n"
        "Premiere, OBS or ffmpeg, and print how far interpolation in it is from the filters on\n"
        "this image's foreground. The LUT holds this image's statistics, and no mask: apply it\n"
        "to the foreground alone. Strong shadow and highlight arguments bend the curves near\n"
        "black and white between lattice points; look at the maximum."
    )
    add_look_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="LOOK.cube")
    parser.add_argument("--size", type=int, choices=SIZES, default=SIZES[0])
    parser.add_argument("--title", help="default: the composite's name")


def run(options: argparse.Namespace) -> int:
    """Write the LUT; print the arguments and the interpolation errors on stdout."""
    look = open_look(options, {"--output": ".cube"})
    if not look.mask.any():
        raise ImageFileError(
            f"the mask of {options.composite} must have a foreground to make a LUT for; it is "
            "empty. Name another mask."
        )
    lattice = build_lattice(look.tools.renderer, look.plan, options.size)
    errors = measure_errors(look.tools.renderer, look.plan, lattice, look.photo.pixels, look.mask)
    comments = (
        f"harmonizer {__version__}: {look.arguments}",
        "display-referred RGB; made from one image's statistics, for its foreground",
        *(f"interpolation error on that image, {error}" for error in errors),
    )
    title = options.title or options.composite.stem
    write_atomically(options.output, format_cube(lattice, title, comments))
    look.say_notes()
    worst = max(errors, key=lambda error: error.maximum)
    if worst.maximum > TOLERABLE:
        finer = f"Pass --size {SIZES[-1]}, or lower" if options.size != SIZES[-1] else "Lower"
        say(
            "warning",
            f"{options.output} does not show this look everywhere: interpolated, it is off by up "
            f"to {worst.maximum:.0f} levels of 255 ({worst.interpolation}, 99.9 % below "
            f"{worst.p999:.1f}). {finer} --strength, or draw it with `harmonizer image`.",
        )
    print(look.arguments)
    for error in errors:
        print(error)
    return SUCCESS
