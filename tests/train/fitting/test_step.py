"""One step of training: gradients, what overflows, what is not finite, where weights begin."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import BOTH, CPU, STATISTICS, Workshop

from train.checkpoints import CheckpointError, save_checkpoint
from train.data.config import DataConfig
from train.fitting.config import FitConfig
from train.fitting.fit import fit, open_batches, prepare
from train.fitting.objective import Objective
from train.fitting.state import initial_network
from train.fitting.step import MAX_SKIPPED, NotFiniteError, Stepper, rate
from train.network import HarmonizerNet, NetworkConfig


def test_rate_step_schedule_falls_at_25_and_50_of_60_epochs() -> None:
    config = FitConfig(DataConfig(("a",)), learning_rate=1.0 - 1e-9)
    rates = [rate(config, step, 600) for step in (0, 249, 250, 499, 500, 599)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_rate_cosine_schedule_warms_up_and_ends_near_1_percent() -> None:
    config = FitConfig(DataConfig(("a",)), learning_rate=0.5, schedule="cosine")
    rates = [rate(config, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.5)
    assert rates[:50] == sorted(rates[:50]) and rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.005, rel=0.01)


def stepper(config: FitConfig, output: Path | None) -> Stepper:
    state, predict = prepare(config, CPU)
    return Stepper(config, output, CPU, state, predict, Objective(config))


def test_step_accumulated_gradient_is_the_whole_batch_s(workshop: Workshop, tmp_path: Path) -> None:
    """3 + 3 images in three parts; running statistics, because batch norm sees each part alone."""
    found = []
    for accumulate in (1, 3):
        config = workshop.config(pairs=True, batch=6, accumulate=accumulate)
        step = stepper(config, tmp_path)
        step.state.network.eval()
        sums, _ = step._backward(open_batches(config, CPU)[0])
        found.append([sums, *(p.grad for p in step.state.network.parameters())])
    assert found[0][0][:5].all()
    for whole, dealt in zip(*found, strict=True):
        torch.testing.assert_close(dealt, whole, rtol=1e-4, atol=1e-6)


def test_step_uneven_parts_weigh_every_image_alike(workshop: Workshop, tmp_path: Path) -> None:
    """One synthesised image and three pairs: the second part has no synthesised image at all."""
    data = dataclasses.replace(workshop.data(pairs=True), pair_share=0.75)
    found = []
    for accumulate in (1, 2):
        config = workshop.config(data=data, accumulate=accumulate)
        step = stepper(config, tmp_path)
        step.state.network.eval()
        sums, _ = step._backward(open_batches(config, CPU)[0])
        found.append([sums, *(p.grad for p in step.state.network.parameters())])
    for whole, dealt in zip(*found, strict=True):
        torch.testing.assert_close(dealt, whole, rtol=1e-4, atol=1e-6)


def test_step_fp16_overflowing_gradients_are_skipped_until_too_many(
    workshop: Workshop, tmp_path: Path
) -> None:
    config = workshop.config(network=BOTH, amp="fp16", ema=0.9)
    batches, step = open_batches(config, CPU), stepper(config, tmp_path)
    step.state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, backoff_factor=0.99)
    assert step.state.average is not None
    average = {name: t.clone() for name, t in step.state.average.state_dict().items()}
    before = {name: t.clone() for name, t in step.state.network.named_parameters()}
    for index in range(2):
        step(batches[index], 100, False)
    assert (step.state.step, step.skipped) == (2, 2)
    for name, parameter in step.state.network.named_parameters():
        assert torch.equal(parameter, before[name])
    for name, tensor in step.state.average.state_dict().items():
        assert torch.equal(tensor, average[name])
    step.skipped = MAX_SKIPPED
    with pytest.raises(NotFiniteError, match="step 2"):
        step(batches[2], 100, False)
    step.state.scaler, step.skipped = torch.amp.GradScaler("cpu", init_scale=1.0), 1
    step(batches[2], 100, False)
    assert step.skipped == 0
    assert not torch.equal(
        step.state.network.get_parameter("regressor.f.weight"), before["regressor.f.weight"]
    )


def test_fit_not_finite_loss_stops_and_saves_the_batch(workshop: Workshop, tmp_path: Path) -> None:
    network = HarmonizerNet(STATISTICS)
    torch.nn.init.constant_(network.get_parameter("regressor.f.weight"), 3e38)
    save_checkpoint(network, tmp_path / "huge.safetensors")
    with pytest.raises(NotFiniteError, match="step 0") as caught:
        fit(workshop.config(init=str(tmp_path / "huge.safetensors")), tmp_path / "run")
    assert str(tmp_path / "run" / "not-finite.pt") in str(caught.value)
    saved = torch.load(tmp_path / "run" / "not-finite.pt", weights_only=True)
    assert saved["photo"].shape == (4, 3, 64, 64) and saved["step"] == 0
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.parametrize(
    ("folder", "told"), [("absent", "The batch could not be saved: "), (None, "is not kept")]
)
def test_step_not_finite_loss_is_told_though_the_batch_cannot_be_saved(
    workshop: Workshop, tmp_path: Path, folder: str | None, told: str
) -> None:
    config = workshop.config()
    step = stepper(config, None if folder is None else tmp_path / folder)
    torch.nn.init.constant_(step.state.network.get_parameter("regressor.f.weight"), torch.nan)
    with pytest.raises(NotFiniteError, match=f"loss nan.*at step 0.*{told}"):
        step(open_batches(config, CPU)[0], 1, False)


@pytest.mark.parametrize(
    "larger",
    [
        NetworkConfig(region_pooling=True, statistics=True),
        NetworkConfig(encoder="tf_efficientnet_lite0", depths=(1, 4), cells=1, statistics=True),
    ],
)
def test_initial_network_grown_from_statistics_predicts_the_same(
    workshop: Workshop, tmp_path: Path, larger: NetworkConfig
) -> None:
    small = initial_network(workshop.config()).eval()
    save_checkpoint(small, tmp_path / "small.safetensors")
    config = workshop.config(network=larger, init=str(tmp_path / "small.safetensors"))
    grown = initial_network(config).eval()
    photo = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 16:48, 8:40] = 1
    with torch.inference_mode():
        torch.testing.assert_close(grown(photo, mask), small(photo, mask), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        ({"filters": ("shadow", "hue")}, {}, "it predicts shadow,hue"),
        ({"encoder": "tf_efficientnet_b0"}, {}, "run's encoder, None; it has tf_efficientnet_b0"),
        ({"cascade": False}, {}, "no place for regressor.steps"),
    ],
)
def test_initial_network_from_another_network_is_refused(
    workshop: Workshop, tmp_path: Path, stored: dict[str, Any], wanted: dict[str, Any], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(HarmonizerNet(dataclasses.replace(STATISTICS, **stored)), path)
    with pytest.raises(CheckpointError, match=message):
        initial_network(workshop.config(init=str(path)))
