"""The `harmonizer` command.

Only the chosen command's module is imported, and it imports what is heavy when it runs.
"""

import argparse
import importlib
import sys
from typing import Any, NoReturn

from harmonizer import __version__
from harmonizer.cli.completion import SHELLS, completion_action
from harmonizer.cli.flags import with_flags
from harmonizer.errors import HarmonizerError, NativeLibraryError
from harmonizer.pipes import leave_pipe
from harmonizer.usage import UsageError, said

COMMANDS = {
    "image": ("harmonizer.cli.image", "harmonize one composite"),
    "batch": ("harmonizer.cli.batch", "harmonize a folder of composites"),
    "video": ("harmonizer.cli.video", "harmonize a video"),
    "lut": ("harmonizer.cli.lut", "save a composite's look as a .cube 3D LUT"),
    "curves": ("harmonizer.cli.curves", "plot and save the tone curves of a composite's look"),
    "studio": ("harmonizer.cli.studio", "serve the page that does it in a browser"),
    "serve": ("harmonizer.cli.serve", "answer pictures over HTTP"),
    "bench": ("harmonizer.cli.bench", "measure speed and memory on this machine"),
    "doctor": ("harmonizer.cli.doctor", "check this installation"),
}

SUCCESS, FAILURE, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line, like every other error.

    Flags are written out: `--over` is not taken for `--overwrite-input`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"harmonizer: error: {message}. See `{self.prog} --help`.\n")


def build_parser(*chosen: str) -> argparse.ArgumentParser:
    """The parser, with the options of the chosen commands alone."""
    parser = _Parser(
        prog="harmonizer",
        description="Make the pasted foreground of a composite look as if it belonged there.",
        epilog="`harmonizer COMMAND --help` lists a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"harmonizer {__version__}")
    parser.add_argument(
        "--print-completion",
        choices=SHELLS,
        action=completion_action(lambda: build_parser(*COMMANDS)),
        help="print a script that completes command lines (needs harmonizer[completion])",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name in chosen:
            importlib.import_module(module).add_arguments(command)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Words after the program's name; None for the process's own.

    Returns:
        0 on success, 1 if something failed, 2 for a wrong command line or bad input, 130 after
        Ctrl-C, 141 if the reader of the output has gone, as in ``harmonizer doctor | head -1``.
    """
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()  # here, not when Python ends: the reader may be gone
    except BrokenPipeError:
        leave_pipe()
        return BROKEN_PIPE
    return code


def _run(words: list[str]) -> int:
    """`main`, whose output's reader may go: BrokenPipeError is raised for it."""
    try:
        options = build_parser(*words[:1]).parse_args(words)
        module = importlib.import_module(COMMANDS[options.command][0])
        from harmonizer.endings import ended_by_signals

        with ended_by_signals():
            return int(module.run(options))
    except BrokenPipeError:
        raise
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else FAILURE
    except KeyboardInterrupt:
        print("harmonizer: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (UsageError, HarmonizerError) as error:
        print(f"harmonizer: error: {with_flags(str(error))}", file=sys.stderr)
        return FAILURE if isinstance(error, NativeLibraryError) else USAGE
    except MemoryError:
        print(
            "harmonizer: error: there must be memory for the image; it ran out. Use a smaller "
            "image, or fewer --jobs.",
            file=sys.stderr,
        )
        return FAILURE
    except OSError as error:
        print(f"harmonizer: error: {said(error)}", file=sys.stderr)
        return FAILURE
