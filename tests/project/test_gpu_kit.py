"""The kit for a GPU machine: pieces that are joined there, and steps that wait for them."""

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from repository import ROOT

from gpu_kit import drive as driver
from gpu_kit import pack
from gpu_kit.drive import BASICS, STEPS, Kit, Step, process_of

DRIVE = ROOT / "gpu_kit" / "drive.py"


def drive(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--work", str(folder / "work"), "--out", str(folder / "out"))
    command = [sys.executable, str(DRIVE), *where, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kit whose only archive is the training's: this project's code, in small pieces."""
    monkeypatch.setattr(pack, "PIECE", 100_000)
    folder = tmp_path / "kit"
    folder.mkdir()
    code, whole = tmp_path / "code.tar", tmp_path / "training.tar"
    with tarfile.open(code, "w") as archive:
        archive.add(
            ROOT / "train", "train", filter=lambda f: f if "pycache" not in f.name else None
        )
    with tarfile.open(whole, "w") as archive:
        archive.add(code, "code.tar")
    pieces = list(pack.cut(whole, folder))
    assert len(pieces) > 3 and all(int(piece["bytes"]) <= 100_000 for piece in pieces)
    index = {"commit": "0" * 40, "archives": {"training": pieces}}
    (folder / "kit.json").write_text(json.dumps(index))
    return folder


def test_kit_pieces_that_come_in_twice_are_joined_and_unpacked(kit: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    for name in ("kit.json", "training.tar.00"):
        (kit / name).rename(first / name)
    there = drive(tmp_path, "receive", str(first))
    assert there.returncode == 0 and "training: 1 of" in there.stdout, there.stderr
    assert not (tmp_path / "work" / "code").exists()
    there = drive(tmp_path, "receive", str(kit))
    assert "training: complete" in there.stdout, there.stderr
    came = (tmp_path / "work" / "code" / "train" / "registry.py").read_bytes()
    assert came == (ROOT / "train" / "registry.py").read_bytes()


def test_kit_damaged_piece_is_refused(kit: Path, tmp_path: Path) -> None:
    piece = kit / "training.tar.01"
    piece.write_bytes(piece.read_bytes()[:-1] + b"!")
    there = drive(tmp_path, "receive", str(kit))
    assert there.returncode == 1
    assert "training.tar.01 must be the piece that was packed; send it again." in there.stderr


def test_kit_steps_wait_for_what_has_not_come_in(kit: Path, tmp_path: Path) -> None:
    assert "kit.json must come in first" in drive(tmp_path, "show").stderr
    drive(tmp_path, "receive", str(kit))
    there = drive(tmp_path, "--limit", "5", "run", "train", "bench")
    assert "train: waits for photographs" in there.stdout, there.stderr
    assert "bench: waits for testing" in there.stdout
    assert "train: not done" in there.stdout and "training runs: no" in there.stdout
    assert "steps are train, tools" in drive(tmp_path, "run", "everything").stderr


def test_kit_knows_a_run_that_has_ended_from_one_that_goes_on(tmp_path: Path) -> None:
    kit = Kit(tmp_path, tmp_path, 0.0, [])
    assert process_of(kit) is None
    for seconds, alive in (("60", True), ("0", False)):
        process = subprocess.Popen(["sleep", seconds])
        (tmp_path / "run.pid").write_text(str(process.pid))
        if alive:
            assert process_of(kit) == process.pid
            process.kill()
            process.wait()
        else:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it ends, unasked
            assert process_of(kit) is None


def test_kit_packs_what_is_committed_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    git = ("git", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "file").write_text("one")
    subprocess.run([*git, "add", "file"], check=True)
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run([*git, *who, "commit", "-qm", "one"], check=True)
    monkeypatch.setattr(pack, "ROOT", tmp_path)
    assert len(pack.commit()) == 40
    (tmp_path / "file").write_text("two")
    with pytest.raises(SystemExit, match="commit first"):
        pack.commit()


def test_kit_data_set_that_lacks_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match="it lacks train2, val, real_pairs"):
        pack.pack(tmp_path, tmp_path / "kit", ["photographs"])
    assert not (tmp_path / "kit").exists()


def test_kit_step_whose_modules_the_machine_lacks_says_which(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive(tmp_path, "receive", str(kit)).returncode == 0
    there = Kit(tmp_path / "work", tmp_path / "out", 0.0, [])
    made: list[Kit] = []

    def make(kit: Kit) -> bool:
        made.append(kit)
        return True

    monkeypatch.setitem(STEPS, "smoke", Step(make, (), ("json", "no_such_module")))
    driver.run(there, ["smoke"])
    assert "smoke: waits for basics: this Python lacks no_such_module" in capsys.readouterr().out
    (there.work / f"{BASICS}.unpacked").touch()
    driver.run(there, ["smoke"])
    assert "smoke: cannot run here: this Python lacks no_such_module" in capsys.readouterr().out
    assert not made
    (there.work / BASICS).mkdir()
    (there.work / BASICS / "no_such_module.py").touch()
    driver.run(there, ["smoke"])
    assert made and "smoke: done" in capsys.readouterr().out


def test_kit_program_that_is_absent_fails_its_step_alone(
    kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert drive(tmp_path, "receive", str(kit)).returncode == 0
    there = Kit(tmp_path / "work", tmp_path / "out", time.monotonic() + 60, [])
    assert not there.call("profile.log", "no-such-profiler", "--csv")
    assert "profile.log: there is no program no-such-profiler here" in capsys.readouterr().out
    assert there.call("python.log", sys.executable, "-c", "print(1)")
