"""Folders of photographs: found, checked, decoded and packed once."""

import csv
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from repository import shared_data
from training_data import make_batches, truncate, write_manifest, write_tree

from export.samples import sample_photos
from train.__main__ import main
from train.data.config import DataConfig
from train.data.packing import PackedImages, decode
from train.data.photos import Photo, list_photos, open_photos


def test_list_photos_without_manifest_finds_masks_beside(tmp_path: Path) -> None:
    for name in ("a.jpg", "images/b.webp", "images/c.PNG", "deep/er/d.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("masks/a.png", "masks/b.png", "images/c_mask.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_photos(tmp_path) == [
        Photo("a.jpg", "masks/a.png"),
        Photo("deep/er/d.tif", None),
        Photo("images/b.webp", "masks/b.png"),
        Photo("images/c.PNG", "images/c_mask.png"),
    ]


def test_open_photos_unusable_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must be in a folder"):
        open_photos(tmp_path / "nowhere", tmp_path)
    with pytest.raises(ValueError, match="must hold photographs"):
        open_photos(tmp_path, tmp_path)
    (tmp_path / "MANIFEST.csv").write_text("path,mask\n")
    with pytest.raises(ValueError, match=r"columns `file` and `mask`; got \['path', 'mask'\]"):
        open_photos(tmp_path, tmp_path)
    write_manifest(tmp_path, [("a.jpg", ""), ("b.jpg", "b.png")])
    with pytest.raises(FileNotFoundError, match=r"3 do not, a\.jpg first.*check-data"):
        open_photos(tmp_path, tmp_path)


def test_open_photos_corrupt_files_are_skipped_up_to_a_share(
    grey_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(grey_folder, folder)
    truncate(folder / "75.png")
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(folder / "deep.png")
    Image.new("RGBA", (9, 9), (10, 20, 30, 40)).save(folder / "clear.png")
    config = DataConfig(photos=(str(folder),), max_corrupt=0.3, cache=str(tmp_path / "cache"))
    for _ in range(2):  # packed, then from the cache
        batches = make_batches(config, batch=9)
        assert batches.images == 9
        reasons = dict(line.split(": ", 1) for line in batches.skipped)
        assert set(reasons) == {"75.png", "deep.png", "clear.png"}
        assert "8 bits" in reasons["deep.png"] and "transparent" in reasons["clear.png"]
        assert 75 not in (batches[0].photo.mean(dim=(1, 2, 3)) * 255).round()
    with pytest.raises(ValueError, match=r"at most 10\.0% of 12 photographs.*; 2 already are"):
        open_photos(folder, tmp_path / "other", max_corrupt=0.1)
    with pytest.raises(ValueError, match=r"; 3 already are.* larger share with --max-corrupt"):
        open_photos(folder, config.cache, max_corrupt=0.1)
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="needs 4 of 0 usable ones"):
        make_batches(dataclasses.replace(config, max_corrupt=1.0))


def test_open_photos_mask_without_foreground_or_of_another_size_is_skipped_and_named(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    with Image.open(folder / "chelsea_mask.png") as mask:
        Image.new("L", mask.size).save(folder / "chelsea_mask.png")
    with Image.open(folder / "astronaut_mask.png") as mask:
        mask.point(lambda value: value // 128).save(folder / "astronaut_mask.png")
    Image.new("L", (5, 5), 255).save(folder / "coffee_mask.png")
    config = DataConfig(photos=(str(folder),), max_corrupt=0.8, cache=str(tmp_path / "cache"))
    batches = make_batches(config, batch=1)
    assert batches.images == 1
    reasons = dict(line.split(": ", 1) for line in batches.skipped)
    assert reasons["chelsea.png"] == "the mask chelsea_mask.png is empty at 256x256"
    assert "its largest value is 1. If these are labels, write" in reasons["astronaut.png"]
    assert "coffee_mask.png must have the photograph's size" in reasons["coffee.png"]
    with pytest.raises(ValueError, match="1 already are"):
        open_photos(folder, tmp_path / "other", max_corrupt=0.2)


def test_batches_masks_of_poor_size_are_replaced_and_named(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    for name, level in (("chelsea", 255), ("coffee", 0)):
        with Image.open(folder / f"{name}_mask.png") as mask:
            changed = Image.new("L", mask.size, level)
        changed.paste(255, (8, 8, 16, 16))
        changed.save(folder / f"{name}_mask.png")
    config = DataConfig(photos=(str(folder),), cache=str(tmp_path / "cache"))
    batches = make_batches(config)
    assert set(batches.replaced) == {"chelsea.png", "coffee.png"} and batches.skipped == ()
    for step in range(5):
        shares = batches[step].mask.mean(dim=(1, 2, 3))
        assert (shares > 0.005).all() and (shares < 0.98).all()


def test_open_photos_mended_manifest_packs_anew_though_the_files_are_the_same(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    write_manifest(folder, [("coffee.png", ""), ("coffee_mask.png", "")])
    before = open_photos(folder, tmp_path / "cache")
    write_manifest(folder, [("coffee.png", "coffee_mask.png")])
    after = open_photos(folder, tmp_path / "cache")
    assert before.folder != after.folder
    assert (len(before.rows), len(after.rows)) == (2, 1) and after.fractions[0] > 0.05


def test_open_photos_copy_that_keeps_the_times_keeps_the_cache(
    photo_folder: Path, tmp_path: Path
) -> None:
    found = []
    for name in ("one", "other"):
        shutil.copytree(photo_folder, tmp_path / name)
        found.append(open_photos(tmp_path / name, tmp_path / "cache").folder)
    assert found[0] == found[1]


def test_list_photos_iharmony4_root_is_refused_and_its_flag_named(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "data", subsets=("HCOCO",))
    for folder in (tree, tree / "HCOCO", tmp_path):
        with pytest.raises(ValueError, match=r"HCOCO/composite_images looks like.*--pairs"):
            list_photos(folder)
    assert len(list_photos(tree / "HCOCO" / "real_images")) == 3


def test_open_photos_second_time_maps_the_cache_and_a_change_packs_anew(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photo_folder, folder)
    before = open_photos(folder, tmp_path / "cache")
    stamp = (before.folder / "pixels.npy").stat().st_mtime_ns
    again = open_photos(folder, tmp_path / "cache")
    assert again.folder == before.folder and not again.pixels.flags.writeable
    assert (again.folder / "pixels.npy").stat().st_mtime_ns == stamp
    Image.fromarray(255 - sample_photos()[0].pixels).save(folder / "astronaut.png")
    after = open_photos(folder, tmp_path / "cache")
    assert after.folder != before.folder
    total = before.pixels[1, :3].astype(int) + after.pixels[1, :3]
    assert np.abs(total - 255).max() <= 2  # resized in two roundings


def test_open_photos_a_changed_file_replaces_the_cache_of_its_earlier_state_alone(
    photo_folder: Path, tmp_path: Path
) -> None:
    changing, cache = tmp_path / "copy", tmp_path / "cache"
    shutil.copytree(photo_folder, changing, copy_function=shutil.copy)  # of other times
    others = open_photos(photo_folder, cache)
    before = open_photos(changing, cache)
    os.utime(changing / "astronaut.png")
    after = open_photos(changing, cache)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {
        others.folder.name,
        after.folder.name,
    }
    assert before.pixels.any()  # who has it mapped keeps it


def test_open_photos_two_processes_at_once_share_one_cache(
    photo_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; from train.data.photos import open_photos\n"
        "packed = open_photos(sys.argv[1], sys.argv[2])\n"
        "print(packed.folder, packed.pixels.sum())"
    )
    command = [sys.executable, "-c", code, str(photo_folder), str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    found = {process.communicate(timeout=120)[0] for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0] and len(found) == 1
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_open_photos_disk_too_small_is_refused_before_packing(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(OSError, match=r"needs 0\.0013 GB in .*; 0\.001 GB are free.*--cache"):
        open_photos(photo_folder, tmp_path)


def test_open_photos_disk_that_fills_up_leaves_no_broken_cache(
    photo_folder: Path, tmp_path: Path
) -> None:
    # A limit on file sizes fails where a full disk does: when the array's space is claimed.
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "from train.data.photos import open_photos\n"
        "open_photos(sys.argv[1], sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(photo_folder), str(tmp_path)]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and "OSError" in failed.stderr
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert len(open_photos(photo_folder, tmp_path).rows) == 4


def test_load_packed_damaged_cache_is_refused_with_the_remedy(
    photo_folder: Path, tmp_path: Path
) -> None:
    truncate(open_photos(photo_folder, tmp_path).folder / "pixels.npy")
    with pytest.raises(ValueError, match=r"it is damaged.*Delete that folder"):
        open_photos(photo_folder, tmp_path)


def test_open_photos_packs_the_same_pixels_as_a_plain_resize(
    photo_folder: Path, cache: str
) -> None:
    packed: PackedImages = open_photos(photo_folder, cache)
    assert packed.names[0] == "unmasked.png" and packed.fractions[0] == 0
    with Image.open(photo_folder / "coffee.png") as image:
        plain = np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR))
    row = packed.names.index("coffee.png")
    difference = np.abs(packed.pixels[row, :3].transpose(1, 2, 0).astype(int) - plain)
    assert difference.mean() < 1
    assert packed.fractions[row] == pytest.approx(sample_photos()[1].mask.mean() / 255, abs=0.01)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_exif_orientation_turns_photographs_upright(
    tmp_path: Path, orientation: int
) -> None:
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:20, :20] = (255, 0, 0)
    pixels[20:, :30] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95, subsampling=0)
    turned, size = decode(path, "RGB", upright=True)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert size == upright.size
    expected = np.asarray(upright.resize((256, 256), Image.Resampling.BILINEAR))
    assert np.abs(turned.astype(int) - expected).mean() < 2


def test_decode_large_jpeg_at_a_fraction_agrees_with_full_decoding(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.fromarray(sample_photos()[1].pixels).resize((2400, 1600)).save(path, quality=92)
    quick, size = decode(path, "RGB")
    with Image.open(path) as image:
        full = np.asarray(image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR))
    assert size == (2400, 1600)
    assert np.abs(quick.astype(int) - full).mean() < 1


def test_check_data_photographs_states_counts_faults_and_invertibility(
    photo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", str(photo_folder)]) == 0
    output = capsys.readouterr().out
    assert "photographs: 4, 3 of them with a mask" in output
    assert "% of 4 synthesised composites lose more than 10 fMSE to clipping" in output
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    truncate(folder / "unmasked.png")
    Image.new("L", (5, 5), 255).save(folder / "coffee_mask.png")
    (folder / "chelsea_mask.png").unlink()
    with Image.open(folder / "astronaut_mask.png") as mask:
        mask.point(lambda value: value // 128).save(folder / "astronaut_mask.png")
    shutil.copy(folder / "astronaut.png", folder / "again.png")
    with (folder / "MANIFEST.csv").open("a") as manifest:
        manifest.write("again.png,\n")
    assert main(["check-data", str(folder)]) == 1
    output = capsys.readouterr().out
    for line in (
        "absent: 1 (chelsea_mask.png)",
        "unreadable: 1 (unmasked.png: ",
        "size mismatch: 1 (coffee_mask.png: 5x5, coffee.png has 600x400)",
        "without foreground: 1 (astronaut_mask.png: the mask astronaut_mask.png must be white",
        "of 1 synthesised composites",
        "4 problems",
    ):
        assert line in output


def test_open_photos_real_masks_have_the_areas_that_their_manifest_states(tmp_path: Path) -> None:
    folder = shared_data("val")
    rows = list(csv.DictReader((folder / "MANIFEST.csv").open()))[:24]
    manifest = tmp_path / "photos"
    manifest.mkdir()
    for row in rows:
        for column in ("file", "mask"):
            link = manifest / row[column]
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(folder / row[column])
    write_manifest(manifest, [(row["file"], row["mask"]) for row in rows])
    packed = open_photos(manifest, tmp_path / "cache")
    stated = [float(row["mask_fraction"]) for row in rows]
    assert packed.skipped == ()
    np.testing.assert_allclose(packed.fractions, stated, atol=0.02)
