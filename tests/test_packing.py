"""Folders of photographs: found, checked, decoded and packed once."""

import csv
import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import shared_data
from PIL import Image, ImageOps
from training_data import make_batches, truncate, write_manifest

from export.samples import sample_photos
from train.__main__ import main
from train.data.batches import DataConfig
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
    for path in folder.iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="needs 4 of 0 usable ones"):
        make_batches(dataclasses.replace(config, max_corrupt=1.0))


def test_open_photos_empty_or_mismatched_mask_never_reaches_a_batch(
    photo_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    with Image.open(folder / "chelsea_mask.png") as mask:
        Image.new("L", mask.size).save(folder / "chelsea_mask.png")
    Image.new("L", (5, 5), 255).save(folder / "coffee_mask.png")
    config = DataConfig(photos=(str(folder),), max_corrupt=0.3, cache=str(tmp_path / "cache"))
    batches = make_batches(config, batch=3)
    assert "coffee.png: mask coffee_mask.png must have the photograph's size" in batches.skipped[0]
    for step in range(5):
        assert (batches[step].mask.mean(dim=(1, 2, 3)) > 0.005).all()


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
    assert main(["check-data", str(folder)]) == 1
    output = capsys.readouterr().out
    for line in (
        "absent: 1 (chelsea_mask.png)",
        "unreadable: 1 (unmasked.png: ",
        "size mismatch: 1 (coffee_mask.png: 5x5, coffee.png has 600x400)",
        "of 1 synthesised composites",
        "3 problems",
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
