"""Gather the documentation's pages for mkdocs, in the folders they have here: `make site`.

Pages link to sources, too, which are no part of the site: such a link becomes its words.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
FOLDERS = (".", "docs", "docs/decisions", "models")
LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def gather(root: Path, output: Path) -> list[Path]:
    """Write every page of a repository, and its pictures, into a folder; the pages."""
    pages = [page for folder in FOLDERS for page in sorted((root / folder).glob("*.md"))]
    known = {page.resolve() for page in pages}

    for page in pages:

        def keep(link: re.Match[str], page: Path = page) -> str:
            inside = "://" in link[2] or (page.parent / link[2]).resolve() in known
            return link[0] if inside else link[1]

        target = output / page.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(LINK.sub(keep, page.read_text(encoding="utf-8")), encoding="utf-8")
    shutil.copytree(root / "docs/images", output / "docs/images", dirs_exist_ok=True)
    return pages


if __name__ == "__main__":
    folder = ROOT / "build" / "site-pages"
    shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(gather(ROOT, folder))} pages in {folder}")
    sys.exit()
