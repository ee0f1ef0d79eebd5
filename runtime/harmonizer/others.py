"""What lies in a batch's folders and is not worked on: nothing is passed over in silence."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harmonizer.images.files import READ_SUFFIXES
from harmonizer.pairing import Item, Outcome, find_images

_NAMED = 50
"""Files of one kind that a note names."""


@dataclass(frozen=True, slots=True)
class Others:
    """Files that a batch leaves alone.

    Attributes:
        strangers: Neither composite nor mask by their names.
        hidden: Their names, or those of folders above them, begin with a dot.
        unused: Masks that no composite asked for.
    """

    strangers: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    unused: tuple[Path, ...] = ()

    def count(self) -> int:
        """How many there are."""
        return len(self.strangers) + len(self.hidden) + len(self.unused)

    def notes(self) -> Iterator[str]:
        """One sentence for each kind, with the files' names."""
        if self.strangers:
            suffixes = ", ".join(READ_SUFFIXES)
            yield _named(self.strangers, f"left alone, not named as images are ({suffixes})")
        if self.hidden:
            yield _named(self.hidden, "left alone, hidden")
        if self.unused:
            yield _named(self.unused, "left alone, masks without a composite")


def find_others(
    composites: Path, masks: Path | None, output: Path, items: list[Item], failures: list[Outcome]
) -> Others:
    """Everything below a batch's folders that is no composite, no mask in use and no output.

    Args:
        composites, masks, output: The batch's folders.
        items, failures: From `pair_files`.

    Raises:
        ImageFileError: If a folder is not there.
    """
    used = {item.mask for item in items}
    folders = [composites] if masks is None else [composites, masks]
    unused = []
    if masks is not None:
        # What a failure says of several masks for one composite names them already.
        named = " ".join(failure.error for failure in failures)
        found = find_images(masks, [output])
        unused = [path for path in found if path not in used and str(path) not in named]
    images = {path for folder in folders for path in find_images(folder, [output])}
    rest = [path for path in dict.fromkeys(_files(folders, output)) if path not in images]
    hidden = {path for path in rest if any(part.startswith(".") for part in _below(path, folders))}
    strangers = [path for path in rest if path not in hidden]
    return Others(tuple(strangers), tuple(sorted(hidden)), tuple(unused))


def _files(folders: Iterable[Path], output: Path) -> Iterator[Path]:
    """Every file below the folders, outputs left out, sorted."""
    written = os.path.realpath(output)
    for folder in folders:
        inside = Path(os.path.realpath(folder)).is_relative_to(written)
        for path in sorted(folder.rglob("*")):
            below = Path(os.path.realpath(path)).is_relative_to(written)
            if path.is_file() and (inside or not below):
                yield path


def _below(path: Path, folders: Iterable[Path]) -> tuple[str, ...]:
    for folder in folders:
        if path.is_relative_to(folder):
            return path.relative_to(folder).parts
    return path.parts


def _named(files: tuple[Path, ...], what: str) -> str:
    names = ", ".join(map(str, files[:_NAMED]))
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return f"{len(files)} {what}: {names}{more}"
