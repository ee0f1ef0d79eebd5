"""`check-data` counts photographs, not what macOS puts beside them, and says how to see all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from train.__main__ import main
from train.data.photos import list_photos, open_photos

APPLE_DOUBLE = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(4000)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photographs as they come from a camera's card by way of a Mac."""
    folder = tmp_path / "photos"
    (folder / "__MACOSX").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = random.integers(0, 256, (300, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
        (folder / f"._{name}.jpg").write_bytes(APPLE_DOUBLE)
        (folder / "__MACOSX" / f"{name}.jpg").write_bytes(APPLE_DOUBLE)
    return folder


def test_apple_double_files_are_no_photographs(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [photo.file for photo in list_photos(photos)] == ["a.jpg", "b.jpg"]
    assert main(["check-data", str(photos)]) == 0
    said = capsys.readouterr().out
    assert "photographs: 2, 0 of them with a mask" in said
    assert "hidden, left out: 4 (" in said and "and 1 more)" in said
    assert "--report FILE names all of them" in said


def test_report_names_all_and_the_command_says_so(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(5):
        (photos / f"bad{index}.png").write_bytes(b"x")
    assert main(["check-data", str(photos)]) == 1
    said = capsys.readouterr().out
    assert "unreadable: 5 (" in said and "and 2 more)" in said
    assert "bad0.png: no image that Pillow reads; it begins with b'x'" in said
    assert "--report FILE names all of them" in said
    assert main(["check-data", str(photos), "--report", str(photos / "all.csv")]) == 1
    listed = (photos / "all.csv").read_text()
    assert all(f"bad{index}.png" in listed for index in range(5))
    assert "--report FILE" not in capsys.readouterr().out


def test_messages_that_point_to_the_report_name_its_flag(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_text("file,mask\nabsent.jpg,\n")
    with pytest.raises(FileNotFoundError, match=r"check-data .* --report FILE names all"):
        open_photos(tmp_path, tmp_path / "cache")


def test_other_files_are_counted_and_a_report_that_cannot_be_written_stops_before_the_work(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "phone.heic").write_bytes(b"x")
    assert main(["check-data", str(photos)]) == 0
    assert "not named as images are, left out: 1 (phone.heic)" in capsys.readouterr().out
    assert main(["check-data", str(photos), "--report", str(photos / "no" / "all.csv")]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "all.csv cannot be written" in captured.err


def test_links_to_nothing_are_absent_photographs(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "c.jpg").symlink_to(photos / "moved.jpg")
    assert main(["check-data", str(photos)]) == 1
    assert "absent: 1 (c.jpg)" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=r"1 do not, c\.jpg first"):
        open_photos(photos, photos.parent / "cache")
