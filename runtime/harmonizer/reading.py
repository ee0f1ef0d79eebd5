"""Open input files: regular files alone, their size known before a byte is read.

Devices and pipes may never end and never answer; whatever this project reads by name, it reads
through here.
"""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from harmonizer.systems import NONBLOCK, OWN

DOCUMENT_LIMIT = 16 << 20
"""Bytes of a JSON document: arguments, descriptions, configurations."""

TRACK_LIMIT = 4 << 30
"""Bytes of a track: a day of curves."""

MODEL_LIMIT = 2 << 30
"""Bytes of a model; what a protobuf message can have."""

ENGINE_LIMIT = 4 << 30
"""Bytes of an engine."""

CHECKPOINT_LIMIT = 4 << 30
"""Bytes of a checkpoint or of a run's state."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def describe_kind(mode: int) -> str | None:
    """What a file is that is no regular one, such as "a device"; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _KINDS if test(mode)), "something else")


def check_regular(path: str | Path) -> os.stat_result:
    """Refuse what is no regular file, without opening it.

    Returns:
        What the system says of the file.

    Raises:
        OSError: If it is not there, or is a folder, a device, a pipe or a socket; `strerror` says
            which.
    """
    status = Path(path).stat()
    _refuse_irregular(path, status.st_mode)
    return status


def open_regular(path: str | Path, limit: int | None = None) -> BufferedReader:
    """Open a regular file to read.

    Args:
        path: The file; a link is followed.
        limit: Most bytes that it may have.

    Raises:
        OSError: As in `check_regular`, if it cannot be opened, or has more than `limit` bytes.
    """
    check_regular(path)
    # Without waiting: between the look and the opening it may have become a pipe.
    descriptor = os.open(path, os.O_RDONLY | NONBLOCK | OWN)
    try:
        status = os.fstat(descriptor)
        _refuse_irregular(path, status.st_mode)
        if limit is not None and status.st_size > limit:
            raise OSError(
                errno.EFBIG,
                f"it must have at most {limit:,} bytes, and has {status.st_size:,}",
                str(path),
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | Path, limit: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: The file; a link is followed.
        limit: Most bytes that it may have.

    Raises:
        OSError: As in `open_regular`, or if it grew while it was read.
    """
    with open_regular(path, limit) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size)
        if file.read(1):
            raise OSError(errno.EFBIG, "it must not grow while it is read, and did", str(path))
        return data


def _refuse_irregular(path: str | Path, mode: int) -> None:
    kind = describe_kind(mode)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind is not None:
        raise OSError(errno.EINVAL, f"it must be a regular file, and is {kind}", str(path))
