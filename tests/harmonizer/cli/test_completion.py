"""Completion as a shell does it: the printed script, run by bash."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import refused

from harmonizer.cli import COMMANDS, main

pytest.importorskip("shtab", reason="harmonizer[completion] is not installed")

ASK = """
source ./script
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
$(complete -p harmonizer | sed 's/.*-F \\([^ ]*\\).*/\\1/') harmonizer "${!#}" "${COMP_WORDS[-2]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["--print-completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "photo.jpg").touch()
    (tmp_path / "places").mkdir()
    return tmp_path


def completed(script: Path, *words: str) -> set[str]:
    command = ["bash", "--norc", "-c", ASK, "bash", "harmonizer", *words]
    done = subprocess.run(command, cwd=script, capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return {line.rstrip("/ ") for line in done.stdout.splitlines()}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["im"], {"image"}),
        (["image", "ph"], {"photo.jpg"}),
        (["image", "photo.jpg", "--anch"], {"--anchor"}),
        (["image", "photo.jpg", "--anchor", "top-"], {"top-left", "top-right"}),
        (["image", "photo.jpg", "--background", "p"], {"photo.jpg", "places"}),
        (["video", "--when-short", ""], {"refuse", "hold", "stop"}),
    ],
)
def test_bash_completes(words: list[str], wanted: set[str], script: Path) -> None:
    assert completed(script, *words) == wanted


def test_every_command_and_its_options_are_in_it(script: Path) -> None:
    assert completed(script, "") >= set(COMMANDS)
    for command in COMMANDS:
        shown = subprocess.run(
            [sys.executable, "-m", "harmonizer", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        # An option begins its line of the help, or follows its short name.
        options = set(re.findall(r"^  (?:-\w \w+, )?(--[\w-]+)", shown.stdout, re.MULTILINE))
        assert len(options) > 1 or command == "doctor"
        assert completed(script, command, "--") >= options


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_get_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-completion", shell]) == 0
    assert "harmonizer" in capsys.readouterr().out


def test_without_shtab_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    said = refused(capsys, 2, "--print-completion", "bash")
    assert 'pip install "harmonizer[completion]"' in said
