"""`harmonizer.open`: files become arrays for a Harmonizer, and what it drew becomes a file."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from photographs import SRGB, camera_exif, picture
from PIL import Image, ImageCms
from tiny_predictor import write_predictor

import harmonizer
from harmonizer import Harmonizer, ImageFileError, MaskError, Placing, StorageError
from harmonizer.images.files import FORMATS, Photo, load_photo, save_photo

Array = NDArray[Any]


@pytest.fixture
def mask() -> Array:
    mask = np.zeros(picture().shape[:2], np.uint8)
    mask[20:60, 30:80] = 255
    return mask


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: Array) -> Iterator[Harmonizer]:
    monkeypatch.chdir(tmp_path)
    save_photo("c.jpg", picture(), Photo(picture(), exif=camera_exif(6), icc=SRGB))
    Image.fromarray(np.rot90(mask, -1)).save("m.png")
    with Harmonizer(write_predictor(tmp_path / "model.onnx"), "cpu") as made:
        yield made


@pytest.mark.parametrize("output", ["o.png", "o.tif", "o.webp", "o.jpg"])
def test_open_and_save_are_harmonize_file_in_two_steps(network: Harmonizer, output: str) -> None:
    network.harmonize_file("c.jpg", "m.png", output)
    wanted = Path(output).read_bytes()
    opened = harmonizer.open("c.jpg", "m.png")
    saved = opened.save(network(opened.image, opened.mask), output)
    assert Path(output).read_bytes() == wanted
    assert saved.data == b""


def test_bytes_and_pillow_images_are_taken_and_bytes_given(network: Harmonizer) -> None:
    wanted = network.harmonize_file("c.jpg", "m.png", form="TIFF").data
    opened = harmonizer.open(Path("c.jpg").read_bytes(), Path("m.png").read_bytes())
    drawn = network(opened.image, opened.mask)
    assert opened.save(drawn, form="TIFF").data == wanted
    with Image.open("c.jpg") as image, Image.open("m.png") as grey:
        pillow = harmonizer.open(image, grey)
    assert np.array_equal(pillow.image, opened.image) and np.array_equal(pillow.mask, opened.mask)
    assert opened.image.shape[:2] == picture().shape[1::-1], "not turned upright"


def test_other_colours_come_as_srgb_and_go_back(network: Harmonizer, mask: Array) -> None:
    wide = cms_profile()
    save_photo("p3.png", picture(), Photo(picture(), icc=wide))
    Image.fromarray(mask).save("m.png")
    opened = harmonizer.open("p3.png", "m.png")
    assert not np.array_equal(opened.image, picture()), "taken for sRGB"
    assert any("converted to sRGB" in note for note in opened.notes)
    saved = load_photo(opened.save(network(opened.image, opened.mask)).data)
    assert saved.icc == wide
    assert np.array_equal(saved.pixels[mask == 0], picture()[mask == 0])
    assert not np.array_equal(saved.pixels[mask > 0], picture()[mask > 0])
    plain = harmonizer.open("p3.png", "m.png", colour_management=False)
    assert np.array_equal(plain.image, picture())


def cms_profile() -> bytes:
    import imagecodecs

    profile: bytes = imagecodecs.cms_profile(
        "rgb",
        whitepoint=(0.3127, 0.329, 1.0),
        primaries=(0.68, 0.32, 1.0, 0.265, 0.69, 1.0, 0.15, 0.06, 1.0),
        gamma=2.2,
    )
    assert ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return profile


def test_depth_and_cut_outs(network: Harmonizer, mask: Array) -> None:
    opened = harmonizer.open("c.jpg", "m.png", depth=16)
    assert opened.image.dtype == np.uint16
    assert load_photo(opened.save(opened.image).data).pixels.dtype == np.uint16
    cut = io.BytesIO()
    Image.fromarray(np.dstack([picture(), mask])).save(cut, "PNG")
    placing = Placing("c.jpg", at=("50%", "60%"), scale=0.5)
    opened = harmonizer.open(cut.getvalue(), placing=placing)
    wanted = network.harmonize_file(cut.getvalue(), placing=placing).data
    assert opened.save(network(opened.image, opened.mask)).data == wanted


def test_masks_are_read_as_they_are_told(network: Harmonizer, mask: Array) -> None:
    Image.fromarray(np.rot90(mask // 255, -1)).save("labels.png")
    with pytest.raises(ImageFileError, match="labels"):
        harmonizer.open("c.jpg", "labels.png")
    with pytest.raises(ImageFileError, match=r"^the mask must have 255"):
        harmonizer.open("c.jpg", Path("labels.png").read_bytes())
    opened = harmonizer.open("c.jpg", "labels.png", mask_levels=(0, 1))
    assert np.array_equal(opened.mask, harmonizer.open("c.jpg", "m.png").mask)
    turned = harmonizer.open("c.jpg", "m.png", invert_mask=True)
    assert np.array_equal(turned.mask, 255 - opened.mask)


@pytest.mark.parametrize(
    ("composite", "options", "error", "said"),
    [
        ("none.jpg", {}, ImageFileError, "none.jpg"),
        (b"hello", {}, ImageFileError, "the composite must be a JPEG"),
        (picture(), {}, TypeError, "Arrays go to the Harmonizer itself"),
        ("c.jpg", {"depth": 12}, ImageFileError, "`depth` must be 8 or 16.*got 12"),
        ("c.jpg", {"mask_levels": (5, 5)}, MaskError, "black < white"),
        ("c.jpg", {"mask_levels": 1}, TypeError, "`mask_levels` must be two numbers"),
        ("c.jpg", {"placing": "bg.jpg"}, TypeError, "`placing` must be a harmonizer.Placing"),
        ("c.jpg", {"max_pixels": 100}, ImageFileError, "at most"),
    ],
)
def test_what_cannot_be_opened_is_refused_by_name(
    network: Harmonizer, composite: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        harmonizer.open(composite, "m.png", **options)


@pytest.mark.parametrize(
    ("change", "output", "error", "said"),
    [
        (lambda x: x.astype(np.float32), "o.png", TypeError, "array of uint8.*got float32"),
        (lambda x: x.tolist(), "o.png", TypeError, "array of uint8.*got list"),
        (lambda x: x[1:], "o.png", ValueError, "must have the shape of"),
        (lambda x: x, "o.xyz", ImageFileError, "o.xyz"),
        (lambda x: x, io.BytesIO(), TypeError, "output must be a path.*got BytesIO.*`data`"),
        (lambda x: x, "nowhere/o.png", StorageError, "nowhere"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(
    network: Harmonizer, change: Any, output: Any, error: type[Exception], said: str
) -> None:
    opened = harmonizer.open("c.jpg", "m.png")
    with pytest.raises(error, match=said):
        opened.save(change(opened.image), output)


def test_quality_that_is_a_number_is_refused_by_name(network: Harmonizer) -> None:
    opened = harmonizer.open("c.jpg", "m.png")
    wrong: Any = 95
    with pytest.raises(TypeError, match=r"Pass Quality\(95\)"):
        opened.save(opened.image, form="JPEG", quality=wrong)
    with pytest.raises(TypeError, match=r"Pass Quality\(95\)"):
        network.harmonize_file("c.jpg", "m.png", quality=wrong)


def test_formats_go_by_name_and_by_suffix(network: Harmonizer) -> None:
    pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    opened = harmonizer.open("c.jpg", "m.png")
    floats = opened.image / np.float32(255)
    tifffile.imwrite("f.tif", floats, photometric="rgb")
    light = harmonizer.open("f.tif", Image.new("L", floats.shape[1::-1], 255))
    for suffix, form in FORMATS.items():
        picture = light if form == "OpenEXR" else opened
        by_name = picture.save(picture.image, form=form)
        assert load_photo(by_name.data, colour_management=True).form == form
        for name in (suffix, suffix[1:], suffix.upper(), form.lower()):
            assert picture.save(picture.image, form=name).data == by_name.data
    none: Any = None
    with pytest.raises(ImageFileError, match=r"`form` must be one of.*got None"):
        opened.save(opened.image, form=none)
