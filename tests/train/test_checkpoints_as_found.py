"""Checkpoints as people have them: wrapped, converted, cut short, or no checkpoint at all."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from repository import ROOT, shared_data
from safetensors.torch import save_file
from torch import Tensor

from train.checkpoints import load_checkpoint
from train.network import HarmonizerNet
from train.published import CheckpointError

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def published() -> State:
    """Names and shapes of the published checkpoint."""
    path = shared_data("golden", "upstream_random.pth")
    state: State = torch.load(path, weights_only=True)
    return state


@pytest.fixture(scope="module")
def expected() -> State:
    return load_checkpoint(shared_data("golden", "upstream_random.pth")).state_dict()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPINGS: dict[str, Callable[[State], Any]] = {
    "module.": lambda s: prefixed(s, "module."),
    "_orig_mod.": lambda s: prefixed(s, "_orig_mod."),
    "module._orig_mod.": lambda s: prefixed(s, "module._orig_mod."),
    "_orig_mod.module.": lambda s: prefixed(s, "_orig_mod.module."),
    "state_dict": lambda s: {"state_dict": s},
    "model": lambda s: {"model": s},
    "lightning": lambda s: {
        "epoch": 3,
        "state_dict": prefixed(s, "model."),
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
    },
    "training": lambda s: {
        "epoch": 3,
        "model_state_dict": prefixed(s, "module."),
        "optimizer": {"state": {}, "param_groups": []},
        "loss": 0.5,
    },
    "half": lambda s: {name: t.half() if t.is_floating_point() else t for name, t in s.items()},
}


@pytest.mark.parametrize("name", WRAPPINGS)
def test_wrapped_checkpoint_loads(
    name: str, published: State, expected: State, tmp_path: Path
) -> None:
    torch.save(WRAPPINGS[name](published), tmp_path / "a.pth")
    loaded = load_checkpoint(tmp_path / "a.pth").state_dict()
    tolerance = 1e-3 if name == "half" else 0
    for key, tensor in expected.items():
        torch.testing.assert_close(loaded[key], tensor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".SAFETENSORS"])
def test_published_checkpoint_converted_to_safetensors_loads(
    suffix: str, published: State, expected: State, tmp_path: Path
) -> None:
    save_file(prefixed(published, "module."), tmp_path / f"a{suffix}", {"format": "pt"})
    loaded = load_checkpoint(tmp_path / f"a{suffix}")
    assert isinstance(loaded, HarmonizerNet)
    for key, tensor in expected.items():
        torch.testing.assert_close(loaded.state_dict()[key], tensor, rtol=0, atol=0)


def test_two_networks_in_one_file_are_not_chosen_among(published: State, tmp_path: Path) -> None:
    torch.save({"params": published, "params_ema": published, "iter": 5}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="more than one network: params, params_ema"):
        load_checkpoint(tmp_path / "a.pth")
    torch.save({"epoch": 5, "optimizer": {"state": {}}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="a dictionary of 'epoch', 'optimizer'"):
        load_checkpoint(tmp_path / "b.pth")


PAGE = b"<!DOCTYPE html><html><head><title>Quota exceeded</title></head></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PAGE, "it is a web page, so the download failed"),
        (POINTER, "Git LFS pointer.*git lfs pull"),
        (bytes(1000), "nothing but zeros"),
    ],
)
def test_file_that_is_no_checkpoint_is_named(
    content: bytes, said: str, suffix: str, tmp_path: Path
) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(tmp_path / f"a{suffix}")


def test_truncated_and_empty_files_are_said_to_be(published: State, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(published, path)
    whole = path.read_bytes()
    for part in (2, 10):
        path.write_bytes(whole[: len(whole) // part])
        with pytest.raises(CheckpointError, match="it is cut short"):
            load_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="it is empty"):
        load_checkpoint(path)
    torch.save(published, path, _use_new_zipfile_serialization=False)
    load_checkpoint(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="pickle that is cut short"):
        load_checkpoint(path)


def test_export_takes_a_wrapped_checkpoint_and_names_a_web_page(
    published: State, tmp_path: Path
) -> None:
    (tmp_path / "page.pth").write_bytes(PAGE)
    words = [sys.executable, str(ROOT / "export" / "to_onnx.py"), "--output", "o.onnx"]
    result = subprocess.run(
        [*words, "--checkpoint", "page.pth"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0 and "Traceback" not in result.stderr
    assert "it is a web page" in result.stderr
