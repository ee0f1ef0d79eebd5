"""Files of tracks: written line by line, read with the line named in every complaint."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from harmonizer.arguments import Arguments
from harmonizer.checks import finite
from harmonizer.documents import parse_document
from harmonizer.errors import ArgumentsError, FilterListError
from harmonizer.ops import DEFAULT_FILTERS, check_filters
from harmonizer.plan import Step
from harmonizer.reading import TRACK_LIMIT, open_regular
from harmonizer.storage import Temporary, resolved
from harmonizer.video.entries import Entry
from harmonizer.video.errors import VideoError, translated

FORMAT = "harmonizer-track"
FORMAT_VERSION = 1

_WRITABLE = "Check that its folder exists and that the disk has room."
_LONGEST_LINE = 1 << 20
"""Bytes; one of three stages of curves has 20,000."""

_KEYS = {"frame", "time", "cut", "arguments", "statistics"}


class TrackWriter:
    """Writes a track line by line; the file appears under its name when it is finished.

    Args:
        path: File to write.

    Raises:
        VideoError: If it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._waiting: list[Entry] = []
        self._has_header = False
        with translated(path, "must be writable", _WRITABLE):
            self._temporary = Temporary(resolved(path), ".jsonl")

    def add(self, entry: Entry) -> None:
        """Write an entry; those before the first with arguments wait for its filter list."""
        if not self._has_header:
            self._waiting.append(entry)
            if entry.arguments is None:
                return
            lines = [header(entry.arguments.filters), *(e.to_json() for e in self._waiting)]
            self._waiting, self._has_header = [], True
        else:
            lines = [entry.to_json()]
        with translated(self._path, "must be writable", _WRITABLE):
            self._write(lines)

    def finish(self) -> None:
        """Close the file and give it its name.

        Raises:
            VideoError: If it cannot be written; nothing is left of it then.
        """
        try:
            with translated(self._path, "must be writable", _WRITABLE):
                if not self._has_header:
                    lines = [header(DEFAULT_FILTERS), *(e.to_json() for e in self._waiting)]
                    self._write(lines)
                self._temporary.publish()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Close and remove what was written."""
        self._temporary.discard()

    def _write(self, lines: list[str]) -> None:
        self._temporary.write(("\n".join(lines) + "\n").encode("utf-8"))


def header(filters: tuple[str, ...]) -> str:
    """The first line of a track."""
    return json.dumps({"format": FORMAT, "version": FORMAT_VERSION, "filters": list(filters)})


def read_track(path: str | Path) -> tuple[tuple[str, ...], list[Entry]]:
    """Read the filters and the entries of a track.

    Raises:
        VideoError, ArgumentsError: As `Track.load` does.
    """
    entries: list[Entry] = []
    filters: tuple[str, ...] | None = None
    sizes: tuple[int, ...] | None = None
    with _readable(path) as file:
        for number, text in enumerate(iter(lambda: file.readline(_LONGEST_LINE), b""), 1):
            if not text.strip():
                continue
            where = f"line {number} of {path}"
            if len(text) == _LONGEST_LINE:
                raise VideoError(
                    f"{where} must have fewer than {_LONGEST_LINE:,} bytes; it has more. Write one "
                    "frame in each line."
                )
            document = _parse(text, where)
            if filters is None:
                filters = _read_header(document, where)
                continue
            entry = _read_entry(document, filters, len(entries), where)
            if entries and entry.time <= entries[-1].time:
                raise VideoError(
                    f"{where} must have a later time than the line before; got {entry.time:g} "
                    f"s after {entries[-1].time:g} s. Put the lines in order."
                )
            if entry.arguments is not None:
                sizes = sizes or entry.arguments.sizes
                _check_sizes(entry.arguments, sizes, where)
            entries.append(entry)
    if filters is None or not entries:
        raise VideoError(
            f"{path} must hold a header and at least one frame; it does not. Write one with "
            "`save_track`."
        )
    return filters, entries


def _check_sizes(arguments: Arguments, sizes: tuple[int, ...], where: str) -> None:
    """Lines are interpolated between: all have as many numbers for each operation."""
    for name, size, wanted in zip(arguments.filters, arguments.sizes, sizes, strict=True):
        if size != wanted:
            raise ArgumentsError(
                f"{where} must have {wanted} numbers for {name}, as the first line with arguments "
                f"has; got {size}. Write as many stages of curves in every line."
            )


@contextlib.contextmanager
def _readable(path: str | Path) -> Iterator[BinaryIO]:
    try:
        with open_regular(path, TRACK_LIMIT) as file:
            yield file
    except OSError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(
            f"{path} must be a readable track of arguments; {reason}. Check the path, or write one "
            "with `save_track`."
        ) from error


def _parse(text: bytes, where: str) -> dict[str, Any]:
    try:
        document = parse_document(text)
    except ValueError as error:
        raise VideoError(
            f"{where} must be JSON; it cannot be parsed ({error}). Correct it."
        ) from error
    if not isinstance(document, dict):
        raise VideoError(f"{where} must be an object; got {text.strip()[:40]!r}. Correct it.")
    return document


def _read_header(document: dict[str, Any], where: str) -> tuple[str, ...]:
    filters = document.get("filters")
    if document.get("format") != FORMAT or document.get("version") != FORMAT_VERSION:
        raise VideoError(
            f'{where} must have "format": "{FORMAT}" and "version": {FORMAT_VERSION}; got '
            f"{json.dumps(document)[:60]}. Write a track with `save_track` and edit that."
        )
    if not isinstance(filters, list) or not all(isinstance(name, str) for name in filters):
        raise VideoError(
            f'{where} must list the "filters"; got {filters!r}. Write a track with `save_track` '
            "and edit that."
        )
    try:
        return check_filters(filters)
    except FilterListError as error:
        raise VideoError(f"{where}: {error}") from error


def _read_entry(
    document: dict[str, Any], filters: tuple[str, ...], index: int, where: str
) -> Entry:
    strangers = document.keys() - _KEYS
    time, given = finite(document.get("time")), document.get("arguments")
    if strangers or time is None or "arguments" not in document:
        raise VideoError(
            f'{where} must have a number "time" and "arguments", and beside them only '
            f"{', '.join(sorted(_KEYS))}; got {', '.join(map(repr, document))}. Correct it."
        )
    statistics = document.get("statistics") or {}
    try:
        arguments = None if given is None else Arguments.from_mapping(given, filters)
        if not isinstance(statistics, dict):
            raise ArgumentsError("statistics must be an object")
        read = {}
        for name, numbers in statistics.items():
            # A step checks the count and the range of the numbers.
            idle = Arguments.identity((name,))[name]
            read[name] = Step(name, idle, tuple(numbers)).statistics
    except (ArgumentsError, TypeError, ValueError, KeyError) as error:
        raise ArgumentsError(f"{where}: {error}") from error
    frame = document.get("frame", index)
    return Entry(
        frame if isinstance(frame, int) else index,
        time,
        arguments,
        read,
        document.get("cut") is True,
    )
