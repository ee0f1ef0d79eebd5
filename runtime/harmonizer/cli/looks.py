"""What `curves` and `lut` share: a composite whose look is saved apart from it."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harmonizer.arguments import Arguments
from harmonizer.cli.options import (
    add_input_options,
    add_recipe_options,
    check_masks,
    open_tools,
    read_recipe,
    say,
)
from harmonizer.images.files import Photo, Pixels, load_pair
from harmonizer.plan import Plan
from harmonizer.recipes import Tools
from harmonizer.usage import check_outputs, check_suffix


@dataclass(frozen=True, slots=True)
class Look:
    """A composite's look.

    Attributes:
        photo: The composite.
        mask: Its mask.
        tools: What drew up the plan.
        arguments: As followed.
        plan: Arguments and the composite's statistics.
        notes: Conversions and concerns, one sentence each.
    """

    photo: Photo
    mask: Pixels
    tools: Tools
    arguments: Arguments
    plan: Plan
    notes: tuple[str, ...]

    def say_notes(self) -> None:
        """Print them on stderr."""
        for note in self.notes:
            say("note", note)


def add_look_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the inputs and where the arguments come from."""
    parser.add_argument("composite", type=Path, metavar="COMPOSITE")
    parser.add_argument("mask", type=Path, nargs="?", metavar="MASK")
    add_recipe_options(parser)
    add_input_options(parser)


def open_look(options: argparse.Namespace, suffixes: Mapping[str, str]) -> Look:
    """Check the flags, read the inputs, predict or read the arguments, and measure.

    Args:
        options: The command line.
        suffixes: What each output's name must end in, by its flag.

    Raises:
        UsageError: If the flags do not go together.
        HarmonizerError: If a file cannot be read or there is no answer from the model.
    """
    check_masks(options.composite, options.mask, options.fit_mask)
    outputs = {flag: getattr(options, flag[2:].replace("-", "_")) for flag in suffixes}
    for flag, suffix in suffixes.items():
        check_suffix(flag, outputs[flag], suffix)
    check_outputs(outputs, (options.composite, options.mask, options.arguments, options.model))
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
    said = (*notes, *(f"{options.composite}: {concern}" for concern in concerns))
    return Look(photo, mask, tools, arguments, plan, said)
