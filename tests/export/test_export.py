"""Exported graphs: parity, contract, metadata, and refusal to leave a file behind."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from repository import ROOT

from export import to_onnx, tolerances, verify
from export.metadata import Precision, Variant, file_sha256
from export.to_onnx import export
from export.verify import ParityError
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from train.checkpoints import load_checkpoint, save_checkpoint
from train.network import HarmonizerNet, NetworkConfig


@pytest.fixture(scope="module")
def one_look(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights in a network of one look, with its averages: a third of the graph."""
    shipped = load_checkpoint(checkpoint)
    assert isinstance(shipped, HarmonizerNet)
    network = HarmonizerNet(replace(shipped.config, looks=1, own_norms=False))
    first = {n.replace(".normalize.0.", ".normalize."): t for n, t in shipped.state_dict().items()}
    network.load_state_dict({name: first[name] for name in network.state_dict()})
    path = tmp_path_factory.mktemp("one") / "look.safetensors"
    save_checkpoint(network, path)
    return path


@pytest.fixture(scope="module")
def exported(
    one_look: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[Variant, Precision], Path]:
    folder = tmp_path_factory.mktemp("onnx")
    paths = {}
    for variant in get_args(Variant):
        for precision in get_args(Precision):
            path = folder / f"{variant}-{precision}.onnx"
            export(one_look, path, variant, precision)
            paths[variant, precision] = path
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths.values())
    return paths


@pytest.mark.parametrize(
    "config",
    [NetworkConfig(), NetworkConfig(encoder=None, statistics=True, statistics_size=128, looks=2)],
    ids=["published", "finer statistics"],
)
def test_export_other_networks_than_the_shipped_one(config: NetworkConfig, tmp_path: Path) -> None:
    """Parity is part of `export`; the file then answers what the checkpoint does."""
    torch.manual_seed(0)
    save_checkpoint(HarmonizerNet(config), tmp_path / "a.safetensors")
    export(tmp_path / "a.safetensors", tmp_path / "a.onnx", "predictor", "fp32")
    inputs = feed(2, 256, 256)
    (found,) = session(tmp_path / "a.onnx").run(["arguments"], inputs)
    stored = load_checkpoint(tmp_path / "a.safetensors")
    assert stored.config == config
    expected = stored.predict_arguments(*(torch.from_numpy(t) for t in inputs.values()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerances.ONNX_FP32_ARGUMENTS)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def feed(count: int, height: int, width: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    mask = np.zeros((count, 1, height, width), np.float32)
    mask[:, :, height // 4 : height // 2, width // 3 :] = 1
    return {"composite": random.random((count, 3, height, width), np.float32), "mask": mask}


def test_export_graphs_are_valid_single_files_with_metadata(
    exported: dict[tuple[Variant, Precision], Path], one_look: Path
) -> None:
    for (variant, precision), path in exported.items():
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        facts = {p.key: p.value for p in model.metadata_props}
        assert facts["harmonizer.format"] == f"harmonizer-{variant}"
        assert facts["harmonizer.precision"] == precision
        assert json.loads(facts["harmonizer.filters"]) == list(DEFAULT_FILTERS)
        assert json.loads(facts["harmonizer.ranges"])["shadow"] == {
            "minimum": OPERATIONS["shadow"].minimum,
            "maximum": OPERATIONS["shadow"].maximum,
            "identity": OPERATIONS["shadow"].identity,
        }
        assert facts["harmonizer.checkpoint_sha256"] == file_sha256(one_look)
        assert str(ROOT).encode() not in path.read_bytes()
        assert not any(t.HasField("data_location") and t.data_location for t in _tensors(model))


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    return list(model.graph.initializer)


def test_export_fp16_about_halves_the_file(
    exported: dict[tuple[Variant, Precision], Path],
) -> None:
    sizes = {key: path.stat().st_size for key, path in exported.items()}
    assert sizes["predictor", "fp16"] < 0.7 * sizes["predictor", "fp32"]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_predictor_batch_equals_single_images(
    exported: dict[tuple[Variant, Precision], Path], precision: Precision
) -> None:
    runner, batch = session(exported["predictor", precision]), feed(3, 256, 256)
    together = runner.run(["arguments"], batch)[0]
    alone = [runner.run(None, {k: v[i : i + 1] for k, v in batch.items()})[0] for i in range(3)]
    assert together.shape == (3, 6) and together.dtype == np.float32
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=2e-3)


@pytest.mark.parametrize("size", [(256, 256), (64, 48), (411, 633)])
def test_end_to_end_any_size_matches_torch_and_keeps_the_background(
    exported: dict[tuple[Variant, Precision], Path], one_look: Path, size: tuple[int, int]
) -> None:
    inputs = feed(2, *size)
    image, arguments = session(exported["end-to-end", "fp32"]).run(
        ["harmonized", "arguments"], inputs
    )
    network = load_checkpoint(one_look)
    composite, mask = torch.from_numpy(inputs["composite"]), torch.from_numpy(inputs["mask"])
    expected = network.predict_arguments(composite, mask)
    np.testing.assert_allclose(arguments, expected.numpy(), rtol=0, atol=2e-5)
    drawn = network.render(composite, mask, torch.from_numpy(arguments))[-1].numpy()
    np.testing.assert_allclose(image, drawn, rtol=0, atol=1e-4)
    background = np.broadcast_to(inputs["mask"] == 0, image.shape)
    assert np.array_equal(image[background], inputs["composite"][background])


def small_checkpoint(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "small.safetensors"
    config = NetworkConfig(encoder=None, statistics=True, filters=("tint", "shadow"))
    save_checkpoint(HarmonizerNet(config), path)
    return path


def test_export_parity_failure_leaves_no_file_and_exits_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = small_checkpoint(tmp_path), tmp_path / "out" / "bad.onnx"
    build = to_onnx.build_graph

    def damaged(network: HarmonizerNet, variant: Variant, precision: Precision) -> onnx.ModelProto:
        with torch.no_grad():
            network.regressor.outputs[0].bias += 1e-3
        return build(network, variant, precision)

    monkeypatch.setattr(to_onnx, "build_graph", damaged)
    arguments = ["to_onnx.py", "--checkpoint", str(source), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", arguments)
    assert to_onnx.main() == 1
    assert "parity failed, no file written" in capsys.readouterr().err
    assert list(output.parent.iterdir()) == []


def test_export_parity_failure_keeps_the_file_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "kept.onnx"
    output.write_bytes(b"before")
    monkeypatch.setattr(
        tolerances, "ONNX_FP32_ARGUMENTS", -1.0
    )  # nothing passes: differences are never negative
    with pytest.raises(ParityError, match="allowed are -1 for arguments"):
        export(small_checkpoint(tmp_path), output)
    assert output.read_bytes() == b"before"


def test_export_own_images_and_other_filters_work(tmp_path: Path, photo_file: Path) -> None:
    output = tmp_path / "small.onnx"
    report = export(small_checkpoint(tmp_path), output, images=photo_file.parent)
    assert report.images == 1
    assert session(output).run(None, feed(1, 256, 256))[0].shape == (1, 2)
    with pytest.raises(ValueError, match="holds none"):
        export(small_checkpoint(tmp_path), output, images=tmp_path)
    with pytest.raises(ValueError, match=r"absent is none. Check the path"):
        export(tmp_path / "no checkpoint either", output, images=tmp_path / "absent")


@pytest.fixture
def photo_file(tmp_path_factory: pytest.TempPathFactory, photograph: np.ndarray) -> Path:
    from PIL import Image

    path = tmp_path_factory.mktemp("photo") / "coffee.png"
    Image.fromarray(photograph).save(path)
    return path


def test_verify_command_line_accepts_ours_and_refuses_others(
    exported: dict[tuple[Variant, Precision], Path], one_look: Path, tmp_path: Path
) -> None:
    def call(model: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "export/verify.py", str(model), "--checkpoint", str(one_look)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    ours = call(exported["predictor", "fp16"])
    assert ours.returncode == 0 and "arguments max abs error" in ours.stdout, ours.stderr
    model = onnx.load(exported["predictor", "fp16"])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "foreign.onnx")
    foreign = call(tmp_path / "foreign.onnx")
    assert foreign.returncode == 2 and "metadata says nothing" in foreign.stderr
    other = call(ROOT / "models" / "s2crnet.onnx")
    assert other.returncode == 2 and "exported from the checkpoint's network" in other.stderr
    cut = tmp_path / "cut.onnx"
    cut.write_bytes((tmp_path / "foreign.onnx").read_bytes()[:999])
    broken = call(cut)
    assert broken.returncode == 2 and "must be a complete ONNX model" in broken.stderr


def test_to_onnx_bad_input_exits_2_with_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "export/to_onnx.py", "--checkpoint", str(tmp_path / "none.pth")]
    result = subprocess.run(
        [*command, "--output", str(tmp_path / "a.onnx")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "no checkpoint at" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("name", ["harmonizer", "s2crnet"])
def test_shipped_model_was_exported_from_the_shipped_checkpoint(name: str) -> None:
    checkpoint = ROOT / "models" / f"{name}.safetensors"
    path = checkpoint.with_suffix(".onnx")
    facts = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert facts["harmonizer.checkpoint_sha256"] == file_sha256(checkpoint)
    verify.verify(path, load_checkpoint(checkpoint), "predictor", "fp32")
