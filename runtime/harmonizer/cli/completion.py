"""`harmonizer --print-completion bash`: a script that completes commands, options and files.

By shtab, an extra: a script that is made once answers at once, where asking this program anew for
each press of the key would take its start-up time.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harmonizer.usage import UsageError

SHELLS = ("bash", "zsh", "tcsh")


def completion_action(
    build: Callable[[], argparse.ArgumentParser],
) -> type[argparse.Action]:
    """The action of --print-completion.

    Args:
        build: Makes the parser with the options of all commands.
    """

    class PrintCompletion(argparse.Action):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: str | Sequence[Any] | None,
            option_string: str | None = None,
        ) -> None:
            print(script(build(), str(values)))
            parser.exit()

    return PrintCompletion


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script.

    Args:
        parser: Of all commands.
        shell: One of `SHELLS`.

    Raises:
        UsageError: If shtab is not installed.
    """
    try:
        import shtab
    except ImportError as error:
        raise UsageError(
            f"--print-completion needs shtab, which cannot be imported ({error}). Install it: "
            'pip install "harmonizer[completion]".'
        ) from error
    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
