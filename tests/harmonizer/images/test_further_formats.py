"""HEIC, AVIF, GIF and BMP: pixels, turns, depth and descriptions as their libraries wrote."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from photographs import SRGB, camera_exif
from PIL import Image

from harmonizer.cli import main
from harmonizer.errors import ImageFileError
from harmonizer.images.files import load_mask, load_photo, save_photo

Array = NDArray[Any]
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'


def smooth(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.dstack([90 + 2 * x, 60 + 3 * y, 200 - x - y]).clip(0, 255).astype(np.uint8)


def heic(pixels: Array, mode: str = "RGB", **options: Any) -> bytes:
    library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
    size = (pixels.shape[1], pixels.shape[0])
    buffer = io.BytesIO()
    library.from_bytes(mode=mode, size=size, data=pixels.tobytes()).save(
        buffer, quality=-1, chroma=444, **options
    )
    return buffer.getvalue()


def saved(pixels: Array, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def test_heic_is_read_upright_with_its_descriptions(tmp_path: Path) -> None:
    data = heic(smooth(), exif=b"Exif\0\0" + camera_exif(6), xmp=XMP)
    (tmp_path / "IMG_1.HEIC").write_bytes(data)
    photo = load_photo(tmp_path / "IMG_1.HEIC")
    wanted = np.rot90(smooth(), -1)  # orientation 6: turn it clockwise
    assert photo.form == "HEIC" and photo.orientation == 1
    assert photo.pixels.shape == wanted.shape
    assert np.abs(photo.pixels.astype(int) - wanted).mean() < 2
    assert b"Acme" in photo.exif
    assert b'tiff:Orientation="1"' in photo.description.xmp


def test_deep_heic_keeps_its_bits(tmp_path: Path) -> None:
    deep = (np.arange(48 * 64 * 3).reshape(48, 64, 3) * 7).astype(np.uint16)
    deep[0] = 65535
    (tmp_path / "a.heic").write_bytes(heic(deep, "RGB;16"))
    pixels = load_photo(tmp_path / "a.heic").pixels
    assert pixels.dtype == np.uint16 and pixels.max() == 65535
    assert np.abs(pixels.astype(int) - deep).max() <= 2 * 64


def test_heic_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.heic").write_bytes(heic(smooth()))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(ImageFileError, match=r"harmonizer\[heif\]"):
        load_photo(tmp_path / "a.heic")


def test_avif_is_read_with_turn_profile_and_descriptions(tmp_path: Path) -> None:
    data = saved(
        smooth(),
        "AVIF",
        quality=95,
        subsampling="4:4:4",
        exif=b"Exif\0\0" + camera_exif(6),
        icc_profile=SRGB,
        xmp=XMP,
    )
    (tmp_path / "a.avif").write_bytes(data)
    photo = load_photo(tmp_path / "a.avif")
    assert np.abs(photo.pixels.astype(int) - np.rot90(smooth(), -1)).mean() < 3
    assert photo.icc == SRGB and b"Acme" in photo.exif
    assert b'tiff:Orientation="1"' in photo.description.xmp


@pytest.mark.parametrize("depth", [10, 12])
def test_deep_avif_keeps_its_bits(tmp_path: Path, depth: int) -> None:
    most = (1 << depth) - 1
    values = np.linspace(0, most, 64 * 48).reshape(48, 64, 1).repeat(3, 2).astype(np.uint16)
    data = imagecodecs.avif_encode(values, level=100, bitspersample=depth, pixelformat="444")
    (tmp_path / "a.avif").write_bytes(data)
    pixels = load_photo(tmp_path / "a.avif").pixels
    assert pixels.dtype == np.uint16 and pixels.max() > 65000
    assert np.abs(pixels / 65535 - values / most).max() < 4 / most


def test_avif_is_written_with_what_belongs_to_it(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png", smooth())
    source = load_photo(tmp_path / "a.png")
    alpha = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
    like = source.__class__(source.pixels, exif=camera_exif(1), icc=SRGB)
    save_photo(tmp_path / "o.avif", source.pixels, like, alpha)
    again = load_photo(tmp_path / "o.avif")
    assert again.icc == SRGB and b"Acme" in again.exif and again.alpha is not None
    assert np.abs(again.alpha.astype(int) - alpha).max() <= 4
    assert np.abs(again.pixels.astype(int) - smooth())[alpha > 40].mean() < 3
    deep = source.pixels.astype(np.uint16) * 257
    with pytest.raises(ImageFileError, match="AVIF holds 8 bits"):
        save_photo(tmp_path / "o.avif", deep)


@pytest.mark.parametrize("form", ["GIF", "BMP"])
def test_gif_and_bmp_are_read(tmp_path: Path, form: str) -> None:
    few = (smooth() // 64) * 80
    (tmp_path / "a").write_bytes(saved(few, form))
    assert np.abs(load_photo(tmp_path / "a").pixels.astype(int) - few).max() <= 8
    grey = np.where(np.mgrid[:48, :64][1] > 30, 255, 0).astype(np.uint8)
    (tmp_path / "m").write_bytes(saved(grey, form))
    assert np.array_equal(load_mask(tmp_path / "m")[0], grey)


def test_animated_gif_gives_its_first_frame_and_says_so(tmp_path: Path) -> None:
    frames = [Image.fromarray((smooth() // 64) * 80), Image.new("RGB", (64, 48), (255, 0, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    photo = load_photo(tmp_path / "a.gif")
    assert any("animated; the first frame is used" in note for note in photo.notes)
    assert np.abs(photo.pixels.astype(int) - (smooth() // 64) * 80).max() <= 8


def files() -> dict[str, bytes]:
    return {
        "AVIF": saved(smooth(), "AVIF"),
        "GIF": saved(smooth(), "GIF"),
        "BMP": saved(smooth(), "BMP"),
        "HEIC": heic(smooth()),
    }


@pytest.mark.parametrize("form", ["AVIF", "GIF", "BMP", "HEIC"])
def test_files_that_are_cut_short_are_refused(tmp_path: Path, form: str) -> None:
    data = files()[form]
    for share in (0.3, 0.6, 0.9, 0.99):
        (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
        with pytest.raises(ImageFileError, match=r"complete|must be a JPEG"):
            load_photo(tmp_path / "a")


@pytest.mark.parametrize("form", ["AVIF", "GIF", "BMP", "HEIC"])
def test_size_is_limited_before_decoding(tmp_path: Path, form: str) -> None:
    (tmp_path / "a").write_bytes(files()[form])
    with pytest.raises(ImageFileError, match="at most 1,000 pixels"):
        load_photo(tmp_path / "a", 1000)


def test_commands_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    mask = np.zeros((48, 64), np.uint8)
    mask[10:40, 10:50] = 255
    for form, data in files().items():
        (tmp_path / "in" / f"{form}.{form.lower()}").write_bytes(data)
        save_photo(tmp_path / "masks" / f"{form}.png", np.dstack([mask] * 3))
    words = ["batch", "in", "masks", "-o", "out", "--set", "brightness=0.3", "--strength", "0"]
    assert main(words) == 0
    names = sorted(path.name for path in (tmp_path / "out").glob("[A-Z]*"))
    assert names == ["AVIF.avif", "BMP.png", "GIF.png", "HEIC.png"]
    assert main(["image", "in/HEIC.heic", "masks/HEIC.png", "-o", "o.avif", "--quality", "80"]) == 0
    assert load_photo("o.avif").form == "AVIF"


@pytest.mark.parametrize(
    ("start", "name"),
    [(b"\0\0\0\x0cjP  \r\n", "JPEG 2000")],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, start: bytes, name: str) -> None:
    (tmp_path / "a.jpg").write_bytes(start + bytes(100))
    with pytest.raises(ImageFileError, match=f"it is {name}"):
        load_photo(tmp_path / "a.jpg")
