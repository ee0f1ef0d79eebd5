"""Files in object storage, by their addresses: s3://, gs://, and what pyarrow and fsspec know."""

import contextlib
import hashlib
import secrets
import time
from pathlib import Path

from pyarrow import ArrowInvalid
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem
from pyarrow.fs import PyFileSystem as OtherFileSystem

from harmonizer.batch import RECORD_NAME, Entry, describe_settings, failure, parse_entry
from harmonizer.composites import harmonize_file
from harmonizer.errors import ImageFileError, StorageError
from harmonizer.images.files import READ_SUFFIXES
from harmonizer.images.memory import Blob, Sink
from harmonizer.limits import max_file_bytes
from harmonizer.pairing import Item, Outcome, no_composites, pair_found
from harmonizer.picture import FileOptions
from harmonizer.recipes import Recipe, Tools
from harmonizer.storage import write_atomically
from harmonizer.usage import without_secrets

_WHOLE = ("s3", "gcs", "abfs")
"""File systems in which a file is there when it is closed, and not before."""

_MOST_BYTES = 1 << 24
"""Of a file of the record."""

_LINES, _SECONDS = 100, 10.0
"""The record gets a file of so many lines, or after that time: objects cannot be added to."""


class Folder:
    """A folder by its address.

    Args:
        address: Such as s3://bucket/folder, or a path of this machine.

    Attributes:
        files: Its file system.
        root: Its path there.

    Raises:
        ImageFileError: If no such storage is known.
    """

    def __init__(self, address: str | Path) -> None:
        self.address = str(address).rstrip("/")
        if "://" not in self.address:
            self.files, root = LocalFileSystem(), str(Path(self.address).absolute())
        else:
            self.files, root = _file_system(self.address)
        self.root = Path(root.rstrip("/"))

    def __str__(self) -> str:
        return without_secrets(self.address)

    def find(self) -> tuple[list[Path], list[str]]:
        """Images below it, sorted, and the names of other files; hidden ones are left out.

        Raises:
            ImageFileError: If it cannot be listed.
        """
        try:
            found = self.files.get_file_info(FileSelector(str(self.root), recursive=True))
        except OSError as error:
            raise ImageFileError(f"{self} must be a folder; {error}. Name one.") from error
        paths = sorted(Path(info.path) for info in found if info.type == FileType.File)
        paths = [
            path
            for path in paths
            if not any(part.startswith(".") for part in path.relative_to(self.root).parts)
        ]
        images = [path for path in paths if path.suffix.lower() in READ_SUFFIXES]
        return images, [path.name for path in paths if path not in set(images)]

    def read(self, path: Path, most: int) -> bytes:
        """A file's bytes.

        Raises:
            ImageFileError: If it has more than `most`.
            OSError: If it cannot be read.
        """
        info = self.files.get_file_info(str(path))
        if info.type != FileType.File:
            raise ImageFileError(f"{path} must be a file of {self}; it is not.")
        if info.size is not None and info.size > most:
            raise ImageFileError(f"{path} must have at most {most:,} bytes; it has {info.size:,}.")
        with self.files.open_input_stream(str(path)) as stream:
            data: bytes = stream.read(most + 1)
        if len(data) > most:
            raise ImageFileError(f"{path} must have at most {most:,} bytes; it has more.")
        return data

    def write(self, path: Path, data: bytes) -> None:
        """Put a whole file in place, or leave what was there.

        Raises:
            StorageError: If it cannot be written.
        """
        if isinstance(self.files, LocalFileSystem):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
            return
        whole = self.files.type_name in _WHOLE
        place = path if whole else path.with_name(f".harmonizer-{secrets.token_hex(8)}.tmp")
        try:
            if not whole:
                self.files.create_dir(str(path.parent), recursive=True)
            with self.files.open_output_stream(str(place)) as stream:
                stream.write(data)
            if not whole:
                self.files.move(str(place), str(path))
        except OSError as error:
            raise StorageError(f"{path} of {self} cannot be written: {error}.") from error

    def state(self, path: Path) -> str:
        """Size and time of change; empty if nothing is there."""
        info = self.files.get_file_info(str(path))
        return f"{info.size} bytes, {info.mtime_ns}" if info.type == FileType.File else ""


def _file_system(address: str) -> tuple[FileSystem, str]:
    with contextlib.suppress(ArrowInvalid):  # of a kind that pyarrow does not have itself
        files, root = FileSystem.from_uri(address)
        return files, str(root)
    import fsspec

    try:
        found, root = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise ImageFileError(
            f"{without_secrets(address)} must lie in storage that pyarrow or fsspec knows; "
            f"{without_secrets(str(error))}."
        ) from error
    return OtherFileSystem(FSSpecHandler(found)), root


def pair_objects(
    composites: Folder, masks: Folder | None, output: Folder, suffix: str | None
) -> tuple[list[Item], list[Outcome]]:
    """Pair as `pairing.pair_files` does; without a mask folder, masks lie beside or in alpha.

    Raises:
        ImageFileError: As there.
    """
    found, rest = composites.find()
    same = output.files.equals(composites.files)
    if same and output.root != composites.root:
        found = [path for path in found if not path.is_relative_to(output.root)]
    if not found:
        raise no_composites(composites, rest)
    others = None if masks is None else masks.find()[0]
    return pair_found(
        found, composites.root, others, None if masks is None else masks.root, output.root, suffix
    )


class ObjectWorker:
    """Does items in storage, as `harmonizer.batch.Worker` does files: the same bytes.

    An output is not done again where inputs and output still have size and time of change: their
    contents are not fetched for that.

    Args:
        tools: What predicts and draws.
        folders: Of composites, of masks, of outputs.
        recipe: Where the arguments come from.
        options: How files are read and written.
    """

    def __init__(
        self,
        tools: Tools,
        folders: tuple[Folder, Folder | None, Folder],
        recipe: Recipe,
        options: FileOptions,
    ) -> None:
        self._tools = tools
        self._composites, masks, self._output = folders
        self._masks = masks or self._composites
        self._recipe = recipe
        self._options = options
        self._settings = describe_settings(tools, recipe, options)
        self._most = max_file_bytes(options.max_pixels)

    def do(self, item: Item, before: Entry | None) -> tuple[Outcome, Entry | None]:
        """Do an item, unless the record's entry says that it is done."""
        try:
            name = item.output.relative_to(self._output.root).as_posix()
            key = self._key(item)
            if before == Entry(name, key, self._output.state(item.output)):
                return Outcome(item.composite, "skipped"), None
            composite = self._blob(self._composites, item.composite)
            mask = None if item.mask is None else self._blob(self._masks, item.mask)
            sink = Sink(item.output.suffix, str(item.output))
            result = harmonize_file(self._tools, composite, mask, sink, self._recipe, self._options)
            self._output.write(item.output, sink.data)
            entry = Entry(name, key, self._output.state(item.output))
        except Exception as error:  # one bad file must not end the batch; the report names it
            return failure(item, error), None
        return Outcome(item.composite, "done", result.notes, arguments=result.arguments), entry

    def _key(self, item: Item) -> str:
        states = [self._composites.state(item.composite)]
        states += [self._masks.state(item.mask)] if item.mask else []
        return hashlib.sha256(repr((self._settings, states)).encode()).hexdigest()

    def _blob(self, folder: Folder, path: Path) -> Blob:
        return Blob(folder.read(path, self._most), str(path))


class ObjectRecord:
    """A record in storage: a folder of small files, for objects cannot be added to.

    A context manager, which writes the rest at its end.

    Args:
        output: Where the batch writes.
        force: Take nothing for done.

    Raises:
        ImageFileError: If it cannot be read.
    """

    def __init__(self, output: Folder, force: bool = False) -> None:
        self._output = output
        self._root = output.root / f".{RECORD_NAME}"
        self._done = {} if force else self._read()
        self._lines: list[bytes] = []
        self._began = time.monotonic()

    def before(self, item: Item) -> Entry | None:
        """The entry of an item; None if it has none."""
        return self._done.get(item.output.relative_to(self._output.root).as_posix())

    def add(self, entry: Entry) -> None:
        """Write a line; it is there soon."""
        self._lines.append(entry.line())
        if len(self._lines) >= _LINES or time.monotonic() - self._began > _SECONDS:
            self._write()

    def __enter__(self) -> "ObjectRecord":
        return self

    def __exit__(self, *ended: object) -> None:
        self._write()

    def _write(self) -> None:
        if self._lines:
            name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
            self._output.write(self._root / name, b"".join(self._lines))
        self._lines, self._began = [], time.monotonic()

    def _read(self) -> dict[str, Entry]:
        files = self._output.files
        where = FileSelector(str(self._root), allow_not_found=True)
        done = {}
        try:
            paths = sorted(Path(info.path) for info in files.get_file_info(where))  # by time
            for path in paths:
                for line in self._output.read(path, _MOST_BYTES).splitlines():
                    if (entry := parse_entry(line)) is not None:
                        done[entry.output] = entry
        except OSError as error:
            raise ImageFileError(
                f"the record of {self._output} must be readable; {error}. Name another output."
            ) from error
        return done
