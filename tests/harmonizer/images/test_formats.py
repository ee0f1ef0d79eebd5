"""The table of docs/pictures.md, cell by cell, on files that the formats' own libraries wrote."""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from photographs import SRGB, camera_exif, picture
from PIL import Image, PngImagePlugin
from psd_files import write_psd
from repository import ROOT

from harmonizer.errors import ImageFileError
from harmonizer.images.describing import Description
from harmonizer.images.encoding import Quality
from harmonizer.images.exif import ORIENTATION
from harmonizer.images.files import FORMATS, READ_SUFFIXES, Photo, load_photo, save_photo
from harmonizer.images.icc import is_srgb

Array = NDArray[Any]

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><a/></x:xmpmeta>"
DPI = (300.0, 300.0)
SUFFIXES = {"HEIC": ".heic", "Photoshop": ".psd", "GIF": ".gif", "BMP": ".bmp"}
SUFFIXES |= {form: suffix for suffix, form in FORMATS.items() if suffix not in (".jpeg", ".tiff")}
BY_PILLOW = ("JPEG", "PNG", "WebP", "AVIF", "GIF", "BMP")
ALPHA = np.tile(np.linspace(0, 255, 56), (40, 1)).astype(np.uint8)
NONE = "\N{EN DASH}"
EXACT = Quality(100, lossless=True)


def cells() -> Iterator[tuple[str, str, str]]:
    """Format, column and what the table says."""
    text = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    heads, _, *rest = [[cell.strip() for cell in row] for row in rows]
    for form, *claims in rest:
        for column, claim in zip(heads[1:], claims, strict=True):
            yield form, column, claim


CELLS = list(cells())


def of(column: str) -> list[tuple[str, str]]:
    return [(form, claim) for form, name, claim in CELLS if name == column]


def exif_of(dpi: bool = False) -> bytes:
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + camera_exif())
    if dpi:
        tags[0x011A], tags[0x011B], tags[0x0128] = *DPI, 2
    return tags.tobytes()


def make(form: str, pixels: Array, **parts: Any) -> bytes:
    """A file with EXIF, ICC profile, XMP and resolution, as far as its library writes them."""
    exif, icc, xmp = parts.get("exif", b""), parts.get("icc", b""), parts.get("xmp", b"")
    dpi, buffer = parts.get("dpi"), io.BytesIO()
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    if form in BY_PILLOW:
        options: dict[str, Any] = {"quality": 100, "lossless": True}
        options |= {"exif": exif} if exif else {}
        options |= {"icc_profile": icc} if icc else {}
        options |= {"dpi": dpi} if dpi else {}
        options |= {"subsampling": "4:4:4"} if form in ("JPEG", "AVIF") else {}
        if xmp and form == "PNG":
            info = PngImagePlugin.PngInfo()
            info.add_itxt("XML:com.adobe.xmp", xmp.decode())
            options["pnginfo"] = info
        elif xmp:
            options["xmp"] = xmp
        Image.fromarray(pixels).save(buffer, form.upper(), **options)
    elif form == "TIFF":
        tags = [(700, "B", len(xmp), xmp, True)] if xmp else []
        tags += [(271, "s", 0, "Acme", True)] if exif else []
        stated = {"resolution": dpi, "resolutionunit": "INCH"} if dpi else {}
        extra = ["unassalpha"] if mode == "RGBA" else None
        tifffile.imwrite(
            buffer,
            pixels,
            photometric="rgb",
            extrasamples=extra,
            extratags=tags,
            iccprofile=icc or None,
            **stated,
        )
    elif form == "HEIC":
        library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
        image = library.from_bytes(
            mode=mode + (";16" if pixels.dtype == np.uint16 else ""),
            size=(pixels.shape[1], pixels.shape[0]),
            data=pixels.tobytes(),
        )
        library.options.SAVE_HDR_TO_12_BIT = parts.get("depth") == 12
        kept = {"exif": exif or None, "icc_profile": icc or None, "xmp": xmp or None}
        image.save(buffer, quality=-1, chroma=444, **kept)
    else:
        return by_openimageio(form, pixels, exif, icc, xmp, dpi)
    return buffer.getvalue()


def by_openimageio(
    form: str, pixels: Array, exif: bytes, icc: bytes, xmp: bytes, dpi: Any
) -> bytes:
    oiio = pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{SUFFIXES[form]}"
        if form == "Photoshop":
            resources = {"ICC_PROFILE": icc, "EXIF_DATA_1": exif[6:], "XMP_METADATA": xmp}
            if dpi:
                fixed = b"\1\x2c\0\0\0\1\0\1"  # 300, pixels an inch
                resources["RESOLUTION_INFO"] = fixed + fixed
            write_psd(
                path,
                pixels,
                pixels.shape[2] == 4,
                **{k: v for k, v in resources.items() if v},  # type: ignore[arg-type]
            )
            return path.read_bytes()
        kind = "half" if form == "OpenEXR" else pixels.dtype.name
        spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], kind)
        spec.attribute("compression", "zip" if form == "OpenEXR" else "jpegxl:100")
        spec.attribute("oiio:UnassociatedAlpha", 1)
        if icc:
            spec.attribute("ICCProfile", f"uint8[{len(icc)}]", icc)
        if exif:
            spec.attribute("Make", "Acme")
        if xmp:
            spec.attribute("IPTC:City", "Rome")  # goes into XMP
        if dpi:
            spec.attribute("XResolution", dpi[0])
            spec.attribute("YResolution", dpi[1])
            spec.attribute("ResolutionUnit", "in")
        output = oiio.ImageOutput.create(str(path))
        assert output.open(str(path), spec) and output.write_image(pixels) and output.close()
        return path.read_bytes()


def load(tmp_path: Path, data: bytes) -> Photo:
    (tmp_path / "a").write_bytes(data)
    return load_photo(tmp_path / "a", colour_management=True)


def again(tmp_path: Path, form: str, photo: Photo) -> Photo:
    """Written in a format, and read."""
    path = tmp_path / f"o{SUFFIXES[form]}"
    save_photo(path, photo.pixels, photo, photo.alpha, EXACT)
    return load_photo(path, colour_management=True)


def base(form: str) -> Array:
    return picture().astype(np.float32) / 255 if form == "OpenEXR" else picture()


def is_written(form: str) -> bool:
    return dict(of("written"))[form] != NONE


def test_table_names_every_format() -> None:
    forms = {form for form, _, _ in CELLS}
    assert forms == set(SUFFIXES) >= set(FORMATS.values())
    assert {SUFFIXES[form] for form in forms} <= set(READ_SUFFIXES)


@pytest.mark.parametrize(("form", "claim"), of("read"))
def test_read(form: str, claim: str, tmp_path: Path) -> None:
    photo = load(tmp_path, make(form, base(form)))
    assert claim in ("yes", "formats", "heif") and photo.form == form
    shown = photo.pixels * 255 if form == "OpenEXR" else photo.pixels
    slack = 40 if form == "GIF" else 3
    assert np.abs(shown.astype(float) - picture()).mean() < slack


@pytest.mark.parametrize(("form", "claim"), of("written"))
def test_written(form: str, claim: str, tmp_path: Path) -> None:
    path = tmp_path / f"o{SUFFIXES[form]}"
    if claim == NONE:
        with pytest.raises(ImageFileError, match="must end in one of"):
            save_photo(path, base(form))
        return
    if claim == "formats":
        pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    assert save_photo(path, base(form), quality=EXACT) == ()
    readers: dict[str, Callable[[Path], Any]] = {
        "TIFF": tifffile.imread,
        "JPEG XL": lambda p: imagecodecs.imread(str(p)),
    }
    if form == "OpenEXR":
        import OpenImageIO

        read = np.asarray(OpenImageIO.ImageInput.open(str(path)).read_image("float"))
    else:
        reader: Callable[[Path], Any] = readers.get(form, lambda p: np.asarray(Image.open(p)))
        read = reader(path)
    assert np.abs(read.astype(float) - base(form)).mean() < 2


@pytest.mark.parametrize(
    ("form", "bits"),
    [
        (form, bits)
        for form, claim in of("bits")
        for bits in re.findall(r"\w+", claim.split(";")[0])
    ],
)
def test_bits(form: str, bits: str, tmp_path: Path) -> None:
    claim = dict(of("bits"))[form]
    ramp = np.linspace(0, 1, 56 * 40).reshape(40, 56, 1).repeat(3, axis=2)
    if bits == "floats":
        values: Array = ramp.astype(np.float32)
        kinds: tuple[Any, ...] = (np.float32,)
    elif bits == "8":
        values, kinds = np.round(ramp * 255).astype(np.uint8), (np.uint8,)
    else:
        values, kinds = np.round(ramp * 65535).astype(np.uint16), (np.uint16,)
    if form == "AVIF" and bits != "8":
        deep = (values >> (16 - int(bits))).astype(np.uint16)
        data = bytes(
            imagecodecs.avif_encode(deep, level=100, bitspersample=int(bits), pixelformat="444")
        )
    elif form == "PNG" and bits == "16":
        data = bytes(imagecodecs.png_encode(values))
    else:
        data = make(form, values, depth=int(bits) if bits.isdigit() else 0)
    photo = load(tmp_path, data)
    assert photo.pixels.dtype in kinds
    full = 1 if bits == "floats" else int(np.iinfo(str(photo.pixels.dtype)).max)
    slack = 0.08 if form == "GIF" else 0.002 if bits != "8" else 0.015
    assert np.abs(photo.pixels / full - ramp).max() < slack
    if is_written(form) and ("written" not in claim or bits == "8"):
        assert again(tmp_path, form, photo).pixels.dtype == photo.pixels.dtype


@pytest.mark.parametrize(("form", "claim"), of("alpha"))
def test_alpha(form: str, claim: str, tmp_path: Path) -> None:
    cover = ALPHA if form != "GIF" else np.where(ALPHA > 128, 255, 0).astype(np.uint8)
    if claim == NONE:
        if is_written(form):
            (note,) = save_photo(tmp_path / f"o{SUFFIXES[form]}", base(form), alpha=cover)
            assert "holds no alpha channel; it is dropped" in note
        return
    unit = cover / 255 if form == "OpenEXR" else cover
    photo = load(tmp_path, make(form, np.dstack([base(form), unit]).astype(base(form).dtype)))
    assert photo.alpha is not None
    assert np.abs(photo.alpha.astype(float) - unit).max() < (0.001 if form == "OpenEXR" else 4)
    if is_written(form):
        written = again(tmp_path, form, photo).alpha
        assert written is not None and np.abs(written.astype(float) - photo.alpha).max() < 4


@pytest.mark.parametrize("column", ["EXIF", "ICC", "XMP", "resolution"])
@pytest.mark.parametrize("form", SUFFIXES)
def test_what_belongs_to_the_file(form: str, column: str, tmp_path: Path) -> None:
    claim = dict(of(column))[form]
    part: dict[str, Any] = {
        "EXIF": {"exif": exif_of()},
        "ICC": {"icc": SRGB},
        "XMP": {"xmp": XMP},
        "resolution": {"exif": exif_of(True)} if claim == "in EXIF" else {"dpi": DPI},
    }[column]
    if form in ("GIF", "BMP") and column != "resolution":
        part = {}  # their library writes none
    if form == "JPEG XL" and column == "resolution":
        part = {"exif": exif_of(), "dpi": DPI}
    photo = load(tmp_path, make(form, base(form), **part))
    photos = [photo]
    if is_written(form):
        like = Photo(photo.pixels, exif=photo.exif, icc=photo.icc, description=photo.description)
        photos.append(again(tmp_path, form, like))
    for found in photos:
        has = {
            "EXIF": b"Acme" in found.exif,
            "ICC": bool(found.icc) and is_srgb(found.icc),
            "XMP": b"xmpmeta" in found.description.xmp,
            "resolution": found.description.resolution is not None
            and np.allclose(found.description.resolution, DPI, atol=0.1),
        }[column]
        assert has == (claim != NONE)


def test_jpeg_xl_with_loss_states_its_colours_by_code(tmp_path: Path) -> None:
    assert dict(of("ICC"))["JPEG XL"] == "kept; with loss by code"
    pytest.importorskip("OpenImageIO", reason="harmonizer[formats] is not installed")
    like = Photo(picture(), icc=SRGB, description=Description())
    for quality in (EXACT, Quality()):
        save_photo(tmp_path / "a.jxl", picture(), like, quality=quality)
        found = load_photo(tmp_path / "a.jxl").icc
        assert is_srgb(found) and (found == SRGB) == quality.lossless


def test_orientation_of_exif_is_one_afterwards(tmp_path: Path) -> None:
    for form in ("JPEG", "PNG", "WebP", "AVIF"):
        tags = b"Exif\0\0" + camera_exif(6)
        photo = load(tmp_path, make(form, picture(), exif=tags))
        read = Image.Exif()
        read.load(b"Exif\0\0" + photo.exif)
        assert photo.pixels.shape == (56, 40, 3) and read.get(ORIENTATION, 1) == 1
