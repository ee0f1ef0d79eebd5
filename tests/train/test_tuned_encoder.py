"""Pretrained encoders in training: what gets gradients, and the quick ways to compute the rest."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from training_runs import Workshop

from train.checkpoints import load_checkpoint
from train.efficientnet import DepthEncoder
from train.fitting import step
from train.fitting.config import ConfigError, FitConfig
from train.fitting.distributed import Processes
from train.fitting.fit import fit, prepare
from train.fitting.state import initial_network
from train.frozen import FrozenError, FrozenStages
from train.network import NetworkConfig
from train.pointwise import can_fold, run_block, trained_in

LITE = "tf_efficientnet_lite0"
NETWORK = NetworkConfig(encoder=LITE, depths=(1, 4), cells=1, statistics=True, looks=2)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


def lively(module: torch.nn.Module) -> None:
    """Batch norm that does something: fresh ones are the identity."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.5, 1.5)
            norm.weight.data.uniform_(0.5, 1.5)


@pytest.mark.parametrize(
    "name", [LITE, "tf_efficientnet_b0", "efficientnet_lite0"], ids=["lite", "excite", "even"]
)
def test_run_block_values_and_gradients_are_the_blocks_own(name: str) -> None:
    """In float64, for all blocks: ReLU6 and swish, squeeze-and-excite, both kinds of padding."""
    torch.manual_seed(0)
    body = timm.create_model(name, pretrained=False).eval().double()
    lively(body)
    x = torch.randn(2, 32, 32, 32).double().contiguous(memory_format=torch.channels_last)
    for block in (block for stage in body.blocks for block in stage):
        assert can_fold(block)
        kernels, results = trained_in(block), []
        for run in (block, lambda y, block=block: run_block(block, y)):
            given = x.clone().requires_grad_()
            y = run(given)
            weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view_as(y)
            results.append((y, *torch.autograd.grad((y * weights).sum(), [given, *kernels])))
        for expected, got in zip(*results, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
        x = results[0][0].detach()


def test_tune_pointwise_moves_the_1x1_convolutions_alone() -> None:
    encoder = DepthEncoder(LITE, (1, 4))
    encoder.tune(3, pointwise=True)
    sum(f.sum() for f in encoder(torch.rand(1, 3, 64, 64))).backward()
    moved = {name for name, p in encoder.named_parameters() if p.grad is not None}
    assert moved == {n for n, p in encoder.named_parameters() if p.requires_grad}
    assert {int(name.split(".")[1]) for name in moved} == {3, 4}
    assert {name.split(".")[3] for name in moved} == {"conv_pw", "conv_pwl"}


@pytest.mark.parametrize(
    ("name", "stage", "got"),
    [(LITE, 0, "the stem"), ("tf_efficientnet_cc_b0_4e", 1, "CondConvResidual")],
)
def test_tune_pointwise_what_it_cannot_do_is_refused(name: str, stage: int, got: str) -> None:
    encoder = DepthEncoder(name, (1, 5))
    with pytest.raises(ValueError, match=f"got {got}. Tune from a later stage, or tune all"):
        encoder.tune(stage, pointwise=True)


@pytest.mark.parametrize("stage", [2, 3, 7])
def test_frozen_stages_are_torchs_own(stage: int) -> None:
    """Features of frozen and of tuned stages, and the tuned ones' gradients."""
    torch.manual_seed(1)
    encoder = DepthEncoder(LITE, (1, 2, 4))
    lively(encoder)
    encoder.tune(stage)
    composite = torch.rand(2, 3, 64, 64)
    results = []
    for quick in (None, FrozenStages(encoder)):
        encoder.frozen = quick
        encoder.zero_grad()
        features = encoder(composite)
        if stage < 7:
            sum(f.square().mean() for f in features).backward()
        gradients = [p.grad.clone() for p in encoder.parameters() if p.grad is not None]
        results.append([*features, *gradients])
    assert len(results[0]) == len(results[1]) > 2
    for expected, got in zip(*results, strict=True):
        scale = expected.abs().max().item()
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * scale)


def test_frozen_stages_read_weights_that_are_loaded_late() -> None:
    """A resumed run loads its checkpoint after the sessions' owner is made."""
    encoder = DepthEncoder(LITE, (1,))
    encoder.tune(3)
    quick = FrozenStages(encoder)
    lively(encoder)
    composite = torch.rand(1, 3, 64, 64)
    expected = encoder(composite)[0]
    torch.testing.assert_close(quick(composite)[0], expected, rtol=1e-4, atol=1e-4)


def test_frozen_stages_without_exporter_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FrozenError, match=r"Install harmonizer\[export\], or give --frozen torch"):
        FrozenStages(DepthEncoder(LITE, (1,)))


def test_frozen_stages_on_another_device_are_refused() -> None:
    encoder = DepthEncoder(LITE, (1,))
    with pytest.raises(FrozenError, match=r"composites are on meta\. Give --frozen torch"):
        FrozenStages(encoder)(torch.empty(1, 3, 64, 64, device="meta"))


@pytest.mark.parametrize("change", [{"tune": "pointwise"}, {"frozen": "onnxruntime"}])
def test_config_quick_ways_without_frozen_stages_are_refused(
    workshop: Workshop, change: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"got tune_from 0\. Give --tune-from 3"):
        workshop.config(network=NETWORK, **change)


@pytest.mark.parametrize(("size", "of"), [(192, 128), (224, 256), (128, 256), (224, 64)])
def test_config_sizes_that_statistics_cannot_be_taken_on_are_refused(
    workshop: Workshop, size: int, of: int
) -> None:
    network = NetworkConfig(statistics=True, statistics_size=of)
    said = f"a multiple of statistics_size, {of}, .* got {size}. Give --size 256"
    with pytest.raises(ConfigError, match=said):
        workshop.config(network=network, size=size)
    for fitting in (256, of, 2 * of):
        assert workshop.config(network=network, size=fitting).size == fitting


@pytest.fixture(scope="module")
def quick(workshop: Workshop) -> FitConfig:
    return workshop.config(
        network=NETWORK,
        samples=3 * 4,
        save_every=1,
        ema=0.5,
        tune_from=3,
        tune="pointwise",
        frozen="onnxruntime",
        amp="bf16",
    )


def test_fit_the_quick_way_moves_what_it_says(quick: FitConfig, tmp_path: Path) -> None:
    before = initial_network(quick).state_dict()
    after = load_checkpoint(fit(quick, tmp_path / "run")).state_dict()
    moved = {n for n in before if n.startswith("encoder.") and not before[n].equal(after[n])}
    assert {name.split(".")[2] for name in moved} == {"3", "4"}
    assert {name.split(".")[4] for name in moved} == {"conv_pw", "conv_pwl"}


def test_fit_the_quick_way_resumes_to_the_same_weights(
    quick: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "rate", lambda config, *_: config.learning_rate)
    whole = load_checkpoint(fit(quick, tmp_path / "whole")).state_dict()
    fit(dataclasses.replace(quick, samples=2 * 4), tmp_path / "parts")
    resumed = load_checkpoint(fit(quick, tmp_path / "parts", resume=True)).state_dict()
    differing = [name for name in whole if not whole[name].equal(resumed[name])]
    assert not differing


def test_prepare_muon_gets_the_matrices_outside_the_encoder(quick: FitConfig) -> None:
    config = dataclasses.replace(quick, optimizer="muon", matrix_rate=2.0)
    state, _ = prepare(config, Processes(torch.device("cpu")))
    adamw, muon = (o.param_groups for o in state.optimizers)
    names = {id(p): name for name, p in state.network.named_parameters()}
    matrices = {names[id(p)] for p in muon[0]["params"]}
    assert [group["share"] for group in (*adamw, *muon)] == [1.0, 1.0, 2.0]
    assert {"cells.layers.0.qkv.weight", "statistics.hidden.weight"} <= matrices
    assert not any("encoder" in name or "bias" in name or "places" in name for name in matrices)
    held = [id(p) for group in (*adamw, *muon) for p in group["params"]]
    tuned = {id(p) for p in state.network.parameters() if p.requires_grad}
    assert len(held) == len(set(held)) and set(held) == tuned


def test_fit_with_muon_resumes_to_the_same_weights(
    quick: FitConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "rate", lambda config, *_: config.learning_rate)
    config = dataclasses.replace(quick, optimizer="muon", matrix_rate=2.0)
    whole = load_checkpoint(fit(config, tmp_path / "whole")).state_dict()
    fit(dataclasses.replace(config, samples=2 * 4), tmp_path / "parts")
    resumed = load_checkpoint(fit(config, tmp_path / "parts", resume=True)).state_dict()
    other = load_checkpoint(fit(quick, tmp_path / "adamw")).state_dict()
    assert not [name for name in whole if not whole[name].equal(resumed[name])]
    assert [name for name in whole if not whole[name].equal(other[name])]


def test_prepare_optimizer_holds_what_is_tuned(quick: FitConfig) -> None:
    state, _ = prepare(quick, Processes(torch.device("cpu")))
    held = {id(p) for o in state.optimizers for group in o.param_groups for p in group["params"]}
    tuned = {id(p) for p in state.network.parameters() if p.requires_grad}
    assert held == tuned
