"""One browser and one page for all tests of a file, and what is built for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from browser import need_node, open_browser
from PIL import Image
from studio_page import open_studio, served

from harmonizer import _native


@pytest.fixture(scope="session")
def package() -> Path:
    """The built `@harmonizer/web`."""
    need_node()
    from build_studio import build_package

    return build_package()


@pytest.fixture(scope="session")
def studio_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built studio."""
    need_node()
    from build_studio import build_site

    return build_site(tmp_path_factory.mktemp("site") / "studio")


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[Any]:
    with open_browser(getattr(request, "param", "chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def address(studio_site: Path) -> Iterator[str]:
    """The studio under a path, as a static host may have it."""
    with served(studio_site, "a/b/") as found:
        yield f"{found}index.html"


@pytest.fixture(scope="module")
def opened_studio(browser: Any, address: str) -> Iterator[Any]:
    """One page for the file: loading the network takes longer than a test."""
    with open_studio(browser, address) as page:
        yield page


@pytest.fixture
def studio(opened_studio: Any) -> Iterator[Any]:
    yield opened_studio
    assert not opened_studio.faults, opened_studio.faults


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A composite, its mask, the cut-out of both and a background."""
    folder = tmp_path_factory.mktemp("pictures")
    image = np.ascontiguousarray(skimage.data.astronaut()[:300, :400])
    mask = np.zeros((300, 400), np.uint8)
    mask[40:260, 120:330] = 255
    mask[40:260, 110:120] = 100
    made = {"composite": image, "mask": mask, "cutout": np.dstack([image, mask])}
    for name, array in {**made, "background": skimage.data.rocket()}.items():
        Image.fromarray(array).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def plainest_instructions() -> Iterator[None]:
    """Those without a fused multiply-add, which WebAssembly has not either."""
    if _native.isa().startswith("x86-64"):
        _native.set_isa("x86-64")
    yield
    _native.set_isa(None)
