"""Files that are written after long work: whether they can be is found out before it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from harmonizer.errors import ImageFileError
from harmonizer.usage import UsageError, check_outputs, check_suffix

SUFFIXES = {"--html": ".html", "--json": ".json"}
"""By flag, what its file must end in, wherever a command has it."""


def prepare_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path | None] = ()) -> None:
    """Make the folders of files to be written, and see that files can be made there.

    Args:
        outputs: Flag -> file; None is passed over.
        inputs: Files that the command reads, which no output may replace; None is passed over.

    Raises:
        ValueError: If an output would replace an input or another output, or is not named as
            `SUFFIXES` says.
        ImageFileError: If a folder cannot be made, or a file not be written into it.
    """
    for path in outputs.values():
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageFileError(
                f"{path} must lie in a folder; {path.parent} is none and cannot be made "
                f"({error.strerror or error}). Name a file in another folder."
            ) from error
    try:
        check_outputs(dict(outputs), inputs)
        for flag, suffix in SUFFIXES.items():
            check_suffix(flag, outputs.get(flag), suffix)
    except UsageError as error:
        raise ValueError(str(error)) from error
