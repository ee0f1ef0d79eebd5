"""What POSIX and Windows do differently with files, in one place. Not run on Windows yet.

Windows has no owners and modes (its lists of rights guard a user's folders), no descriptors of
folders, and refuses to rename or remove a file that is open: that takes the place of the lock by
which a temporary file is known to be in use.
"""

import ctypes
import errno
import importlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

HAS_OWNERS = hasattr(os, "geteuid")
"""Whether files have an owner and a mode that say who may write."""

OPEN_FILES_MOVE = os.name != "nt"
"""Whether a file that is open can be renamed and removed."""


def _flags(*names: str) -> int:
    return sum(getattr(os, name, 0) for name in names)


OWN = _flags("O_CLOEXEC", "O_NOINHERIT", "O_BINARY")
"""For every descriptor: no child inherits it, and bytes stay what they are."""

LARGE_BLOCK = 8 << 20
"""From how many bytes on freed memory goes back to the system: see `return_large_blocks`."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Settings of glibc's mallopt (malloc.h)."""

NOFOLLOW, NONBLOCK = _flags("O_NOFOLLOW"), _flags("O_NONBLOCK")


def is_own(status: os.stat_result, or_root: bool = False) -> bool:
    """Whether a file is this user's, or the administrator's; where files have owners."""
    if not HAS_OWNERS:
        return True
    return status.st_uid == os.geteuid() or (or_root and status.st_uid == 0)


def set_mode(descriptor: int, mode: int) -> None:
    """Give an open file a mode, where files have one.

    Raises:
        OSError: If the system refuses.
    """
    if HAS_OWNERS:
        os.fchmod(descriptor, mode)


def set_owner(descriptor: int, owner: int, group: int) -> None:
    """Give an open file an owner, where files have one and this user may.

    Raises:
        OSError: If the system refuses for another reason than that.
    """
    if HAS_OWNERS and (owner, group) != (os.geteuid(), os.getegid()):
        try:
            os.fchown(descriptor, owner, group)
        except PermissionError:  # only an administrator may
            return


def open_folder(folder: Path) -> int:
    """A descriptor of a folder; -1 where there is no such thing.

    Raises:
        OSError: If it cannot be opened.
    """
    return os.open(folder, os.O_RDONLY | OWN) if OPEN_FILES_MOVE else -1


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk, where a program can.

    Raises:
        OSError: If the system reports an error.
    """
    descriptor = open_folder(folder)
    if descriptor < 0:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems without such a notion
            raise
    finally:
        os.close(descriptor)


def lock(descriptor: int, wait: bool = True) -> None:
    """Lock an open file against other processes; the system lets go of it when it is closed.

    Windows locks its first byte, and others cannot read that meanwhile: for files that exist to
    be locked.

    Raises:
        OSError: If it is locked and `wait` is false, or there are no locks here.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    try:
        msvcrt: Any = importlib.import_module("msvcrt")
    except ImportError as error:
        raise OSError(errno.ENOTSUP, "this system has no locks for files") from error
    while True:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            return
        except OSError as error:  # LK_LOCK gives up after ten seconds
            if not wait or error.errno not in (errno.EDEADLK, errno.EACCES):
                raise


def hold(descriptor: int) -> None:
    """Mark a temporary file, or folder, as in use for as long as it is open.

    Raises:
        OSError: If the file system has no locks.
    """
    if OPEN_FILES_MOVE:
        lock(descriptor)


def claim(path: Path) -> int:
    """Take over a file or folder that no living process holds; close the descriptor after use.

    Returns:
        Its descriptor; -1 where there was nothing to hold: it was not open.

    Raises:
        OSError: If it is held, is another user's, or is neither a file nor a folder. Where
            folders cannot be held, they are left alone.
    """
    if not OPEN_FILES_MOVE:
        if not path.is_file() or path.is_symlink():
            raise PermissionError(errno.EPERM, "nobody can tell whether it is in use", str(path))
        path.rename(path)  # refused where it is open
        return -1
    descriptor = os.open(path, os.O_RDONLY | NOFOLLOW | NONBLOCK | OWN)
    try:
        status = os.fstat(descriptor)
        kept = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        if not kept or not is_own(status):
            raise PermissionError(errno.EPERM, "not this user's", str(path))
        lock(descriptor, wait=False)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def return_large_blocks() -> bool:
    """Let memory of `LARGE_BLOCK` bytes and more go back to the system when it is freed.

    glibc learns from the first large array that is freed to keep such memory, up to 64 MB in the
    heap of each thread, and four workers keep four times that. It is a setting of the whole
    process, for commands to make: a library leaves its host's allocator alone.

    Returns:
        Whether the allocator has such a setting.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return all(mallopt(name, LARGE_BLOCK) == 1 for name in (_TRIM_THRESHOLD, _MMAP_THRESHOLD))
