"""What the tests on a GPU share."""

from collections.abc import Iterator

import pytest
from gpu_device import nothing_left, require_gpu


@pytest.fixture
def device() -> Iterator[None]:
    """A GPU, on which the test leaves nothing."""
    require_gpu()
    with nothing_left():
        yield
