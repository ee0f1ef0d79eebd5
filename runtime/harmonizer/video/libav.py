"""Open containers with PyAV, whose interface differs between its versions.

Tags in another encoding than UTF-8 are kept byte by byte: version 18 has to be asked for it, 19
always does so. Versions below 18.1 cannot list an encoder's options.
"""

from pathlib import Path
from typing import Any, Literal

import av

from harmonizer.video.errors import VideoError

OLDEST, FIRST_UNKNOWN = (18, 1), (20,)
"""The range that pyproject.toml declares: tested with 18.1 and 19.0."""


def version_of(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: (19, 0) of "19.0.2rc1"."""
    numbers = []
    for part in text.split(".")[:2]:
        digits = "".join(character for character in part if character.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def check_version() -> None:
    """Refuse a PyAV outside the declared range.

    Raises:
        VideoError: If it is older or newer.
    """
    text = av.__version__
    if not OLDEST <= version_of(text) < FIRST_UNKNOWN:
        raise VideoError(
            f"video must have PyAV {OLDEST[0]}.{OLDEST[1]} or newer, below {FIRST_UNKNOWN[0]}; it "
            f"is {text}. Install one of these: pip install 'av>={OLDEST[0]}.{OLDEST[1]},"
            f"<{FIRST_UNKNOWN[0]}'."
        )


def open_container(
    path: str | Path, mode: Literal["r", "w"], options: dict[str, str] | None = None
) -> Any:
    """Open a media file to read or to write.

    Args:
        path: The file.
        mode: As of `av.open`.
        options: Of the container and its streams, by libav's names.

    Raises:
        VideoError: If this PyAV is outside the declared range.
        av.FFmpegError, OSError: As `av.open` does.
    """
    check_version()
    if version_of(av.__version__) < (19,):
        return av.open(str(path), mode, options=options, metadata_errors="surrogateescape")
    return av.open(str(path), mode, options=options)
