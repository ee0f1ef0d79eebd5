"""Options that several commands share, and their checks before any work."""

import argparse
import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmonizer.arguments import MAX_STRENGTH, Arguments
from harmonizer.backends import BACKENDS
from harmonizer.checks import MAX_THREADS
from harmonizer.cli.flags import with_flags
from harmonizer.contract import DEFAULT_LABEL, LABELS
from harmonizer.errors import HarmonizerError
from harmonizer.images.cutouts import Placing
from harmonizer.images.encoding import SUBSAMPLINGS, Quality
from harmonizer.images.files import DEEP_FORMATS, MAX_PIXELS, output_format
from harmonizer.masks import Levels
from harmonizer.opening import Opening
from harmonizer.ops import OPERATIONS, PHOTO_FILTERS
from harmonizer.picture import FileOptions
from harmonizer.recipes import Recipe, Tools
from harmonizer.usage import UsageError

_JPEG_LEVEL = 95

_MOST_PIXELS = (1 << 32) - 1
"""What the renderer's counters hold."""

_LEVEL = re.compile(r"[0-9]{1,9}")


def describe_filters() -> str:
    """The filters of the registry, one line each, for --help."""
    lines = [
        f"  {op.name:<12} {op.minimum:g}..{op.maximum:g}, {op.identity:g} changes nothing: "
        f"{op.effect}"
        for op in map(OPERATIONS.__getitem__, PHOTO_FILTERS)
    ]
    return "filters:\n" + "\n".join(lines)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """--model, --backend, --threads, --strength, --arguments, --set."""
    group = parser.add_argument_group("what is drawn")
    group.add_argument("--model", type=Path, metavar="FILE.onnx", help="predictor to use")
    group.add_argument(
        "--label",
        choices=LABELS,
        help=f"what the foreground shows, for S2CRNet models; default {DEFAULT_LABEL}",
    )
    group.add_argument(
        "--allow-host-code",
        action="store_true",
        help="run code for the host in a version compatible engine; for engines of your own",
    )
    group.add_argument("--backend", choices=BACKENDS, default="auto")
    group.add_argument(
        "--threads", type=thread_count, metavar="N", help="threads; default: every core"
    )
    group.add_argument(
        "--strength",
        type=_strength,
        default=1.0,
        metavar="S",
        help=f"0 (composite) to {MAX_STRENGTH:g}; 1 is the prediction (default)",
    )
    group.add_argument(
        "--arguments",
        type=Path,
        metavar="FILE.json",
        help="draw these instead of predicting: a file of --save-arguments, or "
        '{"NAME": VALUE, ...}, where filters that are not named do nothing',
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="set one filter's argument, after prediction and strength; repeatable",
    )
    parser.epilog = describe_filters()


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """--max-pixels, --fit-mask and --mask-levels."""
    group = parser.add_argument_group("input files")
    group.add_argument(
        "--max-pixels",
        type=count,
        default=MAX_PIXELS,
        metavar="N",
        help=f"refuse larger images; default {MAX_PIXELS:,}",
    )
    group.add_argument(
        "--fit-mask", action="store_true", help="scale a mask of another size to the composite's"
    )
    add_inversion(group)
    group.add_argument(
        "--mask-levels",
        type=mask_levels,
        metavar="BLACK,WHITE",
        help="values of the mask, as its file stores them, that count as no and as full "
        "foreground, such as 0,1 for labels; default: 0 and the largest value of its type, and "
        "what lossy compression left beside edges is taken off",
    )


def add_inversion(group: argparse._ArgumentGroup) -> None:
    """--invert-mask, alike in all commands."""
    group.add_argument(
        "--invert-mask", action="store_true", help="what is black in the mask is the foreground"
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """--depth, --quality, --subsampling, --lossless, --no-colour-management."""
    group = parser.add_argument_group("output files")
    group.add_argument(
        "--depth", type=int, choices=(8, 16), help="bits a channel; default: the composite's"
    )
    group.add_argument(
        "--quality",
        type=_quality,
        metavar="1..100",
        help=f"of JPEG, WebP, AVIF and JPEG XL; default {_JPEG_LEVEL}",
    )
    group.add_argument(
        "--subsampling",
        choices=SUBSAMPLINGS,
        help=f"colour resolution of JPEG and AVIF; default {SUBSAMPLINGS[0]}",
    )
    group.add_argument("--lossless", action="store_true", help="WebP or JPEG XL without loss")
    add_colour_management(group)


def add_colour_management(group: argparse._ArgumentGroup) -> None:
    """--no-colour-management."""
    group.add_argument(
        "--no-colour-management",
        dest="colour_management",
        action="store_false",
        help="take other colours (Display P3, Adobe RGB, ...) for sRGB's; default: convert them "
        "for the filters, and back",
    )


def read_recipe(options: argparse.Namespace) -> Recipe:
    """Check and read --strength, --arguments and --set.

    Raises:
        UsageError: If options contradict each other.
        ArgumentsError: If the arguments file is not one.
    """
    if options.arguments is not None and options.model is not None:
        raise UsageError(
            "--model predicts arguments, which --arguments already gives; drop one of the two."
        )
    if options.arguments is not None and options.label is not None:
        raise UsageError("--label helps to predict, but --arguments is given; drop one of the two.")
    overrides = dict(options.set)
    if len(overrides) != len(options.set):
        raise UsageError("--set may name each filter once; drop the repeated one.")
    given = Arguments.load(options.arguments) if options.arguments is not None else None
    recipe = Recipe(given, options.strength, overrides)
    if given is not None:
        recipe.check(given.filters)
    return recipe


def read_file_options(
    options: argparse.Namespace,
    placing: Placing | None = None,
    keep: tuple[Path | None, Path | None] = (None, None),
) -> FileOptions:
    """Read what `add_input_options` and `add_output_options` added."""
    quality = None
    if options.quality or options.subsampling or options.lossless:
        quality = Quality(
            options.quality or _JPEG_LEVEL,
            options.subsampling or SUBSAMPLINGS[0],
            options.lossless,
        )
    return FileOptions(
        options.max_pixels,
        options.fit_mask,
        options.depth,
        quality,
        options.mask_levels,
        options.colour_management,
        placing,
        keep,
        options.invert_mask,
    )


def check_format_options(options: argparse.Namespace, form: str) -> None:
    """Refuse output options that the output's format does not have.

    Raises:
        UsageError: If there are such.
    """
    if options.depth == 16 and form not in DEEP_FORMATS:
        raise UsageError(
            f"--depth 16 needs PNG, TIFF or JPEG XL; {form} holds 8 bits. Write .png or .tif."
        )
    if options.quality is not None and form not in ("JPEG", "WebP", "AVIF", "JPEG XL"):
        raise UsageError(
            f"--quality is for JPEG, WebP, AVIF and JPEG XL; {form} has no loss. Drop it."
        )
    if options.subsampling is not None and form not in ("JPEG", "AVIF"):
        raise UsageError(f"--subsampling is for JPEG and AVIF; the output is {form}. Drop it.")
    if options.lossless and form not in ("WebP", "JPEG XL"):
        raise UsageError(f"--lossless is for WebP and JPEG XL; the output is {form}. Drop it.")
    if options.lossless and options.quality is not None:
        raise UsageError("--lossless has no --quality; drop one of the two.")


def check_masks(composite: Path, mask: Path | None, fit_mask: bool = False) -> None:
    """Refuse a mask (or folder of masks) that is the composite (or folder of composites) itself.

    Raises:
        UsageError: If both are one file or folder, or there is no mask to fit.
    """
    if fit_mask and mask is None:
        raise UsageError("--fit-mask scales a MASK; there is none. Name one, or drop --fit-mask.")
    if mask is not None and os.path.realpath(mask) == os.path.realpath(composite):
        raise UsageError(
            f"the mask must be another file or folder than the composite; {mask} is both. Name the "
            "mask, or leave it out if the alpha channel is the mask."
        )


def open_tools(options: argparse.Namespace, recipe: Recipe, threads: int | None = None) -> Tools:
    """Load the model, unless arguments are given, and the renderer.

    Raises:
        ModelError, NativeLibraryError: If they cannot be loaded.
        ArgumentsError: If --set names a filter that the model does not have.
        UsageError: As `refusing_options`.
    """
    with refusing_options():
        return read_opening(options, threads).open(recipe)


@contextmanager
def refusing_options() -> Iterator[None]:
    """What a `Harmonizer` says of its parameters, as an error of the command line.

    Raises:
        UsageError: If the label or --allow-host-code does not go with the model; the parser has
            checked the others.
    """
    try:
        yield
    except HarmonizerError:  # among them one of the model, which is a ValueError as well
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


def read_opening(options: argparse.Namespace, threads: int | None = None) -> Opening:
    """The options that say how a network and a renderer are opened."""
    return Opening(
        options.model,
        options.backend,
        options.threads if threads is None else threads,
        options.label,
        options.allow_host_code,
    )


def place_of(tools: Tools) -> str:
    """Where it is drawn, which backend `auto` decides."""
    return {"cpu": "on the CPU", "cuda": "on the GPU"}[tools.renderer.backend]


def say(kind: str, text: str) -> None:
    """Print one line for a person on stderr."""
    print(f"harmonizer: {kind}: {with_flags(text)}", file=sys.stderr)


def image_format(text: str) -> str:
    """argparse type of --format: a suffix of an image format."""
    suffix = "." + text.lower().lstrip(".")
    try:
        output_format("x" + suffix)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not an image format") from error
    return suffix


def mask_levels(text: str) -> Levels:
    """argparse type of --mask-levels."""
    parts = text.split(",")
    if len(parts) != 2 or not all(_LEVEL.fullmatch(part.strip()) for part in parts):
        raise argparse.ArgumentTypeError(
            f"must be two whole numbers such as 8,247; got {text[:40]!r}"
        )
    try:
        return Levels(int(parts[0]), int(parts[1]))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from error


def count(text: str) -> int:
    """argparse type of --max-pixels."""
    return _whole(text, _MOST_PIXELS)


def thread_count(text: str) -> int:
    """argparse type of --threads."""
    return _whole(text, MAX_THREADS)


def _whole(text: str, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= most:
        raise argparse.ArgumentTypeError(
            f"must be a whole number above 0 and up to {most:,}; got {text[:40]!r}"
            if value > 0
            else f"must be a whole number above 0; got {text[:40]!r}"
        )
    return value


def _quality(text: str) -> int:
    value = count(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"must lie in 1..100; got {text!r}")
    return value


def number(text: str) -> float:
    """A number that an option gives; NaN, which no range holds, for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _strength(text: str) -> float:
    value = number(text)
    if not 0 <= value <= MAX_STRENGTH:
        raise argparse.ArgumentTypeError(f"must lie in [0, {MAX_STRENGTH:g}]; got {text!r}")
    return value


def _assignment(text: str) -> tuple[str, float]:
    name, said, given = text.partition("=")
    if name not in PHOTO_FILTERS or not said:
        raise argparse.ArgumentTypeError(
            f"must be NAME=VALUE with a name among {', '.join(PHOTO_FILTERS)}; got {text!r}"
        )
    operation = OPERATIONS[name]
    value = number(given)
    if not operation.minimum <= value <= operation.maximum:
        raise argparse.ArgumentTypeError(
            f"{name} must lie in [{operation.minimum:g}, {operation.maximum:g}]; got {given!r}"
        )
    return name, value
