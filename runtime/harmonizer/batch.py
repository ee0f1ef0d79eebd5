"""Harmonize many composites: on threads, past bad files, without doing again what is done.

A record in the output folder (``harmonizer-batch.jsonl``, one line a finished file) says from what
each output was made; a file is skipped when its composite, its mask, the model and the settings are
what the record says and the output still is what was written.

The workers share the memory of one image of `FileOptions.max_pixels`: small images are worked on
side by side, of the largest one at a time.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from harmonizer.composites import harmonize_file
from harmonizer.documents import parse_document
from harmonizer.errors import ImageFileError, StorageError
from harmonizer.images.decoding import read_size
from harmonizer.limits import BYTES_PER_PIXEL, MemoryBudget, max_file_bytes
from harmonizer.pairing import Item, Outcome
from harmonizer.picture import FileOptions
from harmonizer.reading import open_regular
from harmonizer.recipes import Recipe, Tools
from harmonizer.storage import make_folder
from harmonizer.systems import available_cores as available_cores

RECORD_NAME = "harmonizer-batch.jsonl"

_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the record.

    Attributes:
        output: The file's place below the output folder.
        key: What it follows from.
        written: SHA-256 of what was written; in object storage its size and time of change.
    """

    output: str
    key: str
    written: str

    def line(self) -> bytes:
        """As JSON."""
        entry = {"output": self.output, "key": self.key, "written": self.written}
        return json.dumps(entry).encode() + b"\n"


class Worker:
    """Does items, on as many threads as call it: all that a batch's files follow from.

    Args:
        tools: What predicts and draws.
        output: Folder below which the items' outputs lie.
        recipe: Where the arguments come from.
        options: How files are read and written.
    """

    def __init__(self, tools: Tools, output: Path, recipe: Recipe, options: FileOptions) -> None:
        self._tools = tools
        self._output = output
        self._recipe = recipe
        self._options = options
        self._settings = describe_settings(tools, recipe, options)
        self._most = max_file_bytes(options.max_pixels)
        self._budget = MemoryBudget(options.max_pixels * BYTES_PER_PIXEL)
        self._looking = Lock()

    def do(self, item: Item, before: Entry | None) -> tuple[Outcome, Entry | None]:
        """Do an item unless its output is what the record says.

        Args:
            item: From `pairing.pair_files`.
            before: The record's entry for it.

        Returns:
            What became of it, and an entry for the record if it was done now.
        """
        try:
            key = _key(item, self._settings, self._most)
            name = item.output.relative_to(self._output).as_posix()
            if before is not None and before == Entry(name, key, _written(item.output)):
                return Outcome(item.composite, "skipped"), None
            make_folder(item.output.parent)
            own, most = item.own(self._options), self._options.max_pixels
            with self._looking:  # a file is in memory meanwhile, beside those that are worked on
                costs = [read_size(path, most).cost for path in item.inputs()]
            with self._budget.of(max(costs)):
                result = harmonize_file(
                    self._tools, item.composite, item.mask, item.output, self._recipe, own
                )
            entry = Entry(name, key, _written(item.output))
        except Exception as error:  # one bad file must not end the batch; the report names it
            return failure(item, error), None
        return Outcome(item.composite, "done", result.notes, arguments=result.arguments), entry


def failure(item: Item, error: Exception) -> Outcome:
    """What an error makes of an item."""
    known = isinstance(error, ValueError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return Outcome(item.composite, "failed", error=reason, again=not known)


def run_batch(
    tools: Tools,
    items: list[Item],
    output: Path,
    recipe: Recipe,
    options: FileOptions,
    workers: int,
    force: bool = False,
) -> Iterator[Outcome]:
    """Do the items on threads; yield what became of each as it finishes.

    Reading and writing files overlap with prediction and drawing, all of which release Python's
    lock. When the iterator is closed early, the items that have begun are finished.

    Args:
        tools: What predicts and draws, shared by all workers.
        items: From `pairing.pair_files`.
        output: Folder of the record.
        recipe: Where the arguments come from.
        options: How files are read and written.
        workers: Files in work at a time.
        force: Do again what is done.

    Raises:
        StorageError: If the output folder cannot be created.
    """
    worker = Worker(tools, output, recipe, options)
    with Record(output, force) as record:
        pool = ThreadPoolExecutor(workers)
        try:
            futures = [pool.submit(worker.do, item, record.before(item)) for item in items]
            for future in as_completed(futures):
                outcome, entry = future.result()
                if entry is not None:
                    record.add(entry)
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)


class Record:
    """What an output folder's record says is done, open for more; a context manager.

    Args:
        output: The folder; created if it is not there.
        force: Take nothing for done.

    Raises:
        StorageError: If the folder or the record cannot be written.
        ImageFileError: If the record cannot be read.
    """

    def __init__(self, output: Path, force: bool = False) -> None:
        self._output = output
        path = output / RECORD_NAME
        self._done = {} if force else _read_record(path)
        make_folder(output)
        self._file = _append(path)

    def before(self, item: Item) -> Entry | None:
        """The entry of an item; None if it has none."""
        try:
            return self._done.get(item.output.relative_to(self._output).as_posix())
        except ValueError:  # not below the folder: the item fails by itself
            return None

    def add(self, entry: Entry) -> None:
        """Write a line."""
        self._file.write(entry.line())
        self._file.flush()

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *ended: object) -> None:
        self._file.close()


def describe_settings(tools: Tools, recipe: Recipe, options: FileOptions) -> str:
    """All that decides an output beside its input files."""
    from harmonizer import __version__

    model = tools.harmonizer.predictor.sha256() if tools.harmonizer is not None else None
    return repr((__version__, model, recipe, options))


def _key(item: Item, settings: str, most: int) -> str:
    """What an output follows from: settings, and the inputs by their times and contents."""
    inputs = [(path.stat().st_mtime_ns, _sha256(path, most)) for path in item.inputs()]
    return hashlib.sha256(repr((settings, inputs)).encode()).hexdigest()


def _sha256(path: Path, most: int | None = None) -> str:
    with open_regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(output: Path) -> str:
    """SHA-256 of what lies at an output's place; empty if nothing that can be read does."""
    try:
        return _sha256(output)
    except OSError:
        return ""


def _append(record: Path) -> BinaryIO:
    """Open the record to write at its end, past a line that an interruption has torn.

    Raises:
        StorageError: If it is no regular file, or cannot be written.
    """
    torn = False
    try:
        if record.exists():
            with open_regular(record) as before:
                size = before.seek(0, os.SEEK_END)
                before.seek(max(0, size - 1))
                torn = size > 0 and before.read() != b"\n"
        file = record.open("ab")
    except OSError as error:
        raise StorageError(
            f"{record} cannot be written: {error.strerror or error}. Remove it, or name another "
            "output folder."
        ) from error
    file.write(b"\n" * torn)
    return file


def _read_record(path: Path) -> dict[str, Entry]:
    """Output name -> entry; a line torn by an interruption counts as not written."""
    done: dict[str, Entry] = {}
    if not path.exists():
        return done
    try:
        with open_regular(path) as file:
            for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
                if (entry := parse_entry(line)) is not None:
                    done[entry.output] = entry
    except OSError as error:
        raise ImageFileError(
            f"{path} cannot be read: {error.strerror or error}. Remove it, or name another output "
            "folder."
        ) from error
    return done


def parse_entry(line: bytes) -> Entry | None:
    """A line of a record; None if it is none."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        entry = parse_document(line)
        written = entry["written"] if "written" in entry else entry["sha256"]  # as it was called
        return Entry(str(entry["output"]), str(entry["key"]), str(written))
    return None
