"""Links between the pages lead somewhere, and the index lists every page."""

import re
import subprocess
from pathlib import Path

import pytest
from repository import ROOT

PAGES = [
    path
    for folder in (".", "docs", "docs/decisions", "models")
    for path in sorted((ROOT / folder).glob("*.md"))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert "://" in link or (page.parent / link).exists(), link


def test_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_make_help_lists_every_command_of_the_contributing_pages() -> None:
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for page in ("CONTRIBUTING.md", "docs/testing.md"):
        for target in re.findall(r"`make ([\w-]+)`", (ROOT / page).read_text()):
            assert f"make {target} " in said.stdout or target in ("setup", "format"), target
