"""Where this repository and the shared data are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_data(*parts: str) -> Path:
    """A path in the shared data, or a skip that says why."""
    folder = Path(os.environ.get("HARMONIZER_DATA", ROOT / "../shared/data"))
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data at {path}; set HARMONIZER_DATA")
    return path
