"""Files appear whole or not at all."""

import os
from pathlib import Path

import pytest

from harmonizer.errors import StorageError
from harmonizer.storage import check_writable, write_atomically


def test_write_atomically_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def broken(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match=r"cannot be written: No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.bin"]


def test_write_atomically_keeps_permissions_and_links(tmp_path: Path) -> None:
    path, link = tmp_path / "a.bin", tmp_path / "link.bin"
    path.write_bytes(b"old")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "fresh.bin", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "fresh.bin").stat().st_mode & 0o777 == 0o640


def test_write_atomically_takes_the_longest_name_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 126 + ".x")
    check_writable(path)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


def test_check_writable_refuses_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match=r"cannot be written: No such file.*folder exists"):
        check_writable(tmp_path / "absent" / "a.png")
    with pytest.raises(StorageError, match="it is a folder"):
        check_writable(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written: Not a directory"):
        check_writable(tmp_path / "file" / "a.png")
