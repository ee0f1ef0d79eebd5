"""A refusal ends with the remedy, not with what came."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

BARE = re.compile(r"\bgot [^.]*\.$")


def refusals(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each error that a module makes, with {} for what is put in."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            (text, *_), name = node.args, ast.unparse(node.func)
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            if name.endswith(("Error", ".error")):
                said = [str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts]
                yield node.lineno, "".join(said)


@pytest.mark.parametrize("folder", ["runtime/harmonizer/cli", "train", "calibration"])
def test_refusals_of_command_lines_end_with_the_remedy(folder: str) -> None:
    found = [(p, *r) for p in sorted((ROOT / folder).rglob("*.py")) for r in refusals(p)]
    assert len(found) > 10
    assert [place for place in found if BARE.search(place[2])] == []
