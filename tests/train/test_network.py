"""The network and its checkpoints."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from repository import shared_data

from export import tolerances
from train.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from train.colour_statistics import LAYOUT
from train.filters import apply_filters, blend
from train.network import HarmonizerNet, NetworkConfig, pool_regions

CONFIGS = [
    NetworkConfig(),
    NetworkConfig(region_pooling=True, statistics=True),
    NetworkConfig(encoder=None, statistics=True, filters=("brightness", "hue")),
    NetworkConfig(statistics=True, looks=2, cascade=False),
    NetworkConfig(
        encoder="tf_efficientnet_lite0",
        depths=(1, 2, 4, 6),
        encoder_size=128,
        cells=2,
        statistics=True,
        looks=2,
    ),
    NetworkConfig(encoder=None, statistics=True, statistics_size=128, looks=2),
]


def inputs(count: int = 2, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    composite = torch.rand(count, 3, size, size, generator=generator)
    mask = torch.zeros(count, 1, size, size)
    mask[:, :, 16:48, 8:40] = 1
    return composite, mask


def test_network_published_architecture_has_its_parameter_count() -> None:
    assert sum(p.numel() for p in HarmonizerNet().parameters()) == 4_726_882


def test_load_checkpoint_published_layout_gives_the_golden_arguments() -> None:
    network = load_checkpoint(shared_data("golden", "upstream_random.pth"))
    golden = np.load(shared_data("golden", "network.npz"))
    composite = torch.from_numpy(golden["comp_u8"]).permute(0, 3, 1, 2) / 255
    mask = torch.from_numpy(golden["mask_u8"])[:, None] / 255
    error = np.abs(network.predict_arguments(composite, mask).numpy() - golden["arguments"])
    assert error.max() <= tolerances.GOLDEN_ARGUMENTS
    composite, mask = (torch.from_numpy(golden[name]) for name in ("big_comp", "big_mask"))
    error = np.abs(network.predict_arguments(composite, mask).numpy() - golden["big_arguments"])
    assert error.max() <= tolerances.GOLDEN_ARGUMENTS


@pytest.mark.parametrize("config", CONFIGS)
def test_checkpoint_round_trip_keeps_configuration_and_prediction(
    config: NetworkConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = HarmonizerNet(config).eval()
    save_checkpoint(network, tmp_path / "a.safetensors", {"samples": 1})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert loaded.config == config
    with torch.inference_mode():
        expected, got = network(*inputs()), loaded(*inputs())
    assert expected.shape == (2, len(config.filters))
    assert torch.equal(expected, got)


@pytest.mark.parametrize("config", CONFIGS)
def test_network_every_parameter_gets_a_gradient(config: NetworkConfig) -> None:
    network = HarmonizerNet(config)
    network(*inputs()).pow(2).sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def test_network_empty_and_full_mask_stay_finite() -> None:
    network = HarmonizerNet(NetworkConfig(region_pooling=True, statistics=True)).eval()
    composite, mask = inputs()
    for extreme in (torch.zeros_like(mask), torch.ones_like(mask)):
        assert torch.isfinite(network(composite, extreme)).all()


def test_pool_regions_averages_each_side_of_the_mask() -> None:
    features = torch.zeros(1, 2, 2, 2)
    features[0, 0, 0] = 3.0  # the upper half of channel 0
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, :32] = 1
    pooled = pool_regions(features, mask)
    torch.testing.assert_close(pooled, torch.tensor([[3.0, 0, 0, 0]]), rtol=1e-3, atol=0)


def test_network_second_look_corrects_by_what_the_first_would_draw() -> None:
    torch.manual_seed(3)
    network = HarmonizerNet(NetworkConfig(encoder=None, statistics=True, looks=2)).eval()
    assert network.statistics is not None
    composite, mask = inputs()
    with torch.inference_mode():
        first, second = network(composite, mask, every_look=True)
        assert torch.equal(network(composite, mask), second)
        drawn = blend(apply_filters(composite, first)[-1], composite, mask)
        correction = network.regressor(network.statistics(drawn, mask, first))
    assert first.abs().max() > 1e-3 and correction.abs().max() > 1e-3
    torch.testing.assert_close(second, first + correction, rtol=0, atol=1e-6)


def test_predict_arguments_mask_of_another_size_is_refused() -> None:
    composite, mask = inputs()
    with pytest.raises(ValueError, match=r"mask must be \(2, 1, 64, 64\); got"):
        HarmonizerNet().predict_arguments(composite, mask[..., :32])


def published_state() -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        shared_data("golden", "upstream_random.pth"), weights_only=True
    )
    return state


def test_load_checkpoint_missing_extra_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    state = published_state()
    del state["regressor.f.bias"]
    state["surplus.weight"] = torch.zeros(1)
    state["regressor.headers.0.1.weight"] = torch.zeros(1, 161)
    torch.save(state, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "bad.pth")
    message = str(caught.value)
    assert "missing: regressor.f.bias" in message
    assert "extra: surplus.weight" in message
    assert "regressor.outputs.0.weight (1, 161) instead of (1, 160)" in message


def test_load_checkpoint_pickled_code_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (marker,)  # type: ignore[return-value]

    torch.save({"weights": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="tensors only"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not marker.exists()


def test_load_checkpoint_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00\x00\x00")
    with pytest.raises(CheckpointError, match="truncated"):
        load_checkpoint(tmp_path / "cut.safetensors")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(CheckpointError, match="torch file"):
        load_checkpoint(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="dictionary of tensors; got list"):
        load_checkpoint(tmp_path / "list.pth")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"must be a file; .* is a folder"):
        load_checkpoint(tmp_path)
    for suffix in (".onnx", ".safetensors"):
        (tmp_path / f"model{suffix}").write_bytes(b"\x08\x0a\x12\x05torch")
        with pytest.raises(CheckpointError, match="it is an ONNX model"):
            load_checkpoint(tmp_path / f"model{suffix}")


def test_network_config_without_any_input_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder or statistics"):
        NetworkConfig(encoder=None)
    with pytest.raises(ValueError, match="name an encoder too"):
        NetworkConfig(encoder=None, statistics=True, region_pooling=True)
    with pytest.raises(ValueError, match="statistics_size is for networks with statistics; got"):
        NetworkConfig(statistics_size=128)
    with pytest.raises(ValueError, match="statistics_size must be one of 64, 128, 256; got 100"):
        NetworkConfig(statistics=True, statistics_size=100)
    with pytest.raises(ValueError, match="more than one look needs statistics; got 2"):
        NetworkConfig(looks=2)
    with pytest.raises(ValueError, match=r"looks must be at least 1; got 0\. Give 1 or more"):
        NetworkConfig(looks=0, statistics=True)


@pytest.mark.parametrize(
    "network, complaint",
    [
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"cell_dropout": -0.1}, "cell_dropout must lie in"),
        ({"cell_dropout": 0.1}, "cell_dropout is for networks with cells"),
        ({"feature_dropout": 0.1}, "feature_dropout is for networks with depths"),
    ],
)
def test_network_config_dropout_of_nothing_is_refused(
    network: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        NetworkConfig(statistics=True, **network)


@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(CONFIGS[4], dropout=0.5),
        dataclasses.replace(CONFIGS[4], cell_dropout=0.5),
        dataclasses.replace(CONFIGS[4], feature_dropout=0.5),
    ],
)
def test_network_dropout_acts_in_training_alone(config: NetworkConfig) -> None:
    torch.manual_seed(4)
    plain, network = HarmonizerNet(CONFIGS[4]), HarmonizerNet(config)
    network.load_state_dict(plain.state_dict())
    composite, mask = inputs(2, 256)
    with torch.no_grad():
        expected = plain.eval()(composite, mask)
        assert torch.equal(network.eval()(composite, mask), expected)
        for part in network.modules():  # batch norm changes in training as well
            part.training = not isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
        first, second = network(composite, mask), network(composite, mask)
    assert not torch.equal(first, second) and not torch.equal(first, expected)


def test_load_checkpoint_trained_on_other_statistics_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(HarmonizerNet(CONFIGS[2]), path)
    monkeypatch.setitem(LAYOUT, "grid", 128)
    with pytest.raises(CheckpointError, match="'grid': 128"):
        load_checkpoint(path)


@pytest.mark.parametrize("config", CONFIGS[1:])
def test_fold_keeps_the_arguments(config: NetworkConfig) -> None:
    torch.manual_seed(6)
    network = HarmonizerNet(config).eval()
    composite, mask = inputs()
    before = network(composite, mask)
    network.fold()
    assert isinstance(network.regressor, torch.nn.Linear)
    assert before.abs().max() > 0.01
    torch.testing.assert_close(network(composite, mask), before, rtol=0, atol=1e-6)
