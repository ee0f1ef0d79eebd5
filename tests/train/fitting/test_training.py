"""The loop of training, on photographs that every set-up has, and the curves of a run."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter
from training_data import write_photos
from training_runs import CPU, Workshop, log_lines

from train.__main__ import main
from train.checkpoints import load_checkpoint
from train.evaluation.metrics import foreground_mse
from train.evaluation.triplets import validation_composites
from train.fitting.events import Events
from train.fitting.fit import fit, open_batches, prepare
from train.fitting.objective import Objective
from train.fitting.state import initial_network
from train.network import NetworkConfig


def test_fit_photographs_and_pairs_logs_both_ratios(workshop: Workshop, tmp_path: Path) -> None:
    config = workshop.config(pairs=True, samples=120)
    fit(config, tmp_path)
    log = log_lines(tmp_path)
    early, late = ([line["pairs_ratio"] for line in part] for part in (log[:5], log[-5:]))
    assert sum(late) < 0.7 * sum(early)


def test_fit_the_published_network_learns_from_the_stem_on(
    workshop: Workshop, tmp_path: Path
) -> None:
    config = workshop.config(network=NetworkConfig(), size=32, samples=8)
    before = initial_network(config).state_dict()
    after = load_checkpoint(fit(config, tmp_path)).state_dict()
    still = {name for name in before if before[name].equal(after[name])}
    assert not [name for name in still if name.endswith(".weight")]


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


def test_fit_keeps_the_checkpoint_with_the_best_score(workshop: Workshop, tmp_path: Path) -> None:
    """A learning rate that destroys the network: the first save stays the best."""
    config = workshop.config(
        samples=3 * 4, save_every=1, learning_rate=0.9, val=str(workshop.photos), ema=0.0
    )
    fit(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["score"] for line in lines if "score" in line}
    assert sorted(scores) == [1, 2, 3]
    assert {"val_geometric", "developed_geometric_inexact"} <= {
        key for line in lines for key in line
    }
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
