"""Interrupted runs go on exactly, and a full disk costs nothing that was saved."""

import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import ROOT
from training_data import write_photos
from training_runs import BOTH, CPU, Workshop, command, log_lines

from harmonizer.errors import StorageError
from train.checkpoints import load_checkpoint, save_checkpoint
from train.fitting.config import ConfigError, FitConfig, to_json
from train.fitting.fit import InterruptedFitError, fit, prepare
from train.fitting.log import LogError
from train.fitting.monitor import WatchError
from train.fitting.pieces import join
from train.fitting.state import SaveError
from train.fitting.step import Stepper

STEPS = 8


def long_run(workshop: Workshop, **changes: Any) -> FitConfig:
    """Encoder and statistics on photographs and pairs, average and schedule included."""
    fields = {"network": BOTH, "ema": 0.9, "samples": 4 * STEPS, "save_every": 2, "size": 32}
    return workshop.config(pairs=True, **(fields | changes))


@pytest.fixture(scope="module")
def uninterrupted(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    fit(long_run(workshop), output)
    return output


def assert_same(one: Any, other: Any, place: str = "state") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key in one:
            assert_same(one[key], other[key], f"{place}.{key}")
    else:
        assert one == other, place


@pytest.mark.parametrize(
    ("number", "workers"), [(signal.SIGKILL, 0), (signal.SIGINT, 2), (signal.SIGTERM, 2)]
)
def test_resume_after_a_signal_ends_like_the_uninterrupted_run(
    workshop: Workshop, uninterrupted: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    """The whole process group gets the signal, as from a terminal or a scheduler."""
    output, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(to_json(long_run(workshop, workers=workers)))
    line = command("--config", file, "--output", output)
    with subprocess.Popen(
        line, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not (output / "state.pt").exists():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=120)
    reached = torch.load(output / "state.pt", weights_only=True)["step"]
    assert 2 <= reached < STEPS
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert f"interrupted after step {reached} of {STEPS}; the state is saved" in errors
        assert "Traceback" not in errors
    fit(long_run(workshop, workers=workers), output, resume=True)
    states = [torch.load(f / "state.pt", weights_only=True) for f in (uninterrupted, output)]
    for state in states:
        del state["seconds"]
    assert_same(states[0], states[1])
    checkpoints = [load_checkpoint(f / "checkpoint.safetensors") for f in (uninterrupted, output)]
    assert_same(checkpoints[0].state_dict(), checkpoints[1].state_dict())
    logs = [log_lines(folder) for folder in (uninterrupted, output)]
    for one, other in zip(*logs, strict=True):
        assert one["step"] == other["step"] and one["loss"] == other["loss"]


def test_resume_drops_what_the_log_says_of_steps_that_are_done_again(
    workshop: Workshop, tmp_path: Path
) -> None:
    fit(workshop.config(samples=8), tmp_path)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 3, "loss": 7.0}\n')
    fit(workshop.config(samples=16), tmp_path, resume=True)
    lines = log_lines(tmp_path)
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and lines[2]["loss"] != 7.0


@pytest.mark.parametrize("limit", [1_000_000, 8_000_000], ids=["checkpoint", "state"])
def test_resume_disk_full_while_saving_keeps_what_was_saved(
    workshop: Workshop, tmp_path: Path, limit: int
) -> None:
    """The limit on a file's size stands in for the disk: it stops the write in the middle."""
    output = tmp_path / "run"
    fit(workshop.config(samples=8), output)
    files = [output / name for name in ("state.pt", "checkpoint.safetensors")]
    before = [file.read_bytes() for file in files]
    assert len(before[0]) > 8_000_000 > len(before[1]) > 1_000_000
    stopped = subprocess.run(
        command("--output", output, "--resume", "--samples", "16"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert stopped.returncode == 2
    error = stopped.stderr.splitlines()[-1]
    assert error.startswith("train: error: step 4 could not be saved; ") and "--resume" in error
    assert [file.read_bytes() for file in files] == before, "both are the old ones"
    assert not list(output.glob(".*.tmp"))
    fit(workshop.config(samples=16), output, resume=True)
    assert torch.load(files[0], weights_only=True)["step"] == 4


@pytest.mark.parametrize("place", ["log.Log.write", "events.Events._write"])
def test_resume_disk_full_for_the_log_saves_the_state_first(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    config = workshop.config(samples=20, tensorboard=True)

    def fail(_: Any, *positional: Any, **named: Any) -> None:
        step = positional[0] if positional else named.get("step", 0)
        if step > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"train.fitting.{place}", fail)
        with pytest.raises(WatchError, match=r"No space left.*of step 2 is saved.*--resume"):
            fit(config, tmp_path)
    # What a full disk leaves of the line that it stopped.
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 2, "lo')
    fit(config, tmp_path, resume=True)
    steps = [line["step"] for line in log_lines(tmp_path)]
    assert steps == sorted(set(steps)) and steps[-3:] == [3, 4, 5]


def test_resume_damaged_line_within_the_log_is_named(workshop: Workshop, tmp_path: Path) -> None:
    fit(workshop.config(samples=8), tmp_path)
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1\n' + log.read_text())
    with pytest.raises(LogError, match=r"line 1 is .*Delete that line"):
        fit(workshop.config(samples=12), tmp_path, resume=True)


def test_resume_with_changed_data_is_refused_by_name(workshop: Workshop, tmp_path: Path) -> None:
    (photos := tmp_path / "photos").mkdir()
    write_photos(photos)
    data = workshop.data(pairs=True)
    changes: dict[str, Any] = {
        "data": dataclasses.replace(data, photos=(str(photos),)),
        "save_every": 2,
    }
    output = tmp_path / "run"
    fit(workshop.config(samples=8, **changes), output)
    shutil.copy(photos / "coffee.png", photos / "more.png")
    manifest = photos / "MANIFEST.csv"
    before = manifest.read_text()
    manifest.write_text(before + "more.png,\n")
    with pytest.raises(ConfigError, match=r"since in .*/photos \(a copy must keep") as caught:
        fit(workshop.config(samples=16, **changes), output, resume=True)
    assert str(workshop.pairs) not in str(caught.value)
    manifest.write_text(before)
    fit(workshop.config(samples=16, **changes), output, resume=True)


def test_resume_state_of_an_earlier_version_goes_on_and_says_what_is_unknown(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(workshop.config(samples=8), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    del state["data"]
    torch.save(state, tmp_path / "state.pt")
    config = tmp_path / "config.json"
    fields = json.loads(config.read_text())
    del fields["data"]["crop"]
    config.write_text(json.dumps(fields))
    fit(workshop.config(samples=12), tmp_path, resume=True)
    assert "does not say what data it was reached with" in capsys.readouterr().err


def test_resume_does_not_need_the_checkpoint_that_the_run_began_with(
    workshop: Workshop, tmp_path: Path
) -> None:
    first = tmp_path / "first.safetensors"
    save_checkpoint(prepare(workshop.config(), CPU)[0].network, first)
    config = workshop.config(samples=8, init=str(first))
    fit(config, tmp_path / "run")
    first.unlink()
    fit(workshop.config(samples=12, init=str(first)), tmp_path / "run", resume=True)


def test_resume_restores_the_loss_scaler(workshop: Workshop, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"network": BOTH, "size": 32, "amp": "fp16"}
    fit(workshop.config(samples=16, **changes), tmp_path)
    kept = torch.load(tmp_path / "state.pt", weights_only=True)["scaler"]
    assert kept["scale"] < 2.0**16 or kept["_growth_tracker"], "the scaler has moved"
    state, _ = prepare(workshop.config(samples=16, **changes), CPU)
    assert state.scaler.state_dict() != kept
    state.load(tmp_path)
    assert state.scaler.state_dict() == kept


def test_resume_from_pieces_that_were_fetched_while_the_run_went_on(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes after a save, its pieces are whole; here the power goes."""
    config = workshop.config(samples=24, save_every=2, pieces=str(tmp_path / "pieces"))
    whole = Stepper.__call__

    def step(self: Stepper, *arguments: Any) -> Any:
        if self.state.step == 5:
            raise SystemExit("power")
        return whole(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "__call__", step)
        with pytest.raises(SystemExit):
            fit(config, tmp_path / "run")
    join(tmp_path / "pieces", tmp_path / "elsewhere")
    assert torch.load(tmp_path / "elsewhere" / "state.pt", weights_only=True)["step"] == 4
    one, other = (
        load_checkpoint(fit(config, tmp_path / name, resume=True)).state_dict()
        for name in ("run", "elsewhere")
    )
    assert_same(one, other)


def test_resume_where_pieces_cannot_be_written_the_state_is_saved(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = workshop.config(samples=16, save_every=2, pieces=str(tmp_path / "pieces"))

    def fail(_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("train.fitting.pieces.write_set", fail)
        with pytest.raises(SaveError, match=r"step 2 is saved in .*/pieces: No space.*--resume"):
            fit(config, tmp_path / "run")
    fit(config, tmp_path / "run", resume=True)
    assert [line["step"] for line in log_lines(tmp_path / "run")][-1] == 4
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file must be a folder"):
        fit(dataclasses.replace(config, pieces=str(tmp_path / "file")), tmp_path / "new")
    assert not (tmp_path / "new" / "state.pt").exists(), "refused before the first step"


@pytest.mark.parametrize(("after", "told"), [(0, "nothing is saved"), (2, "go on from the last")])
def test_second_interrupt_says_whether_anything_is_saved(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, told: str
) -> None:
    whole = Stepper.__call__

    def step(self: Stepper, *arguments: Any) -> Any:
        if self.state.step == after:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(Stepper, "__call__", step)
    with pytest.raises(InterruptedFitError, match=told):
        fit(workshop.config(samples=16, save_every=1), tmp_path)
