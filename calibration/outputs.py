"""Files that are written after long work: whether they can be is found out before it."""

from pathlib import Path

from harmonizer.errors import ImageFileError
from harmonizer.files import check_writable


def prepare_outputs(*paths: Path | None) -> None:
    """Make the folders of files to be written, and see that files can be made there.

    Args:
        *paths: Files; None is passed over.

    Raises:
        ImageFileError: If a folder cannot be made, or a file not be written into it.
    """
    for path in paths:
        if path is None:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageFileError(
                f"{path} must lie in a folder; {path.parent} is none and cannot be made "
                f"({error.strerror or error}). Name a file in another folder."
            ) from error
        check_writable(path)
