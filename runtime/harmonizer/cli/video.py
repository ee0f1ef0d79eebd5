"""`harmonizer video`: a video and its mask."""

import argparse
import copy
import re
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harmonizer.backends import build_renderer
from harmonizer.cli import INTERRUPTED, SUCCESS
from harmonizer.cli.options import (
    add_colour_management,
    add_inversion,
    add_recipe_options,
    check_masks,
    count,
    mask_levels,
    open_tools,
    place_of,
    read_recipe,
    say,
)
from harmonizer.cli.placing import add_placing_options, read_placing
from harmonizer.cli.progress import Bars
from harmonizer.endings import interrupts
from harmonizer.images.cutouts import Placing
from harmonizer.limits import MAX_FRAME_PIXELS
from harmonizer.recipes import Recipe, Tools
from harmonizer.usage import UsageError, check_outputs, check_suffix

if TYPE_CHECKING:
    from harmonizer.video import Encoding, Inputs, Job, Smoothing, Track

SMOOTHINGS = ("ema", "two-pass", "off")

_CONVERSION_THREADS = 2
"""Threads of a conversion between YUV and RGB; more do not pay beside the encoder."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Harmonize a video. COMPOSITE and MASK are videos, or image sequences (a folder, or a\n"
        "pattern such as frames/%04d.png); MASK may be one image. Without MASK, COMPOSITE's alpha\n"
        "channel is the mask. With --background, COMPOSITE is the foreground, and the mask says\n"
        "where it covers the background. Streams are matched by time. Audio, subtitles, chapters\n"
        "and metadata are copied; time stamps, rotation, pixel aspect and colour tags are kept.\n"
        "Where the mask is black the encoder gets the input's own samples."
    )
    parser.add_argument("composite", type=Path, metavar="COMPOSITE")
    parser.add_argument("mask", type=Path, nargs="?", metavar="MASK")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    add_recipe_options(parser)
    _add_input_options(parser)
    add_placing_options(
        parser,
        "video, sequence or image; either it or COMPOSITE may stand still, and a COMPOSITE that "
        "does is placed as the other options say",
    )
    _add_smoothing_options(parser)
    _add_encoding_options(parser)
    parser.add_argument(
        "--save-arguments",
        type=Path,
        metavar="FILE.jsonl",
        help="arguments and statistics of every frame, one JSON line each; --arguments replays it",
    )
    parser.add_argument(
        "--on-interrupt",
        choices=("discard", "keep"),
        default="discard",
        help="after Ctrl-C: leave nothing (default), or a playable file of what was done",
    )


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    from harmonizer.video.matching import WHEN_SHORT

    group = parser.add_argument_group("input")
    group.add_argument(
        "--rate",
        type=_rate,
        metavar="FPS",
        help="of image sequences; for videos, count frames and ignore their time stamps",
    )
    group.add_argument(
        "--when-short",
        choices=WHEN_SHORT,
        default="refuse",
        help="where mask or background end early: refuse (default), hold their last frame, stop",
    )
    group.add_argument(
        "--mask-levels",
        type=mask_levels,
        metavar="BLACK,WHITE",
        help="values of the mask that count as no and as full foreground: 0 to 255 of a video, the "
        "files' own of images; default 8,247 for videos, for the noise of lossy coding; 0,255 "
        "takes a mask as it is",
    )
    group.add_argument(
        "--fit-mask", action="store_true", help="scale a mask of another size to the video's"
    )
    add_inversion(group)
    group.add_argument(
        "--skip-damaged", action="store_true", help="go on past what cannot be decoded"
    )
    group.add_argument(
        "--max-pixels",
        type=count,
        default=MAX_FRAME_PIXELS,
        metavar="N",
        help=f"refuse larger frames; default {MAX_FRAME_PIXELS:,}",
    )
    add_colour_management(group)
    group.add_argument("--no-audio", action="store_true", help="do not copy audio")
    group.add_argument("--no-subtitles", action="store_true", help="do not copy subtitles")


def _add_smoothing_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("stability")
    group.add_argument(
        "--smooth",
        choices=SMOOTHINGS,
        help="ema (default): moving average; two-pass: look at all frames first and average past "
        "and future, twice the decoding; off",
    )
    group.add_argument(
        "--time-constant", type=float, metavar="S", help="of the arguments, in seconds; default 1"
    )
    group.add_argument(
        "--statistics-time-constant",
        type=float,
        metavar="S",
        help="of the image means that temperature and contrast read; default 0: each frame's own",
    )
    group.add_argument(
        "--weight",
        type=float,
        metavar="A",
        help="of the new value, per frame, in place of time constants: the paper's 0.9, the "
        "authors' demo's 0.04",
    )
    group.add_argument(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="predict every n-th frame and interpolate between (default 1)",
    )
    group.add_argument("--no-cuts", action="store_true", help="do not look for scene cuts")


def _add_encoding_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "output",
        "MP4, MOV, MKV: H.264, or H.265 for more than 8 bits; WebM: VP9. A pattern such as\n"
        "out/%05d.png: images, numbered from 0 or as the input's.",
    )
    group.add_argument("--codec", metavar="NAME", help="libav's name of an encoder")
    group.add_argument("--crf", type=float, metavar="Q", help="constant quality; lower is better")
    group.add_argument("--preset", metavar="NAME", help="the encoder's speed preset")
    group.add_argument("--pixel-format", metavar="NAME", help="default: the input's")
    group.add_argument(
        "--hardware", action="store_true", help="use a hardware encoder that works here"
    )
    group.add_argument(
        "--depth", type=int, choices=(8, 16), help="bits a channel of images; default: the input's"
    )
    group.add_argument(
        "--codec-option",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="another option of the encoder; repeatable",
    )


def run(options: argparse.Namespace) -> int:
    """Harmonize the video; print what was done on stderr."""
    from harmonizer.video import Track, harmonize_video
    from harmonizer.video.images import check_pattern, is_image_output

    check_masks(options.composite, options.mask, options.fit_mask)
    inputs = _read_inputs(options)
    check_suffix("--save-arguments", options.save_arguments, ".jsonl")
    images = is_image_output(options.output)
    if images:
        check_pattern(options.output)
    outputs = {
        "--output": None if images else options.output,
        "--save-arguments": options.save_arguments,
    }
    sources = (options.composite, options.mask, options.background)
    check_outputs(outputs, (*sources, options.arguments, options.model))
    track: Track | None = None
    if options.arguments is not None and options.arguments.suffix.lower() == ".jsonl":
        track = Track.load(options.arguments)
        _refuse_smoothing(options)
    elif options.arguments is not None and options.every != 1:
        raise UsageError("--every is about predictions; --arguments needs none. Drop it.")
    recipe, tools = _open(options, track)
    job = _read_job(options, recipe, track)
    cancel = threading.Event()
    with interrupts(cancel), Bars() as bars:
        report = harmonize_video(tools, inputs, options.output, job, bars.step, cancel)
    for note in report.notes:
        say("note", note)
    if report.written:
        cuts = f", {report.cuts} cuts" if report.cuts else ""
        done = f"{report.frames} frames, {report.drawn} drawn{cuts}; {place_of(tools)}"
        say("wrote", f"{options.output} ({done}, {report.codec})")
    if report.cancelled:
        left = "kept as a shorter video" if report.written else "nothing is written"
        say("interrupted", f"after {report.frames} frames; {left}")
        return INTERRUPTED
    return SUCCESS


def _open(options: argparse.Namespace, track: "Track | None") -> tuple[Recipe, Tools]:
    if track is None:
        recipe = read_recipe(options)
        return recipe, open_tools(options, recipe)
    for flag, given in (("--model", options.model), ("--label", options.label)):
        if given is not None:
            raise UsageError(
                f"{flag} helps to predict arguments, which --arguments already gives; drop one of "
                "the two."
            )
    without = copy.copy(options)
    without.arguments = None
    recipe = read_recipe(without)
    recipe.check(track.filters)
    return recipe, Tools(build_renderer(options.backend, options.threads))


def _refuse_smoothing(options: argparse.Namespace) -> None:
    given = {
        "--smooth": options.smooth,
        "--time-constant": options.time_constant,
        "--statistics-time-constant": options.statistics_time_constant,
        "--weight": options.weight,
        "--every": options.every if options.every != 1 else None,
    }
    flags = [flag for flag, value in given.items() if value is not None]
    if flags:
        raise UsageError(f"a track is drawn as it is; {', '.join(flags)} would change it. Drop it.")


def _read_inputs(options: argparse.Namespace) -> "Inputs":
    from harmonizer.video import Inputs

    placing = read_placing(options)
    if placing is not None and placing == Placing(options.background):
        placing = None  # nothing was said of it
    kinds = {"audio": options.no_audio, "subtitle": options.no_subtitles}
    return Inputs(
        options.composite,
        options.mask,
        options.background,
        options.rate,
        options.when_short,
        options.skip_damaged,
        options.fit_mask,
        options.mask_levels,
        tuple(kind for kind, unwanted in kinds.items() if not unwanted),
        options.max_pixels,
        options.invert_mask,
        placing,
        options.colour_management,
    )


def _read_job(options: argparse.Namespace, recipe: Recipe, track: "Track | None") -> "Job":
    from harmonizer.video import Job

    return Job(
        recipe,
        _read_smoothing(options),
        _read_encoding(options),
        options.smooth == "two-pass",
        track,
        options.save_arguments,
        options.on_interrupt,
        _CONVERSION_THREADS,
    )


def _read_encoding(options: argparse.Namespace) -> "Encoding":
    from harmonizer.video import Encoding

    return Encoding(
        options.codec,
        options.crf,
        options.preset,
        options.pixel_format,
        options.hardware,
        dict(options.codec_option),
        options.depth,
    )


def _read_smoothing(options: argparse.Namespace) -> "Smoothing":
    from harmonizer.video import Smoothing

    seconds, statistics = options.time_constant, options.statistics_time_constant
    timed = seconds is not None or statistics is not None
    if options.smooth == "off" and (timed or options.weight is not None):
        raise UsageError("--smooth off has no time constants and no --weight; drop them.")
    if options.weight is not None and timed:
        raise UsageError("--weight stands in place of the time constants; drop one of the two.")
    values: dict[str, Any] = {"every": options.every, "cuts": not options.no_cuts}
    if options.smooth == "off":
        values |= {"seconds": 0.0, "statistics_seconds": 0.0}
    if seconds is not None:
        values["seconds"] = seconds
    if statistics is not None:
        values["statistics_seconds"] = statistics
    return Smoothing(weight=options.weight, **values)


def _rate(text: str) -> Fraction:
    # Not any text that Fraction takes: of 1e999999999 it makes a number of that many digits.
    plain = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?", text.strip())
    try:
        value = Fraction(text) if plain else Fraction(0)
    except ZeroDivisionError:
        value = Fraction(0)
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(
            f"must be frames per second, such as 25, 29.97 or 30000/1001; got {text!r}"
        )
    # Time bases are pairs of 32-bit integers.
    return value.limit_denominator(100_000)


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not key or not mark:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE; got {text!r}")
    return key, value
