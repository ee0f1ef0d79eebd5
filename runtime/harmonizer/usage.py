"""What every command line checks before any work, of this package and of the toolchain."""

import argparse
import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, ParamSpec

from harmonizer.errors import HarmonizerError
from harmonizer.storage import check_writable

_Words = ParamSpec("_Words")

_SECRETS = re.compile(r"(?<=://)[^/@\s]*@")


class UsageError(Exception):
    """The command line asks for something impossible; found before any work."""


def without_secrets(text: str) -> str:
    """A text whose addresses do not say who asks: ``s3://KEY:SECRET@bucket`` is ``s3://bucket``."""
    return _SECRETS.sub("", text)


def check_outputs(
    outputs: dict[str, Path | None],
    inputs: Iterable[Path | None],
    overwrite_input: bool | None = None,
) -> None:
    """Refuse outputs that would replace an input or each other, or cannot be written.

    Args:
        outputs: Flag -> file, or None where the flag was not given.
        inputs: Files that are read.
        overwrite_input: The first output may replace an input; None where the command has no
            --overwrite-input.

    Raises:
        UsageError: If files collide.
        StorageError: If a file cannot be written.
    """
    read = {os.path.realpath(path) for path in inputs if path is not None}
    written: dict[str, str] = {}
    for index, (flag, path) in enumerate(outputs.items()):
        if path is None:
            continue
        target = os.path.realpath(path)
        if target in read and not (overwrite_input and index == 0):
            choice = overwrite_input is not None and index == 0
            remedy = ", or pass --overwrite-input" if choice else ""
            raise UsageError(f"{flag} {path} would replace an input; name another file{remedy}.")
        if target in written:
            raise UsageError(
                f"{written[target]} and {flag} name the same file, {path}. Name two files."
            )
        written[target] = flag
        check_writable(path)


def check_suffix(flag: str, path: Path | None, suffix: str) -> None:
    """Refuse a file name that does not end in `suffix`.

    Raises:
        UsageError: If it does not.
    """
    if path is not None and path.suffix.lower() != suffix:
        raise UsageError(f"{flag} must end in {suffix}; got {path}. Rename it.")


class ToolParser(argparse.ArgumentParser):
    """Raises what is wrong with a command line, for `says_errors` to say in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise it.

        Raises:
            UsageError: Always.
        """
        raise UsageError(message if message.endswith(".") else f"{message}. See --help.")


def tool_parser(page: str | None, prog: str | None = None) -> ToolParser:
    """The parser of a tool, whose help begins with the first line of its module's docstring."""
    description = (page or "").partition("\n")[0]
    return ToolParser(prog=prog, description=description, allow_abbrev=False)


def said(error: BaseException) -> str:
    """An error as a person is told of it: what the system refused gets a rule and a remedy."""
    named = isinstance(error, OSError) and isinstance(error.filename, str | bytes | os.PathLike)
    if not (isinstance(error, OSError) and named and error.strerror):
        return str(error)
    name, reason = os.fsdecode(error.filename), error.strerror
    if isinstance(error, FileNotFoundError):
        return f"{name} must be there; {reason}. Check the path."
    if isinstance(error, IsADirectoryError):
        return f"{name} must be a file; it is a folder. Name a file in it."
    if isinstance(error, PermissionError):
        return f"{name} must be open to us; {reason}. Check its permissions."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{name} must have room on its disk; {reason}. Make room, or name another place."
    return f"{name} must be usable; {reason}. Check the path and its disk."


def says_errors(tool: str) -> Callable[[Callable[_Words, int]], Callable[_Words, int]]:
    """Of a tool's `main`: what is wrong with its input is one line on stderr, and the code is 2."""

    def saying(main: Callable[_Words, int]) -> Callable[_Words, int]:
        @functools.wraps(main)
        def run(*words: _Words.args, **named: _Words.kwargs) -> int:
            try:
                return main(*words, **named)
            except (UsageError, HarmonizerError, OSError, ValueError) as error:
                print(f"{tool}: error: {said(error)}", file=sys.stderr)
                return 2

        return run

    return saying
