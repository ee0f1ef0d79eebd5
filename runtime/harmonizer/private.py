"""Files and folders that must be this user's alone: locks, and caches that are trusted later."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from harmonizer.systems import HAS_OWNERS, NOFOLLOW, NONBLOCK, OWN, is_own, lock

CACHE_VARIABLE = "HARMONIZER_CACHE"
"""Environment variable that names another folder for caches."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, waiting for it; the system lets go of it when the process ends.

    The file stays: removing it would race. A link is not followed, and nothing is written. (The
    filelock package would do, but for the owner and the kind of the file, which it does not check.)

    Raises:
        OSError: If the file cannot be opened, is a link, or belongs to another user.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NOFOLLOW | OWN, 0o600)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not is_own(status, or_root=True):
            raise OSError(errno.EPERM, "a lock must be this user's own regular file", str(path))
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def cache_folder(kind: str) -> Path:
    """Where things of a kind are kept: `HARMONIZER_CACHE`, or the user's folder for caches.

    Args:
        kind: The folder's name in it, such as "engines".
    """
    own = os.environ.get(CACHE_VARIABLE)
    base = Path(own) if own else user_cache_path("harmonizer", appauthor=False)
    return base / kind


def make_private_folder(folder: Path) -> None:
    """Make a folder for what is trusted later, that nobody else can write to.

    Raises:
        OSError: If it cannot be made; as `check_private` does.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
    check_private(folder)


def check_private(folder: Path) -> None:
    """Refuse a folder in which others could have put something, or of which they are the owner.

    Raises:
        OSError: If it, or one above it, belongs to another user than this one and the system's, or
            others may write there (above it: unless it is sticky, as /tmp is).
    """
    if not HAS_OWNERS:  # the user's own folders are nobody else's by the system's lists of rights
        return
    own = Path(os.path.realpath(folder))
    for path in (own, *own.parents):
        status = path.stat()
        writable = 0o022 if path == own else 0o002
        shared = status.st_mode & writable and not (path != own and status.st_mode & stat.S_ISVTX)
        if not is_own(status, or_root=True) or shared:
            raise OSError(
                errno.EPERM,
                f"it must be yours alone, and {path} is user {status.st_uid}'s with mode "
                f"{stat.S_IMODE(status.st_mode):o}; chmod go-w it, or choose another folder",
                str(folder),
            )


def read_private(path: Path, limit: int) -> bytes:
    """The bytes of a file of a private folder.

    Raises:
        OSError: As `check_private` does for its folder; if it is a link, no regular file, another
            user's, writable by others, or larger than `limit`.
    """
    check_private(path.parent)
    descriptor = os.open(path, os.O_RDONLY | NOFOLLOW | NONBLOCK | OWN)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        _check_own(path, status)
        if status.st_size > limit:
            raise OSError(errno.EFBIG, f"it must have at most {limit:,} bytes", str(path))
        return file.read(status.st_size)


def check_own_file(path: Path) -> None:
    """Refuse what is no file of this user alone; a link is none.

    Raises:
        OSError: If it is a link, no regular file, another user's, or others may write it.
    """
    _check_own(path, path.lstat())


def _check_own(path: Path, status: os.stat_result) -> None:
    kept = stat.S_ISREG(status.st_mode) and is_own(status, or_root=True)
    if not kept or (HAS_OWNERS and status.st_mode & 0o022):
        raise OSError(
            errno.EPERM,
            f"it must be your own file, which nobody else can write; it is user "
            f"{status.st_uid}'s with mode {stat.S_IMODE(status.st_mode):o}",
            str(path),
        )
