"""Pictures in other colours than sRGB's give the picture that they would give in sRGB."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_profiles import PROFILES, colours, profile, scene
from numpy.typing import NDArray
from PIL import Image
from tiny_predictor import write_predictor

from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.images.colour import Colours
from harmonizer.images.files import Photo, load_photo, save_photo

Array = NDArray[Any]

MODEL = ["--model", "tiny.onnx", "--strength", "0"]  # it is loaded sooner than the shipped one
LOOK = ["--set", "temperature=0.3", "--set", "contrast=0.4", "--set", "saturation=-0.2", *MODEL]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_predictor(tmp_path / "tiny.onnx")
    mask = np.zeros((60, 90), np.uint8)
    mask[15:45, 20:70] = 255
    mask[10:15, 20:70] = 120
    Image.fromarray(mask).save("m.png")
    return tmp_path


def harmonize(source: str, target: str, *more: str) -> Array:
    assert main(["image", source, "m.png", "-o", target, *LOOK, *more]) == 0
    pixels: Array = load_photo(target).pixels
    return pixels


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("form", ["png", "tif"])
def test_result_is_that_of_the_same_picture_in_srgb(
    place: Path, name: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other primaries, gammas and white points; 16 bits, so that little is lost on the way."""
    wanted_colours, pixels = colours(name), scene()
    save_photo(place / f"srgb.{form}", pixels)
    save_photo(
        place / f"own.{form}", wanted_colours.from_srgb(pixels), Photo(pixels, icc=profile(name))
    )
    wanted = harmonize(f"srgb.{form}", f"wanted.{form}")
    got = harmonize(f"own.{form}", f"got.{form}")
    assert "are converted to sRGB for the filters, and back" in capsys.readouterr().err
    there = wanted_colours.to_srgb(got).astype(int)
    assert np.abs(there - wanted).max() <= 257
    assert np.abs(wanted.astype(int) - pixels).max() > 20 * 257  # something was drawn
    own, mask = load_photo(f"own.{form}").pixels, np.asarray(Image.open("m.png"))
    assert np.array_equal(got[mask == 0], own[mask == 0])
    assert load_photo(f"got.{form}").icc == profile(name)
    plain = wanted_colours.to_srgb(harmonize(f"own.{form}", "p.png", "--no-colour-management"))
    assert np.abs(plain.astype(int) - wanted).max() > 3 * 257


@pytest.mark.parametrize("form", ["jpg", "png", "webp"])
def test_eight_bits_and_lossy_files_are_converted_too(
    place: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "Display P3"
    pixels = (colours(name).from_srgb(scene()) >> 8).astype(np.uint8)
    save_photo(place / f"own.{form}", pixels, Photo(pixels, icc=profile(name)))
    result = harmonize(f"own.{form}", "got.png")
    assert result.dtype == np.uint8
    own, mask = load_photo(f"own.{form}").pixels, np.asarray(Image.open("m.png"))
    assert np.array_equal(result[mask == 0], own[mask == 0])
    plain = harmonize(f"own.{form}", "plain.png", "--no-colour-management")
    assert "not sRGB's" in capsys.readouterr().err
    assert np.abs(plain.astype(int) - result).max() > 3
    deep = harmonize(f"own.{form}", "deep.png", "--depth", "16")
    assert np.abs(deep.astype(int) // 257 - result).max() <= 1


def test_camera_mark_of_adobe_rgb_is_a_profile(place: Path) -> None:
    pixels = (colours("Adobe RGB").from_srgb(scene()) >> 8).astype(np.uint8)
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0xA005] = {1: "R03"}
    marked = tags.tobytes().removeprefix(b"Exif\0\0")
    save_photo(place / "own.jpg", pixels, Photo(pixels, exif=marked))
    save_photo(place / "icc.jpg", pixels, Photo(pixels, icc=profile("Adobe RGB")))
    assert (
        np.abs(harmonize("own.jpg", "a.png").astype(int) - harmonize("icc.jpg", "b.png")).max() <= 1
    )


def test_colours_beyond_srgb_are_said_and_kept(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[..., 1] = np.arange(60, 150)[None]
    pixels[:, 45:] = (10, 250, 30)  # a green that sRGB has not
    save_photo(place / "own.png", pixels, Photo(pixels, icc=profile("Display P3")))
    words = ["image", "own.png", "m.png", "-o", "o.png", *MODEL]
    assert main([*words, "--set", "brightness=0.02"]) == 0
    assert "lie outside of sRGB and keep what they have beyond it" in capsys.readouterr().err
    result = load_photo("o.png").pixels
    # A little brighter, and as green as before: not cut to the nearest colour of sRGB.
    inside = result[20:40, 50:65].astype(int)
    assert np.abs(inside - (10, 250, 30)).max() <= 14
    assert colours("Display P3").beyond(result[20:40, 50:65]) == 1


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_untouched_pixels_come_back_bit_for_bit(name: str, dtype: Any) -> None:
    full = np.iinfo(dtype).max
    own = np.random.default_rng(3).integers(0, full, (300, 1000, 3), dtype, endpoint=True)
    work = colours(name).to_srgb(own)
    assert np.array_equal(colours(name).back(work, own), own)
    work[100:200] //= 2
    changed = colours(name).back(work, own)
    assert np.array_equal(changed[:100], own[:100])
    assert np.array_equal(changed[200:], own[200:])
    assert (changed[100:200] != own[100:200]).any(axis=2).mean() > 0.9


def test_profile_that_cannot_be_used_is_named() -> None:
    broken = Colours(profile("Adobe RGB")[:300], "a broken one")
    with pytest.raises(ImageFileError, match="'a broken one' must be one for RGB"):
        broken.to_srgb(np.zeros((4, 4, 3), np.uint8))
