"""What the tests of the command line share."""

import sys
from pathlib import Path

import numpy as np
import pytest

from harmonizer.cli import main
from harmonizer.images.files import load_photo

COMMAND = [sys.executable, "-m", "harmonizer.cli"]


def pixels(path: Path | str) -> np.ndarray:
    return load_photo(path).pixels


def refused(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> str:
    """Run a command line that must fail; return its one line of complaint."""
    assert main(list(words)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("harmonizer: error: ")
    return line
