"""The figures that the tables are made of."""

import csv

import numpy as np
import pytest
import torch
from conftest import shared_data
from PIL import Image

from harmonizer.ops import DEFAULT_FILTERS
from train.evaluate import (
    Score,
    foreground_mse,
    pixel_fmse,
    score,
    summary,
    validation_composites,
)


def test_foreground_mse_counts_the_foreground_alone() -> None:
    target = torch.zeros(1, 3, 4, 4)
    image, mask = target.clone(), torch.zeros(1, 1, 4, 4)
    mask[..., :2], image[..., :2], image[..., 2:] = 1, 10 / 255, 1
    assert foreground_mse(image, target, mask).item() == pytest.approx(100)


def test_pixel_fmse_agrees_with_torch() -> None:
    random = np.random.default_rng(0)
    image, target = random.integers(0, 256, (2, 200, 30, 3), np.uint8)
    mask = random.integers(0, 256, (200, 30), np.uint8)
    expected = foreground_mse(
        *(torch.from_numpy(a).permute(2, 0, 1)[None].double() / 255 for a in (image, target)),
        torch.from_numpy(mask)[None, None].double() / 255,
    )
    assert pixel_fmse(image, target, mask) == pytest.approx(expected.item(), rel=1e-9)


def test_pixel_fmse_reproduces_the_benchmark_index() -> None:
    folder = shared_data("iharmony4")
    rows = list(csv.DictReader((folder / "index.csv").read_text().splitlines()))
    small = sorted(rows, key=lambda row: int(row["width"]) * int(row["height"]))[:8]
    for row in small:
        composite, real = (
            np.array(Image.open(folder / row[name]).convert("RGB"))
            for name in ("composite", "real")
        )
        mask = np.array(Image.open(folder / row["mask"]).convert("L"))
        measured = pixel_fmse(composite, real, mask)
        assert measured == pytest.approx(float(row["fmse_comp_vs_real"]), rel=0.02), row[
            "composite"
        ]


def test_summary_splits_by_foreground_share() -> None:
    scores = [Score("a", 0.02, 100, 50), Score("b", 0.1, 200, 300), Score("c", 0.5, 400, 100)]
    rows = {row["foreground"]: row for row in summary(scores)}
    assert rows["all"]["ratio"] == pytest.approx(450 / 700, abs=1e-3)
    assert rows["all"]["improved"] == pytest.approx(2 / 3, abs=1e-3)
    assert [rows[k]["images"] for k in ("0%-5%", "5%-15%", "15%-100%")] == [1, 1, 1]


def test_validation_composites_are_the_same_every_time_and_identity_scores_the_composite() -> None:
    folder = shared_data("val")

    def first() -> tuple[str, torch.Tensor, torch.Tensor, torch.Tensor]:
        return next(iter(validation_composites(folder, DEFAULT_FILTERS)))

    one, two = first(), first()
    assert one[0] == two[0] and torch.equal(one[1], two[1])
    (result,) = score([one], lambda *_: torch.zeros(1, 6), DEFAULT_FILTERS)
    assert result.after == pytest.approx(result.before, rel=1e-3)
