"""The figures that the tables are made of, against scikit-image, torch and published ones."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from repository import shared_data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from train.evaluation.metrics import (
    BAND,
    PROTOCOLS,
    Protocol,
    foreground_mse,
    image_metrics,
    one_bit,
)

ROUNDING = 0.005
"""index.csv and published_results.csv give two decimals; at original size every mask is 0 or 255,
so that all readings of fMSE agree and nothing but their rounding is left."""


def pair(height: int = 40, width: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two similar uint8 images and a soft mask."""
    random = np.random.default_rng(height)
    target = random.integers(0, 256, (height, width, 3), np.uint8)
    noise = random.integers(-25, 26, target.shape)
    image = np.clip(target + noise, 0, 255).astype(np.uint8)
    return image, target, random.integers(0, 256, (height, width), np.uint8)


def test_foreground_mse_counts_the_foreground_alone() -> None:
    target = torch.zeros(1, 3, 4, 4)
    image, mask = target.clone(), torch.zeros(1, 1, 4, 4)
    mask[..., :2], image[..., :2], image[..., 2:] = 1, 10 / 255, 1
    assert foreground_mse(image, target, mask).item() == pytest.approx(100)


def test_measure_soft_mask_agrees_with_torch() -> None:
    image, target, mask = pair(2 * BAND + 9)
    expected = foreground_mse(
        *(torch.from_numpy(a).permute(2, 0, 1)[None].double() / 255 for a in (image, target)),
        torch.from_numpy(mask)[None, None].double() / 255,
    )
    assert image_metrics(image, target, mask).fmse == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("height", [7, BAND - 1, BAND, BAND + 1, BAND + 6, BAND + 7, 2 * BAND + 8])
def test_measure_in_bands_agrees_with_scikit_image_on_the_whole(height: int) -> None:
    image, target, mask = pair(height)
    got = image_metrics(image, target, mask)
    assert got.mse == pytest.approx(((image.astype(float) - target) ** 2).mean(), rel=1e-12)
    assert got.psnr == pytest.approx(peak_signal_noise_ratio(target, image, data_range=255))
    whole = structural_similarity(image, target, channel_axis=2, data_range=255)
    assert got.ssim == pytest.approx(whole, abs=1e-12)


def test_measure_floats_agree_with_the_same_image_in_8_bits() -> None:
    arrays = pair()
    floats = image_metrics(*((array / 255).astype(np.float32) for array in arrays))
    for name, value in vars(image_metrics(*arrays)).items():
        assert getattr(floats, name) == pytest.approx(value, rel=1e-6), name


def test_measure_paper_takes_psnr_over_the_judged_images_own_range() -> None:
    target = np.full((8, 8, 3), 100, np.uint8)
    image, mask = target.copy(), np.full((8, 8), 255, np.uint8)
    image[0, 0], image[0, 1] = 150, 50
    paper, plain = image_metrics(image, target, mask, "paper"), image_metrics(image, target, mask)
    assert paper.psnr == pytest.approx(10 * math.log10(100**2 / plain.mse))
    assert paper.psnr == pytest.approx(peak_signal_noise_ratio(target, image, data_range=100))
    assert (paper.mse, paper.fmse, paper.ssim) == (plain.mse, plain.fmse, plain.ssim)
    flat = np.full_like(target, 90)
    assert image_metrics(flat, target, mask, "paper").psnr == -math.inf


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_measure_equal_images_are_infinitely_close(protocol: Protocol) -> None:
    image, _, mask = pair()
    got = image_metrics(image, image, mask, protocol)
    assert (got.mse, got.fmse, got.psnr, got.ssim) == (0, 0, math.inf, pytest.approx(1))


def test_one_bit_rounds_half_up_and_keeps_the_type() -> None:
    assert one_bit(np.array([[0, 127, 128, 255]], np.uint8)).tolist() == [[0, 0, 255, 255]]
    soft = one_bit(np.array([[0, 0.499, 0.5, 1]], np.float32))
    assert soft.dtype == np.float32 and soft.tolist() == [[0, 0, 1, 1]]


def test_measure_bad_input_is_refused() -> None:
    image, target, mask = pair()
    for arguments, words in (
        ((image[1:], target, mask), "target's shape"),
        ((image.astype(np.float32), target, mask), "target's shape and type"),
        ((image, target, mask[1:]), r"`mask` must be \(40, 30\)"),
        ((image, target, mask.astype(np.float32)), "of the images' type"),
        ((image, target, np.zeros_like(mask)), "it is empty"),
        ((image[:6], target[:6], mask[:6]), r"at least 7x7, SSIM's window; got \(6, 30\)"),
    ):
        with pytest.raises(ValueError, match=words):
            image_metrics(*arguments)


def check_known_figures(rows: list[dict[str, str]], folder: Path) -> None:
    published = {
        row["name"]: row
        for row in csv.DictReader((folder / "published_results.csv").read_text().splitlines())
    }
    compared = 0
    for row in rows:
        arrays = [np.array(Image.open(folder / row[name])) for name in ("composite", "real")]
        mask = np.array(Image.open(folder / row["mask"]).convert("L"))
        known = [(row["mse_comp_vs_real"], row["fmse_comp_vs_real"])]
        listed = published.get(Path(row["composite"]).stem)
        if listed:
            known.append((listed["composite_mse"], listed["composite_fmse"]))
        soft, hard = image_metrics(*arrays, mask), image_metrics(*arrays, one_bit(mask), "paper")
        for mse, fmse in known:
            for got in (soft, hard):
                assert got.mse == pytest.approx(float(mse), abs=ROUNDING), row["composite"]
                assert got.fmse == pytest.approx(float(fmse), abs=ROUNDING), row["composite"]
            compared += 1
        assert mask.mean() / 255 == pytest.approx(float(row["fg_fraction"]), abs=1e-4)
    assert compared >= 2 * len(rows) - 4


def test_measure_reproduces_the_known_figures_of_the_small_samples() -> None:
    folder = shared_data("iharmony4")
    rows = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    rows.sort(key=lambda row: int(row["width"]) * int(row["height"]))
    check_known_figures(rows[:12], folder)


@pytest.mark.slow
def test_measure_reproduces_the_known_figures_of_every_sample() -> None:
    folder = shared_data("iharmony4")
    rows = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    assert len(rows) == 36
    check_known_figures(rows, folder)
