"""JPEG XL: turns, depth, profiles and animations of files that libjxl wrote, and written files."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from colour_profiles import colours, scene
from photographs import SRGB, camera_exif, picture, picture16, read_exif
from PIL import Image

from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.images.decoding import read_size
from harmonizer.images.encoding import Quality
from harmonizer.images.files import Photo, load_mask, load_photo, save_photo

oiio = pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")

EXACT = Quality(lossless=True)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_file_made_of_a_turned_jpeg_is_upright(tmp_path: Path, orientation: int) -> None:
    """libjxl takes the turn of a JPEG into the codestream, where it counts in place of EXIF's."""
    buffer = io.BytesIO()
    exif = b"Exif\0\0" + camera_exif(orientation)
    Image.fromarray(picture()).save(buffer, "JPEG", exif=exif, quality=95, subsampling=0)
    jpeg = buffer.getvalue()
    (tmp_path / "a.jpg").write_bytes(jpeg)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, usecontainer=True))
    wanted, photo = load_photo(tmp_path / "a.jpg"), load_photo(tmp_path / "a.jxl")
    assert np.abs(photo.pixels.astype(int) - wanted.pixels).mean() < 2
    assert photo.orientation == 1 and photo.form == "JPEG XL"
    assert read_exif(photo.exif) == read_exif(camera_exif())
    size = read_size(tmp_path / "a.jxl", 10_000)
    assert (size.height, size.width) == photo.pixels.shape[:2]


@pytest.mark.parametrize("shape", [(40, 56), (256, 256), (300, 400), (999, 31), (1080, 1920)])
def test_size_is_read_before_decoding(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=1))
    size = read_size(tmp_path / "a.jxl", shape[0] * shape[1])
    assert (size.height, size.width) == shape
    with pytest.raises(ImageFileError, match="must have at most"):
        load_photo(tmp_path / "a.jxl", shape[0] * shape[1] - 1)


def test_sixteen_bits_alpha_and_profile_come_back_without_loss(tmp_path: Path) -> None:
    pixels, alpha = picture16(), picture16(1)[..., 0]
    like = Photo(pixels, exif=camera_exif(), icc=SRGB)
    assert save_photo(tmp_path / "a.jxl", pixels, like, alpha, EXACT) == ()
    photo = load_photo(tmp_path / "a.jxl")
    assert photo.pixels.dtype == np.uint16 and photo.alpha is not None
    assert np.array_equal(photo.pixels, pixels) and np.array_equal(photo.alpha, alpha)
    assert photo.icc == SRGB and read_exif(photo.exif) == read_exif(like.exif)
    assert np.array_equal(
        imagecodecs.jpegxl_decode((tmp_path / "a.jxl").read_bytes())[..., 3], alpha
    )


@pytest.mark.parametrize("quality", [Quality(), EXACT])
def test_colours_of_another_profile_are_kept(tmp_path: Path, quality: Quality) -> None:
    wide = colours("Display P3")
    pixels = wide.from_srgb(scene())
    save_photo(tmp_path / "a.jxl", pixels, Photo(pixels, icc=wide.profile), quality=quality)
    photo = load_photo(tmp_path / "a.jxl", colour_management=True)
    assert photo.colours is not None and photo.notes == ()
    assert (photo.icc == wide.profile) == quality.lossless  # else libjxl makes one of a code
    there = photo.colours.to_srgb(photo.pixels)
    assert np.abs(there.astype(int) - scene()).mean() < 257


def test_profile_that_libjxl_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"must take this image.*ICCProfile"):
        save_photo(tmp_path / "a.jxl", picture(), Photo(picture(), icc=SRGB[:200]))


def test_quality_has_its_range_and_100_has_loss(tmp_path: Path) -> None:
    sizes = []
    for level in (20, 95, 100):
        save_photo(tmp_path / "a.jxl", picture(), quality=Quality(level))
        sizes.append((tmp_path / "a.jxl").stat().st_size)
    save_photo(tmp_path / "b.jxl", picture(), quality=EXACT)
    assert sizes == sorted(sizes) and sizes[2] < (tmp_path / "b.jxl").stat().st_size
    assert np.array_equal(load_photo(tmp_path / "b.jxl").pixels, picture())


def test_animation_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = np.stack([picture(), 255 - picture()])
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(frames, lossless=True))
    photo = load_photo(tmp_path / "a.jxl")
    assert photo.notes == ("it is animated; the first frame is used",)
    assert np.array_equal(photo.pixels, picture())


def test_grey_file_is_a_mask(tmp_path: Path) -> None:
    grey = np.where(np.random.default_rng(2).random((40, 56)) < 0.5, 0, 255).astype(np.uint8)
    (tmp_path / "m.jxl").write_bytes(imagecodecs.jpegxl_encode(grey, lossless=True))
    mask, notes = load_mask(tmp_path / "m.jxl")
    assert notes == () and np.array_equal(mask, grey)
    photo = load_photo(tmp_path / "m.jxl")
    assert photo.notes == ("it is greyscale and is converted to RGB",) and photo.icc == b""


@pytest.mark.parametrize("container", [False, True])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, container: bool) -> None:
    data = imagecodecs.jpegxl_encode(picture(), lossless=True, usecontainer=container)
    for share in (0.02, 0.3, 0.6, 0.9, 0.99):
        (tmp_path / "a.jxl").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageFileError, match="must be a complete JPEG XL file"):
            load_photo(tmp_path / "a.jxl")


def test_without_its_library_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo(tmp_path / "a.jxl", picture())
    monkeypatch.setitem(__import__("sys").modules, "OpenImageIO", None)
    with pytest.raises(ImageFileError, match=r"harmonizer\[formats\]"):
        load_photo(tmp_path / "a.jxl")
    with pytest.raises(ImageFileError, match=r"harmonizer\[formats\]"):
        save_photo(tmp_path / "b.jxl", picture())
    assert not (tmp_path / "b.jxl").exists()


def test_image_command_reads_and_writes_it(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_photo("c.jxl", load_photo("c.png").pixels, quality=EXACT)
    common = ["--model", str(model), "--strength", "0.5"]
    assert main(["image", "c.png", "m.png", "-o", "a.png", *common]) == 0
    assert main(["image", "c.jxl", "m.png", "-o", "b.jxl", "--lossless", *common]) == 0
    assert np.array_equal(load_photo("a.png").pixels, load_photo("b.jxl").pixels)
    words: Any = ["image", "c.jxl", "m.png", "-o", "d.jxl", "--depth", "16", "--lossless", *common]
    assert main(words) == 0
    assert load_photo("d.jxl").pixels.dtype == np.uint16
    capsys.readouterr()
    assert main(["image", "c.jxl", "m.png", "-o", "e.png", "--lossless", *common]) == 2
    assert "--lossless is for WebP and JPEG XL; the output is PNG" in capsys.readouterr().err
