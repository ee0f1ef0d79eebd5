"""Image files written: depths, metadata, alpha, what a format cannot hold."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from photographs import SRGB, camera_exif, picture, picture16, read_exif
from PIL import Image

from harmonizer.errors import ImageFileError
from harmonizer.images import exif
from harmonizer.images.encoding import Quality
from harmonizer.images.files import (
    Photo,
    load_photo,
    save_photo,
    to_depth,
)

SUFFIXES = (".jpg", ".png", ".tif", ".webp")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_photo_8_bit_carries_exif_and_icc(tmp_path: Path, suffix: str) -> None:
    like = Photo(picture(), exif=camera_exif(), icc=SRGB)
    path = tmp_path / f"a{suffix}"
    notes = save_photo(path, like.pixels, like, quality=Quality(lossless=suffix == ".webp"))
    again = load_photo(path)
    assert notes == again.notes == ()
    assert again.icc == SRGB
    make, taken, exposure, gps = read_exif(again.exif)
    assert (make, taken, float(exposure)) == ("Acme", "2024:05:06 07:08:09", 0.004)
    assert gps[1] == "N" and tuple(map(float, gps[2])) == (47.0, 22.0, 30.0)
    assert again.alpha is None
    if suffix == ".jpg":
        assert np.abs(again.pixels.astype(int) - like.pixels).mean() < 2
    else:
        np.testing.assert_array_equal(again.pixels, like.pixels)


@pytest.mark.parametrize("suffix", (".png", ".tiff"))
def test_save_photo_16_bit_is_exact_and_carries_exif_and_icc(tmp_path: Path, suffix: str) -> None:
    like = Photo(picture16(), exif=camera_exif(), icc=SRGB)
    path = tmp_path / f"a{suffix}"
    save_photo(path, like.pixels, like)
    again = load_photo(path)
    assert again.pixels.dtype == np.uint16
    np.testing.assert_array_equal(again.pixels, like.pixels)
    assert again.icc == SRGB
    make, taken, exposure, gps = read_exif(again.exif)
    assert (make, taken, float(exposure)) == ("Acme", "2024:05:06 07:08:09", 0.004)
    assert gps[1] == "N"


@pytest.mark.parametrize("chain", [(".tif", ".png", ".tiff"), (".jpg", ".tif", ".jpg", ".webp")])
def test_save_photo_chain_of_formats_keeps_exif(tmp_path: Path, chain: tuple[str, ...]) -> None:
    photo = Photo(picture(), exif=camera_exif(), icc=SRGB)
    for index, suffix in enumerate(chain):
        path = tmp_path / f"{index}{suffix}"
        save_photo(path, photo.pixels, photo)
        photo = load_photo(path)
    assert read_exif(photo.exif)[:2] == ("Acme", "2024:05:06 07:08:09")
    assert photo.icc == SRGB


def test_save_photo_tiff_of_big_endian_exif_is_read_by_others(tmp_path: Path) -> None:
    pixels = picture16()
    order, count = ">", struct.pack(">HHHI", 1, 0x010F, 2, 5)
    structure = b"MM\0*" + struct.pack(">I", 8) + count + struct.pack(">II", 26, 0) + b"Acme\0\0"
    save_photo(tmp_path / "a.tif", pixels, Photo(pixels, exif=structure))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.byteorder == order
        assert file.pages[0].tags[0x010F].value == "Acme"
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    np.testing.assert_array_equal(load_photo(tmp_path / "a.tif").pixels, pixels)


def test_save_photo_8_bit_tiff_is_read_by_pillow(tmp_path: Path) -> None:
    rgba = np.dstack([picture(), picture()[..., 0]])
    save_photo(tmp_path / "a.tif", rgba[..., :3], alpha=rgba[..., 3])
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(image), rgba)


def test_save_photo_jpeg_default_is_444_and_quality_matters(tmp_path: Path) -> None:
    pixels = picture(200, 200)
    sizes = []
    for level, subsampling in ((95, "4:4:4"), (95, "4:2:0"), (50, "4:2:0")):
        save_photo(tmp_path / "a.jpg", pixels, quality=Quality(level, subsampling))
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    save_photo(tmp_path / "a.jpg", pixels)
    assert (tmp_path / "a.jpg").stat().st_size == sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("level", [90, 94, 95, 100])
def test_save_photo_jpeg_of_noise_is_written(tmp_path: Path, level: int) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    save_photo(tmp_path / "a.jpg", noise, quality=Quality(level))
    again = load_photo(tmp_path / "a.jpg").pixels
    assert np.abs(again.astype(int) - noise).mean() < 12


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", "16.png"])
def test_save_photo_encoder_failure_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("no such luck")

    for name in ("encoding._encode_with_pillow", "encoding._encode_png16", "tiff_writing.encode"):
        monkeypatch.setattr(f"harmonizer.images.{name}", broken)
    pixels = picture16() if suffix.startswith("16") else picture()
    with pytest.raises(ImageFileError, match=r"encoder must take.*no such luck.*another format"):
        save_photo(tmp_path / f"a{suffix}", pixels)
    assert list(tmp_path.iterdir()) == []


def test_save_photo_alpha_kept_or_dropped_with_a_note(tmp_path: Path) -> None:
    rgb, soft = picture(), picture()[..., 1]
    for suffix in (".png", ".tif", ".webp"):
        path = tmp_path / f"a{suffix}"
        assert save_photo(path, rgb, alpha=soft, quality=Quality(lossless=True)) == ()
        again = load_photo(path)
        assert again.alpha is not None
        np.testing.assert_array_equal(again.alpha, soft)
        np.testing.assert_array_equal(again.pixels, rgb)
    assert "no alpha" in save_photo(tmp_path / "a.jpg", rgb, alpha=soft)[0]
    deep = np.dstack([picture16(4)])
    save_photo(tmp_path / "deep.png", deep[..., :3], alpha=deep[..., 3])
    again = load_photo(tmp_path / "deep.png")
    assert again.alpha is not None
    np.testing.assert_array_equal(again.alpha, deep[..., 3])


def test_save_photo_bad_pixels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"must end in one of \.jpg.*it ends in \.gif"):
        save_photo(tmp_path / "a.gif", picture())
    with pytest.raises(ImageFileError, match="it has no suffix"):
        save_photo(tmp_path / "a", picture())
    with pytest.raises(ImageFileError, match=r"JPEG holds 8 bits.*`depth=8`"):
        save_photo(tmp_path / "a.jpg", picture16())
    with pytest.raises(ImageFileError, match=r"PNG holds no floats.*`depth=16`"):
        save_photo(tmp_path / "a.png", picture().astype(np.float32))
    with pytest.raises(TypeError, match=r"must be uint8, uint16 or float32; got float64"):
        save_photo(tmp_path / "a.png", picture().astype(np.float64))
    with pytest.raises(ValueError, match=r"shape \(H, W, 3\)"):
        save_photo(tmp_path / "a.png", picture()[..., 0])
    with pytest.raises(ImageFileError, match=r"at most 16383 pixels wide"):
        save_photo(tmp_path / "a.webp", np.zeros((1, 16384, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_save_photo_exif_too_long_for_jpeg_is_left_out_and_said(tmp_path: Path) -> None:
    entry = exif.Entry(7, 70000, bytes(70000))
    packed, start = exif.pack_directories({0x8298: entry}, {}, 8, "<")
    photo = Photo(picture(), exif=b"II*\0" + struct.pack("<I", start) + packed)
    assert "too many for JPEG" in save_photo(tmp_path / "a.jpg", photo.pixels, photo)[0]
    assert save_photo(tmp_path / "a.png", photo.pixels, photo) == ()
    assert len(load_photo(tmp_path / "a.png").exif) == len(photo.exif)


def test_to_depth_round_trip_is_exact() -> None:
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_depth(to_depth(values, 16), 8), values)
    assert to_depth(values, 16)[-1] == 65535
    deep = np.arange(65536, dtype=np.uint16)
    assert np.abs(to_depth(deep, 8) * 257.0 - deep).max() <= 128


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1)])
@pytest.mark.parametrize("suffix", [*SUFFIXES, "16.png", "16.tif"])
def test_round_trip_of_thin_images(tmp_path: Path, shape: tuple[int, int], suffix: str) -> None:
    dtype = np.uint16 if suffix.startswith("16") else np.uint8
    pixels = np.full((*shape, 3), 200, dtype)
    save_photo(tmp_path / f"a{suffix}", pixels)
    again = load_photo(tmp_path / f"a{suffix}").pixels
    assert again.shape == pixels.shape
    assert np.abs(again.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_stated_sides_turn_with_the_picture(tmp_path: Path, orientation: int, suffix: str) -> None:
    tags = Image.Exif()
    tags[exif.ORIENTATION] = orientation
    height, width = picture().shape[:2]
    tags.get_ifd(exif.EXIF_IFD).update({0xA002: width, 0xA003: height, 0x9003: "2024:05:06"})
    Image.fromarray(picture()).save(tmp_path / "c.jpg", exif=tags)
    photo = load_photo(tmp_path / "c.jpg")
    save_photo(tmp_path / f"o{suffix}", photo.pixels, photo)
    with Image.open(tmp_path / f"o{suffix}") as image:
        stated = image.getexif().get_ifd(exif.EXIF_IFD)
        assert (stated[0xA002], stated[0xA003]) == image.size
        assert stated[0x9003] == "2024:05:06"


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ((0,), ValueError, "1 to 100; got 0"),
        ((1000,), ValueError, "1 to 100; got 1000"),
        ((50.5,), TypeError, "whole number; got 50.5"),
        ((True,), TypeError, "whole number; got True"),
        ((95, "4:1:0"), ValueError, "4:4:4, 4:2:2, 4:2:0; got '4:1:0'"),
        ((95, None), ValueError, "got None"),
        ((95, "4:4:4", "yes"), TypeError, "True or False; got 'yes'"),
    ],
)
def test_quality_beyond_its_range_is_refused(
    settings: tuple[Any, ...], error: type[Exception], said: str
) -> None:
    """Encoders clamp some of them, and name others after their own settings."""
    with pytest.raises(error, match=said):
        Quality(*settings)
