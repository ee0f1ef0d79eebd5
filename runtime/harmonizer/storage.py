"""Write files so that they are seen whole or not at all, alone or as a set, and leave nothing.

Everything is first written under a hidden name beside its place, `.harmonizer-<16 digits>.<kind>`,
which the writer keeps locked as long as it lives. A later run that comes to the folder removes what
is not locked any more: its writer was killed.

A set is put in place by a list of renames that is itself put in place first (its kind is "set"). A
writer that is killed between two renames leaves that list, and the next run does the rest: what is
in the folder then is the whole new set.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harmonizer.errors import StorageError
from harmonizer.reading import DOCUMENT_LIMIT, describe_kind
from harmonizer.systems import (
    OPEN_FILES_MOVE,
    OWN,
    claim,
    hold,
    open_folder,
    set_mode,
    set_owner,
    sync_folder,
)

_NAME = re.compile(r"\.harmonizer-[0-9a-f]{16}\.[0-9A-Za-z.]{1,12}")
_SET = ".set"
_ATTEMPTS = 16

_swept: set[str] = set()
_guard = threading.Lock()


class Temporary:
    """A file, or a folder of files, under a hidden name until `publish` gives it its own.

    One that is dropped without that is removed, wherever an interrupt came.

    Args:
        target: Its own name; links in it must be resolved. What is there is replaced.
        suffix: End of the hidden name, for writers that choose a format by it.
        folder: Make a folder.

    Attributes:
        path: The hidden name.

    Raises:
        OSError: If it cannot be made there, or the target is no regular file.
    """

    def __init__(self, target: Path, suffix: str = ".tmp", folder: bool = False) -> None:
        check_target(target)
        self.target = target
        self._descriptor, self._owner, self._pending = -1, os.getpid(), False
        sweep(target.parent)
        for _ in range(_ATTEMPTS):
            self.path = target.with_name(f".harmonizer-{secrets.token_hex(8)}{suffix}")
            try:
                self._descriptor, self._mode = _create(self.path, folder)
                if _is_held(self._descriptor, self.path):
                    self._pending = True
                    return
            except FileExistsError:  # another's
                raise
            except BaseException:
                _remove(self.path)
                raise
            self.close()
        raise OSError(errno.EBUSY, "hidden files vanish as they are made", str(target.parent))

    def write(self, data: bytes) -> None:
        """Fill the file.

        Raises:
            OSError: If it cannot be written.
        """
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def settle(self) -> None:
        """Bring the content to the disk, and give the file the mode that it will be seen with.

        It can be renamed then, and not be written any more.

        Raises:
            OSError: If that fails.
        """
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            if not stat.S_ISDIR(os.fstat(self._descriptor).st_mode):
                self._adopt_mode()
        if not OPEN_FILES_MOVE:
            self._shut()

    def publish(self) -> None:
        """Give it its own name; it is there whole after a loss of power, too.

        Raises:
            OSError: If that fails; what was there stays.
        """
        self.settle()
        check_target(self.target)
        self.path.replace(self.target)
        sync_folder(self.target.parent)
        self.close()

    def close(self) -> None:
        """Let go of the lock; for one whose name is given otherwise."""
        self._pending = False
        self._shut()

    def discard(self) -> None:
        """Remove it, if it has not been published. May be called again."""
        if self._pending:
            if not OPEN_FILES_MOVE:
                self._shut()
            _remove(self.path)
            self.close()

    def __enter__(self) -> "Temporary":
        return self

    def __exit__(self, *ended: object) -> None:
        self.discard()

    def __del__(self) -> None:
        if getattr(self, "_owner", None) == os.getpid():  # a forked process holds copies of it
            self.discard()

    def _adopt_mode(self) -> None:
        """The permissions of the file that is replaced, or those of a new one."""
        mode = self._mode
        with contextlib.suppress(FileNotFoundError):
            before = self.target.stat()
            mode = before.st_mode & 0o777
            set_owner(self._descriptor, before.st_uid, before.st_gid)
        set_mode(self._descriptor, mode)

    def _shut(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def resolved(path: str | Path) -> Path:
    """The file that a name stands for: links followed, also a last one that leads nowhere."""
    return Path(os.path.realpath(path))


def check_target(target: Path) -> None:
    """Refuse to replace what is no regular file.

    Raises:
        OSError: If there is a folder, a device, a pipe or a socket of that name.
    """
    try:
        mode = target.lstat().st_mode
    except FileNotFoundError:
        return
    kind = describe_kind(mode)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if kind is not None:
        raise OSError(errno.EINVAL, f"a regular file could be replaced, and it is {kind}")


def write_file(path: str | Path, data: bytes) -> None:
    """Put a whole file in place, or leave what was there.

    Raises:
        OSError: If it cannot be written.
    """
    with Temporary(resolved(path)) as temporary:
        temporary.write(data)
        temporary.publish()


def check_writable(path: str | Path) -> None:
    """Find out before the work whether a file can be written there.

    What killed runs left in its folder is removed.

    Raises:
        StorageError: If it cannot.
    """
    target = resolved(path)
    if target.is_dir():
        raise StorageError(f"{path} must be a file to write; it is a folder. Name a file in it.")
    try:
        Temporary(target).discard()
    except OSError as error:
        raise _write_error(path, error) from error


def write_atomically(path: str | Path, data: bytes) -> None:
    """Put a whole file in place, or leave what was there.

    The data goes to a temporary file in the same folder, to the disk, and is then renamed. An
    existing file's permissions are kept; a symbolic link is followed; what is no regular file is
    not replaced.

    Raises:
        StorageError: If the file cannot be written.
    """
    try:
        write_file(path, data)
    except OSError as error:
        raise _write_error(path, error) from error


def make_folder(path: Path) -> None:
    """Create a folder and those above it, where they are not there.

    Raises:
        StorageError: If it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} must be a folder to write in; it cannot be created: "
            f"{error.strerror or error}. Name another output folder."
        ) from error


def _write_error(path: str | Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} cannot be written: {error.strerror or error}. Check that its folder exists and "
        "that you may write there."
    )


def write_set(files: Mapping[Path, bytes]) -> None:
    """Put the files of a set in place, all of them or none. They lie in one folder.

    Raises:
        OSError: If one cannot be written; the set of before is intact then.
        ValueError: If they lie in different folders.
    """
    contents = {resolved(path): data for path, data in files.items()}
    if len({path.parent for path in contents}) != 1:
        raise ValueError(f"a set must lie in one folder; got {', '.join(map(str, contents))}.")
    staged: list[Temporary] = []
    try:
        for path, data in contents.items():
            staged.append(Temporary(path))
            staged[-1].write(data)
            staged[-1].settle()
        rename_together(
            next(iter(contents)).parent, {item.path.name: item.target.name for item in staged}
        )
        for item in staged:
            item.close()
    finally:
        for item in staged:
            item.discard()


def rename_together(folder: Path, names: Mapping[str, str]) -> None:
    """Rename files in a folder: if this process is killed meanwhile, a later run does the rest.

    Args:
        folder: Where they go to.
        names: From names below it, which must have been written, to names in it.

    Raises:
        OSError: If a file cannot be renamed.
    """
    sync_folder(folder)
    journal = Temporary(folder / ".harmonizer-set", suffix=".tmp")
    final = journal.path.with_suffix(_SET)
    with journal:
        journal.write(json.dumps(dict(names)).encode())
        journal.settle()
        try:
            journal.path.replace(final)
            sync_folder(folder)
            _rename_or_undo(folder, names)
        finally:
            _remove(final)
        sync_folder(folder)


def sweep(folder: Path, again: bool = False) -> None:
    """Finish or remove what killed runs left in a folder: once a process, or `again`.

    Only this user's files with the hidden names of this module are touched, and only those that no
    living process has locked. What cannot be removed stays, for it harms nobody.
    """
    key = str(folder)
    with _guard:
        if key in _swept and not again:
            return
        _swept.add(key)
    try:
        left = [folder / e.name for e in os.scandir(folder) if _NAME.fullmatch(e.name)]
    except OSError:
        return
    for path in sorted(left, key=lambda path: path.suffix != _SET):
        with contextlib.suppress(OSError, ValueError), _abandoned(path):
            if path.suffix == _SET:
                _finish_set(path)
            _remove(path)


def _create(path: Path, folder: bool) -> tuple[int, int]:
    """Make a file or folder that nobody else can read yet; its descriptor, and its usual mode."""
    if folder:
        path.mkdir()
        return open_folder(path), 0
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | OWN, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    set_mode(descriptor, 0o600)
    return descriptor, mode


def _is_held(descriptor: int, path: Path) -> bool:
    """Lock what was just made; False if another run took it for a dead one's and removed it."""
    try:
        hold(descriptor)
    except OSError:  # a file system without locks; nothing can be swept there either
        return True
    try:
        return descriptor < 0 or os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


@contextmanager
def _abandoned(path: Path) -> Iterator[None]:
    """Hold what a dead process has left; OSError if its owner lives or it is not ours."""
    descriptor = claim(path)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _finish_set(journal: Path) -> None:
    with journal.open("rb") as file:
        names = json.loads(file.read(DOCUMENT_LIMIT))
    if not isinstance(names, dict):
        raise ValueError(f"{journal} is no list of renames")
    for source, name in names.items():
        parts = Path(source).parts
        plain = isinstance(name, str) and Path(name).name == name and not _NAME.fullmatch(name)
        if not plain or len(parts) > 2 or ".." in parts or not _NAME.fullmatch(parts[0]):
            raise ValueError(f"{journal} names files elsewhere")
    _rename_all(journal.parent, names)
    sync_folder(journal.parent)


def _rename_all(folder: Path, names: Mapping[str, str]) -> None:
    for source, name in names.items():
        # Of a list that is gone through again, the first ones are in place already.
        with contextlib.suppress(FileNotFoundError):
            (folder / source).replace(folder / name)


def _rename_or_undo(folder: Path, names: Mapping[str, str]) -> None:
    """Rename all; if one cannot be, put back what was there."""
    kept: dict[str, Path] = {}
    done: list[str] = []
    try:
        for name in names.values():
            before = folder / f".harmonizer-{secrets.token_hex(8)}.old"
            with contextlib.suppress(OSError):  # not there, or a file system without links
                os.link(folder / name, before, follow_symlinks=False)
                kept[name] = before
        for source, name in names.items():
            (folder / source).replace(folder / name)
            done.append(name)
    except BaseException:
        for name in done:
            with contextlib.suppress(OSError):
                if name in kept:
                    kept[name].replace(folder / name)
                else:
                    (folder / name).unlink()
        raise
    finally:
        for before in kept.values():
            _remove(before)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
