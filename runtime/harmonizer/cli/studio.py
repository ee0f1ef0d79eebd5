"""`harmonizer studio`: the page, served on this machine."""

import argparse
import webbrowser
from pathlib import Path

from harmonizer.cli import SUCCESS
from harmonizer.cli.options import say
from harmonizer.studio import PORT, export_site, serve


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.description = (
        "Serve the studio on this machine (127.0.0.1) and open it in the browser: drop pictures,\n"
        "move the sliders, save results. Everything runs in the page; nothing is uploaded, and\n"
        "this command only hands out the page's files. Ctrl-C ends it."
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="DIR",
        help="write the page to a new folder instead, for any static host",
    )
    parser.add_argument(
        "--port", type=int, default=PORT, help="default: %(default)s; 0 for any that is free"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")


def run(options: argparse.Namespace) -> int:
    """Print the address on stdout, and serve; or export."""
    if options.export is not None:
        count = export_site(options.export)
        say("wrote", f"{options.export} ({count} files)")
        return SUCCESS

    def started(address: str) -> None:
        print(address, flush=True)
        if not options.no_browser:
            webbrowser.open(address)

    serve(options.port, started)
    return SUCCESS
