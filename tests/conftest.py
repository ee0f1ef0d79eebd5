"""Fixtures that several test files share."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]


def shared_data(*parts: str) -> Path:
    """A path in the shared data, or a skip that says why."""
    folder = Path(os.environ.get("HARMONIZER_DATA", ROOT / "../shared/data"))
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no shared data at {path}; set HARMONIZER_DATA")
    return path


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """A real photograph, (400, 600, 3) uint8."""
    return skimage.data.coffee()


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The shipped checkpoint."""
    return ROOT / "models" / "harmonizer.safetensors"
