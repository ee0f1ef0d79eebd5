"""S2CRNet in the loop that trains every network: command line, loss, resuming, ablations."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_runs import CPU, Workshop, log_lines

from train.__main__ import main
from train.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from train.fitting.config import FitConfig, from_dict, to_dict
from train.fitting.fit import fit, open_batches, prepare
from train.fitting.flags import Parser, fit_config
from train.fitting.losses import masked_l1
from train.fitting.objective import build_objective
from train.fitting.state import initial_network
from train.network import HarmonizerNet, NetworkConfig
from train.registry import MODELS, Config
from train.s2crnet import S2CRNet, S2CRNetConfig

SMALL = S2CRNetConfig(statistics=True, encoder_size=32)


def config(workshop: Workshop, pairs: bool = False, **changes: object) -> FitConfig:
    fields = {"network": SMALL, "loss": "sum", "pair_weight": 1.0, "weight_decay": 0.01}
    return workshop.config(pairs, **(fields | changes))


def parsed(*words: str) -> FitConfig:
    return fit_config(Parser("train", "").parse_args(words))


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


# The command line


def test_flags_model_brings_its_network_and_its_recipe() -> None:
    chosen = parsed("--data", "a", "--model", "s2crnet", "--stages", "3", "--batch", "16")
    assert chosen.network == S2CRNetConfig(stages=3)
    assert (chosen.learning_rate, chosen.epochs, chosen.loss) == (2e-4, 50, "sum")
    assert chosen.batch == 16, "flags go before the recipe"
    assert from_dict(FitConfig, to_dict(chosen)) == chosen
    plain = parsed("--data", "a")
    assert plain == FitConfig(data=plain.data) and plain.network.model == "harmonizer"


def test_flags_file_goes_before_the_recipe(tmp_path: Path) -> None:
    fields = {"network": {"model": "s2crnet"}, "epochs": 3}
    (tmp_path / "c.json").write_text(json.dumps(fields))
    chosen = parsed("--data", "a", "--config", str(tmp_path / "c.json"))
    assert (chosen.epochs, chosen.batch, chosen.network) == (3, 8, S2CRNetConfig())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--stages 2", "`network.stages` is for model s2crnet; got it with model harmonizer"),
        ("--model s2crnet --looks 2", "`network.looks` is for model harmonizer; got it with"),
        ("--model s2crnet --filters hue", "`network.filters` is for model harmonizer"),
        ("--model s2crnet --stages 4", "stages must lie in 1..3; got 4"),
        ("--model s2crnet --dropout 0.1", "dropout acts in the statistics' layers alone"),
        ("--model s2crnet --backbone resnet", "invalid choice"),
        ("--model s2crnet --statistics --size 224", "Give --size 256, or another"),
        ("--model s2crnet --pretrained", "this network has none. Give --encoder"),
        ("--model gan", "invalid choice"),
    ],
)
def test_command_line_flags_of_another_model_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert message in refused(capsys, "--output", tmp_path / "run", *words.split())
    assert not (tmp_path / "run").exists()


def test_registry_networks_have_what_the_loop_asks_for() -> None:
    for name, model in MODELS.items():
        network = model.network(model.config())
        assert network.config.model == name
        for method in ("prepare", "predict_arguments", "render", "fold", "halve", "compile_parts"):
            assert callable(getattr(network, method))


# The loop


def test_fit_loss_falls_and_the_checkpoint_is_this_model_s(
    workshop: Workshop, tmp_path: Path
) -> None:
    run = config(workshop, pairs=True, samples=96, learning_rate=2e-3, tensorboard=True)
    path = fit(run, tmp_path)
    log = log_lines(tmp_path)
    early, late = ([line["final_loss"] for line in part] for part in (log[:6], log[-6:]))
    assert sum(late) < 0.9 * sum(early)
    network = load_checkpoint(path)
    assert isinstance(network, S2CRNet) and network.config == SMALL
    events = EventAccumulator(str(tmp_path)).Reload()
    tags = set(events.Tags()["histograms"])
    assert {"arguments/shadow/true", "arguments/piecewise_curve/predicted"} <= tags


def test_fit_resumed_run_equals_an_uninterrupted_one(workshop: Workshop, tmp_path: Path) -> None:
    # The step schedule has one rate for the first two of five steps, whatever the length.
    fields: dict[str, Any] = {"ema": 0.9, "schedule": "step"}
    parts = tmp_path / "parts"
    begun = load_checkpoint(fit(config(workshop, samples=4, **fields), parts)).state_dict()
    resumed = fit(config(workshop, samples=8, **fields), parts, resume=True)
    straight = fit(config(workshop, samples=8, **fields), tmp_path / "straight")
    first, second = (load_checkpoint(p).state_dict() for p in (resumed, straight))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["curves.0.background.weight"], begun["curves.0.background.weight"])


def test_objective_sums_masked_l1_over_the_stages(workshop: Workshop) -> None:
    run = config(workshop, pairs=True, network=S2CRNetConfig(encoder_size=32), pair_weight=0.5)
    state, predict = prepare(run, CPU)
    state.network.eval()
    batch = open_batches(run, CPU)[0]
    outcome = build_objective(run)(predict, batch, 2, torch.tensor([2, 2]))
    stages = state.network.render(outcome.composite, batch.mask, outcome.predicted)
    losses = sum(masked_l1(stage, outcome.target, batch.mask) for stage in stages)
    assert isinstance(losses, torch.Tensor)
    expected = losses[:2].mean() + 0.5 * losses[2:].mean()
    assert outcome.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(outcome.output, stages[-1])
    assert torch.equal(outcome.target[2:], batch.photo[2:])
    assert not torch.equal(outcome.composite[:2], batch.photo[:2])


@pytest.mark.slow
def test_fit_compiled_step_gives_the_same_loss(workshop: Workshop) -> None:
    found = []
    for compiled in (False, True):
        run = config(workshop, compile=compiled)
        _, predict = prepare(run, CPU)
        found.append(
            build_objective(run)(predict, open_batches(run, CPU)[0], 4, torch.tensor([4, 0]))
        )
    torch.testing.assert_close(found[0].loss, found[1].loss, rtol=1e-3, atol=1e-4)


# Starting from a checkpoint


def test_initial_network_may_have_more_stages_than_the_checkpoint(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "one.safetensors"
    source = S2CRNet(S2CRNetConfig(stages=1))
    save_checkpoint(source, path)
    grown = initial_network(config(workshop, network=S2CRNetConfig(), init=str(path)))
    state = grown.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (NetworkConfig(encoder=None, statistics=True), "run's model, s2crnet; it has harmonizer"),
        (S2CRNetConfig(backbone="vgg16"), "run's backbone, squeezenet; it has vgg16"),
        (S2CRNetConfig(stages=3), "no place for curves.2"),
    ],
)
def test_initial_network_from_another_network_is_refused(
    workshop: Workshop, tmp_path: Path, stored: Config, message: str
) -> None:
    path = tmp_path / "other.safetensors"
    network = HarmonizerNet(stored) if isinstance(stored, NetworkConfig) else S2CRNet(stored)
    save_checkpoint(network, path)
    with pytest.raises(CheckpointError, match=message):
        initial_network(config(workshop, network=S2CRNetConfig(), init=str(path)))


SEEING = S2CRNetConfig(
    backbone="tf_efficientnet_lite0", depths=(1, 4), statistics=True, encoder_size=32
)


def test_fit_with_a_frozen_encoder_moves_all_but_the_encoder(
    workshop: Workshop, tmp_path: Path
) -> None:
    run = config(workshop, network=SEEING, tune_from=7, frozen="onnxruntime", samples=8)
    before = initial_network(run).state_dict()
    after = load_checkpoint(fit(run, tmp_path)).state_dict()
    same = {name.split(".")[0] for name in before if before[name].equal(after[name])}
    moved = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
    assert "encoder" in same and moved == {"statistics", "curves"}


def test_initial_network_takes_the_other_model_s_encoder_alone(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = tmp_path / "harmonizer.safetensors"
    stored = NetworkConfig(encoder="tf_efficientnet_lite0", depths=(1, 4), statistics=True)
    save_checkpoint(source := HarmonizerNet(stored), path)
    run = config(workshop, network=SEEING, init=str(path), seed=3)
    state, fresh = initial_network(run).state_dict(), S2CRNet(SEEING).state_dict()
    for name, tensor in source.state_dict().items():
        if name.startswith("encoder."):
            assert torch.equal(state[name], tensor)
    name = "encoder.conv_stem.weight"
    assert not torch.equal(state[name], fresh[name])
    finer = dataclasses.replace(SEEING, depths=(0, 2, 3))
    initial_network(config(workshop, network=finer, init=str(path)))
    save_checkpoint(HarmonizerNet(), published := tmp_path / "published.safetensors")
    with pytest.raises(CheckpointError, match="it has tf_efficientnet_b0 without depths"):
        initial_network(config(workshop, network=SEEING, init=str(published)))
    deeper = dataclasses.replace(SEEING, depths=(1, 5))
    said = r"must be tf_efficientnet_lite0 up to stage 5; it has .* up to stage 4\."
    with pytest.raises(CheckpointError, match=said):
        initial_network(config(workshop, network=deeper, init=str(path)))


# Ablations


def test_ablate_cascade_runs_one_to_three_stages(workshop: Workshop, tmp_path: Path) -> None:
    places = ["--data", str(workshop.photos), "--cache", str(workshop.cache)]
    flags = "--model s2crnet --encoder-size 32 --size 64 --batch 4 --samples 4 --workers 0"
    line = ["ablate", "cascade", "--output", str(tmp_path), "--val", str(workshop.photos)]
    assert main([*line, *places, *flags.split(), "--no-tensorboard"]) == 0
    rows = json.loads((tmp_path / "table.json").read_text())
    assert list(rows) == ["1", "2", "3"]
    counts = [row["parameters"] for row in rows.values()]
    assert counts[2] - counts[1] == counts[1] - counts[0] > 200_000
