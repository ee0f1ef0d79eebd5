"""Errors of the video pipeline, and how those of libav become one line of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmonizer.errors import HarmonizerError


class VideoError(HarmonizerError, ValueError):
    """A video cannot be read, matched with its mask, or written."""


@contextmanager
def translated(path: str | Path, rule: str, remedy: str) -> Iterator[None]:
    """Turn what libav or the system raises into a `VideoError`.

    Args:
        path: The file that is worked on.
        rule: What must hold, such as "must be a readable video".
        remedy: What a person can do.

    Raises:
        VideoError: For every error of libav and of the file system.
    """
    import av

    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise VideoError(f"{path} {rule}; {reason}. {remedy}") from error
