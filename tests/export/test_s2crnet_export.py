"""S2CRNet's exported graphs: contract, parity, cropping in the graph, TensorRT-RTX engines."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from calibration_data import curves_checkpoint

from export import to_onnx, tolerances
from export.metadata import Precision, Variant
from export.regions import traced_thumbnails
from export.to_onnx import export
from harmonizer.contract import LABELS, read_contract
from train.checkpoints import load_checkpoint
from train.evaluation.predictors import Method
from train.regions import region_thumbnails
from train.s2crnet import S2CRNet, S2CRNetConfig, one_hot

Case = tuple[str, Variant, Precision]
CASES: list[Case] = [
    ("labelled", "predictor", "fp32"),
    ("labelled", "predictor", "fp16"),
    ("labelled", "end-to-end", "fp32"),
]
PLAIN = S2CRNetConfig(stages=1, semantic=False)


@pytest.fixture(scope="module")
def checkpoints(curves_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    plain = tmp_path_factory.mktemp("checkpoints") / "plain.safetensors"
    return {
        "labelled": curves_model.with_suffix(".safetensors"),
        "plain": curves_checkpoint(plain, PLAIN),
    }


@pytest.fixture(scope="module")
def exported(
    curves_model: Path, checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[Case, Path]:
    """Every file has shown its parity, or `export` would have raised."""
    shared, *others = CASES
    return {shared: curves_model} | export_all(checkpoints, others, tmp_path_factory.mktemp("onnx"))


def export_all(checkpoints: dict[str, Path], cases: list[Case], folder: Path) -> dict[Case, Path]:
    paths = {}
    for case in cases:
        paths[case] = folder / f"{'-'.join(case)}.onnx"
        name, variant, precision = case
        export(checkpoints[name], paths[case], variant, precision, model="s2crnet")
    return paths


def scene(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    composite = torch.rand(2, 3, height, width, generator=generator)
    mask = torch.zeros(2, 1, height, width)
    mask[0, :, height // 4 : height // 2, width // 3 :] = 1
    mask[1, :, 3 : height - 5, 7 : width // 2] = torch.linspace(0.2, 1, width // 2 - 7)
    return composite, mask


@pytest.mark.parametrize("size", [(40, 61), (256, 256), (317, 700)])
def test_traced_thumbnails_are_the_reference_s(size: tuple[int, int]) -> None:
    composite, mask = scene(*size)
    for traced, expected in zip(
        traced_thumbnails(composite, mask), region_thumbnails(composite, mask), strict=True
    ):
        error = (traced - expected).abs().max().item()
        assert error <= tolerances.ANTIALIASED


def test_traced_thumbnails_empty_mask_gives_a_black_foreground() -> None:
    composite, mask = scene(30, 40)
    mask[0] = 0
    foreground, background = traced_thumbnails(composite, mask)
    assert not foreground[0].any() and foreground[1].any()
    assert background.isfinite().all()


def test_export_metadata_states_the_contract(
    exported: dict[Case, Path],
) -> None:
    check_metadata(exported)


@pytest.mark.slow
def test_export_other_variants_show_their_parity_and_contract(
    checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    cases: list[Case] = [
        ("plain", "predictor", "fp32"),
        ("plain", "end-to-end", "fp32"),
        ("labelled", "end-to-end", "fp16"),
    ]
    check_metadata(export_all(checkpoints, cases, tmp_path))


def check_metadata(exported: dict[Case, Path]) -> None:
    for (name, variant, precision), path in exported.items():
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        facts = {p.key: p.value for p in model.metadata_props}
        assert facts["harmonizer.model"] == "s2crnet"
        assert facts["harmonizer.precision"] == precision
        assert ("harmonizer.labels" in facts) == (name == "labelled")
        if variant == "end-to-end":
            continue
        contract = read_contract(path, facts)
        assert contract.filters == ("piecewise_curve",)
        assert contract.sizes == ((384,) if name == "labelled" else (192,))
        assert contract.labelled == (name == "labelled")
        assert [v.name for v in model.graph.input] == list(contract.inputs)
        config = json.loads(facts["harmonizer.config"])
        assert config["backbone"] == "squeezenet" and config["model"] == "s2crnet"


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_predictor_batch_equals_torch_on_single_images(
    exported: dict[Case, Path], checkpoints: dict[str, Path]
) -> None:
    network = load_checkpoint(checkpoints["labelled"])
    assert isinstance(network, S2CRNet)
    composite, mask = scene(120, 90)
    names = [LABELS[0], LABELS[3]]
    inputs = network.prepare(composite, mask, names)
    feed = {
        n: t.numpy() for n, t in zip(("foreground", "background", "label"), inputs, strict=True)
    }
    answer = session(exported["labelled", "predictor", "fp32"]).run(["arguments"], feed)[0]
    for index, name in enumerate(names):
        box = slice(index, index + 1)
        alone = network.predict_arguments(composite[box], mask[box], [name])
        error = np.abs(answer[box] - alone.numpy()).max()
        assert error <= tolerances.ONNX_FP32_SLOPES
    assert np.abs(answer - 1).max() > 0.05, "the test's curves must bend"


@pytest.mark.parametrize("size", [(64, 48), (411, 633)])
def test_end_to_end_any_size_matches_torch_and_keeps_the_background(
    exported: dict[Case, Path],
    checkpoints: dict[str, Path],
    size: tuple[int, int],
) -> None:
    network = load_checkpoint(checkpoints["labelled"])
    assert isinstance(network, S2CRNet)
    composite, mask = scene(*size)
    feed = {"composite": composite, "mask": mask, "label": one_hot(["food", "other"])}
    image, arguments = session(exported["labelled", "end-to-end", "fp32"]).run(
        ["harmonized", "arguments"], {name: t.numpy() for name, t in feed.items()}
    )
    expected = network.predict_arguments(composite, mask, ["food", "other"])
    assert np.abs(arguments - expected.numpy()).max() <= tolerances.ONNX_FP32_SLOPES
    drawn = network.render(composite, mask, torch.from_numpy(arguments))[-1].numpy()
    np.testing.assert_allclose(image, drawn, rtol=0, atol=1e-5)
    background = np.broadcast_to(mask.numpy() == 0, image.shape)
    assert np.array_equal(image[background], composite.numpy()[background])


def test_evaluation_checkpoint_and_end_to_end_draw_the_same(
    exported: dict[Case, Path],
    checkpoints: dict[str, Path],
    photograph: np.ndarray,
) -> None:
    composite = np.ascontiguousarray(photograph[:200, :320])
    mask = np.zeros((200, 320), np.uint8)
    mask[50:160, 100:250] = 255
    graph = exported["labelled", "end-to-end", "fp32"]
    drawn = Method("end-to-end", graph).open()(composite, mask).astype(int)
    expected = Method("checkpoint", checkpoints["labelled"]).open()(composite, mask)
    assert np.abs(drawn - expected).max() <= 1
    assert np.abs(expected.astype(int) - composite).max() > 5


def test_to_onnx_checkpoint_of_another_model_is_refused(
    checkpoints: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--checkpoint", str(checkpoints["plain"]), "--output", str(tmp_path / "a.onnx")]
    monkeypatch.setattr(sys, "argv", ["to_onnx.py", *words, "--model", "harmonizer"])
    assert to_onnx.main() == 2
    assert "it is one of s2crnet. Give --model s2crnet" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_predictor_builds_as_an_engine(
    exported: dict[Case, Path], precision: Precision, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed: make setup")
    from harmonizer.engine import BuildOptions, build_engine

    options = BuildOptions(compute_capabilities=("8.9",))
    path = exported["labelled", "predictor", precision]
    report = build_engine(path, tmp_path / "a.engine", options, "tensorrt_rtx")
    assert [(t["name"], t["shape"]) for t in report["tensors"]] == [
        ("foreground", [-1, 3, 256, 256]),
        ("background", [-1, 3, 256, 256]),
        ("label", [-1, 5]),
        ("arguments", [-1, 384]),
    ]
    kinds = report["network"]["by_type_and_precision"]["CONVOLUTION"]
    assert set(kinds) == {"FLOAT" if precision == "fp32" else "HALF"}
