"""The ablation and speed commands, through the command line."""

import json
from pathlib import Path

import pytest
from training_runs import Workshop

from train.__main__ import main
from train.checkpoints import load_checkpoint
from train.fitting.ablate import ABLATIONS, variant
from train.registry import MODELS


def words(workshop: Workshop) -> list[str]:
    places = ["--data", str(workshop.photos), "--cache", str(workshop.cache)]
    flags = "--no-encoder --statistics --size 64 --batch 4 --workers 0 --no-tensorboard"
    return [*places, *flags.split()]


def test_ablate_runs_every_variant_once_and_writes_the_table(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["ablate", "filters", "--output", str(tmp_path), "--val", str(workshop.photos)]
    line += [*words(workshop), "--samples", "8"]
    assert main(line) == 0
    table = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out.endswith(table)
    assert [row.split("|")[1].strip() for row in table.splitlines()[2:6]] == ["2", "4", "6", "8"]
    assert "one run each of 8 images at 64x64, batch 4, seed 0" in table
    rows = json.loads((tmp_path / "table.json").read_text())
    assert len({row["val before"] for row in rows.values()}) == 1, "the same composites for all"
    assert len({row["val after"] for row in rows.values()}) == 4
    network = load_checkpoint(tmp_path / "2" / "checkpoint.safetensors")
    assert network.config.filters == ("temperature", "brightness")

    before = (tmp_path / "8" / "checkpoint.safetensors").stat().st_mtime_ns
    assert main([*line[:-1], "12"]) == 2
    assert "must hold a run of this configuration and budget" in capsys.readouterr().err
    assert (tmp_path / "8" / "checkpoint.safetensors").stat().st_mtime_ns == before


def test_ablate_interrupted_variant_is_resumed_and_finished_ones_are_read(
    workshop: Workshop, tmp_path: Path
) -> None:
    line = ["ablate", "ema", "--output", str(tmp_path), "--val", str(workshop.photos)]
    line += [*words(workshop), "--samples", "8"]
    assert main(line) == 0
    table = (tmp_path / "table.md").read_text()
    # As after an interruption between the last save and the judgement.
    (tmp_path / "off" / "result.json").unlink()
    kept = (tmp_path / "on" / "checkpoint.safetensors").stat().st_mtime_ns
    assert main(line) == 0
    assert (tmp_path / "table.md").read_text() == table
    assert (tmp_path / "on" / "checkpoint.safetensors").stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("name", "flag"),
    [("ema", "--ema=0.9"), ("filters", "--filters=shadow"), ("cascade", "--no-cascade")],
)
def test_ablate_flag_of_what_it_varies_is_refused(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, flag: str
) -> None:
    output = tmp_path / "out"
    assert main(["ablate", name, "--output", str(output), *words(workshop), flag]) == 2
    assert f"sets {name} of each variant itself" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(("model", "name"), [(m, name) for m in ABLATIONS for name in ABLATIONS[m]])
def test_ablations_change_nothing_but_their_subject(
    workshop: Workshop, model: str, name: str
) -> None:
    config = workshop.config(network=MODELS[model].config())
    runs = [variant(config, changes) for changes in ABLATIONS[model][name].values()]
    assert len(set(runs)) == len(runs) >= 2
    for run in runs:
        assert (run.data, run.samples, run.seed) == (config.data, config.samples, config.seed)
        assert run.network.autocasts and run.network.model == model


def test_ablation_of_another_model_is_refused(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["ablate", "filters", "--model", "s2crnet", "--output", str(tmp_path / "out")]
    assert main([*line, "--data", str(workshop.photos)]) == 2
    assert "ablations of model s2crnet are cascade, semantic, ema" in capsys.readouterr().err


def test_speed_prints_both_rates_and_the_estimate(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speed", *words(workshop), "--seconds", "0.2"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    rates = [float(lines[name].split()[0]) for name in ("loader", "model")]
    hours = 60 * 2 * 65_742 / min(rates) / 3600
    assert float(lines["60-epoch"].split()[1]) == pytest.approx(hours, rel=0.01, abs=0.06)


def test_commands_beside_fitting_refuse_several_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["speed"]) == 2
    assert "without torchrun" in capsys.readouterr().err
