"""What takes the place of POSIX's locks, owners and descriptors of folders elsewhere.

Windows is played, where its rules matter, on the system at hand; nothing here has run on Windows.
"""

import errno
import fcntl
import os
import platform
import subprocess
import sys
import types
from pathlib import Path

import pytest

from harmonizer import private, storage, systems
from harmonizer.storage import Temporary, sweep, write_file, write_set

WITHOUT_POSIX = """
import os, pkgutil, sys
sys.modules["fcntl"] = None
for name in ("geteuid", "getegid", "fchmod", "fchown", "sched_getaffinity", "O_CLOEXEC",
             "O_NOFOLLOW", "O_NONBLOCK"):
    delattr(os, name)
import harmonizer
for module in pkgutil.walk_packages(harmonizer.__path__, "harmonizer."):
    if not module.name.endswith("__main__"):
        try:
            __import__(module.name)
        except ModuleNotFoundError as error:
            assert not str(error.name).startswith("harmonizer") and error.name != "fcntl", error
from pathlib import Path
from harmonizer import private, storage, systems
assert systems.available_cores() >= 1
file = Path(sys.argv[1]) / "a"
storage.write_file(file, b"1")
storage.write_file(file, b"2")
assert private.read_private(file, 9) == b"2", file.read_bytes()
assert os.listdir(sys.argv[1]) == ["a"]
try:
    with private.locked(file):
        raise AssertionError("there is nothing to lock with")
except OSError as error:
    assert "this system has no locks" in str(error)
print("done")
"""


def test_package_is_imported_and_writes_without_what_posix_alone_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_POSIX, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.stdout == "done\n", said.stderr


def is_open(path: Path) -> bool:
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return os.path.realpath(path) in links


def refuse_open(path: Path) -> None:
    if is_open(path):
        raise PermissionError(errno.EACCES, "it is open", str(path))


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are open can be neither renamed nor removed; folders cannot be opened."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("/proc lists no open files on this system")
    for module in (systems, storage):
        monkeypatch.setattr(module, "OPEN_FILES_MOVE", False)
    replace, rename, unlink = Path.replace, Path.rename, Path.unlink

    def refusing_replace(self: Path, target: Path) -> Path:
        refuse_open(self)
        refuse_open(target)
        return replace(self, target)

    def refusing_rename(self: Path, target: Path) -> Path:
        refuse_open(self)
        return rename(self, target)

    def refusing_unlink(self: Path, missing_ok: bool = False) -> None:
        refuse_open(self)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "replace", refusing_replace)
    monkeypatch.setattr(Path, "rename", refusing_rename)
    monkeypatch.setattr(Path, "unlink", refusing_unlink)


def test_files_and_sets_are_closed_before_they_are_renamed(tmp_path: Path, windows: None) -> None:
    for text in (b"first", b"second"):
        write_file(tmp_path / "one", text)
        write_set({tmp_path / name: text for name in ("a", "b")})
        assert {(tmp_path / name).read_bytes() for name in ("one", "a", "b")} == {text}
    with Temporary(tmp_path / "folder", folder=True) as made:
        (made.path / "x").write_bytes(b"x")
    Temporary(tmp_path / "dropped").discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "one"]


def test_what_is_open_is_left_and_what_is_not_is_removed(tmp_path: Path, windows: None) -> None:
    living = Temporary(tmp_path / "a")
    left, folder = (tmp_path / f".harmonizer-{digit * 16}.tmp" for digit in "01")
    left.write_bytes(b"of a killed run")
    folder.mkdir()  # nobody can tell whether a folder is in use
    sweep(tmp_path, again=True)
    assert living.path.exists() and folder.exists() and not left.exists()
    living.write(b"whole")
    living.publish()
    assert (tmp_path / "a").read_bytes() == b"whole"


def locking(descriptor: int, mode: int, count: int) -> None:
    """`msvcrt.locking`, whose byte ranges are POSIX's record locks."""
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    kind = fcntl.LOCK_EX | fcntl.LOCK_NB
    try:
        fcntl.lockf(descriptor, kind, count, start)
    except BlockingIOError as error:
        number = errno.EDEADLK if mode == 1 else errno.EACCES
        raise OSError(number, os.strerror(number)) from error


def test_lock_of_windows_keeps_others_out_until_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "lock"
    other.touch(0o600)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys\nfile = open(sys.argv[1], 'r+b')\n"
            "fcntl.lockf(file, fcntl.LOCK_EX, 1, 0)\nprint(flush=True)\nsys.stdin.readline()",
            str(other),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None and holder.stdin is not None
    holder.stdout.readline()
    tried: list[int] = []

    def watched(descriptor: int, mode: int, count: int) -> None:
        tried.append(mode)
        if len(tried) == 3:  # LOCK has been tried in vain twice: now its holder ends
            holder.communicate("\n", timeout=30)
        locking(descriptor, mode, count)

    fake = types.SimpleNamespace(locking=watched, LK_LOCK=1, LK_NBLCK=2)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(systems, "fcntl", None)
    with other.open("r+b") as file, pytest.raises(OSError, match="ermission denied"):
        systems.lock(file.fileno(), wait=False)
    assert tried == [2]
    with private.locked(other):
        assert tried == [2, 1, 1]


def test_modes_are_looked_at_where_they_mean_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "engine"
    file.write_bytes(b"x")
    file.chmod(0o666)
    with pytest.raises(OSError, match="nobody else can write"):
        private.read_private(file, 9)
    for module in (private, systems):
        monkeypatch.setattr(module, "HAS_OWNERS", False)
    assert private.read_private(file, 9) == b"x"


FREED_BY_THREADS = """
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy as np
from harmonizer.systems import LARGE_BLOCK, return_large_blocks
if sys.argv[1] == "returned":
    assert return_large_blocks()
together = Barrier(4)
def work(_):
    together.wait()  # each in a thread of its own
    for _ in range(3):
        np.ones(3 * LARGE_BLOCK, np.uint8)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(4)))
    lines = open("/proc/self/status").read().splitlines()
print(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024)
"""


def left_by_threads(word: str) -> int:
    command = [sys.executable, "-c", FREED_BY_THREADS, word]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator is meant")
def test_return_large_blocks_no_thread_keeps_what_it_freed() -> None:
    assert left_by_threads("kept") - left_by_threads("returned") > 2 * 3 * systems.LARGE_BLOCK
