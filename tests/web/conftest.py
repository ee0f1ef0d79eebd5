"""One browser for all tests of a file, and what is built for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import need_node, open_browser


@pytest.fixture(scope="session")
def package() -> Path:
    """The built `@harmonizer/web`."""
    need_node()
    from build_studio import build_package

    return build_package()


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_browser(getattr(request, "param", "chromium")) as opened:
        yield opened
