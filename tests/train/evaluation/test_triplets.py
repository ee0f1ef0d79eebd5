"""The evaluation sets: what is listed, what is read, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_folder import COUNT, write_benchmark
from PIL import Image
from repository import shared_data
from training_data import write_photos

from harmonizer.errors import ImageFileError
from train.data.iharmony4 import SUBSETS
from train.evaluation.metrics import foreground_mse
from train.evaluation.triplets import (
    DEVELOPED,
    MASK_ERROR,
    REAL_PAIRS,
    RECOLOURED,
    UNKNOWN,
    VAL,
    benchmark_composites,
    benchmark_triplets,
    inexact,
    recoloured_triplets,
    validation_composites,
    validation_triplets,
    yardsticks,
)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path / "ihd")


def write_manifest(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "MANIFEST.csv").write_text("\n".join(("file,mask", *lines)) + "\n")
    return folder


def test_validation_composites_are_those_of_the_published_figures() -> None:
    folder = shared_data("val")
    errors = [
        foreground_mse(composite, real, mask)
        for _, composite, mask, real in validation_composites(folder)
    ]
    assert len(errors) == 300
    # The model card's figure of the composites; it moves if one pixel of them does.
    assert torch.cat(errors).double().mean().item() == pytest.approx(2273.9, abs=0.05)


def test_validation_triplets_draw_arguments_by_place_in_the_manifest(tmp_path: Path) -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    folder = write_manifest(tmp_path / "val", "a.png,m.png", "b.png,", "c.png,m.png")
    for name in "abcm":
        Image.fromarray(image).save(folder / f"{name}.png")
    first, second = validation_triplets(folder)
    assert (first.name, second.name) == ("a", "c")
    assert first.arguments == validation_triplets(folder)[0].arguments != second.arguments


def test_benchmark_triplets_own_layout_pairs_the_files(benchmark: Path) -> None:
    triplets = benchmark_triplets(benchmark)
    assert [t.subset for t in triplets] == [s for s in SUBSETS for _ in range(COUNT)]
    first = triplets[0]
    assert first.name == "c0_1_2"
    assert first.mask == benchmark / "HCOCO/masks/c0_1.png"
    assert first.real == benchmark / "HCOCO/real_images/c0.jpg"
    composite, mask, real = first.pixels()
    assert composite.shape == real.shape == (60, 80, 3) and mask.shape == (60, 80)
    assert np.abs(composite.astype(int) - real)[mask == 255].mean() > 10
    name, *tensors = next(benchmark_composites(benchmark))
    assert name == first.name
    assert [tuple(t.shape) for t in tensors] == [(1, c, 256, 256) for c in (3, 1, 3)]


def test_benchmark_triplets_subsets_choose(benchmark: Path) -> None:
    chosen = benchmark_triplets(benchmark, ("Hday2night", "HCOCO"))
    assert {t.subset for t in chosen} == {"Hday2night", "HCOCO"} and len(chosen) == 2 * COUNT
    samples = benchmark_triplets(shared_data("iharmony4"), ("HFlickr",))
    assert len(samples) == 13


def test_benchmark_triplets_index_names_unknown_subsets() -> None:
    triplets = benchmark_triplets(shared_data("iharmony4"))
    assert len(triplets) == 36
    assert {t.name for t in triplets if t.subset == UNKNOWN} == {
        "inr2k_1_1",
        "rainnet1_1_1",
        "rainnet2_1_1",
        "rainnet3_1_1",
    }


def test_benchmark_triplets_incomplete_folder_is_refused(benchmark: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold index\.csv, or iHarmony4's folders"):
        benchmark_triplets(benchmark / "HCOCO")
    (benchmark / "HCOCO/masks/c1_1.png").unlink()
    (benchmark / "HCOCO/real_images/c0.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"HCOCO_test.txt names must be there.*real_images/c0"
    ):
        benchmark_triplets(benchmark)
    (benchmark / "HFlickr/HFlickr_test.txt").write_text("notacomposite.jpg\n")
    with pytest.raises(ValueError, match=r"PHOTO_MASK_VERSION.*'notacomposite'"):
        benchmark_triplets(benchmark, ("HFlickr",))
    (benchmark / "Hday2night/Hday2night_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"Hday2night_test\.txt.*absent"):
        benchmark_triplets(benchmark, ("Hday2night",))
    (benchmark / "HAdobe5k").rename(benchmark / "HAdobe")
    with pytest.raises(FileNotFoundError, match=r"HAdobe5k must hold composite_images"):
        benchmark_triplets(benchmark, ("HAdobe5k",))


def test_tables_bad_ones_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"must hold MANIFEST\.csv with the columns"):
        validation_triplets(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"MANIFEST\.csv names.*absent: .*m\.png"):
        validation_triplets(write_manifest(tmp_path / "a", "x.png,m.png"))
    (tmp_path / "index.csv").write_text("composite,real\n")
    with pytest.raises(ValueError, match="lacks mask, subset"):
        benchmark_triplets(tmp_path)


def test_pixels_bad_images_are_refused(benchmark: Path) -> None:
    first, second, *_ = benchmark_triplets(benchmark)
    Image.new("L", (7, 9)).save(first.mask)
    with pytest.raises(ImageFileError, match=r"c0_1\.png is 7x9 and .*c0\.jpg is 80x60"):
        first.pixels()
    assert second.composite
    second.composite.write_bytes(second.composite.read_bytes()[:900])
    with pytest.raises(ImageFileError, match=r"c1_1_2\.jpg must be an image; it cannot be read"):
        second.thumbnails()


def test_yardsticks_are_fixed_and_of_val_and_train_alone() -> None:
    sets = yardsticks(shared_data("val"))
    assert {name: len(triplets) for name, triplets in sets.items()} == {
        VAL: 300,
        RECOLOURED: 300,
        DEVELOPED: 300,
        REAL_PAIRS: 37,
    }
    for name in (RECOLOURED, DEVELOPED):
        first = sets[name][0]
        one, two = first.thumbnails(), yardsticks(shared_data("val"))[name][0].thumbnails()
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
        composite, mask, real = one
        outside = (mask == 0).expand_as(composite)
        torch.testing.assert_close(composite[outside], real[outside], atol=1e-6, rtol=0)
        assert ((composite - real).abs() * mask).max() > 0.05
        assert len({t.digest() for t in sets[name][:20]}) == 20
    photo = sets[VAL][0].thumbnails()[2]
    assert torch.equal(sets[RECOLOURED][0].thumbnails()[2], photo), "the target is the photograph"
    assert not torch.equal(sets[DEVELOPED][0].thumbnails()[2], photo), "the target is developed"
    donors = {path.parent.parent.name for t in sets[RECOLOURED] for path in t.donor or ()}
    assert donors == {"train"}


def test_recoloured_triplets_another_folders_list_names_none(tmp_path: Path) -> None:
    write_photos(tmp_path)
    assert recoloured_triplets(tmp_path) == []
    assert list(yardsticks(tmp_path)) == [VAL, DEVELOPED]


def test_recoloured_triplets_absent_donor_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path)
    donors = tmp_path / "donors.csv"
    photo = next(
        row for row in (tmp_path / "MANIFEST.csv").read_text().splitlines() if "_mask" in row
    )
    donors.write_text(f"file,donor,donor_mask\n{photo.split(',')[0]},train/a.webp,train/a.png\n")
    with pytest.raises(
        FileNotFoundError, match=r"donors\.csv names must be there; absent: .*a\.png|a\.webp"
    ):
        recoloured_triplets(tmp_path, donors)


def test_pixels_mask_of_labels_is_refused(benchmark: Path) -> None:
    first, *_ = benchmark_triplets(benchmark)
    labels = (np.asarray(Image.open(first.mask).convert("L")) > 127).astype(np.uint8)
    Image.fromarray(labels).save(first.mask)
    with pytest.raises(ImageFileError, match=r"c0_1\.png must have 255.*is 1,.*Multiply it by 255"):
        first.pixels()


def test_inexact_sets_are_wide_and_tight_in_turn_and_tell_themselves_apart(
    benchmark: Path,
) -> None:
    first, *_ = benchmark_triplets(benchmark)
    shown = inexact([first, first, first])
    assert [t.mask_error for t in shown] == [MASK_ERROR, -MASK_ERROR, MASK_ERROR]
    assert len({first.digest(), *(t.digest() for t in shown)}) == 3
