"""iHarmony4's layout, its packing, and the check of a copy."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository import shared_data
from training_data import truncate, write_lists, write_tree

from train.__main__ import main
from train.data.iharmony4 import SUBSETS, Pair, Subset, open_pairs


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("iharmony4"))


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "iharmony4"))


def test_subset_names_of_one_composite_belong_together(tree: Path) -> None:
    listed = Subset(tree, "HAdobe5k").listed("train")
    assert listed.composites == ("a0_1_1", "a0_1_2", "a1_1_1", "a1_1_2")
    assert listed.pairs[1] == Pair(
        "HAdobe5k/composite_images/a0_1_2.png",
        "HAdobe5k/masks/a0_1.png",
        "HAdobe5k/real_images/a0.png",
    )
    assert listed.absent == listed.misnamed == listed.repeated == ()


def test_subset_lines_with_paths_and_other_suffixes_are_understood(copy: Path) -> None:
    plain = Subset(copy, "HCOCO").listed("train").pairs
    path = copy / "HCOCO" / "HCOCO_train.txt"
    names = path.read_text().split()
    for line in ("HCOCO/composite_images/{}", "composite_images\\{}", "  {}\r", "{}\n"):
        write_lists(copy, "HCOCO", [line.format(name) for name in names], [])
        assert Subset(copy, "HCOCO").listed("train").pairs == plain


@pytest.mark.parametrize("real", ["d21901-20130410-181833", "my_own_photo"])
def test_subset_name_with_dashes_or_underscores_keeps_them(copy: Path, real: str) -> None:
    folder = copy / "Hday2night"
    for place, stem in (
        ("composite_images", f"{real}_1_9"),
        ("masks", f"{real}_1"),
        ("real_images", real),
    ):
        shutil.copy(next((folder / place).iterdir()), folder / place / f"{stem}.png")
    write_lists(copy, "Hday2night", [f"{real}_1_9.jpg"], [])
    (pair,) = Subset(copy, "Hday2night").listed("train").pairs
    assert pair.real == f"Hday2night/real_images/{real}.png"
    assert pair.mask == f"Hday2night/masks/{real}_1.png"


def test_open_pairs_packs_the_train_lists_as_uint8_squares(tree: Path, tmp_path: Path) -> None:
    packed = open_pairs(tree, ("HCOCO", "HFlickr"), tmp_path)
    assert packed.pixels.shape == (8, 7, 256, 256) and packed.pixels.dtype == np.uint8
    assert len(packed.rows) == 8 and packed.skipped == ()
    composite, real, mask = packed.pixels[0, :3], packed.pixels[0, 3:6], packed.pixels[0, 6]
    outside, inside = mask == 0, mask == 255
    assert np.abs(composite.astype(int) - real)[:, outside].max() <= 1
    assert (composite[:, inside] <= real[:, inside]).all()
    np.testing.assert_allclose(packed.fractions[0], mask.mean() / 255)


def test_open_pairs_missing_subset_list_or_file_is_refused(copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (copy / "HCOCO" / "masks" / "c1_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"HCOCO/masks/c1_1 first\. .*check-data"):
        open_pairs(copy, ("HCOCO",), cache)
    (copy / "HFlickr" / "HFlickr_train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"HFlickr_train\.txt must list"):
        open_pairs(copy, ("HFlickr",), cache)
    shutil.rmtree(copy / "Hday2night" / "real_images")
    with pytest.raises(FileNotFoundError, match=r"absent: real_images.*--subsets"):
        open_pairs(copy, ("Hday2night",), cache)
    write_lists(copy, "HAdobe5k", ["photo.jpg"], [])
    with pytest.raises(ValueError, match=r"be named X_k_v; 1 do not, photo first"):
        open_pairs(copy, ("HAdobe5k",), cache)
    assert not cache.exists()


def test_open_pairs_unusable_pairs_are_skipped_and_named_up_to_a_share(
    copy: Path, tmp_path: Path
) -> None:
    truncate(copy / "HCOCO/composite_images/c0_1_2.png")
    Image.new("L", (160, 130)).save(copy / "HCOCO/masks/c1_1.png")
    Image.new("RGB", (10, 10)).save(copy / "HFlickr/real_images/f0.png")
    packed = open_pairs(copy, SUBSETS, tmp_path / "cache", max_corrupt=0.5)
    reasons = "\n".join(packed.skipped)
    assert len(packed.skipped) == 5 and len(packed.rows) == 11
    assert "c0_1_2.png: " in reasons and "c0_1_1" not in reasons
    assert reasons.count("HCOCO/masks/c1_1.png is empty") == 2
    assert reasons.count("f0.png must have the composite's size 180x120; it has 10x10") == 2
    again = open_pairs(copy, SUBSETS, tmp_path / "cache", max_corrupt=0.5)
    assert again.skipped == packed.skipped and again.folder == packed.folder
    with pytest.raises(ValueError, match=r"at most 1\.0% of 16 pairs may be unusable; 1 already"):
        open_pairs(copy, SUBSETS, tmp_path / "other", max_corrupt=0.01)
    assert not [p for p in (tmp_path / "other").iterdir() if p.suffix != ".lock"]


def test_check_data_sound_copy_prints_counts_and_exits_0(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", str(tree)]) == 0
    output = capsys.readouterr().out
    rows = [line.split() for line in output.splitlines()]
    assert ["HAdobe5k", "train", "4", "19,437", "4"] in rows
    assert ["Hday2night", "test", "2", "133", "2"] in rows
    assert output.endswith("sound\n") and "not listed" not in output


def test_check_data_each_fault_is_counted_named_and_reported(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "HCOCO/masks/c1_1.png").unlink()
    truncate(copy / "HCOCO/composite_images/c0_1_2.png")
    Image.new("L", (180, 120)).save(copy / "HFlickr/masks/f0_1.png")
    Image.new("RGB", (10, 10)).save(copy / "HFlickr/real_images/f2.png")
    write_lists(copy, "HAdobe5k", ["a0_1_1.jpg", "a0_1_1.jpg", "x.jpg"], ["a0_1_1.jpg"])
    shutil.rmtree(copy / "Hday2night")
    report = tmp_path / "report.csv"
    assert main(["check-data", str(copy), "--report", str(report)]) == 1
    output = capsys.readouterr().out
    for line in (
        "absent: 1 (HCOCO/masks/c1_1)",
        "unreadable: 1 (HCOCO/composite_images/c0_1_2.png: ",
        "without foreground: 1 (HFlickr/masks/f0_1.png: the mask HFlickr/masks/f0_1.png is empty",
        "list shorter than published: 6 (HCOCO/HCOCO_train.txt: 4 of 38,545, ",
        "size mismatch: 2 (HFlickr/real_images/f2.png: 10x10, HFlickr/composite_images/f2_1_1.png",
        "listed twice: 1 (HAdobe5k/a0_1_1)",
        "not named X_k_v: 1 (HAdobe5k/x)",
        "in both lists: 1 (HAdobe5k/a0_1_1)",
        "missing subset: 1 (Hday2night: ",
        # What no sound line names: composites of c1 have no mask, and the rest of HAdobe5k.
        "not listed: 12 (",
        "9 problems",
    ):
        assert line in output
    rows = list(csv.DictReader(report.open()))
    assert sum(row["problem"] == "yes" for row in rows) == 9 and len(rows) == 27
    assert {"kind": "absent", "problem": "yes", "file": "HCOCO/masks/c1_1", "detail": ""} in rows


def test_check_data_bad_input_exits_2_with_one_line(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ([str(tmp_path / "nowhere")], "photographs must be in a folder"),
        ([str(tmp_path / "empty")], "must hold photographs"),
        ([str(tree / "HCOCO")], "looks like one subset"),
        ([str(tree), "--subsets", "HCOCO,HMars"], "must be some of HCOCO"),
        ([str(tree), "--report", str(tmp_path / "no" / "folder.csv")], "no/folder.csv"),
        ([], "required: folder"),
    ):
        assert main(["check-data", *arguments]) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("train: error: ") and message in error


def test_check_data_and_packing_accept_the_dataset_s_own_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = shared_data("iharmony4")
    names: dict[str, list[str]] = {}
    for row in csv.DictReader((shared / "index.csv").open()):
        if row["subset"] not in ("HFlickr", "Hday2night"):  # the others are huge
            continue
        for column in ("composite", "mask", "real"):
            link = tmp_path / row["subset"] / row[column]
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                link.symlink_to(shared / row[column])
        names.setdefault(row["subset"], []).append(Path(row["composite"]).name)
    for name, composites in names.items():
        write_lists(tmp_path, name, composites, [])
    assert main(["check-data", str(tmp_path), "--subsets", ",".join(names)]) == 0
    assert capsys.readouterr().out.endswith("sound\n")
    packed = open_pairs(tmp_path, tuple(names), tmp_path / "cache")
    assert len(packed.rows) == 14 and packed.skipped == ()
    # The benchmark's composites differ from their photographs in the foreground alone.
    composite, real, mask = packed.pixels[:, :3], packed.pixels[:, 3:6], packed.pixels[:, 6:]
    difference = np.abs(composite.astype(np.float32) - real)
    assert difference[np.broadcast_to(mask == 0, difference.shape)].mean() < 2
