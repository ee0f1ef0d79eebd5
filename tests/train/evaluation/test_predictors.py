"""The four kinds of model that can be evaluated, and what is not one."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from image_graphs import write_gain, write_graph
from onnx import helper
from repository import ROOT

from harmonizer.contract import END_TO_END_FORMAT
from harmonizer.errors import ModelError
from train.evaluation.predictors import Kind, Method, apply_colour_map, fit_colour_map

E2E = {"harmonizer.format": END_TO_END_FORMAT}


@pytest.fixture
def scene_pixels(photograph: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A composite (300, 420, 3) uint8 and a mask with a soft edge."""
    mask = np.zeros((300, 420), np.uint8)
    mask[60:220, 100:330] = 255
    mask[60:220, 95:100] = 128
    return np.ascontiguousarray(photograph[:300, :420]), mask


def as_floats(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array[:256, :256]).astype(np.float32) / 255


def test_checkpoint_and_predictor_draw_the_same(
    checkpoint: Path, scene_pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    torch_reference = Method("checkpoint", checkpoint).open()
    fused = Method("predictor", ROOT / "models/harmonizer.onnx").open()
    photograph, mask = scene_pixels
    composite = np.where(mask[..., None] > 127, photograph // 2, photograph)  # wants mending
    drawn, other = torch_reference(composite, mask), fused(composite, mask)
    assert drawn.dtype == np.uint8 and np.abs(drawn.astype(int) - composite).mean() > 0.2
    # Rounding at half a level may fall either way.
    assert np.abs(drawn.astype(int) - other).max() <= 1
    small = as_floats(composite), as_floats(mask)
    drawn, other = torch_reference(*small), fused(*small)
    assert drawn.dtype == np.float32
    assert np.abs(drawn - other).max() < 1e-3


def test_end_to_end_takes_any_size(
    tmp_path: Path, scene_pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    path = write_gain(tmp_path / "e2e.onnx", 0.5, size="any", metadata=E2E)
    composite, mask = scene_pixels
    drawn = Method("end-to-end", path).open()(composite, mask)
    assert np.abs(drawn[mask > 0] - composite[mask > 0] / 2).max() <= 0.5
    assert np.array_equal(drawn[mask == 0], composite[mask == 0])


@pytest.mark.slow
def test_exported_end_to_end_agrees_with_its_checkpoint(
    tmp_path: Path, checkpoint: Path, scene_pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    from export.to_onnx import export

    export(checkpoint, tmp_path / "e2e.onnx", "end-to-end")
    drawn = Method("end-to-end", tmp_path / "e2e.onnx").open()(*scene_pixels)
    expected = Method("checkpoint", checkpoint).open()(*scene_pixels)
    assert np.abs(drawn.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("joined", [False, True])
def test_black_box_at_its_own_size_is_blended_once(tmp_path: Path, joined: bool) -> None:
    path = write_gain(tmp_path / "box.onnx", 0.5, joined)
    random = np.random.default_rng(0)
    composite = random.random((256, 256, 3), np.float32)
    mask = np.zeros((256, 256), np.float32)
    mask[50:100, 50:100], mask[50:100, 100:110] = 1, 0.5
    drawn = Method("black-box", path).open()(composite, mask)
    expected = composite * (1 - 0.5 * mask[:, :, None])
    assert np.abs(drawn - expected).max() < 1e-6


def test_black_box_pcm_keeps_the_detail_that_bilinear_loses(
    tmp_path: Path, scene_pixels: tuple[np.ndarray, np.ndarray]
) -> None:
    path = write_gain(tmp_path / "box.onnx", 0.8)
    composite, mask = scene_pixels
    exact = composite * (1 - 0.2 * mask[:, :, None] / 255)
    error = {
        upsample: np.abs(Method("black-box", path, upsample).open()(composite, mask) - exact)
        for upsample in ("pcm", "bilinear")
    }
    assert error["pcm"].max() <= 0.51
    assert error["bilinear"].mean() > 0.5
    assert error["bilinear"][mask == 0].max() == error["pcm"][mask == 0].max() == 0


def test_colour_map_recovers_a_polynomial_from_the_foreground() -> None:
    random = torch.Generator().manual_seed(3)
    image = torch.rand(1, 3, 20, 30, generator=random)
    r, g, b = image[0]
    wanted = torch.stack([0.1 + 0.5 * r * g, 0.9 * g - 0.2 * r * g * b, 0.3 * b * b + 0.4 * r])[
        None
    ]
    mask = (torch.rand(1, 1, 20, 30, generator=random) > 0.5).float()
    noise = torch.rand(1, 3, 20, 30, generator=random)
    factors = fit_colour_map(image, wanted * mask + noise * (1 - mask), mask)
    assert factors.shape == (11, 3)
    assert torch.allclose(apply_colour_map(image, factors), wanted, atol=1e-5)


def test_colour_map_of_one_colour_moves_that_colour_and_stays_finite() -> None:
    image = torch.full((1, 3, 4, 4), 0.4)
    factors = fit_colour_map(image, image + 0.2, torch.ones(1, 1, 4, 4))
    assert torch.allclose(apply_colour_map(image, factors), image + 0.2, atol=1e-5)
    assert np.abs(factors).max() < 0.2
    empty = fit_colour_map(image, image + 0.2, torch.zeros(1, 1, 4, 4))
    assert torch.equal(apply_colour_map(image, empty), image)


def test_black_box_other_layouts_are_refused_with_their_inputs(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "box.onnx"
    image = [1, 3, 256, 256]
    same = [helper.make_node("Identity", ["composite"], ["harmonized"])]
    twice = [*same, helper.make_node("Identity", ["composite"], ["other"])]
    for inputs, nodes, outputs, found in (
        ({"composite": image}, same, {"harmonized": image}, "inputs are composite"),
        (
            {"composite": [1, 256, 256, 3], "mask": [1, 256, 256, 1]},
            same,
            {"harmonized": [1, 256, 256, 3]},
            r"mask tensor\(float\) \[1, 256, 256, 1\]",
        ),
        ({"composite": [1, 4, 512, 512]}, same, {"harmonized": [1, 4, 512, 512]}, "512"),
        (
            {"composite": image, "mask": [1, 1, 256, 256]},
            twice,
            {"harmonized": image, "other": image},
            "outputs are harmonized .*, other",
        ),
    ):
        write_graph(path, inputs, nodes, outputs)
        with pytest.raises(ModelError, match=f"must take a composite Nx3x256x256.*{found}"):
            Method("black-box", path).open()
    with pytest.raises(ModelError, match="outputs are arguments"):
        Method("black-box", model).open()


@pytest.mark.parametrize("gain", [255.0, -1.0, float("nan")])
def test_black_box_of_another_scale_is_refused(tmp_path: Path, gain: float) -> None:
    harmonize = Method("black-box", write_gain(tmp_path / "box.onnx", gain, True)).open()
    composite = np.full((256, 256, 3), 0.9, np.float32)
    with pytest.raises(ModelError, match=r"must answer with an image .* in \[0, 1\]; it gave"):
        harmonize(composite, np.ones((256, 256), np.float32))


def test_models_of_another_kind_are_refused(tmp_path: Path, model: Path, checkpoint: Path) -> None:
    e2e = write_gain(tmp_path / "e2e.onnx", size="any", metadata=E2E)
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    cases: list[tuple[Kind, Path, str]] = [
        ("predictor", e2e, "it is an end-to-end graph"),
        ("predictor", checkpoint, "must be a complete ONNX model"),
        ("end-to-end", model, "Give it as --predictor"),
        ("end-to-end", write_gain(tmp_path / "box.onnx"), "says None"),
        ("end-to-end", text, "must be an ONNX model that ONNX Runtime"),
        ("black-box", text, "must be an ONNX model that ONNX Runtime"),
        ("black-box", tmp_path / "absent.onnx", "there is none at"),
        ("checkpoint", model, "must be a torch file"),
    ]
    for kind, path, words in cases:
        with pytest.raises(ModelError, match=words):
            Method(kind, path).open()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        Method("checkpoint", tmp_path / "absent.safetensors").open()


def test_checkpoint_that_predicts_nan_is_refused(tmp_path: Path) -> None:
    from train.checkpoints import save_checkpoint
    from train.network import HarmonizerNet, NetworkConfig

    network = HarmonizerNet(NetworkConfig(encoder=None, statistics=True))
    torch.nn.init.constant_(network.get_parameter("regressor.f.bias"), torch.nan)
    save_checkpoint(network, tmp_path / "nan.safetensors")
    with pytest.raises(ModelError, match=r"not finite: regressor\.f\.bias"):
        Method("checkpoint", tmp_path / "nan.safetensors").open()
    torch.nn.init.constant_(network.get_parameter("regressor.f.bias"), 3e38)
    torch.nn.init.constant_(network.get_parameter("regressor.g.bias"), -3e38)
    for step in network.regressor.steps:
        torch.nn.init.constant_(step.weight, 3e38)
    save_checkpoint(network, tmp_path / "large.safetensors")
    harmonize = Method("checkpoint", tmp_path / "large.safetensors").open()
    with pytest.raises(ModelError, match="must predict finite arguments"):
        harmonize(np.zeros((300, 300, 3), np.uint8), np.full((300, 300), 255, np.uint8))


def test_graph_that_cannot_run_is_refused(tmp_path: Path) -> None:
    path = write_gain(tmp_path / "e2e.onnx", metadata=E2E)  # of a fixed size, 256x256
    assert onnx.load(path).metadata_props
    harmonize = Method("end-to-end", path).open()
    with pytest.raises(ModelError, match=r"must run on composite \(1, 3, 300, 300\)"):
        harmonize(np.zeros((300, 300, 3), np.uint8), np.full((300, 300), 255, np.uint8))
