"""What a tool says of an error."""

from pathlib import Path

import pytest

from harmonizer.usage import said, says_errors


def test_what_the_system_refuses_gets_a_rule_and_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @says_errors("tool")
    def main(path: Path) -> int:
        path.read_bytes()
        return 0

    assert main(tmp_path / "absent") == 2
    assert capsys.readouterr().err == (
        f"tool: error: {tmp_path / 'absent'} must be there and open to us; No such file or "
        "directory. Check the path, its permissions and the room on its disk.\n"
    )


@pytest.mark.parametrize("error", [OSError("own words"), ValueError("own words")])
def test_what_has_words_of_its_own_keeps_them(error: Exception) -> None:
    assert said(error) == "own words"
