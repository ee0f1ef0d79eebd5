"""Resolution and XMP are carried between all formats; other colours and what is lost is said."""

import struct
import zlib
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from photographs import SRGB, camera_exif, picture, read_exif
from PIL import Image, PngImagePlugin

from harmonizer.cli import main
from harmonizer.images.describing import Description
from harmonizer.images.encoding import Quality
from harmonizer.images.files import Photo, load_photo, save_photo
from harmonizer.images.icc import is_srgb, profile_name

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6" '
    b'xmlns:dc="http://purl.org/dc/elements/1.1/" dc:source="a shop"/></rdf:RDF></x:xmpmeta>'
    b'<?xpacket end="w"?>'
)
UPRIGHT_XMP = XMP.replace(b'Orientation="6"', b'Orientation="1"')
SUFFIXES = (".jpg", ".png", ".tif", ".webp", ".avif", ".jxl")
BY_EXIF = (".webp", ".avif", ".heic", ".jxl")
"""Where EXIF alone states a resolution."""


def write(path: Path, dpi: tuple[float, float] | None, xmp: bytes, **options: Any) -> Path:
    """A picture by Pillow, or by tifffile."""
    pixels = options.pop("pixels", picture())
    if path.suffix == ".jxl":
        save_photo(path, pixels, Photo(pixels, description=Description(dpi, xmp)))
        return path
    if path.suffix == ".tif":
        extra = [(700, "B", len(xmp), xmp, True)] if xmp else []
        stated: dict[str, Any] = {"resolution": dpi, "resolutionunit": "INCH"} if dpi else {}
        tifffile.imwrite(path, pixels, extratags=extra, photometric="rgb", **stated, **options)
        return path
    if path.suffix == ".png" and xmp:
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif xmp:
        options["xmp"] = xmp
    if dpi and path.suffix in BY_EXIF:
        exif = Image.Exif()
        exif[0x011A], exif[0x011B], exif[0x0128] = dpi[0], dpi[1], 2
        options["exif"] = exif
    elif dpi:
        options["dpi"] = dpi
    if path.suffix == ".heic":
        library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
        options["exif"] = options["exif"].tobytes() if "exif" in options else None
        library.from_pillow(Image.fromarray(pixels)).save(path, **options)
        return path
    Image.fromarray(pixels).save(path, **options)
    return path


def need(*suffixes: str) -> None:
    """Skip where what reads and writes JPEG XL is missing."""
    if ".jxl" in suffixes:
        pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")


def jxl_box(data: bytes, kind: bytes) -> bytes:
    """What lies between a box's type and the next box (ISO/IEC 18181-2, 9.1)."""
    at = data.index(kind) - 4
    return data[at + 8 : at + int.from_bytes(data[at : at + 4])]


def read_back(path: Path) -> tuple[tuple[float, float] | None, bytes]:
    """Resolution and XMP of a file as another program reads them."""
    if path.suffix == ".jxl":
        data = path.read_bytes()
        exif = Image.Exif()
        exif.load(jxl_box(data, b"Exif")[4:])
        return (float(exif[0x011A]), float(exif[0x011B])), jxl_box(data, b"xml ")
    with Image.open(path) as image:
        image.load()
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        if path.suffix == ".tif":
            with tifffile.TiffFile(path) as file:
                tag = file.pages[0].tags.get(700)
                xmp = bytes(tag.value) if tag is not None else b""
        dpi = image.info.get("dpi")
        if path.suffix in BY_EXIF:
            exif = image.getexif()
            dpi = (exif.get(0x011A), exif.get(0x011B)) if 0x011A in exif else None
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    return ((float(dpi[0]), float(dpi[1])) if dpi else None), xmp


@pytest.mark.parametrize(("source", "target"), list(product([*SUFFIXES, ".heic"], SUFFIXES)))
def test_resolution_and_xmp_are_carried(source: str, target: str, tmp_path: Path) -> None:
    need(source, target)
    composite = write(tmp_path / f"c{source}", (300, 240), XMP)
    photo = load_photo(composite)
    assert photo.description.xmp == UPRIGHT_XMP
    assert photo.description.resolution == pytest.approx((300, 240), abs=0.02)
    output = tmp_path / f"o{target}"
    notes = save_photo(output, photo.pixels, photo)
    dpi, xmp = read_back(output)
    assert dpi == pytest.approx((300, 240), abs=0.02)
    assert xmp == UPRIGHT_XMP
    assert notes == () and photo.notes == ()


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".jxl"])
def test_pillow_images_have_what_their_files_have(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"a{suffix}", (300.0, 150.0), UPRIGHT_XMP)
    wanted = load_photo(path)
    with Image.open(path) as image:
        got = load_photo(image)
    assert np.array_equal(got.pixels, wanted.pixels)
    assert got.description.resolution == pytest.approx((300, 150), abs=0.02)
    assert got.description.xmp == wanted.description.xmp
    assert b"a shop" in got.description.xmp


@pytest.mark.parametrize("dpi", [(0, 0), 72, ("a", "b"), (300,), (float("nan"), 300)])
def test_what_is_no_resolution_of_a_pillow_image_is_left_out(dpi: Any) -> None:
    image = Image.fromarray(picture())
    image.info["dpi"] = dpi
    assert load_photo(image).description.resolution is None


@pytest.mark.parametrize("target", [".png", ".tif", ".jxl"])
def test_16_bit_files_carry_them_as_well(target: str, tmp_path: Path) -> None:
    pixels = picture().astype(np.uint16) * 257
    like = Photo(pixels, description=Description((300.0, 300.0), UPRIGHT_XMP))
    need(target)
    save_photo(tmp_path / f"o{target}", pixels, like, quality=Quality(lossless=True))
    photo = load_photo(tmp_path / f"o{target}")
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.description.xmp == UPRIGHT_XMP
    assert photo.description.resolution == pytest.approx((300, 300), abs=0.02)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exif_icc_and_alpha_stay_beside_them(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    alpha = None if suffix == ".jpg" else picture()[..., 1]
    like = Photo(
        picture(), exif=camera_exif(), icc=SRGB, description=Description((300.0, 300.0), XMP)
    )
    save_photo(tmp_path / f"o{suffix}", picture(), like, alpha)
    photo = load_photo(tmp_path / f"o{suffix}")
    assert read_exif(photo.exif) == read_exif(camera_exif())
    assert photo.description.xmp == UPRIGHT_XMP
    assert (photo.alpha is None) == (suffix == ".jpg")
    # With loss JPEG XL states colours by a code, of which a profile is made on reading.
    assert is_srgb(photo.icc) if suffix == ".jxl" else photo.icc == SRGB


def test_resolution_of_bigtiff_of_centimetres_and_of_turned_pictures(tmp_path: Path) -> None:
    big = write(tmp_path / "c.tif", (300, 240), b"", bigtiff=True)
    assert load_photo(big).description.resolution == (300, 240)
    tifffile.imwrite(
        tmp_path / "d.tif", picture(), resolution=(100, 100), resolutionunit="CENTIMETER"
    )
    assert load_photo(tmp_path / "d.tif").description.resolution == (254, 254)
    write(tmp_path / "t.jpg", (300, 240), b"", exif=b"Exif\0\0" + camera_exif(6))
    assert load_photo(tmp_path / "t.jpg").description.resolution == (240, 300)


def test_resolution_that_exif_alone_states_becomes_the_files(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    Image.fromarray(picture()).save(tmp_path / "c.webp", exif=exif)
    photo = load_photo(tmp_path / "c.webp")
    save_photo(tmp_path / "o.png", photo.pixels, photo)
    assert read_back(tmp_path / "o.png")[0] == pytest.approx((300, 300), abs=0.02)


def test_what_is_no_resolution_is_left_out(tmp_path: Path) -> None:
    chunk = b"pHYs" + struct.pack(">IIB", 2, 1, 0)
    buffer = BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG")
    file = buffer.getvalue()
    whole = struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "c.png").write_bytes(file[:33] + whole + file[33:])
    assert load_photo(tmp_path / "c.png").description.resolution is None


@pytest.mark.parametrize(
    ("word", "said"),
    [(b"hdrgm:Version", "gain map"), (b"Container:Directory", "further parts")],
)
def test_xmp_of_appended_parts_is_left_out_with_a_note(
    word: bytes, said: str, tmp_path: Path
) -> None:
    write(tmp_path / "c.jpg", None, XMP.replace(b"dc:source", word))
    photo = load_photo(tmp_path / "c.jpg")
    assert photo.description.xmp == b""
    assert any(said in note and "left out" in note for note in photo.notes)


def test_what_is_not_carried_is_named(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "c.jpg", comment=b"hello")
    assert "not carried over: its comment" in load_photo(tmp_path / "c.jpg").notes
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "someone")
    Image.fromarray(picture()).save(tmp_path / "c.png", pnginfo=info)
    assert "not carried over: its text (Author)" in load_photo(tmp_path / "c.png").notes


def test_what_is_not_carried_cannot_command_a_terminal_nor_fill_it(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    for index in range(50):
        info.add_text(f"\x1b[2J{index}", "x")
    Image.fromarray(picture()).save(tmp_path / "c.png", pnginfo=info)
    (note,) = load_photo(tmp_path / "c.png").notes
    assert note.isprintable() and len(note) < 300 and note.endswith("and 40 more")


def test_xmp_too_long_for_jpeg_is_left_out_with_a_note(tmp_path: Path) -> None:
    like = Photo(picture(), description=Description(None, b"<x>" + b" " * 70000))
    (note,) = save_photo(tmp_path / "o.jpg", picture(), like)
    assert "XMP data has 70003 bytes, too many for JPEG" in note
    assert save_photo(tmp_path / "o.png", picture(), like) == ()


def profile(columns: tuple[tuple[float, ...], ...], gamma: float, name: bytes) -> bytes:
    """A small ICC v2 matrix profile."""
    tags = [(b"desc", b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name + bytes(79))]
    for signature, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True):
        content = b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * x) for x in column))
        tags.append((signature, content))
    curve = b"curv" + bytes(4) + struct.pack(">IH2x", 1, round(256 * gamma))
    tags += [(signature, curve) for signature in (b"rTRC", b"gTRC", b"bTRC")]
    table, data = b"", b""
    start = 132 + 12 * len(tags)
    for signature, content in tags:
        table += signature + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[8:24] = b"\x02\x10\0\0mntrRGB XYZ "
    header[36:40] = b"acsp"
    whole = bytes(header) + struct.pack(">I", len(tags)) + table + data
    return struct.pack(">I", len(whole)) + whole[4:]


SRGB_COLUMNS = ((0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3_COLUMNS = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
ADOBE_COLUMNS = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))

PROFILES = {
    "Display P3": profile(P3_COLUMNS, 2.2, b"Display P3"),
    "Adobe RGB (1998)": profile(ADOBE_COLUMNS, 2.2, b"Adobe RGB (1998)"),
    "linear sRGB": profile(SRGB_COLUMNS, 1.0, b"linear sRGB"),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("suffix", SUFFIXES[:-1])  # libjxl is choosy: test_jpegxl.py
def test_colours_of_another_profile_are_said(name: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"c{suffix}"
    save_photo(path, picture(), Photo(picture(), icc=PROFILES[name]))
    photo = load_photo(path)
    assert photo.icc == PROFILES[name]
    (note,) = photo.notes
    assert f"those of the profile {name!r}, not sRGB's" in note


def test_curve_of_complex_numbers_is_no_srgb() -> None:
    numbers = struct.pack(">3i", round(65536 * 2.4), -65536, 0)
    curve = b"para" + bytes(4) + struct.pack(">HH", 1, 0) + numbers
    broken = bytearray(PROFILES["linear sRGB"])
    for at in range(132 + 12 * 4, 132 + 12 * 7, 12):
        broken[at + 4 : at + 12] = struct.pack(">II", len(broken), len(curve))
    assert not is_srgb(bytes(broken) + curve)


def test_srgb_profiles_are_known_by_their_numbers(tmp_path: Path) -> None:
    assert is_srgb(SRGB) and "sRGB" in profile_name(SRGB)
    assert is_srgb(profile(SRGB_COLUMNS, 2.2, b"my monitor"))
    assert not is_srgb(profile(P3_COLUMNS, 2.2, b"not sRGB at all"))
    for broken in (b"", SRGB[:100], SRGB[:200], bytes(5000)):
        is_srgb(broken)
        assert profile_name(broken)
    save_photo(tmp_path / "c.jpg", picture(), Photo(picture(), icc=SRGB))
    assert load_photo(tmp_path / "c.jpg").notes == ()


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (b"cICP", b"\x0c\x0d\0\x01", "of Display P3 (cICP), not sRGB's"),
        (b"gAMA", struct.pack(">I", 100000), "gamma 1.00"),
        (b"gAMA", struct.pack(">I", 45455), ""),
        (b"cICP", b"\x01\x0d\0\x01", ""),
    ],
)
def test_colours_that_png_states_without_a_profile_are_said(
    kind: bytes, content: bytes, said: str, tmp_path: Path
) -> None:
    file = bytes(imagecodecs.png_encode(picture()))
    chunk = struct.pack(">I", len(content)) + kind + content
    chunk += struct.pack(">I", zlib.crc32(kind + content))
    (tmp_path / "c.png").write_bytes(file[:33] + chunk + file[33:])
    notes = load_photo(tmp_path / "c.png").notes
    assert (said in notes[0]) if said else notes == ()


def test_adobe_rgb_of_cameras_without_a_profile_is_said(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    Image.fromarray(picture()).save(tmp_path / "c.jpg", exif=exif)
    assert "interoperability index R03" in load_photo(tmp_path / "c.jpg").notes[0]


def test_image_command_carries_and_says_them(
    scene: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open("c.png") as image:
        image.save("p.jpg", dpi=(300, 300), xmp=XMP, icc_profile=PROFILES["Display P3"])
    for name in ("o.jpg", "o.png", "o.tif"):
        words = ["image", "p.jpg", "m.png", "-o", name, "--model", str(model)]
        assert main(words) == 0
        assert "p.jpg: its colours (Display P3) are converted to sRGB" in capsys.readouterr().err
        assert read_back(Path(name)) == (pytest.approx((300, 300), abs=0.02), UPRIGHT_XMP)
