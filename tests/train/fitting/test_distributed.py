"""Two processes under torchrun against one process on the same global batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from repository import ROOT
from timm.layers import BatchNormAct2d
from training_runs import BOTH, CPU, Workshop, command, log_lines

from train.fitting.config import FitConfig, to_json
from train.fitting.fit import fit, open_batches, prepare
from train.fitting.objective import Objective
from train.fitting.step import Stepper

GRADIENT = 1e-3
"""Largest error of a layer's gradient, relative to its norm plus 1 % of the whole gradient's (a
bias before a batch norm has nothing but rounding). The reason is the order of summation: sums over
images are taken in two halves. Measured: 8e-5, as between two memory layouts in one process."""

WEIGHTS = 0.05
"""Largest distance of the weights after three steps, relative to the way that they went. Adam
divides gradients by their size, so where a gradient is all rounding, a step's sign is too."""


def small_run(workshop: Workshop) -> FitConfig:
    """Both kinds of batch norm; three photographs and three pairs, which two processes share
    unevenly; no clipping, which hides a wrong scale."""
    return workshop.config(pairs=True, network=BOTH, batch=6, ema=0.9, clip=0.0)


@pytest.fixture(scope="module")
def folder(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes computed."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "config.json").write_text(to_json(small_run(workshop)))
    torch.save(
        torch.randn(8, 6, 5, 5, generator=torch.Generator().manual_seed(0)) + 3, folder / "x.pt"
    )
    script = [str(ROOT / "tests/helpers/two_processes.py"), str(folder)]
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*line, *script], cwd=ROOT, check=True, timeout=300)
    return folder


def test_synchronized_batch_norm_two_halves_give_the_whole(folder: Path) -> None:
    norm = BatchNormAct2d(6, act_layer=torch.nn.SiLU, inplace=False)
    x = torch.load(folder / "x.pt").requires_grad_()
    y = norm(x)
    y.pow(3).sum().backward()
    parts = [torch.load(folder / f"norm-{rank}.pt") for rank in (0, 1)]
    assert list(norm.state_dict()) == [name for name in parts[0] if name not in ("x", "y")]
    for rank, part in enumerate(parts):
        torch.testing.assert_close(part["y"], y.detach()[rank::2], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(part["x"], x.grad[rank::2], rtol=1e-4, atol=1e-4)
        for name, tensor in norm.state_dict().items():
            torch.testing.assert_close(part[name], tensor, rtol=1e-5, atol=1e-6)


def test_two_processes_take_the_steps_of_one(workshop: Workshop, folder: Path) -> None:
    config = small_run(workshop)
    state, predict = prepare(config, CPU)
    start = {n: p.detach().clone() for n, p in state.network.named_parameters()}
    batches = open_batches(config, CPU)
    step = Stepper(config, folder, CPU, state, predict, Objective(config))
    two = torch.load(folder / "steps-0.pt")
    for index in range(3):
        sums, _ = step(batches[index], 3, False)
        if index == 0:
            gradients = {n: p.grad.clone() for n, p in state.network.named_parameters()}
            torch.testing.assert_close(two["sums"], sums, rtol=1e-4, atol=1e-5)
    whole = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    for name, gradient in gradients.items():
        error = (two["gradients"][name] - gradient).norm()
        assert error < GRADIENT * (gradient.norm() + 0.01 * whole), name
    end = dict(state.network.named_parameters())
    way = sum((end[name] - start[name]).square().sum() for name in end)
    apart = sum((end[name] - two["network"][name]).square().sum() for name in end)
    assert apart.sqrt() < WEIGHTS * way.sqrt()


def test_two_processes_agree_to_the_last_bit(folder: Path) -> None:
    one, other = (torch.load(folder / f"steps-{rank}.pt") for rank in (0, 1))
    assert torch.equal(one["sums"], other["sums"])
    for kind in ("gradients", "network", "average"):
        assert one[kind].keys() == other[kind].keys()
        for name, tensor in one[kind].items():
            assert torch.equal(tensor, other[kind][name]), (kind, name)


def test_torchrun_killed_process_ends_the_others_and_the_run_resumes_alone(
    workshop: Workshop, tmp_path: Path
) -> None:
    output, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(to_json(workshop.config(samples=40_000, save_every=2)))
    line = command("--config", file, "--output", output, processes=2)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (output / "state.pt").exists():
            assert process.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "SIGKILL" in errors or "-9" in errors
    reached = torch.load(output / "state.pt", weights_only=True)["step"]
    fit(workshop.config(samples=4 * reached + 8, save_every=2), output, resume=True)
    assert log_lines(output)[-1]["step"] == reached + 2


@pytest.mark.slow
def test_torchrun_terminated_saves_and_the_run_resumes(workshop: Workshop, tmp_path: Path) -> None:
    """torchrun passes the signal on to each process's group, loader workers included."""
    output, file = tmp_path / "run", tmp_path / "config.json"
    file.write_text(to_json(workshop.config(samples=40_000, save_every=10_000, workers=2)))
    line = command("--config", file, "--output", output, processes=2)
    with subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not (output / "log.jsonl").exists() or not log_lines(output):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the state is saved. Go on with" in errors and "DataLoader worker" not in errors
    reached = torch.load(output / "state.pt", weights_only=True)["step"]
    assert log_lines(output)[-1]["step"] == reached
    fit(workshop.config(samples=4 * reached + 8, save_every=10_000), output, resume=True)


@pytest.mark.slow
def test_torchrun_bad_input_is_one_line_of_each_process(workshop: Workshop, tmp_path: Path) -> None:
    words = [*workshop.places(), "--output", tmp_path / "run"]
    line = command(*words, "--batch", "3", processes=2)
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode != 0
    said = [text for text in ended.stderr.splitlines() if text.startswith("train: error: ")]
    expected = "batch must be a multiple of processes times accumulate; got 3 for 2 times 1."
    # torchrun may end the second process before it has spoken.
    assert f"train: error: {expected} Give --batch 4." in said and len(said) <= 2
    assert "train/__main__.py" not in ended.stderr
