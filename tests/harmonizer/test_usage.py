"""What a tool says of an error."""

import errno
import os
from pathlib import Path

import pytest

from harmonizer.usage import said, says_errors


@pytest.mark.parametrize(
    ("number", "rule", "remedy"),
    [
        (errno.EISDIR, "x must be a file; it is a folder.", "Name a file in it."),
        (errno.EACCES, "x must be open to us; Permission denied.", "Check its permissions."),
        (errno.ENOSPC, "x must have room on its disk;", "Make room, or name another place."),
        (errno.EIO, "x must be usable; Input/output error.", "Check the path and its disk."),
    ],
)
def test_each_refusal_has_its_own_rule_and_remedy(number: int, rule: str, remedy: str) -> None:
    for name in ("x", b"x", Path("x")):
        text = said(OSError(number, os.strerror(number), name))
        assert text.startswith(rule) and text.endswith(remedy)


def test_what_the_system_refuses_is_one_line_and_the_code_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @says_errors("tool")
    def main(path: Path) -> int:
        path.read_bytes()
        return 0

    assert main(tmp_path / "absent") == 2
    assert capsys.readouterr().err == (
        f"tool: error: {tmp_path / 'absent'} must be there; No such file or directory. Check the "
        "path.\n"
    )


@pytest.mark.parametrize("error", [OSError("own words"), ValueError("own words")])
def test_what_has_words_of_its_own_keeps_them(error: Exception) -> None:
    assert said(error) == "own words"
