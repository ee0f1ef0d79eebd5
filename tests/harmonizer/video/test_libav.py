"""The versions of PyAV that are declared are those that work, and `doctor` tries."""

import re
import tomllib
from pathlib import Path
from typing import Any

import av
import pytest
from repository import ROOT
from video_clips import write_pair

from harmonizer.cli import main
from harmonizer.errors import HarmonizerError
from harmonizer.video import libav


def test_declared_range_is_the_one_that_is_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (declared,) = [name for name in project["dependencies"] if re.match(r"av\W", name)]
    oldest, unknown = (".".join(map(str, v)) for v in (libav.OLDEST, libav.FIRST_UNKNOWN))
    assert declared == f"av>={oldest},<{unknown}"


@pytest.mark.parametrize("version", ["18.1.0", "18.2", "19.0.2", "19.1.0rc1"])
def test_versions_in_the_range_are_accepted(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "__version__", version)
    libav.check_version()


@pytest.mark.parametrize("version", ["17.9.9", "18.0.0", "20.0.0", ""])
def test_versions_out_of_the_range_are_refused_in_one_line(
    version: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scene: Path
) -> None:
    write_pair(scene, 2)
    monkeypatch.setattr(av, "__version__", version)
    assert main(["video", "c.mp4", "m.mp4", "-o", "o.mp4", "--set", "shadow=0.1"]) == 2
    assert "PyAV 18.1 or newer, below 20" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^FAIL video .*PyAV 18.1 or newer", said, re.MULTILINE)


@pytest.mark.parametrize(("version", "asked"), [("18.1.0", True), ("19.0.2", False)])
def test_argument_that_version_19_dropped_is_given_to_18_alone(
    version: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(av, "__version__", version)
    monkeypatch.setattr(av, "open", lambda *words, **options: given.update(options))
    libav.open_container("a.mp4", "r")
    assert ("metadata_errors" in given) == asked


def test_doctor_says_what_a_library_of_another_version_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object, **options: object) -> None:
        raise TypeError("open() got an unexpected keyword argument")

    monkeypatch.setattr(av, "open", broken)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^FAIL video +TypeError: open\(\) got", said, re.MULTILINE)
    assert re.search(r"^ok +pictures +writes and reads JPEG 8, PNG 8, PNG 16", said, re.MULTILINE)


def test_doctor_says_that_pictures_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object, **options: object) -> None:
        raise HarmonizerError("no encoder")

    monkeypatch.setattr("harmonizer.images.files.save_photo", broken)
    assert main(["doctor"]) == 1
    assert re.search(r"^FAIL pictures +no encoder", capsys.readouterr().out, re.MULTILINE)
