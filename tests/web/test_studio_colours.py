"""Pictures in Display P3 and in other colours, in the studio and by the command line."""

import io
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from browser import bundle, need_node
from colour_profiles import profile
from numpy.typing import NDArray
from PIL import Image, ImageCms
from repository import ROOT
from studio_page import download, drawn_arguments, drop, png_chunk, read_rgb

from export.tolerances import STUDIO_P3_ARGUMENTS, STUDIO_P3_FORMULA, STUDIO_P3_U8, STUDIO_P3_U16
from harmonizer import Arguments
from harmonizer.cli import main
from harmonizer.images.code_points import by_code
from harmonizer.images.colour import Colours, transformed
from harmonizer.images.files import load_photo, to_depth

pytestmark = pytest.mark.long

HEIGHT, WIDTH = 300, 400

FILTERS = ("temperature", "brightness", "contrast", "saturation", "highlight", "shadow")
LOOKS = [
    dict(zip(FILTERS, values, strict=True))
    for values in (
        (0.3, 0.3, -0.2, 0.4, 0.3, -0.3),
        (-0.6, -0.3, 0.5, -0.7, -0.4, 0.6),
        (1.0, 1.0, -1.0, 1.0, 1.0, -1.0),
    )
]


def display_p3() -> bytes:
    stated = by_code(12, 13, "a test")
    assert stated is not None
    return stated.profile


def vivid() -> NDArray[np.uint8]:
    """A photograph with all of Display P3's colours in one corner, and its primaries in another."""
    image = np.ascontiguousarray(skimage.data.astronaut()[:HEIGHT, :WIDTH])
    image[-100:, -100:] = np.random.default_rng(4).integers(0, 256, (100, 100, 3))
    for row, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        image[10 * row : 10 * row + 10, :100] = colour
    return image


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    image, calm = vivid(), skimage.data.astronaut()[:HEIGHT, :WIDTH] // 2 + 64
    mask = np.asarray(Image.open(pictures / "mask.png")).copy()
    mask[-120:-60, -120:-60] = 180

    def save(array: NDArray[Any], name: str, icc: bytes | None = None, **more: Any) -> None:
        Image.fromarray(array).save(folder / name, icc_profile=icc, **more)

    save(mask, "mask.png")
    save(calm, "plain.png")
    for ending in ("png", "jpg", "webp", "avif"):
        save(image, f"p3.{ending}", display_p3(), quality=95)
        save(calm, f"srgb.{ending}", ImageCms.ImageCmsProfile(srgb()).tobytes())
    save(calm, "calm.png", display_p3())
    save(image, "adobe.png", profile("Adobe RGB"))
    save(np.dstack([image, mask]), "cutout.png", display_p3())
    save(np.dstack([calm, mask]), "cutout-srgb.png")
    with_chunk(folder / "cicp.png", folder / "plain.png", b"cICP", bytes((12, 13, 0, 1)))
    places = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chrm = b"".join(place.to_bytes(4, "big") for place in places)
    with_chunk(folder / "chrm.png", folder / "plain.png", b"cHRM", chrm)
    return folder


def srgb() -> Any:
    return ImageCms.createProfile("sRGB")


def with_chunk(target: Path, source: Path, kind: bytes, body: bytes) -> None:
    """A PNG file with one chunk more, after its header."""
    data = source.read_bytes()
    target.write_bytes(data[:33] + png_chunk(kind, body) + data[33:])


def apart(first: NDArray[Any], second: NDArray[Any]) -> int:
    return int(np.abs(first.astype(np.int32) - second).max())


def check_profile(data: bytes) -> None:
    """A saved file must hold Display P3's."""
    icc = Image.open(io.BytesIO(data)).info["icc_profile"]
    assert "Display P3" in ImageCms.getProfileName(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    colours = Colours(icc, "saved")
    corners = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 130, 40]]], np.uint8)
    ours = Colours(display_p3(), "ours").to_srgb(corners)
    assert apart(colours.to_srgb(corners), ours) <= 16  # of 65,535: profiles round their numbers


PLACES = {
    "srgb": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    "p3": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.3290),
}

CONVERT = """
import { inOwnColours16, toSrgb } from "./colours.mjs";
import { readFileSync, writeFileSync } from "node:fs";
const data = readFileSync("own.bin"), deep = readFileSync("drawn.bin");
const drawn = new Uint16Array(deep.buffer, deep.byteOffset, deep.length / 2);
const width = data.length / 4, part = { x: 0, y: 0, width, height: 1 };
const srgb = toSrgb(data, 16), own = { data, width, height: 1 };
writeFileSync("srgb.bin", srgb);
writeFileSync("back.bin", inOwnColours16({ own, srgb, drawn, part, mask: null }));
"""


def test_conversion_is_that_of_the_formulas(tmp_path: Path) -> None:
    need_node()
    bundle(ROOT / "runtime/web/studio/colours.ts", tmp_path / "colours.mjs")
    (tmp_path / "convert.mjs").write_text(CONVERT)
    random = np.random.default_rng(5)
    own = random.integers(0, 256, (60_000, 4)).astype(np.uint8)
    own[:20_000] //= 12  # dark
    drawn = random.integers(0, 65_536, (60_000, 3)).astype(np.uint16)
    own.tofile(tmp_path / "own.bin")
    drawn.tofile(tmp_path / "drawn.bin")
    subprocess.run(["node", "convert.mjs"], cwd=tmp_path, check=True)
    srgb, back = (
        np.fromfile(tmp_path / f"{name}.bin", np.uint16).reshape(-1, 3) for name in ("srgb", "back")
    )
    # CSS Color 4, chapter 10: from primaries and white to XYZ, and from there.
    p3, usual = (to_xyz(PLACES[name]) for name in ("p3", "srgb"))
    expected = converted(own[:, :3] / 255, np.linalg.inv(usual) @ p3)
    assert apart(srgb, expected) <= STUDIO_P3_FORMULA
    ends = [converted(ends / 65535, np.linalg.inv(p3) @ usual) for ends in (drawn, srgb)]
    moved = own[:, :3].astype(np.int64) * 257 + ends[0] - ends[1]
    # Two roundings.
    assert apart(back, np.clip(moved, 0, 65535)) <= 2 * STUDIO_P3_FORMULA


def to_xyz(places: tuple[float, ...]) -> NDArray[np.float64]:
    """Light of primaries, by x and y of red, green, blue and white, to XYZ."""
    x, y = np.array(places).reshape(4, 2).T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


def converted(values: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """Encoded values by a matrix of light, 16 bits."""
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ matrix.T, 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(encoded * 65535).astype(np.int64)


@pytest.mark.parametrize("look", LOOKS)
def test_display_p3_is_drawn_and_kept_as_the_command_line_does(
    studio: Any, wide: Path, tmp_path: Path, look: dict[str, float]
) -> None:
    Arguments.from_mapping(look).save(tmp_path / "look.json")
    drop(studio, wide / "p3.png", wide / "mask.png")
    assert "% of the pixels lie beyond sRGB, and keep what they have" in studio.inner_text("#hint")
    drop(studio, tmp_path / "look.json")
    own, mask = (np.asarray(Image.open(wide / f"{name}.png")) for name in ("p3", "mask"))
    for kind, depth, tolerance in (("png", 8, STUDIO_P3_U8), ("png16", 16, STUDIO_P3_U16)):
        page, command = tmp_path / f"page-{kind}.png", tmp_path / f"command-{kind}.png"
        page.write_bytes(download(studio, kind))
        files = [str(wide / "p3.png"), str(wide / "mask.png"), "-o", str(command)]
        given = ["--arguments", str(tmp_path / "look.json"), "--depth", str(depth)]
        assert main(["image", *files, *given]) == 0
        ours, theirs = load_photo(page).pixels, load_photo(command).pixels
        assert ours.dtype == theirs.dtype
        assert apart(ours, theirs) <= tolerance, apart(ours, theirs)
        full = to_depth(own, depth)
        assert np.array_equal(ours[mask == 0], full[mask == 0])
        assert (ours[mask == 255] != full[mask == 255]).any(axis=1).mean() > 0.9
        check_profile(page.read_bytes())


def test_display_p3_is_predicted_as_the_command_line_predicts(
    studio: Any, wide: Path, tmp_path: Path
) -> None:
    drop(studio, wide / "p3.png", wide / "mask.png")
    files = [str(wide / "p3.png"), str(wide / "mask.png"), "-o", str(tmp_path / "drawn.png")]
    assert main(["image", *files, "--save-arguments", str(tmp_path / "look.json")]) == 0
    expected = Arguments.load(tmp_path / "look.json")
    given = drawn_arguments(studio)
    assert tuple(given) == expected.filters
    away = np.abs(np.array(list(given.values())) - expected.array()).max()
    assert away <= STUDIO_P3_ARGUMENTS, away


def test_jpeg_in_display_p3_holds_its_profile(studio: Any, wide: Path) -> None:
    drop(studio, wide / "p3.png", wide / "mask.png")
    jpeg, png = download(studio, "jpeg"), download(studio, "png")
    check_profile(jpeg)
    assert np.abs(read_rgb(jpeg)[:, :250].astype(np.int16) - read_rgb(png)[:, :250]).mean() < 4


@pytest.mark.parametrize(
    ("name", "space"),
    [
        *((f"p3.{ending}", "display-p3") for ending in ("png", "jpg", "webp", "avif")),
        *((f"srgb.{ending}", "srgb") for ending in ("png", "jpg", "webp", "avif")),
        *(("calm.png", "display-p3"), ("cicp.png", "display-p3"), ("chrm.png", "display-p3")),
        ("plain.png", "srgb"),
    ],
)
def test_picture_is_shown_and_saved_in_the_colours_that_its_file_states(
    studio: Any, wide: Path, name: str, space: str
) -> None:
    drop(studio, wide / name, wide / "mask.png")
    shown = studio.evaluate(
        """() => document.querySelector("#canvas canvas").getContext("2d").getContextAttributes()
        .colorSpace"""
    )
    assert shown == space
    assert ("Display P3" in studio.inner_text("#facts")) == (space == "display-p3")
    assert studio.is_visible("#hint") == name.startswith("p3.")
    png = download(studio, "png")
    assert (b"sRGB" in png[:60]) == (space == "srgb")
    if space == "display-p3":
        check_profile(png)


def test_screen_and_loupe_show_colours_beyond_srgb(studio: Any, wide: Path) -> None:
    drop(studio, wide / "p3.png", wide / "mask.png")
    pixel = """([where, x, y]) => Array.from(document.querySelector(where).getContext("2d")
        .getImageData(x, y, 1, 1, {colorSpace: "display-p3"}).data)"""
    assert studio.evaluate(pixel, ["#canvas canvas", 5, 5]) == [255, 0, 0, 255]
    studio.keyboard.press("l")
    studio.wait_for_function("() => document.querySelector('#glass').width === 280")
    for _ in range(20):
        studio.keyboard.press("ArrowLeft")
        studio.keyboard.press("ArrowUp")
    studio.wait_for_timeout(500)
    assert studio.evaluate(pixel, ["#glass", 5, 15]) == [0, 255, 0, 255]
    studio.keyboard.press("l")


def test_other_wide_colours_become_display_p3_and_that_is_said(studio: Any, wide: Path) -> None:
    drop(studio, wide / "adobe.png", wide / "mask.png")
    said = studio.inner_text("#hint")
    assert "adobe.png is in other colours than sRGB's and Display P3's" in said
    png = download(studio, "png")
    check_profile(png)
    own = np.asarray(Image.open(wide / "adobe.png")).astype(np.uint16) * 257
    expected = transformed(own, profile("Adobe RGB"), display_p3(), "uint16", "Adobe RGB")
    background = np.asarray(Image.open(wide / "mask.png")) == 0
    assert apart(read_rgb(png)[background], expected[background] / 257) <= STUDIO_P3_U8


def test_cut_out_takes_the_colours_of_its_background(
    studio: Any, wide: Path, pictures: Path
) -> None:
    drop(studio, wide / "cutout.png", pictures / "background.png")
    said = studio.inner_text("#hint")
    assert "cutout.png takes the colours of its background, sRGB's" in said
    png = download(studio, "png")
    assert b"sRGB" in png[:60]
    ground = np.asarray(Image.open(pictures / "background.png"))
    assert np.array_equal(read_rgb(png)[:60], ground[:60])


def test_background_in_display_p3_gives_its_colours_to_the_composite(
    studio: Any, wide: Path
) -> None:
    drop(studio, wide / "cutout-srgb.png", wide / "p3.png")
    png = download(studio, "png")
    check_profile(png)
    own = np.asarray(Image.open(wide / "p3.png"))
    assert np.array_equal(read_rgb(png)[:60], own[:60])
