"""Files and sets appear whole or not at all, whatever fails, and nothing stays behind."""

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from harmonizer import storage
from harmonizer.errors import StorageError
from harmonizer.private import check_private, make_private_folder, read_private
from harmonizer.storage import (
    Temporary,
    check_writable,
    rename_together,
    sweep,
    write_atomically,
    write_file,
    write_set,
)

OLD, NEW = {"a": b"old a", "b": b"old b", "c": b"old c"}, {"a": b"new a", "b": b"new", "c": b""}
CALLS = ("open", "write", "fsync", "replace", "fchmod", "link", "unlink")
UNDOING = ("__exit__", "__del__", "discard", "_remove", "close")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).write_bytes(data)


class Failing:
    """Lets the n-th call of a kind fail, in `os` or of a Path."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
        self.calls, self._at = 0, at
        owner: Any = Path if name in ("replace", "unlink") else os
        real = getattr(owner, name)

        def call(*words: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                raise OSError(28, "No space left on device")
            return real(*words, **options)

        monkeypatch.setattr(owner, name, call)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("what", ["file", "set"])
def test_every_failing_call_leaves_the_old_or_the_new(tmp_path: Path, name: str, what: str) -> None:
    for at in range(1, 60):
        folder = tmp_path / str(at)
        folder.mkdir()
        write(folder, OLD)
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(patch, name, at)
            try:
                if what == "set":
                    write_set({folder / key: data for key, data in NEW.items()})
                else:
                    write_file(folder / "a", NEW["a"])
            except OSError:
                pass
            finished = failing.calls < at
        sweep(folder, again=True)
        new = NEW if what == "set" else OLD | {"a": NEW["a"]}
        assert contents(folder) in ((new,) if finished else (OLD, new)), (name, at)
        if finished:
            return
    raise AssertionError("the calls do not come to an end")


SET_WRITER = """
import sys
from pathlib import Path
from harmonizer.storage import write_set
folder = Path(sys.argv[1])
print("ready", flush=True)
for turn in range(100000):
    write_set({folder / f"{name}": f"{turn} {name}".encode() * 2000 for name in "abc"})
"""


@pytest.mark.parametrize("round", range(6))
def test_kills_leave_one_whole_set_after_the_next_run(tmp_path: Path, round: int) -> None:
    write_set({tmp_path / name: f"0 {name}".encode() * 2000 for name in "abc"})
    process = subprocess.Popen(
        [sys.executable, "-c", SET_WRITER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.05 + 0.037 * round)
    process.kill()
    process.wait()
    process.stdout.close()
    sweep(tmp_path, again=True)
    found = contents(tmp_path)
    assert sorted(found) == ["a", "b", "c"]
    assert len({data.split()[0] for data in found.values()}) == 1
    assert all(len(set(data.split(name.encode()))) <= 2 for name, data in found.items())


def test_a_kill_between_two_renames_is_finished_by_the_next_run(tmp_path: Path) -> None:
    write(tmp_path, OLD)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from harmonizer.storage import write_set\n"
        "real = Path.replace\n"
        "def replace(self, target):\n"
        "    done = real(self, target)\n"
        "    if target.name == 'a': os.kill(os.getpid(), 9)\n"
        "    return done\n"
        "Path.replace = replace\n"
        "folder = Path(sys.argv[1])\n"
        "write_set({folder / 'a': b'new a', folder / 'b': b'new', folder / 'c': b''})\n"
    )
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_bytes() == NEW["a"] and (tmp_path / "b").read_bytes() == OLD["b"]
    sweep(tmp_path, again=True)
    assert contents(tmp_path) == NEW


def test_sweep_leaves_what_lives_and_what_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / ".harmonizer-0123456789abcdef.tmp").write_bytes(b"dead")
    (tmp_path / ".harmonizer-0123456789abcdee.images").mkdir()
    (tmp_path / ".harmonizer-0123456789abcdee.images" / "1.png").write_bytes(b"dead")
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / ".harmonizer-0123456789abcded.tmp").symlink_to(tmp_path / "precious")
    (tmp_path / ".harmonizer-notes").write_bytes(b"kept")
    alive = Temporary(tmp_path / "alive")
    sweep(tmp_path, again=True)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted(
        [alive.path.name, "precious", ".harmonizer-0123456789abcded.tmp", ".harmonizer-notes"]
    )
    alive.discard()
    assert not alive.path.exists()


@pytest.mark.parametrize(
    "names",
    [
        {"../outside": "a"},
        {".harmonizer-0123456789abcdef.tmp": "../a"},
        {"precious": "a"},
        {".harmonizer-0123456789abcdef.tmp": 5},
        ["a"],
        {".harmonizer-0123456789abcdef.images/../../x": "a"},
    ],
)
def test_a_list_of_renames_that_reaches_elsewhere_is_not_followed(
    tmp_path: Path, names: Any
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "outside").write_bytes(b"kept")
    (folder / "precious").write_bytes(b"kept")
    (folder / ".harmonizer-0123456789abcdef.tmp").write_bytes(b"x")
    (folder / ".harmonizer-0123456789abcdea.set").write_text(json.dumps(names))
    sweep(folder, again=True)
    assert (tmp_path / "outside").read_bytes() == b"kept"
    assert (folder / "precious").read_bytes() == b"kept"
    assert not (tmp_path / "a").exists() and not (folder / "a").exists()


def test_replaced_file_keeps_its_mode_and_its_content_is_never_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o600)
    seen: list[int] = []
    real = os.write

    def watched(descriptor: int, data: Any) -> int:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    write_atomically(path, b"new")
    assert seen == [0o600] and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_folders_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(storage, "sync_folder", synced.append)
    write_file(tmp_path / "a", b"x")
    rename_together(tmp_path, {})
    assert synced.count(tmp_path) >= 3


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o707])
def test_folder_that_others_may_write_is_not_trusted(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "cache"
    make_private_folder(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "entry").write_bytes(b"x")
    assert read_private(folder / "entry", 10) == b"x"
    folder.chmod(mode)
    for call in (
        lambda: check_private(folder),
        lambda: make_private_folder(folder),
        lambda: read_private(folder / "entry", 10),
    ):
        with pytest.raises(PermissionError, match="must be yours alone"):
            call()
    folder.chmod(0o700)
    (folder / "entry").chmod(0o666)
    with pytest.raises(PermissionError, match="your own file"):
        read_private(folder / "entry", 10)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError):
        read_private(folder / "link", 1 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs an administrator")
def test_folder_of_another_user_is_not_trusted(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    make_private_folder(folder)
    (folder / "entry").write_bytes(b"x")
    os.chown(folder / "entry", 12345, 12345)
    with pytest.raises(PermissionError, match="user 12345's"):
        read_private(folder / "entry", 10)
    os.chown(folder, 12345, 12345)
    with pytest.raises(PermissionError, match="user 12345's"):
        check_private(folder)


def test_kernels_of_a_folder_that_others_may_write_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harmonizer.cuda import compiled_kernels

    folder = tmp_path / "kernels"
    write: Callable[[Path, bytes], None] = compiled_kernels._write_cached
    write(folder / "entry", b"image")
    assert compiled_kernels._read_cached(folder / "entry") == b"image"
    folder.chmod(0o777)
    assert compiled_kernels._read_cached(folder / "entry") is None
    with pytest.raises(OSError, match="yours alone"):
        write(folder / "entry", b"image")


@pytest.mark.parametrize("limit", [0, 4096])
def test_disk_that_is_full_leaves_the_old_file(tmp_path: Path, limit: int) -> None:
    (tmp_path / "a").write_bytes(b"old")
    code = (
        "import resource, signal, sys\n"
        "from harmonizer.storage import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try: write_atomically(sys.argv[1], bytes(100000))\n"
        "except ValueError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written: File too large" in said.stdout
    assert contents(tmp_path) == {"a": b"old"}


def test_check_writable_removes_what_killed_runs_left(tmp_path: Path) -> None:
    (tmp_path / ".harmonizer-0123456789abcdef.mp4").write_bytes(bytes(1000))
    storage._swept.discard(str(tmp_path))
    check_writable(tmp_path / "o.mp4")
    assert contents(tmp_path) == {}
    with pytest.raises(StorageError, match="a regular file could be replaced"):
        check_writable("/dev/null")


@pytest.mark.parametrize("several", [False, True])
def test_interrupt_at_any_line_leaves_old_or_new_and_nothing_else(
    tmp_path: Path, several: bool
) -> None:
    """A signal may come between any two lines; here it comes once at each."""
    files = {tmp_path / f"{i}.json": b"new" for i in range(2 if several else 1)}

    def put() -> None:
        if several:
            write_set(files)
        else:
            write_file(*next(iter(files.items())))

    for number in itertools.count():
        for path in files:
            path.write_bytes(b"old")
        if not interrupted_at(number, put):
            break
        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files}, number
        assert len({path.read_bytes() for path in files}) == 1, number
    assert number > 20
    assert all(path.read_bytes() == b"new" for path in files)


def interrupted_at(number: int, work: Callable[[], None]) -> bool:
    """Whether work had as many lines of this module that an interrupt came at that one."""
    left = number

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != storage.__file__:
            return None
        # What undoes is not interrupted again: that takes a second signal. Nor is `sweep`: before
        # its lock is released comes a line event, but never a signal.
        skipped = frame.f_code.co_name in ("sweep", *UNDOING)
        if event == "line" and sys.exc_info()[0] is None and not skipped:
            left -= 1
            if left == -1:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False
