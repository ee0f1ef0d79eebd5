"""What masks of another scale, or from lossy files, are taken for: files and arrays."""

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from command_line import pixels, refused
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from tiny_predictor import write_predictor
from video_clips import picture

from harmonizer.arguments import Arguments
from harmonizer.cli import main
from harmonizer.errors import ImageFileError, MaskError
from harmonizer.harmonizer import Harmonizer
from harmonizer.images.files import load_mask, load_pair
from harmonizer.masks import Levels, without_noise
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.recipes import Recipe

BRIGHT = Recipe(Arguments(DEFAULT_FILTERS, (0.1, 0.3, 0.2, 0.2, -0.1, 0.1)))


def shape(height: int = 90, width: int = 120) -> NDArray[np.bool_]:
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).ellipse([30, 20, 80, 70], fill=1)
    return np.asarray(image) > 0


def scaled(kind: str) -> tuple[NDArray[Any], float]:
    """A mask of another scale, and its value for full foreground."""
    inside = shape()
    kinds: dict[str, tuple[NDArray[Any], float]] = {
        "labels 0 1 2": (inside.astype(np.uint8) + (inside & (np.arange(120) > 55)), 2.0),
        "class 15": (inside.astype(np.uint8) * 15, 15.0),
        "percent": (inside.astype(np.uint8) * 100, 100.0),
        "8 bits in 16": (inside.astype(np.uint16) * 255, 255.0),
        "10 bits in 16": (inside.astype(np.uint16) * 1023, 1023.0),
        "float 1/255": (inside.astype(np.float32) / 255, 1 / 255),
    }
    return kinds[kind]


TINY = ["--model", "tiny.onnx"]
"""It is loaded sooner than the shipped one."""

INTEGERS = ("labels 0 1 2", "class 15", "percent", "8 bits in 16", "10 bits in 16")


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int8, np.uint32])
def test_mask_array_of_labels_of_any_type_needs_a_scale(
    kind: Any, photograph: NDArray[np.uint8], model: Path
) -> None:
    """What argmax gives; with its scale named it is the mask that 0 and 255 are."""
    image, labels = np.ascontiguousarray(photograph[:90, :120]), shape().astype(kind) * 3
    with Harmonizer(model, backend="cpu") as harmonizer:
        wanted = harmonizer(image, shape())
        with pytest.raises(TypeError, match=r"mask == 1; or name .*mask_levels"):
            harmonizer(image, labels)
    with Harmonizer(model, backend="cpu", mask_levels=(0, 3)) as harmonizer:
        np.testing.assert_array_equal(harmonizer(image, labels), wanted)
        np.testing.assert_array_equal(harmonizer(image, shape()), wanted)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_mask_file_of_another_scale_is_refused_and_levels_spread_it(
    kind: str, suffix: str, scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictor(scene / "tiny.onnx")
    mask, white = scaled(kind)
    name = f"dark{suffix}"
    if suffix == ".png" and mask.dtype == np.uint16:
        Path(name).write_bytes(imagecodecs.png_encode(mask))
    else:
        Image.fromarray(mask).save(name)
    full = np.iinfo(mask.dtype).max
    for words in (
        ["image", "c.png", name, "-o", "o.png", *TINY],
        ["lut", "c.png", name, "-o", "o.cube", *TINY],
        ["curves", "c.png", name, "-o", "o.png", *TINY],
    ):
        said = refused(capsys, 2, *words)
        assert f"must have {full} where the foreground is full" in said
        assert f"its largest value is {white:g}," in said
        assert f"--mask-levels 0,{white:g}" in said
        assert not Path(words[4]).exists()
    levels = [*TINY, "--mask-levels", f"0,{white:g}", "--set", "brightness=0.4"]
    assert main(["image", "c.png", name, "-o", "o.png", *levels, "--strength", "0"]) == 0
    spread, _ = load_mask(name, levels=Levels(0, white))
    np.testing.assert_array_equal(spread == full, mask == white)
    changed = (pixels("o.png") != pixels("c.png")).any(axis=2)
    assert changed[mask == white].mean() > 0.9 and not changed[mask == 0].any()
    # As it is: hardly anything is drawn, because that was asked for.
    assert main(["image", "c.png", name, "-o", "p.png", *TINY, "--mask-levels", f"0,{full}"]) == 0


def test_batch_of_dark_masks_fails_each_and_alpha_is_judged_alike(
    scene: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictor(scene / "tiny.onnx")
    for name in ("composites", "masks", "cut"):
        Path(name).mkdir()
    Image.open("c.png").save("composites/a.png")
    Image.fromarray(scaled("class 15")[0]).save("masks/a.png")
    assert main(["batch", "composites", "masks", "-o", "out", *TINY]) == 1
    assert "its largest value is 15," in capsys.readouterr().err
    assert main(["batch", "composites", "masks", "-o", "out", *TINY, "--mask-levels", "0,15"]) == 0
    capsys.readouterr()
    Image.fromarray(np.dstack([pixels("c.png"), scaled("percent")[0]])).save("cut/a.png")
    assert "its largest value is 100," in refused(
        capsys, 2, "image", "cut/a.png", "-o", "o.png", *TINY
    )
    assert main(["image", "cut/a.png", "-o", "o.png", *TINY, "--mask-levels", "0,100"]) == 0


@pytest.mark.parametrize("levels", [None, (0, 1)])
def test_tensor_on_the_cpu_is_refused_with_the_way_to_numpy(
    levels: tuple[float, float] | None, photograph: NDArray[np.uint8], model: Path
) -> None:
    torch = pytest.importorskip("torch")
    image = np.ascontiguousarray(photograph[:90, :120])
    said = r"`mask` must be a numpy array; got Tensor\. Pass np\.asarray\(array\), which shares"
    with Harmonizer(model, backend="cpu", mask_levels=levels) as harmonizer:
        for call in (harmonizer, harmonizer.predict, harmonizer.open):
            with pytest.raises(TypeError, match=said):
                call(image, torch.from_numpy(shape().astype(np.uint8)))
        harmonizer(image, np.asarray(torch.from_numpy(shape().astype(np.uint8) * 255)) > 0)


@pytest.mark.parametrize("kind", [*INTEGERS, "float 1/255"])
def test_array_mask_of_another_scale_is_refused_and_levels_spread_it(
    kind: str, photograph: NDArray[np.uint8], model: Path
) -> None:
    image = np.ascontiguousarray(photograph[:90, :120])
    mask, white = scaled(kind)
    with Harmonizer(model, backend="cpu") as harmonizer:
        identity = Arguments.identity(harmonizer.filters)
        calls = (
            lambda: harmonizer.predict(image, mask),
            lambda: harmonizer.render(image, mask, identity),
            lambda: harmonizer(image, mask),
            lambda: harmonizer.batch([image], [mask]),
            lambda: list(harmonizer.each([(image, mask)])),
        )
        for call in calls:
            with pytest.raises(MaskError, match=r"largest value is .*mask_levels=\(0, "):
                call()
        right = np.where(mask == white, 255, 0).astype(np.uint8)
        if kind == "labels 0 1 2":
            right = np.floor(mask / 2 * 255 + 0.5).astype(np.uint8)
        expected = harmonizer.predict(image, right)
    with Harmonizer(model, backend="cpu", mask_levels=(0, white)) as harmonizer:
        np.testing.assert_allclose(
            harmonizer.predict(image, mask).array(), expected.array(), atol=5e-3
        )
        assert (harmonizer(image, mask) != image).any()
    full = 1.0 if mask.dtype.kind == "f" else np.iinfo(mask.dtype).max
    with Harmonizer(model, backend="cpu", mask_levels=(0, full)) as harmonizer:
        harmonizer.predict(image, mask)  # as it is


def test_array_masks_that_are_soft_bool_empty_or_half_are_taken(
    photograph: NDArray[np.uint8], model: Path
) -> None:
    image = np.ascontiguousarray(photograph[:90, :120])
    with Harmonizer(model, backend="cpu") as harmonizer:
        for mask in (
            shape(),
            shape().astype(np.uint8) * 128,
            shape().astype(np.float32) * np.float32(0.5),
        ):
            harmonizer.predict(image, mask)
        with pytest.warns(match="mask is empty"):
            harmonizer.predict(image, np.zeros((90, 120), np.uint8))


@pytest.mark.parametrize(
    ("levels", "said"),
    [((5, 5), "black < white"), ((-1, 5), "black < white"), ((0, 1e9), "65535")],
)
def test_levels_that_make_no_sense_are_refused(levels: tuple[float, float], said: str) -> None:
    with pytest.raises(MaskError, match=said):
        Levels(*levels)
    with pytest.raises(MaskError, match="at most 255"):
        Levels(0, 300).apply(np.zeros((2, 2), np.uint8))


def hard_mask() -> Image.Image:
    """Ellipses, triangles and thin lines without soft edges."""
    image, random = Image.new("L", (300, 200)), np.random.default_rng(3)
    draw = ImageDraw.Draw(image)
    draw.ellipse([40, 30, 180, 150], fill=255)
    for _ in range(3):
        draw.polygon([tuple(map(int, random.integers(0, 200, 2))) for _ in range(3)], fill=255)
    for _ in range(8):
        draw.line(list(map(int, random.integers(0, 200, 4))), fill=255, width=2)
    return image


def lossy(mask: Image.Image, form: str, quality: int) -> bytes:
    buffer = BytesIO()
    if form == "JPEG in TIFF":
        mask.save(buffer, "TIFF", compression="jpeg", quality=quality)
    else:
        mask.convert("RGB" if form == "WEBP" else "L").save(buffer, form, quality=quality)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "quality"),
    [("JPEG", 95), ("JPEG", 80), ("JPEG", 70), ("WEBP", 80), ("WEBP", 50), ("JPEG in TIFF", 75)],
)
def test_lossy_mask_file_leaves_the_background_bit_for_bit(
    form: str, quality: int, tmp_path: Path
) -> None:
    mask = hard_mask()
    suffix = {"JPEG": ".jpg", "WEBP": ".webp", "JPEG in TIFF": ".tif"}[form]
    path = tmp_path / f"m{suffix}"
    path.write_bytes(lossy(mask, form, quality))
    raw, _ = load_mask(path, levels=Levels(0, 255))
    background = np.asarray(mask) == 0
    assert (raw[background] > 0).any()  # there is something to take off
    values, notes = load_mask(path)
    assert not values[background].any()
    assert (values[np.asarray(mask) == 255] == 255).all()
    assert any("with loss" in note and "save masks as PNG" in note for note in notes)
    assert not any("so low" in note for note in notes)


def test_jpeg_mask_of_low_quality_is_said_to_be_uncertain(tmp_path: Path) -> None:
    (tmp_path / "m.jpg").write_bytes(lossy(hard_mask(), "JPEG", 30))
    _, notes = load_mask(tmp_path / "m.jpg")
    assert any("so low that some may be left" in note for note in notes)


@pytest.mark.parametrize("quality", [75, 90])
def test_jpeg_mask_keeps_its_soft_edges(quality: int, tmp_path: Path) -> None:
    blurred = np.asarray(hard_mask().filter(ImageFilter.GaussianBlur(12)))
    ramp = np.tile(np.linspace(0, 255, 300).round().astype(np.uint8), (100, 1))
    for soft in (blurred, ramp):
        path = tmp_path / "m.jpg"
        path.write_bytes(lossy(Image.fromarray(soft), "JPEG", quality))
        stored = np.asarray(Image.open(path)).astype(int)
        values = load_mask(path)[0].astype(int)
        middle = (stored > 64) & (stored < 191)
        np.testing.assert_array_equal(values[middle], stored[middle])
        assert np.abs(values - soft).mean() < 2
        assert np.abs(values - soft).max() < 24
    assert np.abs(np.diff(values[50])).max() < 10  # no step in the ramp


def test_mask_without_loss_is_taken_as_it_is(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    kept: dict[str, dict[str, Any]] = {"m.png": {}, "m.webp": {"lossless": True}, "m.tif": {}}
    for name, options in kept.items():
        Image.fromarray(np.dstack([values] * 3)).save(tmp_path / name, **options)
        loaded, notes = load_mask(tmp_path / name)
        np.testing.assert_array_equal(loaded, values)
        assert notes == ()


def test_without_noise_of_a_flat_mask_changes_nothing() -> None:
    for value in (0, 40, 128, 255):
        mask = np.full((9, 13), value, np.uint8)
        result, changed = without_noise(mask, 8.0)
        assert changed == 0 and (result == mask).all()


@pytest.mark.parametrize("size", [(120, 90), (56, 100), (256, 300)])
def test_mask_with_swapped_sides_is_never_scaled(
    size: tuple[int, int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    height, width = size
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, width=height, height=width)).save(tmp_path / "c.jpg", exif=exif)
    Image.new("L", (height, width), 255).save(tmp_path / "m.png")
    for fit in (False, True):
        with pytest.raises(ImageFileError, match="turn the mask likewise"):
            load_pair(tmp_path / "c.jpg", tmp_path / "m.png", fit_mask=fit)
    Image.new("L", (30, 20) if height > width else (20, 30), 255).save(tmp_path / "s.png")
    with pytest.raises(ImageFileError, match="turn the mask first"):
        load_pair(tmp_path / "c.jpg", tmp_path / "s.png", fit_mask=True)


def test_mask_that_no_turn_would_fit_is_not_said_to_lie_on_its_side(tmp_path: Path) -> None:
    Image.fromarray(picture(0, height=55, width=22)).save(tmp_path / "c.png")
    Image.new("L", (102, 71), 255).save(tmp_path / "m.png")
    with pytest.raises(ImageFileError, match=r"102x71 for a 22x55 .*Resize it, or pass"):
        load_pair(tmp_path / "c.png", tmp_path / "m.png")


def test_mask_that_is_nearly_square_is_scaled(tmp_path: Path) -> None:
    Image.fromarray(picture(0, 50, 49)).save(tmp_path / "c.png")
    Image.new("L", (254, 256), 255).save(tmp_path / "m.png")
    load_pair(tmp_path / "c.png", tmp_path / "m.png", fit_mask=True)
    Image.new("L", (49, 50), 255).save(tmp_path / "m.png")
    with pytest.raises(ImageFileError, match="turn the mask first"):
        load_pair(tmp_path / "c.png", tmp_path / "m.png", fit_mask=True)


def test_scaled_mask_of_another_aspect_is_said(tmp_path: Path) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "c.png")
    Image.new("L", (32, 32), 255).save(tmp_path / "m.png")
    _, _, notes = load_pair(tmp_path / "c.png", tmp_path / "m.png", fit_mask=True)
    assert "1.33 times as much in width as in height" in notes[-1]
    Image.new("L", (32, 24), 255).save(tmp_path / "m.png")
    _, _, notes = load_pair(tmp_path / "c.png", tmp_path / "m.png", fit_mask=True)
    assert notes[-1].endswith("it is scaled to fit")


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_mask_that_size_cannot_tell_turned_is_noted(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(0, 48, 48)).save(tmp_path / "c.jpg", exif=exif)
    Image.new("L", (48, 48), 255).save(tmp_path / "m.png")
    assert "as it is displayed" in load_pair(tmp_path / "c.jpg", tmp_path / "m.png")[2][-1]
    Image.new("L", (48, 48), 255).save(tmp_path / "t.png", exif=exif)
    notes = load_pair(tmp_path / "c.jpg", tmp_path / "t.png")[2]
    assert not any("as it is displayed" in note for note in notes)
