"""`harmonizer lut`: a composite's look as a .cube file."""

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
from harmonizer.errors import ImageFileError
from harmonizer.images.files import load_pair
from harmonizer.lut import SIZES, TOLERABLE, build_lattice, format_cube, measure_errors
from harmonizer.storage import write_atomically
from harmonizer.usage import UsageError, check_outputs, check_suffix


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Save what harmonization does to a composite's colours as a .cube 3D LUT for Resolve,\n"
        "Premiere, OBS or ffmpeg, and print how far interpolation in it is from the filters on\n"
        "this image's foreground. The LUT holds this image's statistics, and no mask: apply it\n"
        "to the foreground alone. Strong shadow and highlight arguments bend the curves near\n"
        "black and white between lattice points; look at the maximum."
    )
    parser.add_argument("composite", type=Path, metavar="COMPOSITE")
    parser.add_argument("mask", type=Path, nargs="?", metavar="MASK")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="LOOK.cube")
    parser.add_argument("--size", type=int, choices=SIZES, default=SIZES[0])
    parser.add_argument("--title", help="default: the composite's name")
    add_recipe_options(parser)
    add_input_options(parser)


def run(options: argparse.Namespace) -> int:
    """Write the LUT; print the arguments and the interpolation errors on stdout."""
    if options.fit_mask and options.mask is None:
        raise UsageError("--fit-mask scales a MASK; there is none. Name one, or drop --fit-mask.")
    check_masks(options.composite, options.mask)
    check_suffix("--output", options.output, ".cube")
    check_outputs(
        {"--output": options.output},
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
    if not mask.any():
        raise ImageFileError(
            f"the mask of {options.composite} must have a foreground to make a LUT for; it is "
            "empty. Name another mask."
        )
    tools = open_tools(options, recipe)
    with tools.open(photo.pixels, mask, brief=True) as frame:
        arguments, concerns = recipe.follow(frame, mask)
        plan = frame.measure(arguments)
    lattice = build_lattice(tools.renderer, plan, options.size)
    errors = measure_errors(tools.renderer, plan, lattice, photo.pixels, mask)
    comments = (
        f"harmonizer {__version__}: {arguments}",
        "display-referred RGB; made from one image's statistics, for its foreground",
        *(f"interpolation error on that image, {error}" for error in errors),
    )
    title = options.title or options.composite.stem
    write_atomically(options.output, format_cube(lattice, title, comments))
    for note in (*notes, *(f"{options.composite}: {concern}" for concern in concerns)):
        say("note", note)
    worst = max(errors, key=lambda error: error.maximum)
    if worst.maximum > TOLERABLE:
        finer = f"Pass --size {SIZES[-1]}, or lower" if options.size != SIZES[-1] else "Lower"
        say(
            "warning",
            f"{options.output} does not show this look everywhere: interpolated, it is off by up "
            f"to {worst.maximum:.0f} levels of 255 ({worst.interpolation}, 99.9 % below "
            f"{worst.p999:.1f}). {finer} --strength, or draw it with `harmonizer image`.",
        )
    print(arguments)
    for error in errors:
        print(error)
    return SUCCESS
