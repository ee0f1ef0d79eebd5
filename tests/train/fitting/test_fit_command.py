"""The command line of training, its flags and files of configuration, and what it refuses."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from training_data import write_manifest
from training_runs import STATISTICS, Workshop, log_lines

from train.__main__ import main
from train.checkpoints import load_checkpoint
from train.data.config import DataConfig
from train.fitting.config import ConfigError, FitConfig, from_dict, to_dict
from train.fitting.distributed import Processes
from train.fitting.fit import check_machine, fit
from train.fitting.flags import Parser, fit_config
from train.registry import MODELS


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run a command line that must fail; return its one line of complaint."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: error: ")
    return line


def parsed(*words: str | Path) -> FitConfig:
    parser = Parser("train", "")
    return fit_config(parser.parse_args([str(word) for word in words]))


def test_command_line_few_steps_loss_falls_and_the_run_is_described(
    workshop: Workshop, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    words = "--no-encoder --statistics --samples 240 --size 64 --batch 4 --learning-rate 1e-3"
    words += " --schedule cosine --final-weight 10 --log-every 10 --workers 0 --no-tensorboard"
    places = [*workshop.places(), "--output", output]
    assert main([*words.split(), *map(str, places)]) == 0
    log = log_lines(output)
    assert [line["step"] for line in log] == [10, 20, 30, 40, 50, 60]
    assert log[-1]["ratio"] < 0.8 * log[0]["ratio"]

    path = output / "checkpoint.safetensors"
    assert load_checkpoint(path).config == STATISTICS
    assert parsed("--config", output / "config.json") == parsed(*words.split(), *places[:4])
    with safe_open(path, framework="pt") as file:
        notes = json.loads(file.metadata()["notes"])
    assert notes["step"] == 60 and notes["fit"]["final_weight"] == 10
    assert notes["fit"]["data"]["photos"] == ["photos"], "no paths of the machine in a checkpoint"


def test_flags_cover_every_field_with_a_word_of_help() -> None:
    text = Parser("train", "").format_help()
    for kind in (FitConfig, DataConfig, *(model.config for model in MODELS.values())):
        for field in dataclasses.fields(kind):
            if field.name in ("data", "network"):
                continue
            flag = {"photos": "data"}.get(field.name, field.name).replace("_", "-")
            assert re.search(rf"^  --{flag}\b[^\n]*(  \w|\n {{10,}}\w)", text, re.MULTILINE), flag


def test_flags_override_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    fields = {"batch": 8, "ema": 0.9, "data": {"photos": ["a"], "pair_share": 1}}
    (tmp_path / "c.json").write_text(json.dumps(fields))
    config = parsed("--config", tmp_path / "c.json", "--batch", "6", "--no-amp", "--pairs", "p")
    assert (config.batch, config.ema, config.size, config.amp) == (6, 0.9, 256, "off")
    assert config.data == DataConfig(photos=("a",), pairs="p", pair_share=1.0)
    assert from_dict(FitConfig, to_dict(config)) == config


def test_flags_data_may_be_repeated_and_defaults_to_the_shared_photographs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert parsed("--data", "a", "--data", "b").data.photos == ("a", "b")
    monkeypatch.setenv("HARMONIZER_DATA", "/shared")
    assert parsed().data.photos == ("/shared/train",)
    assert parsed("--pairs", "p").data.photos == ()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"learnig_rate": 1}, "no field `learnig_rate`; the nearest is `learning_rate`"),
        ({"data": {"photo": ["a"]}}, "no field `data.photo`; the nearest is `data.photos`"),
        ({"bogus": 1}, "no field `bogus`; `python -m train --help` lists them"),
        ({"batch": "8"}, "`batch` must be a whole number; got '8'. Give one, or leave"),
        ({"batch": True}, "`batch` must be a whole number; got True"),
        ({"loss": "l2"}, "`loss` must be one of dynamic, plain, sum, final; got 'l2'"),
        ({"network": {"filters": "shadow"}}, "`network.filters` must be a list of texts"),
        ({"network": 3}, "`network` must be an object; got 3. Put its fields"),
        ({"network": {"model": "x"}}, "must be one of harmonizer, s2crnet; got 'x'. Choose"),
        ({"network": {"looks": 0}}, "looks must be at least 1; got 0. Give 1"),
        ([1], "must hold a JSON object; got list"),
    ],
)
def test_config_file_with_a_mistake_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: object, message: str
) -> None:
    (tmp_path / "c.json").write_text(json.dumps(fields))
    line = refused(capsys, "--config", tmp_path / "c.json", "--output", tmp_path / "run")
    assert message in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--samples 3", "samples must be at least one batch"),
        ("--batch 0", "batch must be at least 1; got 0. Give 1 or more."),
        ("--size 100", "size must be a multiple of 32; got 100. Give --size 96."),
        ("--learning-rate nan", "learning_rate must lie in (0, 1); got nan. Give one such as"),
        ("--ema 1", "ema must lie in [0, 1); got 1.0. Give a decay such as"),
        ("--seed -1", "seed must be at least 0; got -1. Give 0"),
        ("--clip nan", "clip must be at least 0; got nan. Give 0"),
        ("--batch 6 --accumulate 4", "batch must be a multiple of accumulate"),
        ("--amp bf16 --no-encoder --statistics", "amp bf16 is for the encoder"),
        ("--no-encoder", "a network needs encoder or statistics"),
        ("--filters glow", "'glow'"),
        ("--data {folder} --batch 100", "Choose a smaller --batch"),
        ("--data {folder}/absent", "absent"),
        ("--batch 4 --init {folder}/absent.pth", "no checkpoint at"),
        ("--loss l2", "invalid choice"),
        ("--epoch 3", "unrecognized arguments: --epoch"),
        ("--config {folder}/absent.json", "absent.json"),
        ("--config {folder}/MANIFEST.csv", "Name the config.json of a run, or one of recipes/."),
        ("--resume", "must hold a run to resume"),
        ("--resume --config x.json", "leave out --config"),
    ],
)
def test_command_line_bad_input_exits_2_with_one_line(
    workshop: Workshop,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    given = words.format(folder=workshop.photos).split()
    places: list[str | Path] = ["--data", workshop.photos] if "--data" not in given else []
    line = refused(capsys, "--output", tmp_path / "run", "--cache", workshop.cache, *places, *given)
    assert message in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("word", ["foo", "norm", ""])
def test_command_that_there_is_not_is_refused_by_the_names_of_those_there_are(
    capsys: pytest.CaptureFixture[str], word: str
) -> None:
    line = refused(capsys, word, "--steps", "1")
    assert "must be a flag, or one of ablate, check-data, curves, norms, pieces" in line
    assert f"got {word!r}. Name one" in line


def test_command_line_val_without_masks_is_refused(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path, [("unmasked.png", "")])
    places = [*workshop.places(), "--output", tmp_path / "run"]
    words = ["--no-encoder", "--statistics", "--size", "64", "--batch", "4", "--samples", "4"]
    line = refused(capsys, *places, *words, "--val", tmp_path)
    assert "validation needs photographs with a mask" in line and "leave out --val" in line


def test_machine_batch_that_the_processes_do_not_divide_is_refused(workshop: Workshop) -> None:
    config = workshop.config(batch=12, accumulate=2)
    check_machine(config, Processes(torch.device("cpu"), world=3))
    with pytest.raises(ConfigError, match=r"12 for 4 times 2. Give --batch 16"):
        check_machine(config, Processes(torch.device("cpu"), world=4))


def test_output_folder_with_a_run_is_neither_overwritten_nor_resumed_differently(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = workshop.config(samples=8)
    path = fit(config, tmp_path)
    kept = {p: p.read_bytes() for p in (path, tmp_path / "config.json", tmp_path / "state.pt")}
    with pytest.raises(FileExistsError, match="--resume"):
        fit(config, tmp_path)
    line = refused(
        capsys, "--output", tmp_path, "--resume", "--samples", "16", "--learning-rate", "5e-4"
    )
    assert "learning_rate 0.001 then, 0.0005 now" in line and "samples" not in line
    assert "it has done 2 of 2" in refused(capsys, "--output", tmp_path, "--resume")
    assert kept == {p: p.read_bytes() for p in kept}
    (tmp_path / "state.pt").write_bytes(b"no state")
    line = refused(capsys, "--output", tmp_path, "--resume", "--samples", "16")
    assert "cannot be read" in line


def test_config_encoder_settings_without_depths_are_refused() -> None:
    data = DataConfig(photos=("a",))
    for field, value in (("pretrained", True), ("tune_from", 3), ("encoder_rate", 0.5)):
        with pytest.raises(ConfigError, match="looked at in several depths; this network has none"):
            FitConfig(data=data, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="loss_size must divide size 96"):
        FitConfig(data=data, size=96, loss_size=64)
    with pytest.raises(ConfigError, match=r"matrix_rate is Muon's; got 2.0 with optimizer adamw"):
        FitConfig(data=data, matrix_rate=2.0)
