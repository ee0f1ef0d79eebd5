"""Fine-tuning for INT8: rounding that can be taken out again, and a loop that learns to bear it."""

import copy
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calibration_data import feeds
from training_runs import Workshop

from calibration.equalize import equalize, inverse_name
from calibration.errors import CalibrationError
from calibration.finetune import Imitation, finetune, main
from calibration.graph import PredictorGraph, load_graph
from calibration.ranges import calibrate, open_session
from calibration.rewrite import quantize_blocks
from calibration.rounding import insert_rounding, round_straight_through
from calibration.rows import scale_rows
from train.checkpoints import load_checkpoint
from train.fitting.config import FitConfig
from train.fitting.objective import Outcome
from train.network import HarmonizerNet


@pytest.fixture(scope="module")
def checkpoint_file(small_model: Path) -> Path:
    return small_model.with_suffix(".safetensors")


@pytest.fixture(scope="module")
def graph(small_model: Path) -> PredictorGraph:
    """As it is quantised."""
    graph = equalize(load_graph(small_model), feeds(4).feeds)
    return scale_rows(graph, graph.blocks)


@pytest.fixture(scope="module")
def ranges(graph: PredictorGraph) -> dict[str, float]:
    return calibrate(graph, feeds(4), "minmax")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def test_round_straight_through_rounds_and_passes_the_gradient() -> None:
    values = torch.tensor([-3.0, 0.26, 0.74, 1.0], requires_grad=True)
    rounded = round_straight_through(values, torch.tensor(0.5))
    assert rounded.tolist() == [-3.0, 0.5, 0.5, 1.0]
    rounded.sum().backward()
    assert values.grad is not None and values.grad.tolist() == [1.0] * 4


def test_insert_rounding_predicts_what_the_quantised_graph_predicts(
    checkpoint_file: Path, graph: PredictorGraph, ranges: dict[str, float]
) -> None:
    assert any(inverse_name(layer.weight) in graph.weights for layer in graph.layers)
    network = load_checkpoint(checkpoint_file)
    assert isinstance(network, HarmonizerNet)
    before = copy.deepcopy(network.state_dict())
    remove = insert_rounding(network, graph, ranges)
    blocks = [block for block in graph.blocks if not block.startswith("regressor")]
    session = open_session(quantize_blocks(graph, blocks, ranges))
    unrounded = open_session(graph.model)
    for feed in feeds(3).feeds:
        expected = session.run(["arguments"], feed)[0]
        composite, mask = (torch.from_numpy(feed[name]) for name in ("composite", "mask"))
        rounded = network.predict_arguments(composite, mask).numpy()
        away = np.abs(unrounded.run(["arguments"], feed)[0] - expected).max()
        # A value at the limit of two steps may round either way.
        assert np.abs(rounded - expected).max() < 0.2 * away + 1e-5
    remove()
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert set(before) == set(after)


def test_insert_rounding_with_nothing_left_is_refused(
    checkpoint_file: Path, graph: PredictorGraph, ranges: dict[str, float]
) -> None:
    network = load_checkpoint(checkpoint_file)
    assert isinstance(network, HarmonizerNet)
    with pytest.raises(CalibrationError, match="must have layers to round"):
        insert_rounding(network, graph, ranges, graph.blocks)


def configured(workshop: Workshop, checkpoint_file: Path) -> FitConfig:
    return FitConfig(
        data=workshop.data(),
        network=load_checkpoint(checkpoint_file).config,
        init=str(checkpoint_file),
        samples=4 * 24,
        size=64,
        batch=4,
        learning_rate=3e-4,
        schedule="cosine",
        workers=0,
        channels_last=False,
        tensorboard=False,
    )


def test_finetune_learns_to_bear_the_rounding(
    checkpoint_file: Path,
    graph: PredictorGraph,
    ranges: dict[str, float],
    workshop: Workshop,
    tmp_path: Path,
) -> None:
    narrow = {name: value / 12 for name, value in ranges.items()}  # something to learn
    config = configured(workshop, checkpoint_file)
    losses = finetune(config, tmp_path / "new.safetensors", graph, narrow)
    assert len(losses) == 24 and np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])
    tuned = load_checkpoint(tmp_path / "new.safetensors").state_dict()
    before = load_checkpoint(checkpoint_file).state_dict()
    assert list(tuned) == list(before)
    assert any(not torch.equal(tuned[name], before[name]) for name in before)


def test_finetune_interrupted_saves_what_it_has(
    checkpoint_file: Path,
    graph: PredictorGraph,
    ranges: dict[str, float],
    workshop: Workshop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(self: Imitation, *arguments: Any) -> Outcome:
        os.kill(os.getpid(), signal.SIGINT)
        return plain(self, *arguments)

    plain = Imitation.__call__
    monkeypatch.setattr(Imitation, "__call__", interrupt)
    path = tmp_path / "new.safetensors"
    losses = finetune(configured(workshop, checkpoint_file), path, graph, ranges)
    assert len(losses) == 1
    before, after = (
        load_checkpoint(checkpoint_file).state_dict(),
        load_checkpoint(path).state_dict(),
    )
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_finetune_command_bad_input_exits_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(tmp_path / "none.safetensors"), "--images", str(tmp_path), "--output"]
    assert main([*words, str(tmp_path / "new.safetensors")]) == 2
    assert "no checkpoint at" in capsys.readouterr().err
    assert main([*words, words[0]]) == 2
    assert "would replace an input" in capsys.readouterr().err
    assert main([*words, "new.onnx"]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
