"""Files as people have them: each that is not simply read says why, or what was done, in a line."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from colour_profiles import profile
from command_line import refused
from numpy.typing import NDArray
from photographs import SRGB, picture
from PIL import Image

from harmonizer.cli import main
from harmonizer.images.files import load_photo

Array = NDArray[Any]

LOOK = ["--set", "brightness=0.3", "--strength", "0"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    mask = np.zeros((40, 56), np.uint8)
    mask[10:30, 10:40] = 255
    Image.fromarray(mask).save("m.png")
    return tmp_path


def said_of(name: str, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    """What `harmonizer image` notes of a composite that it takes."""
    words = ["image", name, "m.png", "-o", "o.png", *LOOK, *more]
    assert main(words) == 0
    assert load_photo("o.png").pixels.shape == (40, 56, 3)
    return capsys.readouterr().err


@pytest.mark.parametrize("form", ["GIF", "PNG", "WebP", "AVIF"])
def test_animated_files_give_their_first_frame(
    form: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (Image.fromarray(pixels) for pixels in (picture(), 255 - picture()))
    name = f"a.{form.lower()}"
    settings: dict[str, Any] = {"lossless": True} if form == "WebP" else {}
    settings |= {"quality": 100} if form == "AVIF" else {}
    first.save(name, save_all=True, append_images=[second], duration=100, **settings)
    said = said_of(name, capsys)
    assert "animated; the first frame is used" in said or "2 frames; the first is used" in said
    slack = 40 if form == "GIF" else 6
    assert np.abs(load_photo(name).pixels.astype(int) - picture()).mean() < slack


def test_tiff_of_many_pages_gives_its_first(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tifffile.TiffWriter("a.tif") as file:
        for pixels in (picture(), 255 - picture()):
            file.write(pixels, photometric="rgb")
    assert "it holds 2 pages; the first is used" in said_of("a.tif", capsys)
    np.testing.assert_array_equal(load_photo("a.tif").pixels, picture())


def test_heic_of_several_pictures_gives_the_primary_one(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
    whole = library.HeifFile()
    for pixels in (255 - picture(), picture(), picture() // 2):
        whole.add_from_pillow(Image.fromarray(pixels))
    whole.save("a.heic", quality=-1, primary_index=1)
    assert "it holds 3 pictures; the primary one is used" in said_of("a.heic", capsys)
    assert np.abs(load_photo("a.heic").pixels.astype(int) - picture()).mean() < 8


def test_heic_of_10_bits_is_read_as_16(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
    ramp = np.linspace(0, 65535, 40 * 56).reshape(40, 56, 1).repeat(3, axis=2).astype(np.uint16)
    file = library.from_bytes(mode="RGB;16", size=(56, 40), data=ramp.tobytes())
    file.save("a.heic", quality=-1, chroma=444)
    assert library.open_heif("a.heic", convert_hdr_to_8bit=False).info["bit_depth"] == 10
    said_of("a.heic", capsys)
    pixels = load_photo("o.png").pixels
    assert pixels.dtype == np.uint16 and len(np.unique(pixels)) > 500


@pytest.mark.parametrize("form", ["jpg", "png", "tif"])
@pytest.mark.parametrize("broken", ["cut", "noise"])
def test_broken_profiles_are_named_with_their_file(
    form: str, broken: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = profile("Adobe RGB")
    icc = whole[:300] if broken == "cut" else whole[:200] + b"\xff" * (len(whole) - 200)
    Image.fromarray(picture()).save(f"a.{form}", icc_profile=icc)
    said = refused(capsys, 2, "image", f"a.{form}", "m.png", "-o", "o.png", *LOOK)
    assert f"a.{form}: the ICC profile" in said and "must be one for RGB that LittleCMS" in said
    assert "Convert the picture to sRGB" in said
    assert "are carried over as they are" in said_of(f"a.{form}", capsys, "--no-colour-management")


def test_profile_for_other_than_rgb_is_dropped_and_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grey = imagecodecs.cms_profile("gray", gamma=2.2)
    Image.fromarray(picture()).save("a.png", icc_profile=grey)
    assert "its ICC profile is for GRAY colours, not RGB, and is dropped" in said_of(
        "a.png", capsys
    )


def gain_map_jpeg() -> bytes:
    """By libultrahdr: a JPEG, and behind it another one of how much brighter it may be shown."""
    linear = (picture() / 255.0) ** 2.2
    linear[5:20, 5:20] *= 6
    values = np.dstack([linear, np.ones((40, 56))]).astype(np.float16)
    return bytes(imagecodecs.ultrahdr_encode(np.ascontiguousarray(values)))


def test_gain_map_of_a_jpeg_is_left_out_and_said(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("a.jpg").write_bytes(gain_map_jpeg())
    said = said_of("a.jpg", capsys)
    assert "the further pictures that are appended to it (MPF, such as a gain map)" in said
    assert main(["image", "a.jpg", "m.png", "-o", "b.jpg", *LOOK]) == 0
    written = Path("b.jpg").read_bytes()
    assert b"hdrgm" not in written and b"MPF\0" not in written


@pytest.mark.parametrize(
    ("content", "name"), [("JPEG", "a.png"), ("PNG", "a.jpg"), ("GIF", "a.tif")]
)
def test_files_named_wrongly_are_read_and_said(
    content: str, name: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, content)
    Path(name).write_bytes(buffer.getvalue())
    wanted = f"{name}: it is {content}, though its name ends in {Path(name).suffix}"
    assert wanted in said_of(name, capsys)
    Path(f"m2{Path(name).suffix}").write_bytes(Path("m.png").read_bytes())
    assert main(["image", name, f"m2{Path(name).suffix}", "-o", "o.png", *LOOK]) == 0
    assert ("m2" in capsys.readouterr().err) == (name != "a.png")


def test_files_of_other_kinds_are_named_by_their_kind(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jpeg2000 = io.BytesIO()
    Image.fromarray(picture()).save(jpeg2000, "JPEG2000")
    Path("a.jpg").write_bytes(jpeg2000.getvalue())
    said = refused(capsys, 2, "image", "a.jpg", "m.png", "-o", "o.png", *LOOK)
    assert "it is JPEG 2000" in said and "Convert it" in said


def cutout(width: int, height: int) -> None:
    alpha = np.full((height, width), 255, np.uint8)
    alpha[0] = 0
    colours = np.full((height, width, 3), 120, np.uint8)
    Image.fromarray(np.dstack([colours, alpha])).save("cut.png")


def test_background_smaller_than_what_is_placed_on_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(picture()).save("b.png", icc_profile=SRGB)
    cutout(80, 60)
    words = ["image", "cut.png", "--background", "b.png", "-o", "o.png", *LOOK]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "52.5% of the foreground lie outside of the background and are cut off" in said
    assert "--fit makes all of it fit" in said
    assert main([*words, "--fit"]) == 0
    assert "cut off" not in capsys.readouterr().err
    said = refused(capsys, 2, *words, "--scale", "50")
    assert "the scaled foreground must have at most" in said and "smaller --scale" in said


def test_foreground_wholly_outside(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture()).save("b.png")
    cutout(20, 20)
    for at in ("-30,10", "10,200%", "500,500"):
        words = ["image", "cut.png", "--background", "b.png", "-o", "o.png", *LOOK]
        said = refused(capsys, 2, *words, f"--at={at}")
        assert "the foreground must touch the background" in said and "by --at" in said
        assert not Path("o.png").exists()
