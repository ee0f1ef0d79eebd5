"""`Harmonizer.harmonize_file`: paths, bytes and Pillow images in; files or bytes out."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from photographs import SRGB, camera_exif, picture
from PIL import Image
from tiny_predictor import write_predictor

from harmonizer import Harmonizer, ImageFileError, Placing, Quality
from harmonizer.cli import main
from harmonizer.images.files import Photo, load_photo, save_photo
from harmonizer.limits import max_file_bytes

Array = NDArray[Any]
LOOK = {"brightness": 0.3, "saturation": -0.4}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_photo("c.jpg", picture(), Photo(picture(), exif=camera_exif(1), icc=SRGB))
    mask = np.zeros(picture().shape[:2], np.uint8)
    mask[20:60, 30:80] = 255
    Image.fromarray(mask).save("m.png")
    return tmp_path


@pytest.fixture
def harmonizer(here: Path) -> Iterator[Harmonizer]:
    with Harmonizer(write_predictor(here / "model.onnx"), "cpu") as made:
        yield made


def test_paths_bytes_and_images_give_the_same_file(here: Path, harmonizer: Harmonizer) -> None:
    words = ["image", "c.jpg", "m.png", "-o", "wanted.png", "--model", "model.onnx"]
    assert main(words) == 0
    wanted = Path("wanted.png").read_bytes()
    harmonizer.harmonize_file("c.jpg", Path("m.png"), "o.png")
    assert Path("o.png").read_bytes() == wanted
    composite, mask = Path("c.jpg").read_bytes(), Path("m.png").read_bytes()
    result = harmonizer.harmonize_file(composite, mask)
    assert result.data == wanted
    assert result.shape == picture().shape[:2]
    with Image.open("c.jpg") as image, Image.open("m.png") as grey:
        pillow = harmonizer.harmonize_file(image, grey)
    photo = load_photo(pillow.data)
    assert np.array_equal(photo.pixels, load_photo(wanted).pixels)
    assert photo.icc == SRGB and b"Acme" in photo.exif


@pytest.mark.parametrize("form", ["jpeg", "PNG", "TIFF", "WebP", "AVIF"])
def test_bytes_come_in_the_format_that_was_asked_for(
    here: Path, harmonizer: Harmonizer, form: str
) -> None:
    result = harmonizer.harmonize_file(
        "c.jpg", "m.png", form=form, arguments=full(LOOK), quality=Quality(80)
    )
    assert load_photo(result.data).form.upper() == form.upper()
    assert result.arguments["brightness"] == LOOK["brightness"]


def full(some: dict[str, float]) -> dict[str, float]:
    from harmonizer.ops import DEFAULT_FILTERS

    return {name: some.get(name, 0.0) for name in DEFAULT_FILTERS}


def test_untouched_bytes_are_given_back(here: Path, harmonizer: Harmonizer) -> None:
    data = Path("c.jpg").read_bytes()
    result = harmonizer.harmonize_file(data, "m.png", form="JPEG", arguments=full({}))
    assert result.data == data
    assert any("copy of the composite" in note for note in result.notes)


def test_cut_outs_are_placed(here: Path, harmonizer: Harmonizer) -> None:
    cut = np.dstack([picture(), np.asarray(Image.open("m.png"))])
    buffer = io.BytesIO()
    Image.fromarray(cut).save(buffer, "PNG")
    placing = Placing(Path("c.jpg").read_bytes(), at=("50%", "60%"), scale=0.5)
    result = harmonizer.harmonize_file(buffer.getvalue(), placing=placing, arguments=full(LOOK))
    Path("cut.png").write_bytes(buffer.getvalue())
    words = ["image", "cut.png", "--background", "c.jpg", "--at", "50%,60%", "--scale", "0.5"]
    words += ["-o", "o.png", "--strength", "0", "--set", "brightness=0.3"]
    assert main([*words, "--set", "saturation=-0.4"]) == 0
    assert np.array_equal(load_photo(result.data).pixels, load_photo("o.png").pixels)


@pytest.mark.parametrize(
    ("composite", "mask", "options", "error", "said"),
    [
        (b"", "m.png", {}, ImageFileError, "the composite must be a JPEG.*it is empty"),
        (b"hello", "m.png", {}, ImageFileError, "the composite must be a JPEG"),
        ("c.jpg", b"hello", {}, ImageFileError, "the mask must be a JPEG"),
        ("c.jpg", None, {}, ImageFileError, "c.jpg must have an alpha channel"),
        ("c.jpg", "m.png", {"form": "HEIC"}, ImageFileError, "`form` must be one of JPEG"),
        ("c.jpg", "m.png", {"max_pixels": 100}, ImageFileError, "at most"),
        (
            b"x" * (max_file_bytes(100) + 1),
            "m.png",
            {"max_pixels": 100},
            ImageFileError,
            "must have at most",
        ),
        (picture(), "m.png", {}, TypeError, "Arrays go to the Harmonizer itself"),
        (Image.new("CMYK", (90, 90)), "m.png", {}, ImageFileError, "it is CMYK. Pass its file"),
        (Image.new("LAB", (90, 90)), "m.png", {}, ImageFileError, 'is LAB.*convert."RGB"'),
        (Image.new("RGBa", (90, 90)), "m.png", {}, ImageFileError, 'is RGBa.*convert."RGBA"'),
        ("c.jpg", Image.new("I", (90, 90)), {}, ImageFileError, r"is I. Scale.*astype.np.uint16"),
        ("c.jpg", Image.new("F", (90, 90)), {}, ImageFileError, r"is F. Scale.*astype.np.uint16"),
        (Image.new("RGB", (0, 5)), "m.png", {}, ImageFileError, "one pixel.* has 0x5"),
        (io.BytesIO(b"x"), "m.png", {}, TypeError, r"got BytesIO. Of an open file pass what its"),
        ("https://a.b/c.jpg", "m.png", {}, ImageFileError, "https://a.b/c.jpg is an address"),
        ("c.jpg", Path("http://a.b/m.png"), {}, ImageFileError, "an address.*Download it first"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    here: Path,
    harmonizer: Harmonizer,
    composite: Any,
    mask: Any,
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        harmonizer.harmonize_file(composite, mask, **options)


def test_damaged_and_closed_pillow_images_are_named(here: Path, harmonizer: Harmonizer) -> None:
    data = Path("c.jpg").read_bytes()
    with pytest.raises(ImageFileError, match="the composite must be a complete Pillow image"):
        harmonizer.harmonize_file(Image.open(io.BytesIO(data[: len(data) * 9 // 10])), "m.png")
    closed = Image.open("c.jpg")
    closed.close()
    with pytest.raises(ImageFileError, match="the composite must be a complete Pillow image"):
        harmonizer.harmonize_file(closed, "m.png")


def test_inverted_mask_is_that_of_the_command(here: Path, harmonizer: Harmonizer) -> None:
    words = ["image", "c.jpg", "m.png", "--invert-mask", "-o", "o.png", "--model", "model.onnx"]
    assert main(words) == 0
    data = harmonizer.harmonize_file("c.jpg", "m.png", invert_mask=True).data
    assert data == Path("o.png").read_bytes()
    assert data != harmonizer.harmonize_file("c.jpg", "m.png").data
