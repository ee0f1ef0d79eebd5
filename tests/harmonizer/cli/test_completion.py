"""Completion as a shell does it: the printed script, run by bash, zsh and tcsh."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import refused
from repository import ROOT

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


SHELLS = {"bash": "--norc", "zsh": "-f", "tcsh": "-f"}
"""And how they start without a person's own file."""


def documented(shell: str) -> str:
    """What docs/using.md tells a person to type, or to have in the file for new shells."""
    page = (ROOT / "docs" / "using.md").read_text()
    line = re.search(rf"^\| {shell} \|(.*)\|$", page, re.MULTILINE)
    assert line is not None
    before = ["autoload -U compinit", "compinit -u -D"] if shell == "zsh" else []
    return "; ".join([*before, *re.findall("`(.+?)`", line[1])])


class Terminal:
    """A shell at a terminal; `harmonizer` is a program that writes down what it was given.

    It answers --print-completion with the file `script`.
    """

    def __init__(self, shell: str, folder: Path) -> None:
        program = folder / "bin" / "harmonizer"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --print-completion ] && exec cat "{folder}/script"\n'
            f'printf "%s\\n" "$@" > "{folder}/given"\n'
        )
        program.chmod(0o755)
        self.given = folder / "given"
        told = {"PATH": f"{program.parent}:{os.environ['PATH']}", "TERM": "vt100"}
        told["HOME"] = str(folder)
        self._shell, self._main = pty.fork()  # its controlling terminal, without which tcsh is mute
        if not self._shell:
            os.chdir(folder)
            os.execvpe(shell, [shell, SHELLS[shell], "-i"], told)
        self.type(f"{documented(shell)}\r")

    def type(self, keys: str) -> str:
        """Press keys, and wait until nothing more is shown."""
        os.write(self._main, keys.encode())
        shown, limit = b"", 20.0
        while select.select([self._main], [], [], limit)[0]:
            shown, limit = shown + os.read(self._main, 4096), 1.0
        return shown.decode(errors="replace")

    def completed(self, line: str) -> list[str]:
        """The words that the program gets of a line, after the tabulator."""
        self.given.unlink(missing_ok=True)
        shown = self.type(f"harmonizer {line}\t") + self.type("\r")
        until = time.monotonic() + 20
        while not self.given.exists() and time.monotonic() < until:
            shown += self.type("")
        assert self.given.exists(), shown
        return self.given.read_text().splitlines()

    def close(self) -> None:
        os.kill(self._shell, signal.SIGKILL)
        os.waitpid(self._shell, 0)
        os.close(self._main)


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_after_what_the_page_says(
    shell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: apt-get install {shell}")
    assert main(["--print-completion", shell]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    (tmp_path / "photo.jpg").touch()
    terminal = Terminal(shell, tmp_path)
    try:
        for line, wanted in (
            ("im", "image"),
            ("image ph", "photo.jpg"),
            ("image photo.jpg --anch", "--anchor"),
            ("image photo.jpg --anchor top-l", "top-left"),
            ("image photo.jpg --background ph", "photo.jpg"),
            ("video --when-short ho", "hold"),
        ):
            assert terminal.completed(line) == [*line.split()[:-1], wanted]
    finally:
        terminal.close()


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
