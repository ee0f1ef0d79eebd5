"""Images made to mislead a decoder: refused with one line, before memory or time are spent."""

import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hostile_images import (
    chunk,
    grey_tiff,
    png,
    strips_tiff,
    swollen_exif,
    webp,
)
from photographs import picture, picture16
from PIL import Image

from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.images.files import load_mask, load_photo, save_photo

ATTACKS = {
    "planar configuration 3": grey_tiff(tag284=3),
    "depth": grey_tiff(tag32997=100_000),
    "tile depth": grey_tiff(tag32998=100_000),
    "samples": grey_tiff(tag277=60_000),
    "samples without data": grey_tiff(tag277=3),
    "strip of 1 of 20": strips_tiff(20, 1),
    "no strips": grey_tiff(tag273=None),
    "more strips than rows": grey_tiff(tag273=(8, 8)),
    "tile of a gigabyte": grey_tiff(tag322=32768, tag323=32768),
    "strip outside": grey_tiff(tag273=4_000_000_000),
    "strip in the header": grey_tiff(tag273=0),
    "too few bytes": grey_tiff(tag256=101),
    "too many bytes": grey_tiff(tag257=199, tag278=199),
    "rows of nothing": grey_tiff(tag278=0),
    "width 0": grey_tiff(tag256=0),
    "predictor of floats": grey_tiff(tag317=3),
    "unknown compression": grey_tiff(tag259=34712),
    "packbits of deflate": grey_tiff(tag259=32773),
    "lzw of deflate": grey_tiff(tag259=5),
    "jpeg of deflate": grey_tiff(tag259=7),
    "palette without one": grey_tiff(tag262=3),
    "rgb of one sample": grey_tiff(tag262=2),
    "bits of 12": grey_tiff(tag258=12),
    "bits of 16": grey_tiff(tag258=16),
    "png of too few rows": png(10, 10, pixels=zlib.compress(bytes(11 * 5))),
    "png without pixels": png(10, 10, pixels=b""),
    "png of 0 pixels": png(0, 10),
    "png of two headers": png(10, 10, extra=png(9, 9)[8:33]),
    "webp that is short": webp()[:-2],
    "webp that says less": webp()[:4] + struct.pack("<I", 20) + webp()[8:],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_load_photo_of_an_attack_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(ATTACKS[name])
    for load in (load_photo, load_mask):
        with pytest.raises(ImageFileError):
            load(path, 1_000_000)


def test_the_attacks_are_sound_but_for_one_thing(tmp_path: Path) -> None:
    adam7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    empty = np.zeros((9, 9), np.uint8)
    passes = [empty[top::down, left::right] for top, left, down, right in (*adam7, (1, 0, 2, 1))]
    rows = b"".join(bytes(part.shape[0] * (1 + part.shape[1])) for part in passes if part.size)
    interlaced = png(9, 9, pixels=zlib.compress(rows))
    header = interlaced[12:28] + b"\1"
    interlaced = interlaced[:12] + header + struct.pack(">I", zlib.crc32(header)) + interlaced[33:]
    sound = {"a": grey_tiff(), "b": strips_tiff(20, 20), "c": png(9, 9), "d": interlaced}
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
        assert not load_photo(tmp_path / name).pixels.any()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", "16.png", "16.tif", "p.tif"])
def test_decoding_into_poisoned_memory_gives_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == "p.tif":
        planes = np.moveaxis(picture16(), 2, 0)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=(16, 16))
    else:
        save_photo(path, picture16() if suffix.startswith("16") else picture())
    data = path.read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / f"c{suffix}").write_bytes(
        data[: len(data) // 2] + bytes(len(data) - len(data) // 2)
    )
    code = (
        "import sys, hashlib\n"
        "from harmonizer.images.files import load_photo\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(hashlib.sha256(load_photo(path).pixels).hexdigest())\n"
        "    except ValueError as error: print(error)\n"
    )
    names = [str(tmp_path / f"{letter}{suffix}") for letter in "abc"]
    said = [
        subprocess.run(
            [sys.executable, "-c", code, *names],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "MALLOC_PERTURB_": poison, "PYTHONMALLOC": "malloc"},
        ).stdout
        for poison in ("85", "170")
    ]
    assert said[0] == said[1]


@pytest.mark.parametrize("deep", [False, True])
def test_load_photo_png_with_a_flipped_bit_is_refused_wherever_it_is(
    tmp_path: Path, deep: bool
) -> None:
    whole = bytes(imagecodecs.png_encode(picture16() if deep else picture()))
    generator = np.random.default_rng(6)
    for at in generator.integers(8, len(whole), 60):
        data = bytearray(whole)
        data[at] ^= 1 << generator.integers(8)
        (tmp_path / "a.png").write_bytes(data)
        with pytest.raises(ImageFileError):
            load_photo(tmp_path / "a.png")


def test_load_photo_png_of_swollen_exif_costs_no_memory(tmp_path: Path) -> None:
    structure = swollen_exif(65_535, 50_000)
    (tmp_path / "a.png").write_bytes(png(10, 10, extra=chunk(b"eXIf", structure)))
    photo = load_photo(tmp_path / "a.png", 1_000_000)
    assert photo.exif == b""
    assert any("claim more than its" in note for note in photo.notes)


@pytest.mark.parametrize("form", ["png", "jpg", "webp"])
def test_load_photo_of_too_much_metadata_is_refused(tmp_path: Path, form: str) -> None:
    block = bytes(60_000)
    if form == "png":
        data = png(10, 10, extra=chunk(b"teXt", b"a\0" + block) * 600)
    elif form == "jpg":
        Image.fromarray(picture()).save(tmp_path / "whole.jpg")
        whole = (tmp_path / "whole.jpg").read_bytes()
        data = whole[:2] + (b"\xff\xe1" + struct.pack(">H", 60_002) + block) * 600 + whole[2:]
    else:
        whole = webp() + (b"EXIF" + struct.pack("<I", len(block)) + block) * 600
        data = whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]
    (tmp_path / f"a.{form}").write_bytes(data)
    with pytest.raises(ImageFileError, match="metadata"):
        load_photo(tmp_path / f"a.{form}")


def test_load_photo_jpeg_of_many_scans_is_refused(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    (tmp_path / "a.jpg").write_bytes(data[:-2] + scan * 300 + data[-2:])
    with pytest.raises(ImageFileError, match="200 scans"):
        load_photo(tmp_path / "a.jpg")


@pytest.mark.parametrize("place", ["/dev/zero", "fifo", "/dev/null", "socket"])
def test_image_of_what_is_no_file_is_refused_at_once(
    scene: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    if place == "fifo":
        os.mkfifo("fifo")
    if place == "socket":
        socket.socket(socket.AF_UNIX).bind("socket")
    for words in (
        [place, "m.png"],
        ["c.png", place],
        ["c.png", "m.png", "--arguments", place],
        ["c.png", "m.png", "--model", place],
    ):
        codes: list[int] = []
        command = ["image", *words, "-o", "o.png"]
        thread = threading.Thread(target=lambda: codes.append(main(command)), daemon=True)  # noqa: B023
        thread.start()
        thread.join(20)
        assert codes == [2], words
        assert "must be a regular file, and is a" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_output_that_is_no_file_is_refused_and_stays(scene: Path, kind: str) -> None:
    place = Path("o.png")
    if kind == "fifo":
        os.mkfifo(place)
    else:
        try:
            os.mknod(place, 0o20666, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("making a device node needs an administrator")
    before = place.lstat()
    words = ["image", "c.png", "m.png", "-o", "o.png"]
    assert main(words) == 2
    assert main([*words[:-1], "p.png", "--arguments", "o.png"]) == 2
    assert (place.lstat().st_ino, place.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_load_photo_of_a_file_larger_than_its_pixels_can_be_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.write(png(10, 10))
        file.truncate(1 << 34)
    with pytest.raises(ImageFileError, match=r"at most [\d,]+ bytes, and has 17,179,869,184"):
        load_photo(tmp_path / "a.png", 1_000_000)
