"""The documentation's site."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from site_pages import gather


def test_gather_keeps_links_between_pages_and_drops_those_to_sources(tmp_path: Path) -> None:
    for folder in ("docs/decisions", "docs/images", "models"):
        (tmp_path / folder).mkdir(parents=True)
    text = "[a](docs/a.md#b) [w](https://example.org) [code](x.py) ![p](docs/images/p.png)\n"
    (tmp_path / "README.md").write_text(text)
    (tmp_path / "docs/a.md").write_text("[up](../README.md) [sources](../runtime/)\n")
    (tmp_path / "docs/images/p.png").write_bytes(b"png")
    output = tmp_path / "out"
    assert len(gather(tmp_path, output)) == 2
    kept = "[a](docs/a.md#b) [w](https://example.org) code ![p](docs/images/p.png)\n"
    assert (output / "README.md").read_text() == kept
    assert (output / "docs/a.md").read_text() == "[up](../README.md) sources\n"
    assert (output / "docs/images/p.png").read_bytes() == b"png"


def test_every_page_is_in_the_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for folder in ("docs", "docs/decisions"):
        for page in (ROOT / folder).glob("*.md"):
            assert f" {page.relative_to(ROOT).as_posix()}\n" in menu, page


@pytest.mark.slow
def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    if importlib.util.find_spec("material") is None:
        pytest.skip("needs mkdocs-material")
    gather(ROOT, tmp_path / "pages")
    settings = (ROOT / "mkdocs.yml").read_text().replace("build/site-pages", "pages")
    (tmp_path / "mkdocs.yml").write_text(settings.replace("build/site", "site"))
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    warnings = re.findall(r"^WARNING.*", done.stderr, re.MULTILINE)
    assert done.returncode == 0 and not warnings, done.stderr
    assert (tmp_path / "site/docs/using/index.html").is_file()
