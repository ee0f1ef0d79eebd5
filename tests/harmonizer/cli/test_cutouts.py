"""Cut-outs and backgrounds on the command line: one picture, folders, colours, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from colour_profiles import colours, profile, scene
from numpy.typing import NDArray
from photographs import SRGB
from PIL import Image
from tiny_predictor import write_predictor

from harmonizer import place
from harmonizer.cli import main
from harmonizer.images.files import Photo, load_mask, load_photo, save_photo

Array = NDArray[Any]
MODEL = ["--model", "tiny.onnx", "--strength", "0"]  # it is loaded sooner than the shipped one
LOOK = ["--set", "brightness=0.2", "--set", "saturation=-0.3", *MODEL]


def cut(side: int = 40) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    rgba = np.zeros((side, side, 4), np.uint8)
    rgba[..., :3] = np.dstack([120 + 2 * x, 90 + 2 * y, 60 + x - y]).clip(0, 255)
    rgba[..., 3] = np.round(np.clip(side * 0.45 - np.hypot(x, y) + 0.5, 0, 1) * 255)
    return rgba


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_predictor(tmp_path / "tiny.onnx")
    Image.fromarray(cut()).save("cut.png")
    photo = (scene(80, 120) >> 8).astype(np.uint8)
    Image.fromarray(photo).save("photo.png", dpi=(240, 240), icc_profile=SRGB)
    return tmp_path


def test_cut_out_is_placed_and_harmonized(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["image", "cut.png", "--background", "photo.png", "-o", "o.png", "--at", "30%,50"]
    words += ["--anchor", "bottom", "--scale", "1.5", "--rotate", "20", *LOOK]
    assert main([*words, "--save-composite", "c.png", "--save-mask", "m.png"]) == 0
    ground = load_photo("photo.png").pixels
    wanted = place(cut(), ground, at=("30%", 50), anchor="bottom", scale=1.5, rotation=20)
    assert np.array_equal(load_photo("c.png").pixels, wanted.composite)
    assert np.array_equal(load_mask("m.png")[0], wanted.mask)
    assert main(["image", "c.png", "m.png", "-o", "again.png", *LOOK]) == 0
    result = load_photo("o.png")
    assert np.array_equal(result.pixels, load_photo("again.png").pixels)
    assert np.array_equal(result.pixels[wanted.mask == 0], ground[wanted.mask == 0])
    assert (result.pixels != wanted.composite).any()
    assert result.icc == SRGB
    assert result.description.resolution == pytest.approx((240, 240), abs=0.1)
    assert "cut off" in capsys.readouterr().err


def test_photograph_with_a_mask_of_its_own_is_a_cut_out(here: Path) -> None:
    save_photo("plain.png", cut()[..., :3])
    save_photo("mask.png", np.dstack([cut()[..., 3]] * 3))
    assert main(["image", "cut.png", "--background", "photo.png", "-o", "a.png", *LOOK]) == 0
    words = ["image", "plain.png", "mask.png", "--background", "photo.png", "-o", "b.png", *LOOK]
    assert main(words) == 0
    assert np.array_equal(load_photo("a.png").pixels, load_photo("b.png").pixels)


@pytest.mark.parametrize("foreground", ["Display P3", None])
@pytest.mark.parametrize("background", ["Adobe RGB", None])
def test_foreground_takes_the_backgrounds_colours(
    here: Path, foreground: str | None, background: str | None
) -> None:
    """The result, seen as sRGB, is that of the same pictures stored in sRGB."""
    for name, pixels, own in (
        ("f", scene(40, 40), foreground),
        ("b", scene(80, 120)[::-1].copy(), background),
    ):
        save_photo(f"{name}_srgb.tif", pixels)
        like = Photo(pixels, icc=profile(own)) if own else None
        save_photo(f"{name}.tif", colours(own).from_srgb(pixels) if own else pixels, like)
    save_photo("m.png", np.dstack([cut()[..., 3]] * 3))
    for ending in ("", "_srgb"):
        words = ["image", f"f{ending}.tif", "m.png", "--background", f"b{ending}.tif"]
        assert main([*words, "-o", f"o{ending}.tif", *LOOK]) == 0
    result, wanted = load_photo("o.tif").pixels, load_photo("o_srgb.tif").pixels
    if background:
        result = colours(background).to_srgb(result)
    covered = place(np.full((40, 40, 3), 0, np.uint16), scene(80, 120), cut()[..., 3]).mask
    plain = (covered == 0) | (covered == 65535)  # soft edges are blended in the file's own encoding
    assert np.abs(result.astype(int) - wanted)[plain].max() <= 257


def test_conversions_are_said_of_the_background_whose_they_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = colours("Display P3").from_srgb(scene(80, 120))
    save_photo("b.tif", pixels, Photo(pixels, icc=profile("Display P3")))
    words = ["--depth", "16", *LOOK]
    assert main(["image", "cut.png", "--background", "b.tif", "-o", "o.tif", *words]) == 0
    said = capsys.readouterr().err
    assert "note: b.tif: its colours" in said and "cut.png: its colours" not in said
    assert main(["image", "cut.png", "--background", "photo.png", "-o", "o.png", *words]) == 0
    assert "note: photo.png: its 8-bit values are widened" in capsys.readouterr().err


def test_colours_are_not_divided_by_their_alpha_twice(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that says that its alpha is associated is divided as it is read."""
    straight, alpha = cut()[..., :3], cut()[..., 3:]
    several = np.round(straight * (alpha / 255)).astype(np.uint8)
    tifffile.imwrite(
        "said.tif", np.dstack([several, alpha]), photometric="rgb", extrasamples=["assocalpha"]
    )
    Image.fromarray(np.dstack([several, alpha])).save("unsaid.png")
    words = ["--background", "photo.png", "--associated-alpha", *LOOK]
    assert main(["image", "unsaid.png", "-o", "unsaid.tif", *words]) == 0
    capsys.readouterr()
    assert main(["image", "said.tif", "-o", "twice.tif", *words]) == 2
    said = capsys.readouterr().err
    assert "said.tif: its file says" in said and "Drop --associated-alpha" in said
    words.remove("--associated-alpha")
    assert main(["image", "said.tif", "-o", "once.tif", *words]) == 0
    once, unsaid = (load_photo(f"{name}.tif").pixels.astype(int) for name in ("once", "unsaid"))
    assert np.abs(once - unsaid).max() <= 1  # one is rounded as it is read, one as it is placed


def test_batch_has_one_background_or_one_each(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("cuts/sub", "grounds/sub"):
        Path(folder).mkdir(parents=True)
    for name in ("a", "sub/b", "c"):
        Image.fromarray(cut()).save(f"cuts/{name}.png")
    for name, shade in (("a", 60), ("sub/b", 180)):
        ground = scene(80, 120) // 400 + shade
        Image.fromarray(ground.astype(np.uint8)).save(f"grounds/{name}.jpg", quality=95)
    words = ["batch", "cuts", "-o", "out", *LOOK]
    assert main([*words, "--background", "photo.png"]) == 0
    assert main(["image", "cuts/a.png", "--background", "photo.png", "-o", "a.png", *LOOK]) == 0
    assert Path("out/a.png").read_bytes() == Path("a.png").read_bytes()
    capsys.readouterr()
    assert main([*words, "--background", "photo.png"]) == 0
    assert "3 skipped" in capsys.readouterr().out
    assert main([*words, "--background", "grounds"]) == 1
    said = capsys.readouterr()
    assert "2 done, 0 skipped, 1 failed" in said.out
    assert "cuts/c.png must have one background c.* in grounds; found none. Add it, or" in said.err
    other = load_photo("out/sub/b.png").pixels
    assert np.array_equal(other[0, :5], load_photo("grounds/sub/b.jpg").pixels[0, :5])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_flat_surroundings_are_said(
    here: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = np.full((160, 160, 3), 255, np.uint8)
    flat[60:100, 60:100] = np.where(cut()[..., 3:] > 0, cut()[..., :3], 255)
    mask = np.zeros((160, 160, 3), np.uint8)
    mask[60:100, 60:100] = np.where(cut()[..., 3:] > 0, 255, 0)
    save_photo(f"c{suffix}", flat)
    save_photo("m.png", mask)
    assert main(["image", f"c{suffix}", "m.png", "-o", "o.png", *LOOK]) == 0
    assert "one flat colour" in (said := capsys.readouterr().err)
    assert "Place the foreground on one, as --background does." in said
    assert main(["image", "cut.png", "--background", "photo.png", "-o", "o.png", *LOOK]) == 0
    assert "flat colour" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--at 1,2", "--at puts a cut-out on a background; there is none"),
        ("--rotate 3 --clean-edges", "--rotate, --clean-edges put"),
        ("--save-mask m.png", "--save-mask writes what --background makes"),
        ("--background photo.png --at 900,900", "lies outside of 120x80"),
        ("--background photo.png --scale 0", "--scale: must be a number above 0, such as 0.5"),
        ("--background photo.png --scale inf", "--scale: must be a number above 0"),
        ("--background photo.png --rotate inf", "--rotate: must be a number of degrees, such as"),
        ("--background photo.png --at 1,nan%", "--at: must be X,Y, such as"),
        ("--background none.png", "none.png cannot be read"),
        ("--background photo.png --save-composite cut.png", "cut.png"),
    ],
)
def test_what_cannot_be_placed_is_refused(
    here: Path, words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "cut.png", "-o", "o.png", *words.split(), *LOOK]) == 2
    assert said in capsys.readouterr().err
    assert not Path("o.png").exists()


def test_position_that_is_none_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["image", "cut.png", "--background", "photo.png", "-o", "o.png", "--at", "left"]
    assert main(words) == 2
    assert "must be X,Y" in capsys.readouterr().err
