"""A real browser for tests: what it needs, or a skip that says what is missing."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bidi import open_firefox
from repository import ROOT

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser() -> str:
    """Chromium's program, or a skip."""
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("needs the Python package playwright, which `make setup` installs")
    named = os.environ.get("HARMONIZER_CHROMIUM")
    found = next(filter(None, (named, *map(shutil.which, BROWSERS))), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium, or set HARMONIZER_CHROMIUM")
    return found


THREE_PROCESSORS = (
    """() => Object.defineProperty(navigator, "hardwareConcurrency", {get: () => 3})"""
)
"""For a page before it loads: how many there are else decides the machine."""


def need_node() -> None:
    """Skip where what runs in the browser cannot be built."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js with npm to build what runs in the browser")
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("needs Zig to compile to WebAssembly, which `make setup` installs")
    if not (ROOT / "runtime/web/node_modules/.package-lock.json").is_file():
        pytest.skip("needs runtime/web/node_modules: run `make studio-build`")


def find_firefox() -> str:
    """Firefox's program, or a skip."""
    named = os.environ.get("HARMONIZER_FIREFOX")
    found = next(filter(None, (named, *map(shutil.which, ("firefox-esr", "firefox")))), None)
    if found is None:
        pytest.skip("needs Firefox: apt-get install firefox-esr, or set HARMONIZER_FIREFOX")
    return found


@contextmanager
def open_browser(kind: str = "chromium", *flags: str) -> Iterator[Any]:
    """Chromium as Playwright gives it, with more flags, or Firefox as `bidi` does."""
    if kind == "firefox":
        with open_firefox(find_firefox()) as firefox:
            yield firefox
        return
    program = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", *flags]
        )
        yield browser
        browser.close()


def bundle(entry: Path, target: Path) -> None:
    """A TypeScript module and all that it imports as one file."""
    from build_studio import bundle_module

    bundle_module(str(entry), f"--outfile={target}")
