"""Image files read: depths, metadata, orientation, what is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from photographs import SRGB, camera_exif, picture, picture16, read_exif
from PIL import Image, ImageOps

from harmonizer.errors import ImageFileError
from harmonizer.images import exif
from harmonizer.images.files import (
    Photo,
    load_mask,
    load_photo,
    save_photo,
)

SUFFIXES = (".jpg", ".png", ".tif", ".webp")


@pytest.mark.parametrize("deep", [False, True])
def test_load_photo_png_exif_after_the_pixels_is_read(tmp_path: Path, deep: bool) -> None:
    pixels = picture16() if deep else picture()
    content = camera_exif(6)
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content
    chunk += struct.pack(">I", zlib.crc32(chunk[4:]))
    file = bytes(imagecodecs.png_encode(pixels))
    (tmp_path / "a.png").write_bytes(file[:-12] + chunk + file[-12:])
    photo = load_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.pixels, np.rot90(pixels, -1))
    assert read_exif(photo.exif)[0] == "Acme"


@pytest.mark.parametrize(
    ("meanings", "chosen"), [((0,), None), ((2,), 3), ((0, 2), 4), ((2, 0), 3), ((0, 0), None)]
)
def test_load_photo_tiff_extra_channel_is_alpha_only_where_marked(
    tmp_path: Path, meanings: tuple[int, ...], chosen: int | None
) -> None:
    pixels = picture16(3 + len(meanings))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=meanings)
    photo = load_photo(tmp_path / "a.tif")
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3])
    assert (photo.alpha is None) == (chosen is None)
    if photo.alpha is not None:
        np.testing.assert_array_equal(photo.alpha, pixels[..., chosen])
    dropped = meanings.count(0)
    said = [note for note in photo.notes if f"{dropped} extra channel(s) not marked" in note]
    assert len(said) == len(photo.notes) == bool(dropped)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_photo_applies_every_orientation(
    tmp_path: Path, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    blob = camera_exif(orientation)
    if suffix == ".tif":
        extra = [(exif.ORIENTATION, 3, 1, orientation, True)]
        tifffile.imwrite(path, picture(), photometric="rgb", extratags=extra)
    else:
        Image.fromarray(picture()).save(path, exif=b"Exif\0\0" + blob, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    photo = load_photo(path)
    np.testing.assert_array_equal(photo.pixels, expected)
    assert photo.pixels.flags.c_contiguous and photo.pixels.flags.writeable
    assert photo.stored_size == (40, 56)
    if suffix != ".tif":
        assert exif.orientation(blob) == orientation
        assert exif.orientation(photo.exif) == 1
    save_photo(tmp_path / "b.png", photo.pixels, photo)
    np.testing.assert_array_equal(load_photo(tmp_path / "b.png").pixels, expected)


def test_without_orientation_changes_nothing_else_and_unlinks_the_thumbnail() -> None:
    before = camera_exif(6)
    after = exif.without_orientation(before)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    first, order = exif.first_directory(before), exif.byte_order(before)
    (count,) = struct.unpack_from(order + "H", before, first)
    link = first + 2 + 12 * count
    linked = before[:link] + b"\1\2\3\4" + before[link + 4 :]
    assert exif.without_orientation(linked) == after


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_malformed_exif_is_left_out_and_said(tmp_path: Path, cut: int) -> None:
    blob = camera_exif(6)[:cut]
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=b"Exif\0\0" + blob + b"\xff")
    photo = load_photo(tmp_path / "a.png")
    assert photo.exif == b""
    assert "malformed" in photo.notes[0]
    np.testing.assert_array_equal(photo.pixels, picture())


def test_load_photo_greyscale_and_palette_are_converted_and_said(tmp_path: Path) -> None:
    colour = Image.fromarray(picture())
    grey = np.asarray(colour.convert("L"))
    for suffix in SUFFIXES[:3]:
        colour.convert("L").save(tmp_path / f"grey{suffix}")
        photo = load_photo(tmp_path / f"grey{suffix}")
        assert photo.pixels.shape == (40, 56, 3)
        assert photo.notes == ("it is greyscale and is converted to RGB",)
        if suffix != ".jpg":
            np.testing.assert_array_equal(photo.pixels, np.dstack([grey] * 3))
    palette = colour.quantize(64)
    for suffix in (".png", ".tif"):
        palette.save(tmp_path / f"palette{suffix}")
        photo = load_photo(tmp_path / f"palette{suffix}")
        assert photo.notes == ("its palette colours are converted to RGB",)
        np.testing.assert_array_equal(photo.pixels, np.asarray(palette.convert("RGB")))
    palette.save(tmp_path / "keyed.png", transparency=3)
    keyed = load_photo(tmp_path / "keyed.png")
    assert keyed.alpha is not None
    np.testing.assert_array_equal(keyed.alpha == 0, np.asarray(palette) == 3)


def test_load_photo_16_bit_variants(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    for channels in (1, 2, 4):
        pixels = picture16(channels)
        path.write_bytes(imagecodecs.png_encode(pixels.squeeze()))
        photo = load_photo(path)
        assert photo.pixels.dtype == np.uint16
        colours = pixels[..., : 3 if channels == 4 else 1]
        np.testing.assert_array_equal(photo.pixels, np.broadcast_to(colours, (21, 33, 3)))
        assert (photo.alpha is None) == (channels == 1)
        if photo.alpha is not None:
            np.testing.assert_array_equal(photo.alpha, pixels[..., -1])
    planar = picture16()
    tifffile.imwrite(
        tmp_path / "planar.tif",
        np.moveaxis(planar, 2, 0),
        photometric="rgb",
        planarconfig="separate",
        compression="lzw",
        predictor=True,
    )
    np.testing.assert_array_equal(load_photo(tmp_path / "planar.tif").pixels, planar)
    white_is_zero = planar[..., 0]
    tifffile.imwrite(tmp_path / "w.tif", white_is_zero, photometric="miniswhite")
    np.testing.assert_array_equal(
        load_photo(tmp_path / "w.tif").pixels[..., 0], 65535 - white_is_zero
    )


def test_load_photo_drops_a_grey_profile_with_a_note(tmp_path: Path) -> None:
    profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    Image.fromarray(picture()).convert("L").save(tmp_path / "a.png", icc_profile=profile)
    photo = load_photo(tmp_path / "a.png")
    assert photo.icc == b""
    assert any("GRAY" in note for note in photo.notes)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_load_photo_associated_alpha_is_divided_out(kind: Any, planes: Any, tmp_path: Path) -> None:
    """Colours come back to within what the multiplied values still tell of them."""
    full = np.iinfo(kind).max
    colours = picture().astype(kind) * kind(full // 255)
    alpha = np.tile(np.linspace(0, full, colours.shape[1]).astype(kind), (colours.shape[0], 1))
    multiplied = np.floor(colours * (alpha / full)[..., None] + 0.5).astype(kind)
    stored = np.dstack([multiplied, alpha])
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored if planes == "contig" else np.moveaxis(stored, 2, 0),
        photometric="rgb",
        planarconfig=planes,
        extrasamples=["assocalpha"],
    )
    photo = load_photo(tmp_path / "a.tif")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert photo.notes == ("its colours are multiplied by its alpha, and are divided by it",)
    slack = 0.5 * full / np.maximum(alpha, 1)[..., None] + 0.5
    off = np.abs(photo.pixels.astype(int) - colours.astype(int))
    assert (off <= slack)[:, 1:].all() and (photo.pixels[:, 0] == 0).all()


def test_load_photo_cmyk_and_float_are_refused(tmp_path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageFileError, match=r"CMYK with an ICC profile; it is CMYK.*Convert"):
        load_photo(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", picture().astype(np.float32), photometric="rgb")
    with pytest.raises(ImageFileError, match=r"8 or 16 bits.*it has floats.*export it"):
        load_photo(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", picture().astype(np.float64), photometric="rgb")
    with pytest.raises(ImageFileError, match=r"or floats of 16 or 32; it has 64.*Save it as"):
        load_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [*SUFFIXES, "16.png", "16.tif"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_load_photo_truncated_is_refused(tmp_path: Path, suffix: str, part: float) -> None:
    pixels = picture16() if suffix.startswith("16") else picture()
    path = tmp_path / f"a{suffix}"
    save_photo(path, pixels, Photo(pixels, icc=SRGB[:200]))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageFileError, match=r"damaged or truncated.*again"):
        load_photo(path)


def test_load_photo_uncompressed_tiff_truncated_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture(), photometric="rgb")
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-100])
    with pytest.raises(ImageFileError, match="damaged or truncated"):
        load_photo(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("content", "came"), [(b"", "it is empty"), (b"%PDF-1.7", "PDF"), (b"hello", "hello")]
)
def test_load_photo_other_files_are_refused(tmp_path: Path, content: bytes, came: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageFileError, match=rf"must be a JPEG, PNG, TIFF, WebP.*{came}.*Conv"):
        load_photo(tmp_path / "a.jpg")
    with pytest.raises(ImageFileError, match=r"cannot be read: No such file.*Check"):
        load_photo(tmp_path / "absent.jpg")
    with pytest.raises(ImageFileError, match=r"cannot be read: Is a directory"):
        load_photo(tmp_path)


@pytest.mark.parametrize("suffix", [*SUFFIXES, "16.png", "16.tif"])
def test_load_photo_over_the_limit_is_refused_before_decoding(tmp_path: Path, suffix: str) -> None:
    pixels = picture16() if suffix.startswith("16") else picture()
    path, count = tmp_path / f"a{suffix}", pixels.shape[0] * pixels.shape[1]
    save_photo(path, pixels)
    load_photo(path, max_pixels=count)
    data = path.read_bytes()
    if not suffix.endswith((".tif", ".webp")):
        path.write_bytes(data[: len(data) - 40])  # damage that decoding would find
    with pytest.raises(
        ImageFileError, match=rf"at most {count - 1:,} pixels.*`max_pixels={count}`"
    ):
        load_photo(path, max_pixels=count - 1)


def test_load_photo_above_pillows_own_limit_is_ours_to_allow(tmp_path: Path) -> None:
    side = 13_500  # 182 megapixels: more than Pillow's limit of an error, less than ours
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    mask, _ = load_mask(tmp_path / "a.png")
    assert mask.shape == (side, side)


def test_files_by_their_old_place_work_and_warn() -> None:
    from harmonizer import files as old

    with pytest.warns(DeprecationWarning, match=r"harmonizer\.images\.files"):
        assert old.load_photo is load_photo
    with pytest.raises(AttributeError, match="no attribute 'load_picture'"):
        _ = old.load_picture
