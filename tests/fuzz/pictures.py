"""Sound images of every form and layout that is read, to be mutated."""

import contextlib
import io
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

SEEDS = Path(__file__).resolve().parent / "seeds"

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf='
    b'"http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)

Array = np.ndarray[Any, Any]


def grain(channels: int, deep: bool) -> Array:
    """Noise, (24, 31, channels)."""
    high = 65536 if deep else 256
    shape = (24, 31, channels)
    return np.random.default_rng(9).integers(0, high, shape, np.uint16 if deep else np.uint8)


def _saved(array: Array, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array.squeeze()).save(buffer, form, **options)
    return buffer.getvalue()


def _tiff(array: Array, **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **{"photometric": "rgb", **options})
    return buffer.getvalue()


@cache
def image_seeds() -> list[tuple[str, bytes]]:
    """What cameras, phones, scanners and the web give, and the files of the corpus."""
    from photographs import SRGB, camera_exif

    eight, deep = grain(3, False), grain(3, True)
    tags = {"exif": b"Exif\0\0" + camera_exif(6), "icc_profile": SRGB}
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    coded = PngImagePlugin.PngInfo()
    coded.add(b"cICP", bytes((12, 13, 0, 1)))
    made = {
        "a.png": _saved(eight, "PNG", **tags),
        "g.png": _saved(grain(1, False), "PNG"),
        "p.png": _saved(
            np.asarray(Image.fromarray(eight).quantize(16).convert("RGB")), "PNG", **tags
        ),
        "d.png": bytes(imagecodecs.png_encode(grain(4, True))),
        "x.png": _saved(eight, "PNG", pnginfo=info, dpi=(300, 300)),
        "c.png": _saved(eight, "PNG", pnginfo=coded),
        "a.jpg": _saved(eight, "JPEG", **tags),
        "x.jpg": _saved(eight, "JPEG", xmp=XMP, dpi=(300, 300)),
        "p.jpg": _saved(eight, "JPEG", progressive=True),
        "a.webp": _saved(eight, "WEBP", lossless=True, xmp=XMP, **tags),
        "l.webp": _saved(grain(4, False), "WEBP"),
        "a.tif": _tiff(
            eight, compression="zlib", predictor=True, extratags=[(700, 1, len(XMP), XMP, True)]
        ),
        "d.tif": _tiff(deep, compression="lzw", rowsperstrip=5),
        "t.tif": _tiff(deep, tile=(16, 16), compression="packbits"),
        "s.tif": _tiff(np.moveaxis(deep, 2, 0), planarconfig="separate", rowsperstrip=7),
        "b.tif": _tiff(eight, bigtiff=True),
        "j.tif": _tiff(eight, compression="jpeg"),
        "a.avif": _saved(eight, "AVIF", **tags),
        "d.avif": bytes(imagecodecs.avif_encode(grain(3, True) >> 6, level=90, bitspersample=10)),
        "a.gif": _saved(eight, "GIF"),
        "a.bmp": _saved(eight, "BMP"),
    }
    with contextlib.suppress(ImportError):
        import pillow_heif

        for name, depth in (("a.heic", 8), ("d.heic", 10)):
            phone: Any = pillow_heif.from_bytes(
                mode="RGB" if depth == 8 else "RGB;16",
                size=(31, 24),
                data=(eight if depth == 8 else deep).tobytes(),
            )
            phone.save(buffer := io.BytesIO(), exif=tags["exif"], xmp=XMP)
            made[name] = buffer.getvalue()
    kept = {path.name: path.read_bytes() for path in sorted(SEEDS.glob("image-*"))}
    return list((made | kept).items())


@cache
def studio_seeds() -> list[tuple[str, bytes]]:
    """Floats, inks, multiplied alpha; JPEG XL, OpenEXR and Photoshop where they are installed."""
    from colour_profiles import ink_profile
    from photographs import camera_exif

    from harmonizer.images.colour import srgb_profile

    eight, deep = grain(3, False), grain(3, True)
    light = (grain(4, True) / np.float32(32768)).astype(np.float32)
    made = {
        "f.tif": _tiff(light[..., :3], compression="zlib", predictor=True),
        "h.tif": _tiff(light.astype(np.float16), extrasamples=[2], rowsperstrip=7),
        "t.tif": _tiff(light, extrasamples=[1], tile=(16, 16)),
        "p.tif": _tiff(grain(4, False), extrasamples=[1], compression="lzw"),
        "k.tif": _tiff(grain(4, False), photometric="separated", iccprofile=ink_profile()),
        "k.jpg": _jpeg_of_inks(eight),
        "n.jxl": bytes(imagecodecs.jpegxl_encode(np.stack([eight, eight[::-1]]), lossless=True)),
    }
    with contextlib.suppress(ImportError):
        import OpenImageIO  # noqa: F401

        made.update(_studio_files(light, eight, deep, camera_exif(6), srgb_profile()))
    with contextlib.suppress(ImportError):
        import psd_tools  # noqa: F401
        from psd_files import write_psd

        with tempfile.TemporaryDirectory() as folder:
            for name, pixels, clear in (("a", eight, False), ("g", deep[..., :1], False)):
                write_psd(path := Path(folder) / f"{name}.psd", pixels, clear)
                made[path.name] = path.read_bytes()
    return list(made.items())


def _jpeg_of_inks(eight: Array) -> bytes:
    from colour_profiles import ink_profile

    buffer = io.BytesIO()
    Image.fromarray(eight).convert("CMYK").save(buffer, "JPEG", icc_profile=ink_profile())
    return buffer.getvalue()


def _studio_files(
    light: Array, eight: Array, deep: Array, exif: bytes, icc: bytes
) -> Iterator[tuple[str, bytes]]:
    from harmonizer.images import exr, jpegxl
    from harmonizer.images.describing import Description
    from harmonizer.images.encoding import Quality
    from harmonizer.images.oiio import encoded

    yield "a.jxl", jpegxl.encode(eight, exif, icc, XMP, Quality())
    yield "d.jxl", jpegxl.encode(deep, exif, b"", b"", Quality(lossless=True))
    yield "b.jxl", bytes(imagecodecs.jpegxl_encode(eight, level=80))
    primaries = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
    yield "a.exr", exr.encode(light, Description((300.0, 300.0), chromaticities=primaries))
    yield "h.exr", exr.encode(light[..., :3], Description(half=True))
    for method in ("none", "rle", "zips", "piz", "pxr24", "b44", "dwaa"):
        yield f"{method}.exr", encoded("OpenEXR", light, ".exr", {"compression": method})
