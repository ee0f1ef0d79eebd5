"""The studio in a tab with little memory: a browser of its own, which has less for WebAssembly."""

from pathlib import Path

import pytest
from browser import open_browser
from studio_page import download, drop, open_studio, write_huge

pytestmark = pytest.mark.long


def test_tab_without_memory_is_said_and_nothing_is_lost(
    address: str, pictures: Path, tmp_path: Path
) -> None:
    write_huge(tmp_path / "large.png", 8_000, 5_000)
    # 128 MiB for WebAssembly; the picture's pixels take 153.
    limit = "--js-flags=--wasm-max-mem-pages=2048"
    with open_browser("chromium", limit) as browser, open_studio(browser, address) as page:
        drop(page, pictures / "composite.png", pictures / "mask.png")
        before = download(page, "png")
        drop(page, tmp_path / "large.png", drawn=False)
        page.wait_for_selector("#message:visible")
        said = "The tab must have memory for a picture of 8000x5000 pixels, 153 MiB; it does not"
        assert said in page.inner_text("#message")
        assert download(page, "png") == before
