"""What comes from print and editors: CMYK of JPEG and TIFF, and Photoshop's files."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from colour_profiles import ink_profile
from numpy.typing import NDArray
from photographs import SRGB, camera_exif, picture, picture16, read_exif
from PIL import Image, ImageCms
from psd_files import write_psd

from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.images.files import load_photo

Array = NDArray[Any]


def inks() -> NDArray[np.uint8]:
    """(H, W, 4), 0 is no ink."""
    y, x = np.mgrid[:40, :56]
    planes = [4 * x, 6 * y, 255 - 4 * x, 3 * (x + y)]
    return np.dstack(planes).clip(0, 255).astype(np.uint8)


def as_srgb(values: Array) -> NDArray[np.uint8]:
    """By Pillow, in 8 bits."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(BytesIO(ink_profile())),
        ImageCms.createProfile("sRGB"),
        "CMYK",
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    image = ImageCms.applyTransform(Image.fromarray(values, "CMYK"), transform)
    assert image is not None
    return np.asarray(image)


def test_profile_of_the_tests_is_one_of_inks() -> None:
    values = np.zeros((1, 3, 4), np.uint8)
    values[0, 1, 0] = values[0, 2, 3] = 255
    paper, cyan, black = as_srgb(values)[0].astype(int)
    assert paper.min() >= 253 and black.max() < 60
    assert cyan[0] < 100 and cyan[1:].min() > 230


def test_cmyk_jpeg_with_a_profile_becomes_srgb(tmp_path: Path) -> None:
    Image.fromarray(inks(), "CMYK").save(
        tmp_path / "a.jpg", quality=100, subsampling=0, icc_profile=ink_profile(), dpi=(300, 300)
    )
    photo = load_photo(tmp_path / "a.jpg", colour_management=True)
    with Image.open(tmp_path / "a.jpg") as image:
        stored = np.asarray(image)
    assert np.abs(photo.pixels.astype(int) - as_srgb(stored)).max() <= 2
    assert photo.icc == b"" and photo.colours is None
    assert photo.notes == ("its CMYK colours (test inks) are converted to sRGB",)
    assert photo.description.resolution == (300, 300)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("alpha", [False, True])
def test_cmyk_tiff_with_a_profile_becomes_srgb(kind: Any, alpha: bool, tmp_path: Path) -> None:
    values = inks().astype(kind) * kind(np.iinfo(kind).max // 255)
    cover = values[..., :1]
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.concatenate([values, cover], axis=2) if alpha else values,
        photometric="separated",
        extrasamples=["unassalpha"] if alpha else None,
        iccprofile=ink_profile(),
        compression="zlib",
        predictor=True,
    )
    photo = load_photo(tmp_path / "a.tif")
    assert photo.pixels.dtype == kind and photo.icc == b""
    off = photo.pixels / np.iinfo(kind).max * 255 - as_srgb(inks())
    assert np.abs(off).max() <= 2
    assert (photo.alpha is not None) == alpha
    if photo.alpha is not None:
        np.testing.assert_array_equal(photo.alpha, cover[..., 0])


def test_cmyk_that_says_nothing_of_its_inks_is_refused(tmp_path: Path) -> None:
    Image.fromarray(inks(), "CMYK").save(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", inks(), photometric="separated")
    Image.fromarray(inks(), "CMYK").save(tmp_path / "b.jpg", icc_profile=SRGB)
    for name in ("a.jpg", "a.tif", "b.jpg"):
        with pytest.raises(ImageFileError, match="it is CMYK, and says nothing of its inks"):
            load_photo(tmp_path / name)
    broken = ink_profile()[:200]
    Image.fromarray(inks(), "CMYK").save(tmp_path / "b.jpg", icc_profile=broken)
    with pytest.raises(ImageFileError, match="must be one for CMYK that LittleCMS can use"):
        load_photo(tmp_path / "b.jpg")
    tifffile.imwrite(
        tmp_path / "c.tif", inks(), photometric="separated", extratags=[(332, "H", 1, 2, True)]
    )
    with pytest.raises(ImageFileError, match="must have the inks cyan, magenta, yellow and black"):
        load_photo(tmp_path / "c.tif")


def test_image_command_makes_rgb_of_cmyk(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open("c.png") as image:
        image.convert("CMYK").save("p.jpg", quality=95, icc_profile=ink_profile())
    words = ["image", "p.jpg", "m.png", "-o", "o.jpg", "--set", "brightness=0.3"]
    assert main([*words, "--model", str(model)]) == 0
    assert "p.jpg: its CMYK colours (test inks) are converted" in capsys.readouterr().err
    with Image.open("o.jpg") as image:
        assert image.mode == "RGB" and "icc_profile" not in image.info


@pytest.mark.parametrize("pixels", [picture(), picture16(), picture()[..., :1]])
def test_photoshops_merged_picture_is_read_with_its_descriptions(
    pixels: Array, tmp_path: Path
) -> None:
    write_psd(
        tmp_path / "a.psd",
        pixels,
        ICC_PROFILE=SRGB,
        EXIF_DATA_1=camera_exif(6),
        XMP_METADATA=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>",
        RESOLUTION_INFO=struct.pack(">IHHIHH", 300 << 16, 1, 1, 240 << 16, 1, 1),
    )
    photo = load_photo(tmp_path / "a.psd")
    assert photo.form == "Photoshop" and photo.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(photo.pixels, np.broadcast_to(pixels, photo.pixels.shape))
    assert photo.icc == SRGB and read_exif(photo.exif) == read_exif(camera_exif())
    assert photo.description.resolution == (300, 240) and b"xmpmeta" in photo.description.xmp


def test_transparency_of_photoshop_is_taken_off_its_white(tmp_path: Path) -> None:
    alpha = np.tile(np.linspace(60, 255, 56), (40, 1)).astype(np.uint8)
    share = alpha[..., None] / 255
    merged = np.floor(picture() * share + 255 * (1 - share) + 0.5).astype(np.uint8)
    write_psd(tmp_path / "a.psd", np.dstack([merged, alpha]), transparent=True)
    photo = load_photo(tmp_path / "a.psd")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert np.abs(photo.pixels.astype(int) - picture()).max() <= 3
    assert "its layers are not carried over; their merged picture is used" in photo.notes


def test_photoshop_files_that_are_not_read_say_why(tmp_path: Path) -> None:
    write_psd(tmp_path / "n.psd", picture(), merged=False)
    with pytest.raises(ImageFileError, match=r"must hold the merged picture.*Maximize comp"):
        load_photo(tmp_path / "n.psd")
    write_psd(tmp_path / "a.psd", picture())
    data = (tmp_path / "a.psd").read_bytes()
    (tmp_path / "k.psd").write_bytes(data[:24] + b"\0\4" + data[26:])
    with pytest.raises(ImageFileError, match=r"it is CMYK\. Convert it to RGB in Photoshop"):
        load_photo(tmp_path / "k.psd")
    with pytest.raises(ImageFileError, match="at most 1,000 pixels"):
        load_photo(tmp_path / "a.psd", 1000)
    for share in (0.002, 0.01, 0.5, 0.9, 0.999):
        (tmp_path / "a.psd").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageFileError, match=r"complete Photoshop file|must be a JPEG"):
            load_photo(tmp_path / "a.psd")


def test_batch_takes_photoshop_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    alpha = np.tile(np.linspace(0, 255, 56), (40, 1)).astype(np.uint8)
    write_psd(tmp_path / "in" / "a.psd", np.dstack([picture(), alpha]), transparent=True)
    assert main(["batch", "in", "-o", "out", "--set", "brightness=0.3", "--strength", "0"]) == 0
    assert load_photo(tmp_path / "out" / "a.png").pixels.shape == (40, 56, 3)
