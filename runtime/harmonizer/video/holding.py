"""Which copied stream a container cannot hold: found by trying each alone.

libav says "Invalid argument" for it, at the header, at a packet or at the end, and not of which
stream.
"""

import contextlib
import errno
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import Any

import av

from harmonizer.video.errors import VideoError
from harmonizer.video.reader import VideoReader

_OF_THE_DISK = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
        *(errno.EACCES, errno.EPERM, errno.ENOENT, errno.EMFILE, errno.ENFILE),
    }
)

_PACKETS = 4
"""Packets of a stream that are tried."""

DISK = "Check that the disk has room and that you may write there."

_CONTAINER = (
    "The container or the encoder does not take these streams: write .mkv, which holds nearly "
    "everything, or choose another `codec`."
)


def cannot_hold(path: object, container: str, stream: Any, source: object) -> str:
    """The message for a stream that a container cannot hold."""
    name = {"ipod": "m4v"}.get(container, container)
    return (
        f"{path} must be able to hold the {stream.type} stream "
        f"({stream.codec_context.codec.canonical_name}) of {source}; {name} is not. Write .mkv, or "
        f"leave '{stream.type}' out of `copied`."
    )


@contextlib.contextmanager
def holding(path: object, container: str, rule: str, source: VideoReader | None) -> Iterator[None]:
    """Turn what libav or the system raises while writing into a `VideoError` that names the cause.

    Args:
        path: The output.
        container: libav's name of its format.
        rule: What must hold, such as "must be writable".
        source: Whose streams are copied; None for none.

    Raises:
        VideoError: For every error of libav and of the file system.
    """
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if getattr(error, "errno", None) in _OF_THE_DISK:
            raise VideoError(f"{path} {rule}; {reason}. {DISK}") from error
        for stream in source.copies if source is not None else ():
            if source is not None and not holds(container, source, stream.index):
                raise VideoError(cannot_hold(path, container, stream, source.path)) from error
        raise VideoError(f"{path} {rule}; {reason}. {_CONTAINER}") from error


def holds(container: str, source: VideoReader, index: int) -> bool:
    """Whether the beginning of a stream can be copied into such a container, alone.

    Some refuse at the header, some at a packet, and PCM in MP4 only when the file is closed. Of
    sparse streams, such as subtitles, much is read to find a few packets.

    Args:
        container: libav's name of a format.
        source: Whose stream; it is opened anew.
        index: Of the stream.
    """
    with contextlib.ExitStack() as stack:
        try:
            again = stack.enter_context(source.reopened())
        except (av.FFmpegError, OSError):
            return True  # what cannot be tried is not blamed
        out = av.open(BytesIO(), "w", format=container)
        stack.callback(_close, out)
        try:
            stream = again.streams[index]
            copy = out.add_stream_from_template(stream)
            out.start_encoding()
            packets = (packet for packet in again.demux(stream) if packet.dts is not None)
            for packet in islice(packets, _PACKETS):
                packet.stream = copy
                out.mux(packet)
            out.close()
        except (av.FFmpegError, ValueError, OSError):
            return False
    return True


def _close(container: Any) -> None:
    with contextlib.suppress(av.FFmpegError, ValueError, OSError):
        container.close()
