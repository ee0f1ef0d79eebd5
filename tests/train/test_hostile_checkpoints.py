"""Checkpoints of somebody else, and what training leaves where others can write."""

import io
import json
import os
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from harmonizer.private import locked
from train.checkpoints import FORMAT, CheckpointError, load_checkpoint, save_checkpoint
from train.fitting.state import CHECKPOINT, STATE
from train.network import HarmonizerNet, NetworkConfig

SMALL = NetworkConfig(filters=("brightness",), encoder=None, statistics=True)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "a.safetensors"
    save_checkpoint(HarmonizerNet(SMALL), path)
    load_checkpoint(path)
    return path


def with_metadata(sound: Path, **changed: str) -> bytes:
    """The checkpoint with other metadata."""
    data = sound.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= changed
    packed = json.dumps(header).encode()
    packed = packed.ljust(-(-len(packed) // 8) * 8)
    return len(packed).to_bytes(8, "little") + packed + data[8 + length :]


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "5",
        "null",
        "[" * 100_000,
        '{"looks": 1e400}',
        '{"looks": "1"}',
        '{"looks": true}',
        '{"looks": 99999999999}',
        '{"looks": ' + "9" * 400 + "}",
        '{"filters": "brightness"}',
        '{"filters": [["brightness"]]}',
        '{"filters": {}}',
        '{"encoder": 1, "statistics": true}',
        '{"dropout": "x"}',
        '{"dropout": []}',
        '{"nothing": 1}',
        '{"model": 5}',
        '{"__class__": "x"}',
    ],
)
def test_checkpoint_of_a_malformed_configuration_is_refused(
    sound: Path, tmp_path: Path, config: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_metadata(sound, config=config))
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("statistics", ["[" * 100_000, "{", ""])
def test_checkpoint_of_malformed_statistics_is_refused(
    sound: Path, tmp_path: Path, statistics: str
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_metadata(sound, statistics=statistics))
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_checkpoint_of_weights_that_are_not_finite_is_refused(
    sound: Path, tmp_path: Path, value: float
) -> None:
    network = HarmonizerNet(SMALL)
    with torch.no_grad():
        next(network.parameters()).view(-1)[0] = value
    save_checkpoint(network, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(tmp_path / "a.safetensors")


def test_torch_file_of_compressed_parts_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1_000_000)}, buffer)
    with (
        zipfile.ZipFile(buffer) as whole,
        zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for part in whole.infolist():
            packed.writestr(part.filename, whole.read(part))
    with pytest.raises(CheckpointError, match="its parts are compressed"):
        load_checkpoint(tmp_path / "a.pth")


def test_checkpoint_that_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.pth"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CheckpointError, match="must be a regular file, and is a pipe"):
            load_checkpoint(tmp_path / name)


def test_mutated_checkpoints_are_refused_or_sound(sound: Path, tmp_path: Path) -> None:
    whole, generator = sound.read_bytes(), random.Random(8)
    length = int.from_bytes(whole[:8], "little")
    path = tmp_path / "a.safetensors"
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(generator.choice((1, 1, 3))):
            data[generator.randrange(generator.choice((12, length, len(data))))] ^= (
                1 << generator.randrange(8)
            )
        path.write_bytes(data)
        try:
            network = load_checkpoint(path)
        except CheckpointError:
            continue
        assert all(t.isfinite().all() for t in network.state_dict().values())


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"a": Malice()}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "a.pth")
    assert not (tmp_path / "made").exists()
    (tmp_path / "b.safetensors").write_bytes(save({"a": torch.zeros(1)}, {"format": FORMAT}))
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "b.safetensors")


def test_lock_does_not_follow_a_link_nor_empty_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"kept")
    (tmp_path / "a.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), locked(tmp_path / "a.lock"):
        pass
    assert (tmp_path / "precious").read_bytes() == b"kept"
    (tmp_path / "b.lock").write_bytes(b"kept")
    with locked(tmp_path / "b.lock"):
        assert (tmp_path / "b.lock").read_bytes() == b"kept"


def test_names_of_a_run_are_those_that_are_written_as_one_set() -> None:
    assert {CHECKPOINT, STATE} == {"checkpoint.safetensors", "state.pt"}
