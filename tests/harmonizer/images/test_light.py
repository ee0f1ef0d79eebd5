"""Pictures of floats: OpenEXR and TIFF, what is drawn on them, and what lies beyond white."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from colour_profiles import colours, profile, scene
from command_line import refused
from numpy.typing import NDArray
from PIL import Image

from harmonizer.cli import main
from harmonizer.errors import ImageFileError, PlacementError
from harmonizer.images.decoding import read_size
from harmonizer.images.files import load_mask, load_photo, save_photo
from harmonizer.images.light import Light, light_of, linear_profile, to_encoded, to_linear
from harmonizer.limits import BYTES_PER_PIXEL, FLOAT_BYTES_PER_PIXEL, MAX_PIXELS
from harmonizer.placement import place

Array = NDArray[Any]

LOOK = ["--set", "temperature=0.3", "--set", "contrast=0.4", "--set", "saturation=-0.2"]
ACES = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
"""AP1 (S-2014-004)."""


def light() -> NDArray[np.float32]:
    """A scene whose picture in sRGB is `scene()`, with a lamp of up to 20 times white."""
    values = to_linear(scene() / 65535)
    values[20:30, 30:40] = np.linspace(1.5, 20, 100).reshape(10, 10, 1) * (1, 0.8, 0.6)
    return values


def write_exr(path: str | Path, pixels: Array, kind: str = "half", **attributes: Any) -> None:
    oiio = pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    height, width, channels = pixels.shape
    spec = oiio.ImageSpec(width, height, channels, kind)
    if names := attributes.pop("names", None):
        spec.channelnames = names
    for name, value in attributes.items():
        if name in ("full_width", "full_height", "x"):
            setattr(spec, name, value)
        else:
            spec.attribute(name, *value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec) and output.write_image(pixels.astype(np.float32))
    output.close()


def read_exr(path: str | Path) -> Any:
    oiio = pytest.importorskip("OpenImageIO")
    picture = oiio.ImageInput.open(str(path))
    return np.asarray(picture.read_image("float")), picture.spec()


@pytest.fixture
def mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    monkeypatch.chdir(tmp_path)
    values = np.zeros((60, 90), np.uint8)
    values[15:45, 20:70] = 255
    values[10:15, 20:70] = 120
    Image.fromarray(values).save("m.png")
    return values


def harmonize(source: str, target: str, *more: str) -> int:
    return main(["image", source, "m.png", "-o", target, *LOOK, "--strength", "0", *more])


@pytest.mark.parametrize("form", ["exr", "tif"])
def test_result_is_that_of_the_same_picture_in_srgb(
    form: str, mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    values = light().astype(np.float16).astype(np.float32)
    if form == "exr":
        write_exr("own.exr", values, XResolution=("float", 300.0), YResolution=("float", 300.0))
    else:
        tifffile.imwrite("own.tif", values, photometric="rgb", resolution=(300, 300))
    save_photo("srgb.png", np.floor(to_encoded(np.clip(values, 0, 1)) * 65535 + 0.5).astype("u2"))
    assert harmonize("srgb.png", "wanted.png") == 0
    capsys.readouterr()
    assert harmonize(f"own.{form}", f"got.{form}") == 0
    said = capsys.readouterr().err
    assert "its floats (scene-linear light) are converted to sRGB for the filters, and back" in said
    assert "1.9% of them lie beyond what a screen shows and keep what they have" in said
    photo = load_photo(f"got.{form}", colour_management=True)
    assert photo.pixels.dtype == np.float32
    assert photo.description.resolution == pytest.approx((300, 300))
    wanted = load_photo("wanted.png").pixels / 65535
    dim = values.max(axis=2) <= 1
    assert np.abs(to_encoded(np.clip(photo.pixels, 0, 1)) - wanted)[dim].max() < 2 / 255
    assert np.array_equal(photo.pixels[mask == 0], values[mask == 0])
    # What is drawn as white keeps its strength, times what white became.
    bright = values[20:30, 30:40]
    share = to_linear(wanted[20:30, 30:40])
    expected = np.where(bright > 1, bright * share, photo.pixels[20:30, 30:40])
    np.testing.assert_allclose(photo.pixels[20:30, 30:40], expected, rtol=4e-3)
    assert (share < 1).any() and photo.pixels.max() > 10


def test_half_stays_half_and_float_float(mask: Array) -> None:
    for kind in ("half", "float"):
        write_exr(f"{kind}.exr", light(), kind, chromaticities=("float[8]", ACES))
        assert harmonize(f"{kind}.exr", f"o_{kind}.exr") == 0
        pixels, spec = read_exr(f"o_{kind}.exr")
        assert str(spec.format) == kind
        assert np.allclose(spec.getattribute("chromaticities"), ACES)
        before, _ = read_exr(f"{kind}.exr")
        assert np.array_equal(pixels[mask == 0], before[mask == 0])
        assert (pixels[mask == 255] != before[mask == 255]).any()


@pytest.mark.parametrize(
    "stated",
    [
        ("float[8]", (0.0,) * 8),
        ("float[8]", (0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.3)),
        ("float[8]", (float("nan"),) * 8),
        ("float[2]", (0.3, 0.3)),
        ("string", "red"),
    ],
)
def test_exr_whose_chromaticities_are_no_colours_is_refused(
    stated: tuple[str, Any], tmp_path: Path
) -> None:
    write_exr(tmp_path / "a.exr", light(), chromaticities=stated)
    with pytest.raises(ImageFileError, match=r"a\.exr must be a complete OpenEXR file"):
        load_photo(tmp_path / "a.exr", colour_management=True)


def test_light_of_other_primaries_and_of_profiles_is_the_same_picture() -> None:
    values = light()
    ours = Light()
    for other in (light_of(b"", ACES), light_of(profile("Adobe RGB"), None)):
        there = other._from_linear(values)
        dim = there.max(axis=2) <= 1
        assert np.abs(other.to_srgb(there) - ours.to_srgb(values))[dim].max() < 2e-3
        drawn = other.to_srgb(there)
        assert np.array_equal(other.back(drawn, there), there)
        drawn[:30] *= 0.7
        result = other.back(drawn, there)
        assert np.array_equal(result[30:], there[30:])
        assert np.abs(other.to_srgb(result) - drawn)[dim].max() < 3e-3


def test_encoding_is_that_of_the_standard() -> None:
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(to_linear(to_encoded(values)), values, atol=2e-6)
    assert to_linear(np.array(0.5, np.float32)) == pytest.approx(0.21404, abs=1e-5)


def test_what_is_not_finite_stays_and_is_said(
    mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    values = light()
    values[20, 25], values[21, 25], values[0, 0] = np.nan, np.inf, -np.inf
    tifffile.imwrite("own.tif", values, photometric="rgb")
    assert harmonize("own.tif", "got.tif") == 0
    assert "3 pixels are not finite, and stay so" in capsys.readouterr().err
    result = tifffile.imread("got.tif")
    wrong = ~np.isfinite(values)
    np.testing.assert_array_equal(result[wrong], values[wrong])
    assert np.isfinite(result[~wrong]).all() and (result[~wrong] != values[~wrong]).any()


@pytest.mark.parametrize("predictor", [None, 3])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_tiff_of_floats_is_read_as_tifffile_wrote_it(
    predictor: int | None, order: Any, kind: Any, tmp_path: Path
) -> None:
    values = light().astype(kind)
    layouts: list[dict[str, Any]] = [
        {"rowsperstrip": 16},
        {"tile": (32, 48)},
        {"planarconfig": "separate"},
    ]
    for settings in layouts:
        data = np.moveaxis(values, 2, 0) if "planarconfig" in settings else values
        packing: dict[str, Any] = {}
        if predictor:
            packing = {"compression": "zlib", "predictor": predictor}
        tifffile.imwrite(
            tmp_path / "a.tif",
            data,
            byteorder=order,
            photometric="rgb",
            **packing,
            **settings,
        )
        photo = load_photo(tmp_path / "a.tif", colour_management=True)
        np.testing.assert_array_equal(photo.pixels, values.astype(np.float32))
        assert photo.colours == Light()


def test_tiff_of_floats_as_differences_is_read_as_libtiff_wrote_it(tmp_path: Path) -> None:
    for values in (light(), np.ascontiguousarray(light()[..., 0])):
        kind = "rgb" if values.ndim == 3 else "minisblack"
        data = imagecodecs.tiff_encode(values, compression=8, predictor=2, photometric=kind)
        (tmp_path / "a.tif").write_bytes(data)
        photo = load_photo(tmp_path / "a.tif", colour_management=True)
        np.testing.assert_array_equal(photo.pixels[..., 0], values.reshape(60, 90, -1)[..., 0])


def test_profile_of_a_float_tiff_says_what_it_holds(mask: Array) -> None:
    """Encoded floats, such as editors write; they go out as they came in."""
    deep = colours("Adobe RGB").from_srgb(scene())
    encoded, wide = (deep / 65535).astype(np.float32), profile("Adobe RGB")
    tifffile.imwrite("own.tif", encoded, photometric="rgb", iccprofile=wide)
    tifffile.imwrite("deep.tif", deep, photometric="rgb", iccprofile=wide)
    assert harmonize("own.tif", "got.tif") == 0 and harmonize("deep.tif", "wanted.tif") == 0
    got, wanted = tifffile.imread("got.tif"), tifffile.imread("wanted.tif")
    assert np.abs(got - wanted / 65535).max() < 1e-3
    assert np.array_equal(got[mask == 0], encoded[mask == 0])
    assert load_photo("got.tif", colour_management=True).icc == wide


def test_integers_and_floats_do_not_turn_into_each_other_unasked(
    mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("own.tif", light(), photometric="rgb")
    save_photo("c.png", scene())
    said = refused(capsys, 2, "image", "own.tif", "m.png", "-o", "o.png")
    assert "PNG holds no floats, as the pixels are. Write .exr or .tif, or pass --depth 16" in said
    said = refused(capsys, 2, "image", "c.png", "m.png", "-o", "o.exr")
    assert "OpenEXR holds scene-linear light in floats; the pixels have 16 bits" in said
    for name in ("o.png", "o.tif"):
        assert harmonize("own.tif", name, "--depth", "16") == 0
        assert "written as sRGB, 16 bits; what lies beyond is clipped" in capsys.readouterr().err
        photo = load_photo(name)
        assert photo.pixels.dtype == np.uint16 and photo.icc == b""
        shown = to_encoded(np.clip(light(), 0, 1))
        assert np.abs(photo.pixels / 65535 - shown)[mask == 0].max() < 1e-4
    said = refused(capsys, 2, "image", "own.tif", "m.png", "-o", "o.tif", "--no-colour-management")
    assert "it has floats, which are light and are converted" in said


def test_exr_becomes_tiff_with_a_profile_that_says_the_same(mask: Array) -> None:
    write_exr("own.exr", light(), "float", chromaticities=("float[8]", ACES))
    assert harmonize("own.exr", "o.exr") == 0 and harmonize("own.exr", "o.tif") == 0
    first, second = (load_photo(name, colour_management=True) for name in ("o.exr", "o.tif"))
    assert np.array_equal(first.pixels, second.pixels)
    assert second.icc == linear_profile(tuple(np.array(ACES, np.float32).tolist()))
    assert first.colours is not None and second.colours is not None
    ends = [photo.colours.to_srgb(photo.pixels) for photo in (first, second) if photo.colours]
    assert np.abs(ends[0] - ends[1]).max() < 1e-5


def test_float_tiff_becomes_exr_in_linear_light(mask: Array) -> None:
    encoded = (scene() / 65535).astype(np.float32)
    tifffile.imwrite("own.tif", encoded, photometric="rgb", iccprofile=profile("Adobe RGB"))
    pytest.importorskip("OpenImageIO")
    assert harmonize("own.tif", "o.exr") == 0 and harmonize("own.tif", "o.tif") == 0
    first, second = (load_photo(name, colour_management=True) for name in ("o.exr", "o.tif"))
    ends = [photo.colours.to_srgb(photo.pixels) for photo in (first, second) if photo.colours]
    assert first.colours == Light() and np.abs(ends[0] - ends[1]).max() < 1e-3


def test_exr_alpha_is_associated_there_and_back(
    mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    alpha = np.full((60, 90), 1.0, np.float32)
    alpha[:, 70:] = 0.25
    alpha[:, 85:] = 0
    values = np.dstack([light() * alpha[..., None], alpha]).astype(np.float16).astype(np.float32)
    values[5, 88, :3] = 3  # a glow that covers nothing
    write_exr("own.exr", values)
    assert harmonize("own.exr", "o.exr") == 0
    assert "its colours are multiplied by its alpha" in capsys.readouterr().err
    result, _ = read_exr("o.exr")
    assert np.array_equal(result[mask == 0], values[mask == 0])
    photo = load_photo("own.exr", colour_management=True)
    np.testing.assert_allclose(photo.pixels[:, 72], light()[:, 72], rtol=2e-3)


def test_what_is_not_carried_of_an_exr_is_named(tmp_path: Path) -> None:
    values = np.dstack([light(), np.ones((60, 90)), np.zeros((60, 90))]).astype(np.float32)
    write_exr(
        tmp_path / "a.exr", values, names=("R", "G", "B", "A", "Z"), owner=("string", "someone")
    )
    photo = load_photo(tmp_path / "a.exr", colour_management=True)
    assert "not carried over: its channels Z" in photo.notes
    assert any(note.startswith("not carried over: its attributes") for note in photo.notes)


def test_exr_without_colours_or_with_a_part_of_its_picture_is_refused(tmp_path: Path) -> None:
    write_exr(tmp_path / "z.exr", light()[..., :1], names=("Z",))
    with pytest.raises(ImageFileError, match="must have channels R, G and B, or Y; it has Z"):
        load_photo(tmp_path / "z.exr", colour_management=True)
    write_exr(tmp_path / "w.exr", light(), full_width=100)
    with pytest.raises(ImageFileError, match="data window is 90x60 at 0,0, its display window 100"):
        load_photo(tmp_path / "w.exr", colour_management=True)
    write_exr(tmp_path / "a.exr", light())
    data = (tmp_path / "a.exr").read_bytes()
    for share in (0.01, 0.5, 0.95):
        (tmp_path / "cut.exr").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageFileError, match="must be a complete OpenEXR file"):
            load_photo(tmp_path / "cut.exr", colour_management=True)
    with pytest.raises(ImageFileError, match="at most 5,000 pixels"):
        load_photo(tmp_path / "a.exr", 5000, colour_management=True)


def test_masks_of_floats_lie_in_0_to_1(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 5400).reshape(60, 90).astype(np.float32)
    tifffile.imwrite(tmp_path / "m.tif", values)
    read, _ = load_mask(tmp_path / "m.tif")
    assert read.dtype == np.uint16 and np.abs(read / 65535 - values).max() < 1e-5
    tifffile.imwrite(tmp_path / "m.tif", values * 255)
    with pytest.raises(ImageFileError, match=r"floats in \[0, 1\]; they lie in \[0, 255\]"):
        load_mask(tmp_path / "m.tif")


@pytest.mark.parametrize("chromaticities", [None, ACES])
def test_cut_out_is_placed_in_light(mask: Array, chromaticities: Any) -> None:
    how = {} if chromaticities is None else {"chromaticities": ("float[8]", chromaticities)}
    own = light()
    own[:4, :4] = 20  # a lamp that is not covered
    write_exr("own.exr", own, "float", **how)
    before, _ = read_exr("own.exr")
    Image.fromarray(np.dstack([scene()[::-1] >> 8, mask]).astype(np.uint8)).save("cut.png")
    words = ["image", "cut.png", "--background", "own.exr", "-o", "o.exr", "--set", "contrast=0"]
    assert main([*words, "--save-composite", "c.exr", "--save-mask", "m.png"]) == 0
    made, _ = read_exr("c.exr")
    drawn, _ = read_exr("o.exr")
    saved, _ = load_mask("m.png")
    assert np.array_equal(saved, mask * np.uint16(257))
    assert np.array_equal(made[mask == 0], before[mask == 0])
    assert np.array_equal(drawn[mask == 0], before[mask == 0])
    wanted = to_linear((scene()[::-1] >> 8) / 255)
    if chromaticities is not None:
        made = Light(linear_profile(chromaticities), "own").linear(made)
    np.testing.assert_allclose(made[mask == 255], wanted[mask == 255], atol=2e-4)
    half = (mask > 0) & (mask < 255)
    assert half.any() and np.isfinite(made[half]).all()


def test_cut_out_of_floats_is_placed_and_what_is_clipped_is_said(
    mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("cut.tif", np.dstack([light(), mask / 255]).astype(np.float32),
                     photometric="rgb", extrasamples=[2])  # fmt: skip
    Image.fromarray((scene()[::-1] >> 8).astype(np.uint8)).save("own.png")
    words = ["image", "cut.tif", "--background", "own.png", "-o", "o.png", "--set", "contrast=0"]
    assert main([*words, "--save-composite", "c.png"]) == 0
    assert "become 16 bits in sRGB; what lies beyond is clipped" in capsys.readouterr().err
    made = load_photo("c.png").pixels.astype(int)
    wanted = np.floor(to_encoded(np.clip(light(), 0, 1)) * 255 + 0.5)
    assert np.abs(made - wanted)[mask == 255].max() <= 1
    with pytest.raises((PlacementError, ValueError), match=r"\[0, 1\]"):
        place(np.dstack([scene() >> 8, mask]).astype(np.uint8), light())


def test_tiff_of_floats_is_written_as_others_read_it(tmp_path: Path) -> None:
    alpha = np.linspace(0, 1, 5400).reshape(60, 90).astype(np.float32)
    save_photo(tmp_path / "a.tif", light(), alpha=alpha)
    np.testing.assert_array_equal(
        imagecodecs.tiff_decode((tmp_path / "a.tif").read_bytes()), np.dstack([light(), alpha])
    )


def test_mask_in_the_alpha_of_floats_does_not_ask_for_its_colours(tmp_path: Path) -> None:
    alpha = np.linspace(0, 1, 5400).reshape(60, 90).astype(np.float32)
    tifffile.imwrite(
        tmp_path / "m.tif",
        np.dstack([light(), alpha]),
        photometric="rgb",
        extrasamples=["unassalpha"],
    )
    read, notes = load_mask(tmp_path / "m.tif")
    assert np.abs(read / 65535 - alpha).max() < 1e-5 and "the mask is its alpha channel" in notes


def test_batch_counts_the_memory_of_floats_as_what_they_take(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", light())
    tifffile.imwrite(tmp_path / "a.tif", light(), photometric="rgb")
    Image.fromarray((scene() >> 8).astype(np.uint8)).save(tmp_path / "a.png")
    cost = {
        name: read_size(tmp_path / f"a.{name}", MAX_PIXELS).cost for name in ("exr", "tif", "png")
    }
    assert cost["exr"] == cost["tif"] == FLOAT_BYTES_PER_PIXEL * 60 * 90
    assert cost["png"] == BYTES_PER_PIXEL * 60 * 90 < cost["exr"]
