"""S2CRNet: its curves, its thumbnails, the network and its checkpoints."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curves import random_slopes
from safetensors import safe_open
from safetensors.torch import save_file

from harmonizer.contract import LABELS
from harmonizer.ops import CURVE_KNOTS, CURVE_LEAST_MEAN, OPERATIONS
from train.checkpoints import CheckpointError, load_checkpoint, load_harmonizer, save_checkpoint
from train.efficientnet import DepthEncoder
from train.filters import apply_filters, curve_stages, normalize_slopes, piecewise_curve
from train.network import HarmonizerNet, NetworkConfig
from train.regions import bounding_box, region_thumbnails
from train.s2crnet import S2CRNet, S2CRNetConfig, one_hot

CONFIGS = [
    S2CRNetConfig(),
    S2CRNetConfig(stages=1, semantic=False),
    S2CRNetConfig(stages=3, statistics=True, encoder_size=32),
    S2CRNetConfig(
        backbone="tf_efficientnet_lite0", depths=(1, 4), statistics=True, encoder_size=64
    ),
]
KNOT = 1 / CURVE_KNOTS


def scenes(count: int = 2, height: int = 96, width: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    """Composites, and masks of a box each, with a soft edge."""
    generator = torch.Generator().manual_seed(5)
    composite = torch.rand(count, 3, height, width, generator=generator)
    mask = torch.zeros(count, 1, height, width)
    for index in range(count):
        mask[index, 0, 20 + index : 60, 30 : 70 - 9 * index] = 1
        mask[index, 0, 60, 30 : 70 - 9 * index] = 0.3
    return composite, mask


def slopes(count: int, stages: int = 2) -> torch.Tensor:
    random = np.random.default_rng(3)
    rows = [random_slopes(random, stages).reshape(-1) for _ in range(count)]
    return torch.from_numpy(np.stack(rows))


# The curve


def by_the_definition(image: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
    """y = (L / sum theta) sum_i theta_i clamp(x - i/L, 0, 1/L), written out for one stage."""
    theta = theta.view(len(theta), 3, CURVE_KNOTS)
    starts = torch.arange(CURVE_KNOTS, dtype=image.dtype) * KNOT
    parts = (image[:, :, None] - starts.view(1, 1, -1, 1, 1)).clamp(0, KNOT)
    total = (theta[..., None, None] * parts).sum(dim=2)
    return (total / theta.mean(dim=2)[..., None, None]).clamp(0, 1)


def test_piecewise_curve_is_the_published_formula_stage_by_stage() -> None:
    image = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1)).double()
    image[0, :, 0, :3] = torch.tensor([0.0, 1.0, 0.5]).double()  # both ends and a knot
    theta = slopes(2).double()
    first, second = curve_stages(image, theta)
    expected = by_the_definition(image, theta[:, :192])
    torch.testing.assert_close(first, expected, rtol=0, atol=1e-14)
    torch.testing.assert_close(
        second, by_the_definition(expected, theta[:, 192:]), rtol=0, atol=1e-14
    )
    assert torch.equal(piecewise_curve(image, theta), second)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_piecewise_curve_knots_without_a_sum_stay_finite_with_their_gradient(
    dtype: torch.dtype,
) -> None:
    image = torch.rand(4, 3, 5, 5, dtype=dtype)
    ramp = torch.linspace(-1, 1, CURVE_KNOTS, dtype=dtype)
    knots = torch.stack(
        [0 * ramp, ramp - ramp.mean(), ramp - ramp.mean() - 1e-9, ramp - ramp.mean() + 1e-3]
    )
    x = knots.repeat(1, 3).requires_grad_()
    output = piecewise_curve(image, x)
    output.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert output.min() >= 0 and output.max() <= 1
    torch.testing.assert_close(output[0], image[0], rtol=0, atol=2e-7)


def test_normalize_slopes_has_mean_1_does_nothing_twice_and_keeps_great_sums() -> None:
    theta = torch.cat([slopes(3).view(-1, CURVE_KNOTS), torch.zeros(1, CURVE_KNOTS)]).double()
    theta[0] -= theta[0].mean() - 0.01  # below the least mean
    once = normalize_slopes(theta)
    torch.testing.assert_close(once.mean(dim=1), torch.ones(len(theta)).double())
    torch.testing.assert_close(normalize_slopes(once), once, rtol=0, atol=1e-12)
    great = theta.mean(dim=1).abs() >= CURVE_LEAST_MEAN
    assert great.any() and not great.all()
    torch.testing.assert_close(once[great], (theta / theta.mean(dim=1, keepdim=True))[great])


def test_piecewise_curve_gradient_matches_finite_differences() -> None:
    image = (0.9 * torch.rand(1, 3, 2, 3).double() + 0.05).requires_grad_()
    x = (1 + 0.2 * torch.rand(1, 384).double()).requires_grad_()
    assert torch.autograd.gradcheck(piecewise_curve, (image, x), eps=1e-7, atol=1e-5)


def test_piecewise_curve_not_a_number_stays_where_it_is() -> None:
    image = torch.full((1, 3, 1, 2), 0.5)
    image[0, 1, 0, 0] = torch.nan
    output = piecewise_curve(image, torch.ones(1, 192))
    assert output.isnan().sum() == 1 and output[0, 1, 0, 0].isnan()


def test_apply_filters_curves_among_others_take_their_own_columns() -> None:
    image = torch.rand(2, 3, 5, 5)
    x = slopes(2)
    arguments = torch.cat([torch.full((2, 1), 0.3), x, torch.full((2, 1), -0.2)], dim=1)
    stages = apply_filters(image, arguments, ("shadow", "piecewise_curve", "tint"))
    assert torch.equal(stages[1], piecewise_curve(stages[0], x))
    with pytest.raises(ValueError, match=r"\(2, 193 or 385 or 577\).*got \(2, 194\)"):
        apply_filters(image, arguments[:, :194], ("shadow", "piecewise_curve"))


# Thumbnails


@pytest.mark.parametrize("size", [(96, 80), (300, 517)])
def test_region_thumbnails_are_crop_and_antialiased_resizing(size: tuple[int, int]) -> None:
    composite, mask = scenes(2, *size)
    foreground, background = region_thumbnails(composite, mask)
    for index, right in enumerate((70, 61)):
        box = (slice(index, index + 1), slice(None), slice(20 + index, 61), slice(30, right))
        image, cover = (
            F.interpolate(t[box], (256, 256), mode="bilinear", antialias=True)
            for t in (composite, mask)
        )
        assert torch.equal(foreground[index], (image * cover)[0])
    image, cover = (
        F.interpolate(t, (256, 256), mode="bilinear", antialias=True) for t in (composite, mask)
    )
    assert torch.equal(background, image * (1 - cover))


def test_bounding_box_counts_the_faintest_pixel() -> None:
    mask = torch.zeros(1, 9, 7)
    assert bounding_box(mask) is None
    mask[0, 4, 6] = 1e-3
    assert bounding_box(mask) == (4, 5, 6, 7)
    mask[0, 8, 0] = 1
    assert bounding_box(mask) == (4, 9, 0, 7)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (slice(0, 0), slice(0, 9), "it is empty"),
        (slice(4, 5), slice(2, 9), "its bounding box is 7x1"),
        (slice(4, 9), slice(2, 3), "its bounding box is 1x5"),
    ],
)
def test_predict_arguments_mask_without_a_region_is_refused(
    rows: slice, columns: slice, message: str
) -> None:
    composite, mask = scenes(2, 64, 64)
    mask[1] = 0
    mask[1, 0, rows, columns] = 1
    network = S2CRNet(CONFIGS[2]).eval()
    with pytest.raises(ValueError, match=f"mask of image 1 must.*{message}"):
        network.predict_arguments(composite, mask)
    with pytest.raises(ValueError, match=f"the mask must.*{message}"):
        network.predict_arguments(composite[1:], mask[1:])
    # In a training batch such an image is one of many.
    assert network(*network.prepare(composite, mask)).isfinite().all()


# The network


@pytest.mark.parametrize(("backbone", "count"), [("squeezenet", 948_480), ("vgg16", 15_137_856)])
def test_network_published_cascade_has_its_parameter_count(backbone: str, count: int) -> None:
    network = S2CRNet(S2CRNetConfig(backbone=backbone))  # type: ignore[arg-type]
    assert sum(p.numel() for p in network.parameters()) == count
    composite, mask = scenes(1)
    assert network(*network.prepare(composite, mask, size=32)).shape == (1, 384)


@pytest.mark.parametrize("config", CONFIGS)
def test_network_begins_near_the_identity_and_every_parameter_learns(
    config: S2CRNetConfig,
) -> None:
    torch.manual_seed(0)
    network = S2CRNet(config)
    composite, mask = scenes(4, 64, 64)
    labels = [LABELS[index] for index in (0, 1, 2, 4)] if config.semantic else None
    arguments = network(*network.prepare(composite, mask, labels, size=64))
    assert arguments.shape == (4, 192 * config.stages)
    stages = network.render(composite, mask, arguments)
    assert len(stages) == config.stages
    assert (stages[-1] - composite).abs().max() < 0.05
    target = composite**1.5
    sum((stage - target).pow(2).sum() for stage in stages).backward()
    idle = {n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # Of a timm network's, batch norm stays.
    assert {n for n in idle if ".bn" not in n} == set()


def test_network_second_stage_looks_at_what_the_first_draws() -> None:
    torch.manual_seed(1)
    network = S2CRNet().eval()
    torch.nn.init.normal_(network.get_parameter("curves.0.foreground.weight"), std=0.05)
    composite, mask = scenes(2, 64, 64)
    foreground, background, label = network.prepare(composite, mask, size=64)
    with torch.inference_mode():
        first, second = network(foreground, background, label).split(192, dim=1)
        drawn = curve_stages(foreground, first)[-1]
        b = network._encode(background, None)
        expected = network.curves[1](network._encode(drawn, None), b, label)
        other = network.curves[1](network._encode(foreground, None), b, label)
    torch.testing.assert_close(second, expected)
    assert (second - other).abs().max() > 1e-4


def test_network_encoder_size_averages_the_thumbnails() -> None:
    torch.manual_seed(2)
    small = S2CRNet(S2CRNetConfig(encoder_size=64)).eval()
    thumbnails = [torch.rand(1, 3, 256, 256) for _ in range(2)]
    with torch.inference_mode():
        at_64 = small._encode(F.avg_pool2d(thumbnails[0], 4), None)
        torch.testing.assert_close(small._encode(thumbnails[0], None), at_64)


def test_network_with_depths_sees_what_a_thumbnail_shows_whatever_its_share() -> None:
    """The background's features are the same however large the black hole in a plain picture is."""
    network = S2CRNet(CONFIGS[3]).eval()
    assert isinstance(network.encoder, DepthEncoder)
    plain = torch.tensor([0.7, 0.4, 0.2]).view(1, 3, 1, 1).expand(1, 3, 256, 256)
    shown = torch.ones(1, 1, 256, 256)
    shown[..., 64:192, 64:192] = 0
    with torch.inference_mode():
        whole, holed = (network._encode(image, None) for image in (plain, plain * shown))
        everywhere = [f.mean(dim=(2, 3)) for f in network.encoder(plain[..., ::4, ::4])]
    assert whole.shape == holed.shape == (1, sum(network.encoder.widths))
    torch.testing.assert_close(whole, torch.cat(everywhere, dim=1), rtol=2e-3, atol=1e-5)
    first = network.encoder.widths[0]
    nearby = (holed - whole)[:, :first].abs().mean() / whole[:, :first].abs().mean()
    assert nearby < 0.5, "the hole's edge alone changes it"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"depths": (1, 4), "statistics": True}, "Leave them out, or take tf_efficientnet_lite0"),
        ({"backbone": "tf_efficientnet_lite0", "statistics": True}, "Give depths such as 1,2,4,6"),
        ({"backbone": "tf_efficientnet_lite0", "depths": (1, 4)}, "statistics False. Give depths"),
        (
            {"backbone": "tf_efficientnet_lite0", "depths": (4, 1), "statistics": True},
            "depths must rise within",
        ),
    ],
)
def test_config_depths_that_do_not_fit_the_backbone_are_refused(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        S2CRNetConfig(**fields)


def test_labels_change_the_prediction_and_unknown_ones_are_refused() -> None:
    network = S2CRNet().eval()
    composite, mask = scenes(1, 64, 64)
    by_label = [network.predict_arguments(composite, mask, [label]) for label in LABELS]
    assert torch.equal(network.predict_arguments(composite, mask), by_label[-1])
    assert not torch.equal(by_label[0], by_label[-1])
    with pytest.raises(ValueError, match="person, animal, food, vehicle, other; got 'cat'"):
        one_hot(["other", "cat"])
    with pytest.raises(ValueError, match="networks with a semantic branch"):
        S2CRNet(CONFIGS[1]).predict_arguments(composite, mask, ["food"])


@pytest.mark.parametrize(
    "fields",
    [{"stages": 0}, {"stages": 4}, {"encoder_size": 100}, {"dropout": 1.0}, {"dropout": 0.1}],
)
def test_config_out_of_range_is_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        S2CRNetConfig(**fields)  # type: ignore[arg-type]


def test_harmonizer_config_with_curves_points_to_this_model() -> None:
    with pytest.raises(ValueError, match="got piecewise_curve, which --model s2crnet predicts"):
        NetworkConfig(filters=("shadow", "piecewise_curve"))
    assert OPERATIONS["piecewise_curve"].sizes == (192, 384, 576)


@pytest.mark.parametrize("config", CONFIGS[2:])
def test_halve_keeps_curve_modules_in_float32_and_the_prediction_near(
    config: S2CRNetConfig,
) -> None:
    network = S2CRNet(config).eval()
    composite, mask = scenes()
    before = network.predict_arguments(composite, mask)
    network.halve()
    half = {n.split(".")[0] for n, p in network.named_parameters() if p.dtype == torch.float16}
    assert half == {"encoder", "statistics"}
    after = network.predict_arguments(composite, mask)
    assert after.dtype == torch.float32
    torch.testing.assert_close(after, before, rtol=0, atol=1e-2)


# Checkpoints


@pytest.mark.parametrize("config", CONFIGS)
def test_checkpoint_round_trip_keeps_configuration_and_prediction(
    config: S2CRNetConfig, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = S2CRNet(config).eval()
    save_checkpoint(network, tmp_path / "a.safetensors", {"samples": 1})
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    assert isinstance(loaded, S2CRNet) and loaded.config == config
    inputs = scenes(2, 64, 64)
    assert torch.equal(loaded.predict_arguments(*inputs), network.predict_arguments(*inputs))


def test_checkpoint_of_another_model_or_encoder_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_checkpoint(S2CRNet(), path)
    with pytest.raises(
        CheckpointError, match="must be a checkpoint of harmonizer; it is one of s2"
    ):
        load_harmonizer(path)
    # The tensors of one encoder under the other one's name.
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(
        tensors, other, metadata | {"config": metadata["config"].replace("squeezenet", "vgg16")}
    )
    with pytest.raises(CheckpointError, match=r"missing: encoder\.2\.weight.*extra: encoder\.10\."):
        load_checkpoint(other)
    save_file(tensors, other, metadata | {"model": "harmonizer"})
    with pytest.raises(CheckpointError, match="there is no field 'backbone'"):
        load_checkpoint(other)
    save_file(tensors, other, metadata | {"model": "cyclegan"})
    with pytest.raises(CheckpointError, match="model harmonizer or s2crnet"):
        load_checkpoint(other)
    save_checkpoint(HarmonizerNet(NetworkConfig(encoder=None, statistics=True)), other)
    assert load_harmonizer(other).config.model == "harmonizer"
    assert dataclasses.asdict(S2CRNetConfig())["model"] == "s2crnet"
