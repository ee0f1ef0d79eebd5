"""Interrupted runs go on exactly, and a full disk costs nothing that was saved."""

import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from training_runs import BOTH, Workshop, command, log_lines

from train.fitting.config import FitConfig, to_json
from train.fitting.fit import fit
from train.model import load_checkpoint

STEPS = 8


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


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


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGKILL, 0), (signal.SIGINT, 2)])
def test_resume_after_a_signal_ends_like_the_uninterrupted_run(
    workshop: Workshop, uninterrupted: Path, tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    output, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(to_json(long_run(workshop, workers=workers)))
    line = command("--config", file, "--output", output)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (output / "state.pt").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=120)
    reached = torch.load(output / "state.pt", weights_only=True)["step"]
    assert 2 <= reached < STEPS
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert f"interrupted after step {reached} of {STEPS}; the state is saved" in errors
        assert "Traceback" not in errors
    fit(long_run(workshop, workers=workers), output, resume=True)
    states = [torch.load(f / "state.pt", weights_only=True) for f in (uninterrupted, output)]
    for state in states:
        del state["seconds"]
    assert_same(*states)
    checkpoints = [load_checkpoint(f / "checkpoint.safetensors") for f in (uninterrupted, output)]
    assert_same(*(network.state_dict() for network in checkpoints))
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
    assert files[0].read_bytes() == before[0], "the state is the old one"
    assert load_checkpoint(files[1])
    if limit < len(before[1]):
        assert files[1].read_bytes() == before[1], "the checkpoint too"
    assert not list(output.glob(".*.tmp"))
    fit(workshop.config(samples=16), output, resume=True)
    assert torch.load(files[0], weights_only=True)["step"] == 4
