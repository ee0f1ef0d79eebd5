"""Synthesis, losses and the loop, on photographs that every set-up has."""

import csv
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from export.samples import sample_photos
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from train import fit as fit_module
from train.__main__ import main as train_main
from train.data import PackedPhotos, batches
from train.filters import apply_filters
from train.fit import FitConfig, NotFiniteError, fit, initial_network
from train.losses import dynamic_loss, image_loss
from train.model import load_checkpoint, save_checkpoint
from train.network import NetworkConfig
from train.synthesis import draw_arguments, jitter, synthesize

STATISTICS = NetworkConfig(encoder=False, statistics=True)


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for photo in sample_photos():
        Image.fromarray(photo.pixels).save(folder / f"{photo.name}.png")
        Image.fromarray(photo.mask).save(folder / f"{photo.name}_mask.png")
        rows.append({"file": f"{photo.name}.png", "mask": f"{photo.name}_mask.png"})
    Image.fromarray(sample_photos()[0].pixels[::-1].copy()).save(folder / "unmasked.png")
    rows.append({"file": "unmasked.png", "mask": ""})
    with (folder / "MANIFEST.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "mask"])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def photo_and_mask(size: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    photo = torch.rand(4, 3, size, size, generator=generator) * 0.6 + 0.2
    mask = torch.zeros(4, 1, size, size)
    mask[:, :, size // 4 : size * 3 // 4, size // 8 : size * 5 // 8] = 1
    return photo, mask


def test_draw_arguments_fill_the_synthesis_ranges() -> None:
    drawn = draw_arguments(4000, generator=torch.Generator().manual_seed(0))
    ranges = torch.tensor([OPERATIONS[name].synthesis_range for name in DEFAULT_FILTERS])
    assert (drawn.abs() <= ranges).all()
    assert (drawn.abs().amax(dim=0) > 0.99 * ranges).all()
    assert (drawn.mean(dim=0).abs() < 0.05).all()


def test_synthesize_last_filter_alone_is_undone_by_its_inverse() -> None:
    photo, mask = photo_and_mask()
    arguments = torch.tensor([[0.2], [-0.2], [0.3], [-0.1]])
    composite, targets = synthesize(photo, mask, arguments, ("shadow",))
    inverse = 1 - 1 / (1 - arguments)  # (I^(1-x))^(1-y) = I
    restored = apply_filters(composite, inverse, ("shadow",))[-1]
    torch.testing.assert_close(restored * mask, targets[-1] * mask, rtol=0, atol=1e-5)


def test_synthesize_draws_in_reverse_order_and_keeps_the_background() -> None:
    photo, mask = photo_and_mask()
    arguments = draw_arguments(4, generator=torch.Generator().manual_seed(2))
    composite, targets = synthesize(photo, mask, arguments)
    reverse = apply_filters(photo, arguments.flip(1), DEFAULT_FILTERS[::-1])
    assert torch.equal(composite * mask, reverse[-1] * mask)
    assert torch.equal(targets[0] * mask, reverse[-2] * mask)
    assert torch.equal(targets[-1], photo)
    for image in (composite, *targets):
        assert torch.equal(image * (1 - mask), photo * (1 - mask))


def test_jitter_stays_close_and_in_range() -> None:
    photo, _ = photo_and_mask()
    varied = jitter(photo, torch.Generator().manual_seed(0))
    assert varied.min() >= 0 and varied.max() <= 1
    assert 0.005 < (varied - photo).abs().mean() < 0.1


def test_image_loss_known_difference_gives_the_formula() -> None:
    _, mask = photo_and_mask()
    output = torch.full((4, 3, 32, 32), 0.5)
    expected = (0.1**2 + 1e-6) ** 0.5 + 10 * 0.1**2
    loss = image_loss(output, output + 0.1 * mask + 0.3 * (1 - mask), mask)
    torch.testing.assert_close(loss, torch.full((4,), expected))


def test_dynamic_loss_blames_each_stage_for_what_it_adds() -> None:
    stages = [torch.tensor([v], requires_grad=True) for v in (2.0, 1.0, 3.0, 3.5)]
    loss = dynamic_loss(stages)
    loss.backward()
    total = 2.0 + 2.0 + 0.5
    assert loss.item() == pytest.approx(1.0)
    gradients = [stage.grad.item() for stage in stages if stage.grad is not None]
    assert gradients == pytest.approx([1 / total, 0.0, 1 / total, 1 / total])


def test_batches_same_seed_same_batches_and_masks_are_useful(
    photo_folder: Path, tmp_path: Path
) -> None:
    photos = PackedPhotos.open(photo_folder, tmp_path)
    assert len(photos) == 4 and photos.masked.tolist() == [True, True, True, False]
    first, again = (next(batches(photos, 4, 64, seed=7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = next(batches(photos, 4, 64, seed=8))
    assert not torch.equal(first[0], other[0])
    photo, mask = first
    assert photo.shape == (4, 3, 64, 64) and mask.shape == (4, 1, 64, 64)
    assert (mask.mean(dim=(1, 2, 3)) > 0.001).all()


def test_packed_photos_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"MANIFEST\.csv"):
        PackedPhotos.open(tmp_path, tmp_path)


def run(folder: Path, output: Path, **changes: object) -> FitConfig:
    config = FitConfig(
        data=str(folder),
        output=str(output),
        cache=str(output / "cache"),
        network=STATISTICS,
        samples=480,
        size=64,
        batch=4,
        learning_rate=1e-3,
        amp=False,
        save_every=60,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def test_fit_few_steps_loss_falls_and_checkpoint_loads(photo_folder: Path, tmp_path: Path) -> None:
    path = fit(run(photo_folder, tmp_path))
    assert load_checkpoint(path).config == STATISTICS
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert log[-1]["ratio"] < 0.9 * log[0]["ratio"]
    assert json.loads((tmp_path / "config.json").read_text())["samples"] == 480


def test_fit_resume_continues_from_the_step_reached(photo_folder: Path, tmp_path: Path) -> None:
    fit(run(photo_folder, tmp_path, samples=240))
    fit(run(photo_folder, tmp_path, samples=480), resume=True)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [50, 100]
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 120


def test_fit_not_finite_loss_stops_and_saves_the_batch(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_module, "draw_arguments", lambda n, *_: torch.full((n, 6), torch.nan))
    with pytest.raises(NotFiniteError, match="step 0"):
        fit(run(photo_folder, tmp_path))
    saved = torch.load(tmp_path / "not-finite.pt", weights_only=True)
    assert saved["photo"].shape == (4, 3, 64, 64)


def test_initial_network_grown_from_statistics_predicts_the_same(tmp_path: Path) -> None:
    small = initial_network(run(tmp_path, tmp_path)).eval()
    save_checkpoint(small, tmp_path / "small.safetensors")
    grown_config = NetworkConfig(region_pooling=True, statistics=True)
    config = run(tmp_path, tmp_path, network=grown_config, init=str(tmp_path / "small.safetensors"))
    grown = initial_network(config).eval()
    photo, mask = photo_and_mask(64)
    with torch.inference_mode():
        torch.testing.assert_close(grown(photo, mask), small(photo, mask), rtol=0, atol=1e-6)


def test_fit_config_that_cannot_train_is_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"samples": 3}, "samples >= batch"),
        ({"batch": 0}, "batch >= 1"),
        ({"size": 100}, "multiple of 32"),
        ({"learning_rate": float("nan")}, "learning_rate"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, tmp_path, **changes)


def test_fit_more_images_a_batch_than_photographs_is_refused(
    photo_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="number of usable photographs"):
        fit(run(photo_folder, tmp_path, batch=8))


def test_fit_existing_run_is_neither_overwritten_nor_resumed_differently(
    photo_folder: Path, tmp_path: Path
) -> None:
    config = run(photo_folder, tmp_path, samples=8)
    path = fit(config)
    kept = {p: p.read_bytes() for p in (path, tmp_path / "config.json")}
    with pytest.raises(FileExistsError, match="--resume"):
        fit(config)
    with pytest.raises(ValueError, match=r"learning_rate 0\.001 then, 0\.0005 now"):
        fit(run(photo_folder, tmp_path, samples=16, learning_rate=5e-4), resume=True)
    with pytest.raises(ValueError, match="it has done 2 of 2"):
        fit(config, resume=True)
    with pytest.raises(FileNotFoundError, match=r"no state\.pt"):
        fit(run(photo_folder, tmp_path / "other"), resume=True)
    assert kept == {p: p.read_bytes() for p in kept}


def test_packed_photos_changed_photograph_is_packed_anew(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photo_folder, folder)
    before = PackedPhotos.open(folder, tmp_path / "cache").pixels[0].copy()
    Image.fromarray(255 - sample_photos()[0].pixels).save(folder / "astronaut.png")
    after = PackedPhotos.open(folder, tmp_path / "cache").pixels[0]
    assert abs(int(before[0, 0, 0]) + int(after[0, 0, 0]) - 255) <= 1


def test_command_line_bad_input_exits_2_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for flags in (["--data", str(tmp_path)], ["--filters", "glow"], ["--batch", "0"]):
        monkeypatch.setattr(sys, "argv", ["train", "--output", str(tmp_path / "run"), *flags])
        assert train_main() == 2
        error = capsys.readouterr().err
        assert error.startswith("train: error: ") and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
