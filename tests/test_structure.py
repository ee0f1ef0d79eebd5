"""Imports point one way, and the generated header and the results follow their sources."""

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

ALLOWED = {
    "runtime/harmonizer": {"harmonizer"},
    "train": {"train", "harmonizer"},
    "export": {"export", "train", "harmonizer"},
    "calibration": {"calibration", "export", "train", "harmonizer"},
    "bench": {"bench", "calibration", "export", "train", "harmonizer"},
}
OWN = {"harmonizer", "train", "export", "calibration", "bench", "tests"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert imported(path) & OWN <= ALLOWED[folder], path


def test_runtime_imports_no_torch() -> None:
    for path in (ROOT / "runtime").rglob("*.py"):
        assert not imported(path) & {"torch", "timm", "torchvision"}, path


def test_import_harmonizer_leaves_torch_unloaded() -> None:
    code = (
        "import sys, harmonizer\n"
        "from harmonizer import Harmonizer, Arguments\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_editable_install_is_a_path_file_without_import_hooks() -> None:
    site = Path(sysconfig.get_path("purelib"))
    files = [p for p in site.glob("*harmonizer*") if p.suffix in (".pth", ".py")]
    assert [p.suffix for p in files] == [".pth"]
    lines = files[0].read_text().splitlines()
    assert {Path(line) for line in lines} == {ROOT / "runtime", ROOT}


def test_bench_results_keep_the_schema() -> None:
    schema = json.loads((ROOT / "bench/schema.json").read_text())
    results = sorted((ROOT / "bench/results").glob("*.json"))
    assert results
    for path in results:
        jsonschema.validate(json.loads(path.read_text()), schema)
