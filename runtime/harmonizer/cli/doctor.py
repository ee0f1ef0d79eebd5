"""`harmonizer doctor`: check this installation."""

import argparse
from pathlib import Path

from harmonizer.cli import FAILURE, SUCCESS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Check versions, processor, compiled renderer, model and GPU libraries; write, read and\n"
        "draw small pictures of every format and a short clip. Exit code 1 if something that is\n"
        "needed does not work."
    )
    parser.add_argument("--model", type=Path, metavar="FILE.onnx", help="predictor to check")


def run(options: argparse.Namespace) -> int:
    """Print the report on stdout."""
    from harmonizer.doctor import report

    return SUCCESS if report(options.model) else FAILURE
