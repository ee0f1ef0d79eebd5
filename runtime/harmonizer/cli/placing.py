"""Options of commands that put a cut-out on a background."""

import argparse
import math
from pathlib import Path

from harmonizer.cli.options import number
from harmonizer.images.cutouts import Placing
from harmonizer.placement import ANCHORS
from harmonizer.usage import UsageError


def add_placing_options(
    parser: argparse.ArgumentParser, background: str = "put the foreground on it"
) -> None:
    """--background and how a cut-out is put on it.

    Args:
        parser: Of a command.
        background: What its help says of --background.
    """
    group = parser.add_argument_group(
        "cut-outs",
        "COMPOSITE is then a foreground with an alpha channel, or with a MASK of its own",
    )
    group.add_argument("--background", type=Path, metavar="FILE", help=background)
    group.add_argument(
        "--at",
        type=_point,
        metavar="X,Y",
        help="where the anchor goes on the background: pixels, or shares such as 30%%,80%%; "
        "default: 50%%,50%%; with a minus as --at=-40,20",
    )
    group.add_argument(
        "--anchor", choices=tuple(ANCHORS), help="point of the foreground that goes there"
    )
    group.add_argument("--scale", type=_scale, metavar="S", help="of the foreground; default: 1")
    group.add_argument(
        "--fit", action="store_true", help="make it as large as fits, before --scale applies"
    )
    group.add_argument(
        "--rotate", type=_degrees, metavar="DEGREES", help="counter-clockwise, about the anchor"
    )
    group.add_argument(
        "--associated-alpha",
        action="store_true",
        help="its colours are multiplied by its alpha already",
    )
    group.add_argument(
        "--clean-edges",
        action="store_true",
        help="take what is left of its old background off soft edges (needs harmonizer[matting])",
    )


def read_placing(options: argparse.Namespace) -> Placing | None:
    """Read what `add_placing_options` added; None without a background.

    Raises:
        UsageError: If there are other such options without one.
    """
    given = {
        "at": options.at,
        "anchor": options.anchor,
        "scale": options.scale,
        "rotation": options.rotate,
        "fit": options.fit or None,
        "associated": options.associated_alpha or None,
        "clean_edges": options.clean_edges or None,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if options.background is not None:
        return Placing(options.background, **chosen)
    if chosen:
        flags = {"rotation": "rotate", "associated": "associated-alpha"}
        names = ", ".join(f"--{flags.get(n, n.replace('_', '-'))}" for n in chosen)
        raise UsageError(
            f"{names} {'put' if len(chosen) > 1 else 'puts'} a cut-out on a background; there is "
            "none. Name it by --background."
        )
    return None


def _point(text: str) -> tuple[float | str, float | str]:
    parts = [part.strip() for part in text.split(",")]
    try:
        values = [part if part.endswith("%") else float(part) for part in parts]
        sides = [float(part.removesuffix("%")) for part in parts]
    except ValueError:
        sides = []
    if len(sides) != 2 or not all(map(math.isfinite, sides)):
        raise argparse.ArgumentTypeError(f"must be X,Y, such as 640,360 or 30%,80%; got {text!r}")
    return values[0], values[1]


def _scale(text: str) -> float:
    value = number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, such as 0.5; got {text!r}")
    return value


def _degrees(text: str) -> float:
    value = number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number of degrees, such as -15; got {text!r}")
    return value
