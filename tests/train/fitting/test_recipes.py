"""The recipes that make the shipped network, and runs that travel in pieces."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from repository import ROOT

from train.__main__ import main
from train.checkpoints import load_checkpoint
from train.fitting.config import FitConfig
from train.fitting.flags import Parser, fit_config
from train.fitting.pieces import PiecesError, cut, join
from train.fitting.state import CHECKPOINT, STATE, initial_network
from train.network import HarmonizerNet

RECIPES = sorted((ROOT / "recipes").glob("*.json"))


def recipe(path: Path) -> FitConfig:
    return fit_config(Parser("train", "").parse_args(["--config", str(path)]))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_is_a_configuration_that_finds_its_data(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONIZER_DATA", "/somewhere")
    config = recipe(path)
    assert config.data.photos == ("/somewhere/train", "/somewhere/train2")
    assert config.val == "/somewhere/val"
    assert config.data.resident == (path.stem == "gpu")
    assert "$" not in path.read_text().replace("$HARMONIZER_DATA", "")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_makes_the_shipped_network(path: Path) -> None:
    wanted = recipe(path).network
    shipped = load_checkpoint(ROOT / "models" / f"{wanted.model}.safetensors")
    # What training leaves out is no part of what is shipped; its end leaves out nothing.
    assert replace(shipped.config, dropout=wanted.dropout) == wanted


def test_recipe_starts_from_the_pretrained_encoder() -> None:
    network = initial_network(recipe(ROOT / "recipes" / "cpu.json"))
    assert isinstance(network, HarmonizerNet)
    fresh = HarmonizerNet(network.config)
    assert network.encoder is not None and fresh.encoder is not None
    stem = network.encoder.state_dict()["conv_stem.weight"]
    assert stem.std() > 0.1 and not torch.equal(
        stem,
        fresh.encoder.state_dict()["conv_stem.weight"],
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    for name, size in ((CHECKPOINT, 100), (STATE, 1001), ("config.json", 3), ("log.jsonl", 0)):
        (folder / name).write_bytes(bytes(i % 251 for i in range(size)))
    return folder


def test_pieces_are_small_and_join_to_the_same_run(run: Path, tmp_path: Path) -> None:
    names = cut(run, tmp_path / "pieces", size=300)
    assert len(names) == 1 + 4 + 1
    assert all((tmp_path / "pieces" / name).stat().st_size <= 300 for name in names)
    assert set(join(tmp_path / "pieces", tmp_path / "joined")) >= {CHECKPOINT, STATE}
    for path in run.iterdir():
        assert (tmp_path / "joined" / path.name).read_bytes() == path.read_bytes()


def test_pieces_absent_or_of_two_saves_are_refused(run: Path, tmp_path: Path) -> None:
    pieces, joined = tmp_path / "pieces", tmp_path / "joined"
    names = cut(run, pieces, size=300)
    whole = (pieces / names[2]).read_bytes()
    (pieces / names[2]).write_bytes(whole[::-1])
    with pytest.raises(PiecesError, match=r"state\.pt in .* must be of one save"):
        join(pieces, joined)
    (pieces / names[2]).unlink()
    with pytest.raises(PiecesError, match=f"{names[2]} is absent"):
        join(pieces, joined)
    assert not joined.exists(), "nothing half joined"
    with pytest.raises(PiecesError, match=r"there is no state\.pt"):
        cut(tmp_path, pieces)
    with pytest.raises(PiecesError, match=r"there is no pieces\.json"):
        join(tmp_path, joined)


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"a": 5}',
        '{"../a": {"pieces": [], "sha256": ""}}',
        '{"a": {"pieces": ["../b"], "sha256": ""}}',
    ],
)
def test_pieces_of_a_malformed_index_are_refused(index: str, tmp_path: Path) -> None:
    (tmp_path / "pieces.json").write_text(index)
    with pytest.raises(PiecesError, match=r"pieces\.json must"):
        join(tmp_path, tmp_path / "joined")


def test_pieces_command_says_what_it_wrote(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pieces", str(run), "--output", str(tmp_path / "p")]) == 0
    assert f"{CHECKPOINT}.000" in capsys.readouterr().out
    assert main(["pieces", str(tmp_path / "p"), "--output", str(tmp_path / "j"), "--join"]) == 0
    assert json.loads((tmp_path / "p" / "pieces.json").read_text())[STATE]["pieces"]
    assert main(["pieces", str(tmp_path / "none"), "--output", str(tmp_path / "q")]) == 2
