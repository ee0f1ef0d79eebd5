"""Files that a linter from outside the project reads, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest


def assert_passes(linter: str, package: str, file: Path) -> None:
    """Run a linter on a file; skipped where it is absent.

    Args:
        linter: Its command.
        package: What pip installs it from.
        file: What it reads.
    """
    command = shutil.which(linter)
    if command is None:
        pytest.skip(f"no {linter}; `pip install {package}` brings it")
    done = subprocess.run([command, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
