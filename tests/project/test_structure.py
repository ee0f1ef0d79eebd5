"""Imports point one way, and the generated header and the results follow their sources."""

import argparse
import ast
import importlib
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import jsonschema
import pytest
from repository import ROOT

from harmonizer.cli import COMMANDS
from harmonizer.cli.flags import FLAGS, with_flags

ALLOWED = {
    "runtime/harmonizer": {"harmonizer"},
    "train": {"train", "harmonizer"},
    "export": {"export", "train", "harmonizer"},
    "calibration": {"calibration", "export", "train", "harmonizer"},
    "bench": {"bench", "calibration", "export", "train", "harmonizer"},
}
OWN = {"harmonizer", "train", "export", "calibration", "bench", "tests"}

WITHIN = {
    "images": set(),
    "engine": set(),
    "cuda": {"engine"},
    "video": {"images"},
    "serve": {"images"},
    "ray": {"images", "serve"},
    "cli": {"cuda", "engine", "images", "ray", "serve", "video"},
}
"""What each folder of the package may import of the others."""


def modules(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in modules(path)}


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_point_one_way(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert imported(path) & OWN <= ALLOWED[folder], path


@pytest.mark.parametrize("folder", WITHIN)
def test_folders_of_the_package_import_in_no_ring(folder: str) -> None:
    for path in (ROOT / "runtime/harmonizer" / folder).rglob("*.py"):
        parts = [name.split(".") for name in modules(path)]
        met = {part[1] for part in parts if part[0] == "harmonizer" and len(part) > 1}
        assert met & WITHIN.keys() <= WITHIN[folder] | {folder}, path


@pytest.mark.parametrize("folder", [folder for folder in ALLOWED if "/" not in folder])
def test_toolchain_does_not_import_the_commands(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert not any(f"{name}.".startswith("harmonizer.cli.") for name in modules(path)), path


def messages(path: Path) -> Iterator[str]:
    """Texts of a module, but for docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


COMMAND = re.compile(r"(python export/\S+|pip install)[^`;]*")
"""What a message may tell to run: another program's flags are its own."""


def test_library_names_arguments_and_only_the_commands_name_flags() -> None:
    for path in (ROOT / "runtime/harmonizer").rglob("*.py"):
        if path.parent.name != "cli" and path.name != "usage.py":
            said = [
                text for text in messages(path) if " " in text and "--" in COMMAND.sub("", text)
            ]
            assert not said, path


def test_flags_of_messages_are_flags_of_a_command() -> None:
    known: set[str] = set()
    for name, (module, _) in COMMANDS.items():
        parser = argparse.ArgumentParser(name)
        importlib.import_module(module).add_arguments(parser)
        known |= set(parser._option_string_actions)
    assert set(FLAGS.values()) <= known
    said = with_flags("Pass `max_pixels=9`, `fit_mask=True`, `mask_levels=(0, 1)` or `mask`.")
    assert said == "Pass --max-pixels 9, --fit-mask, --mask-levels 0,1 or `mask`."
    assert with_flags("or leave 'audio' out of `copied`.") == "or pass --no-audio."
    assert with_flags("Leave 'subtitle' out of `copied`.") == "Pass --no-subtitles."


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
    results = set((ROOT / "bench/results").glob("*.json"))
    results.remove(ROOT / "bench/results/gpu-test.json")  # outcomes of tests, no measurements
    assert results
    for path in results:
        jsonschema.validate(json.loads(path.read_text()), schema)


def test_results_name_no_folder_of_the_machine() -> None:
    for path in (ROOT / "bench/results").iterdir():
        found = re.findall(r"/(?:home|opt|root|tmp|usr|work)/[\w.]*", path.read_text())
        assert not found, path


def test_tests_import_nothing_of_another_test() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("test_")], path


@pytest.mark.parametrize("folder", ["bench", "calibration", "export", "gpu_kit", "train", "."])
def test_no_module_beside_a_script_hides_a_package(folder: str) -> None:
    """A script's folder comes first on sys.path: export/triton.py would be everyone's triton."""
    taken = {*sys.stdlib_module_names, *packages_distributions()}
    modules_beside = {path.stem for path in (ROOT / folder).glob("*.py")}
    assert not modules_beside & taken - {"__init__", "__main__"}
