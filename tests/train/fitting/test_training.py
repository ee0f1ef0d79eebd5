"""Configuration, command line and loop, on photographs that every set-up has."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from training_data import write_manifest, write_photos
from training_runs import BOTH, CPU, STATISTICS, Workshop, log_lines

from train.__main__ import main
from train.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from train.data.config import DataConfig
from train.evaluation.metrics import foreground_mse
from train.evaluation.triplets import validation_composites
from train.fitting.config import ConfigError, FitConfig, from_dict, to_dict
from train.fitting.distributed import Processes
from train.fitting.events import Events
from train.fitting.fit import check_machine, fit, open_batches, prepare
from train.fitting.flags import Parser, fit_config
from train.fitting.objective import Objective
from train.fitting.state import initial_network
from train.fitting.step import MAX_SKIPPED, NotFiniteError, Stepper, rate
from train.network import HarmonizerNet, NetworkConfig
from train.registry import MODELS


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


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


# The command line and the loop


def test_command_line_few_steps_loss_falls_and_the_run_is_described(
    workshop: Workshop, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    words = "--no-encoder --statistics --samples 240 --size 64 --batch 4 --learning-rate 1e-3"
    words += " --schedule cosine --final-weight 10 --log-every 10 --workers 0 --no-tensorboard"
    places: list[str | Path] = [
        "--data",
        workshop.photos,
        "--cache",
        workshop.cache,
        "--output",
        output,
    ]
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


def test_fit_photographs_and_pairs_logs_both_ratios(workshop: Workshop, tmp_path: Path) -> None:
    config = workshop.config(pairs=True, samples=120)
    fit(config, tmp_path)
    log = log_lines(tmp_path)
    early, late = ([line["pairs_ratio"] for line in part] for part in (log[:5], log[-5:]))
    assert sum(late) < 0.7 * sum(early)


def test_fit_ema_saves_the_average_and_not_the_last_weights(
    workshop: Workshop, tmp_path: Path
) -> None:
    path = fit(workshop.config(ema=0.9), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    saved = load_checkpoint(path).state_dict()
    for name, tensor in saved.items():
        assert torch.equal(tensor, state["average"][name])
    assert not torch.equal(saved["regressor.f.weight"], state["network"]["regressor.f.weight"])


def test_fit_tensorboard_holds_scalars_histograms_and_pictures(
    workshop: Workshop, tmp_path: Path
) -> None:
    fit(workshop.config(pairs=True, tensorboard=True, log_every=4), tmp_path)
    tags = (events := EventAccumulator(str(tmp_path)).Reload()).Tags()
    assert {"loss", "ratio", "pairs_ratio", "learning_rate"} <= set(tags["scalars"])
    assert {f"arguments/shadow/{kind}" for kind in ("true", "predicted")} <= set(tags["histograms"])
    (picture,) = events.Images("composite, mask, result, target")
    assert (picture.width, picture.height) == (4 * 64, 4 * 64)
    # Half of the images are pairs, whose arguments nobody knows.
    assert events.Histograms("arguments/shadow/true")[0].histogram_value.num == 4 * 2


def test_fit_val_logs_fmse_on_fixed_composites(workshop: Workshop, tmp_path: Path) -> None:
    path = fit(workshop.config(samples=8, val=str(workshop.photos)), tmp_path)
    (line,) = [line for line in log_lines(tmp_path) if "val_after" in line]
    network, before, after = load_checkpoint(path), 0.0, 0.0
    for _, composite, mask, photo in validation_composites(workshop.photos):
        output = network.render(composite, mask, network.predict_arguments(composite, mask))[-1]
        before += foreground_mse(composite, photo, mask).item() / 3
        after += foreground_mse(output, photo, mask).item() / 3
    assert (line["val_before"], line["val_after"]) == pytest.approx((before, after), rel=1e-4)
    assert line["val_ratio"] == pytest.approx(after / before, rel=1e-4)


def test_rate_step_schedule_falls_at_25_and_50_of_60_epochs() -> None:
    config = FitConfig(DataConfig(("a",)), learning_rate=1.0 - 1e-9)
    rates = [rate(config, step, 600) for step in (0, 249, 250, 499, 500, 599)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_rate_cosine_schedule_warms_up_and_ends_near_1_percent() -> None:
    config = FitConfig(DataConfig(("a",)), learning_rate=0.5, schedule="cosine")
    rates = [rate(config, step, 1000) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01) and max(rates) == pytest.approx(0.5)
    assert rates[:50] == sorted(rates[:50]) and rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(0.005, rel=0.01)


@pytest.mark.slow
def test_fit_compiled_step_gives_the_same_loss(workshop: Workshop, tmp_path: Path) -> None:
    config = workshop.config(pairs=True, batch=6)
    batch = open_batches(config, CPU)[0]
    found = []
    for compiled in (False, True):
        changed = dataclasses.replace(config, compile=compiled)
        state, predict = prepare(changed, CPU)
        outcome = Objective(changed)(predict, batch, 3, torch.tensor([3, 3]))
        outcome.loss.backward()
        found.append((outcome.loss, state.network.regressor.f.weight.grad))
    for plain, fast in zip(*found, strict=True):
        # Fused kernels round otherwise; contrast's 255 steps amplify that.
        torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-4)


def test_objective_weighs_dynamic_loss_final_loss_and_pairs(workshop: Workshop) -> None:
    config = workshop.config(pairs=True, final_weight=0.5)
    _, predict = prepare(config, CPU)
    batch = open_batches(config, CPU)[0]
    outcome = Objective(config)(predict, batch, 2, torch.tensor([2, 2]))
    made, paired = outcome.after[:2].mean(), outcome.after[2:].mean()
    assert outcome.loss.item() == pytest.approx((1 + 0.5 * made + 10 * paired).item(), rel=1e-5)
    assert torch.equal(outcome.composite[2:], batch.composite[2:])
    assert torch.equal(outcome.target[2:], batch.photo[2:])
    assert not torch.equal(outcome.target[:2], batch.photo[:2]), "photographs are jittered"


# Micro-batches and the guard


def stepper(config: FitConfig, output: Path | None) -> Stepper:
    state, predict = prepare(config, CPU)
    return Stepper(config, output, CPU, state, predict, Objective(config))


def test_step_accumulated_gradient_is_the_whole_batch_s(workshop: Workshop, tmp_path: Path) -> None:
    """3 + 3 images in three parts; running statistics, because batch norm sees each part alone."""
    found = []
    for accumulate in (1, 3):
        config = workshop.config(pairs=True, batch=6, accumulate=accumulate)
        step = stepper(config, tmp_path)
        step.state.network.eval()
        sums, _ = step._backward(open_batches(config, CPU)[0])
        found.append([sums, *(p.grad for p in step.state.network.parameters())])
    assert found[0][0][:5].all()
    for whole, dealt in zip(*found, strict=True):
        torch.testing.assert_close(dealt, whole, rtol=1e-4, atol=1e-6)


def test_step_uneven_parts_weigh_every_image_alike(workshop: Workshop, tmp_path: Path) -> None:
    """One synthesised image and three pairs: the second part has no synthesised image at all."""
    data = dataclasses.replace(workshop.data(pairs=True), pair_share=0.75)
    found = []
    for accumulate in (1, 2):
        config = workshop.config(data=data, accumulate=accumulate)
        step = stepper(config, tmp_path)
        step.state.network.eval()
        sums, _ = step._backward(open_batches(config, CPU)[0])
        found.append([sums, *(p.grad for p in step.state.network.parameters())])
    for whole, dealt in zip(*found, strict=True):
        torch.testing.assert_close(dealt, whole, rtol=1e-4, atol=1e-6)


def test_step_fp16_overflowing_gradients_are_skipped_until_too_many(
    workshop: Workshop, tmp_path: Path
) -> None:
    config = workshop.config(network=BOTH, amp="fp16", ema=0.9)
    batches, step = open_batches(config, CPU), stepper(config, tmp_path)
    step.state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120, backoff_factor=0.99)
    assert step.state.average is not None
    average = {name: t.clone() for name, t in step.state.average.state_dict().items()}
    before = {name: t.clone() for name, t in step.state.network.named_parameters()}
    for index in range(2):
        step(batches[index], 100, False)
    assert (step.state.step, step.skipped) == (2, 2)
    for name, parameter in step.state.network.named_parameters():
        assert torch.equal(parameter, before[name])
    for name, tensor in step.state.average.state_dict().items():
        assert torch.equal(tensor, average[name])
    step.skipped = MAX_SKIPPED
    with pytest.raises(NotFiniteError, match="step 2"):
        step(batches[2], 100, False)
    step.state.scaler, step.skipped = torch.amp.GradScaler("cpu", init_scale=1.0), 1
    step(batches[2], 100, False)
    assert step.skipped == 0
    assert not torch.equal(
        step.state.network.get_parameter("regressor.f.weight"), before["regressor.f.weight"]
    )


def test_fit_not_finite_loss_stops_and_saves_the_batch(workshop: Workshop, tmp_path: Path) -> None:
    network = HarmonizerNet(STATISTICS)
    torch.nn.init.constant_(network.get_parameter("regressor.f.weight"), 3e38)
    save_checkpoint(network, tmp_path / "huge.safetensors")
    with pytest.raises(NotFiniteError, match="step 0") as caught:
        fit(workshop.config(init=str(tmp_path / "huge.safetensors")), tmp_path / "run")
    assert str(tmp_path / "run" / "not-finite.pt") in str(caught.value)
    saved = torch.load(tmp_path / "run" / "not-finite.pt", weights_only=True)
    assert saved["photo"].shape == (4, 3, 64, 64) and saved["step"] == 0
    assert not (tmp_path / "run" / "state.pt").exists()


@pytest.mark.parametrize(
    ("folder", "told"), [("absent", "The batch could not be saved: "), (None, "is not kept")]
)
def test_step_not_finite_loss_is_told_though_the_batch_cannot_be_saved(
    workshop: Workshop, tmp_path: Path, folder: str | None, told: str
) -> None:
    config = workshop.config()
    step = stepper(config, None if folder is None else tmp_path / folder)
    torch.nn.init.constant_(step.state.network.get_parameter("regressor.f.weight"), torch.nan)
    with pytest.raises(NotFiniteError, match=f"loss nan.*at step 0.*{told}"):
        step(open_batches(config, CPU)[0], 1, False)


# Starting from a checkpoint


@pytest.mark.parametrize(
    "larger",
    [
        NetworkConfig(region_pooling=True, statistics=True),
        NetworkConfig(encoder="tf_efficientnet_lite0", depths=(1, 4), cells=1, statistics=True),
    ],
)
def test_initial_network_grown_from_statistics_predicts_the_same(
    workshop: Workshop, tmp_path: Path, larger: NetworkConfig
) -> None:
    small = initial_network(workshop.config()).eval()
    save_checkpoint(small, tmp_path / "small.safetensors")
    config = workshop.config(network=larger, init=str(tmp_path / "small.safetensors"))
    grown = initial_network(config).eval()
    photo = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(4, 1, 64, 64)
    mask[:, :, 16:48, 8:40] = 1
    with torch.inference_mode():
        torch.testing.assert_close(grown(photo, mask), small(photo, mask), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "wanted", "message"),
    [
        ({"filters": ("shadow", "hue")}, {}, "it predicts shadow,hue"),
        ({"encoder": "tf_efficientnet_b0"}, {}, "run's encoder, None; it has tf_efficientnet_b0"),
        ({"cascade": False}, {}, "no place for regressor.steps"),
    ],
)
def test_initial_network_from_another_network_is_refused(
    workshop: Workshop, tmp_path: Path, stored: dict[str, Any], wanted: dict[str, Any], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    save_checkpoint(HarmonizerNet(dataclasses.replace(STATISTICS, **stored)), path)
    with pytest.raises(CheckpointError, match=message):
        initial_network(workshop.config(init=str(path)))


# Configuration


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
        ({"batch": "8"}, "`batch` must be a whole number; got '8'"),
        ({"batch": True}, "`batch` must be a whole number; got True"),
        ({"loss": "l2"}, "`loss` must be one of dynamic, plain, sum, final; got 'l2'"),
        ({"network": {"filters": "shadow"}}, "`network.filters` must be a list of texts"),
        ({"network": 3}, "`network` must be an object"),
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
        ("--batch 0", "batch must be at least 1"),
        ("--size 100", "size must be a multiple of 32"),
        ("--learning-rate nan", "learning_rate must lie in"),
        ("--clip nan", "clip must be at least 0"),
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
        ("--config {folder}/MANIFEST.csv", "must be JSON"),
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


def test_command_line_val_without_masks_is_refused(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_manifest(tmp_path, [("unmasked.png", "")])
    places: list[str | Path] = [
        "--data",
        workshop.photos,
        "--cache",
        workshop.cache,
        "--output",
        tmp_path / "run",
    ]
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


def test_curves_of_a_run_are_drawn_and_other_folders_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "curves.png"
    assert main(["curves", str(tmp_path), "--output", str(picture)]) == 2
    assert "no log.jsonl" in capsys.readouterr().err
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 4, "val_ratio": 0.9}\n')
    assert main(["curves", str(tmp_path), "--output", str(picture)]) == 2
    assert "Train on" in capsys.readouterr().err
    log.write_text('{"step": 4, "ratio": 0.8}\n{"step": 8, "ratio": 0.5}\n{"step": 12, "rat')
    assert main(["curves", str(tmp_path), "--output", str(picture)]) == 0
    with Image.open(picture) as image:
        assert image.width > 600 and len(np.unique(np.asarray(image.convert("L")))) > 20


def test_curves_of_a_run_that_got_worse_are_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib.pyplot as plt

    from train.research import curves

    monkeypatch.setattr(plt, "close", lambda figure: None)
    for highest, limit in ((0.9, 1.0), (2.0, 2.1)):
        (tmp_path / "log.jsonl").write_text(f'{{"step": 4, "ratio": {highest}}}\n')
        curves.draw_curves(tmp_path, tmp_path / "curves.png")
        assert plt.gca().get_ylim() == pytest.approx((0, limit))


def test_fit_says_which_images_are_left_out_or_get_regions(
    workshop: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos := tmp_path / "photos").mkdir()
    write_photos(photos)
    Image.new("L", (600, 400)).save(photos / "coffee_mask.png")
    with Image.open(photos / "chelsea.png") as photo:
        Image.new("L", photo.size, 255).save(photos / "chelsea_mask.png")
    data = dataclasses.replace(workshop.data(), photos=(str(photos),), max_corrupt=0.3)
    fit(workshop.config(data=data, batch=2, samples=2), tmp_path / "run")
    said = capsys.readouterr().err
    assert "left out as unusable: 1 (coffee.png: the mask coffee_mask.png is empty" in said
    assert "given random regions for masks of poor size: 1 (chelsea.png)" in said


def test_events_full_disk_fails_at_once_and_closes_quietly(tmp_path: Path) -> None:
    events = Events(tmp_path, 0)
    events.close()
    with Path("/dev/full").open("wb") as full:
        events._file, events._writer = full, RecordWriter(full)
        with pytest.raises(OSError, match="No space left"):
            events.scalar("loss", 1.0, 1)
        events.close()


# Encoders, yardsticks, the best checkpoint


def test_config_encoder_settings_without_depths_are_refused() -> None:
    data = DataConfig(photos=("a",))
    for field, value in (("pretrained", True), ("tune_from", 3), ("encoder_rate", 0.5)):
        with pytest.raises(ConfigError, match="looked at in several depths; this network has none"):
            FitConfig(data=data, **{field: value})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="loss_size must divide size 96"):
        FitConfig(data=data, size=96, loss_size=64)
    with pytest.raises(ConfigError, match=r"matrix_rate is Muon's; got 2.0 with optimizer adamw"):
        FitConfig(data=data, matrix_rate=2.0)


def test_fit_keeps_the_checkpoint_with_the_best_score(workshop: Workshop, tmp_path: Path) -> None:
    """A learning rate that destroys the network: the first save stays the best."""
    config = workshop.config(
        samples=3 * 4, save_every=1, learning_rate=0.9, val=str(workshop.photos), ema=0.0
    )
    fit(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["score"] for line in lines if "score" in line}
    assert sorted(scores) == [1, 2, 3]
    assert {"val_geometric", "developed_geometric"} <= {key for line in lines for key in line}
    best = min(scores, key=lambda step: (scores[step], -step))
    with safe_open(tmp_path / "run" / "best.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["notes"])["step"] == best


def test_fit_frozen_encoder_stays_and_the_rest_moves(workshop: Workshop, tmp_path: Path) -> None:
    network = NetworkConfig(
        encoder="tf_efficientnet_lite0", depths=(1, 4), cells=1, statistics=True, looks=2
    )
    config = workshop.config(
        network=network,
        samples=2 * 4,
        pretrained=True,
        tune_from=4,
        encoder_rate=0.5,
        log_weight=1.0,
        loss_size=32,
    )
    before = initial_network(config).state_dict()
    after = load_checkpoint(fit(config, tmp_path / "run")).state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any(name.startswith("encoder.blocks.0") or "conv_stem" in name for name in moved)
    assert any(name.startswith("encoder.blocks.4") for name in moved)
    assert any(name.startswith("cells") for name in moved)
