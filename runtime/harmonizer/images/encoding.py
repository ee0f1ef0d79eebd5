"""Encode pixels to JPEG, PNG, TIFF, WebP, AVIF, JPEG XL and OpenEXR with EXIF and ICC.

Pillow writes JPEG, WebP, AVIF and 8-bit PNG; imagecodecs (libpng) compresses 16-bit PNG;
`tiff_writing` writes TIFF.
"""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images import exif as exif_tags
from harmonizer.images import tiff_writing
from harmonizer.images.describing import NOTHING, XMP_JPEG, Description

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]

JPEG_EXIF_LIMIT = 65533 - 6
"""Bytes of EXIF that one JPEG segment holds beside its prefix."""

_PNG_HEADER = 8 + 4 + 4 + 13 + 4
"""Bytes of the signature and the IHDR chunk."""

_INCH_M = 0.0254

WEBP_SIDE_LIMIT = 16383
JPEG_SIDE_LIMIT = 65535

_BY_EXIF = ("WebP", "AVIF", "JPEG XL")
"""Formats that state a resolution in EXIF alone, and whose encoder takes XMP."""

SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


@dataclass(frozen=True, slots=True)
class Quality:
    """Settings of the lossy formats; the others ignore them.

    Attributes:
        level: 1 to 100, for JPEG, WebP, AVIF and JPEG XL.
        subsampling: Colour resolution of JPEG and AVIF, one of `SUBSAMPLINGS`.
        lossless: WebP (`level` is then the effort) or JPEG XL without loss.

    Raises:
        TypeError: If the level is no whole number, or `lossless` no bool.
        ValueError: If the level or the subsampling is another.
    """

    level: int = 95
    subsampling: str = "4:4:4"
    lossless: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.level, int) or isinstance(self.level, bool):
            raise TypeError(f"`level` of Quality must be a whole number; got {self.level!r:.80}.")
        if not 1 <= self.level <= 100:
            raise ValueError(f"`level` of Quality must be 1 to 100; got {self.level}.")
        if self.subsampling not in SUBSAMPLINGS:
            raise ValueError(
                f"`subsampling` must be one of {', '.join(SUBSAMPLINGS)}; got "
                f"{self.subsampling!r:.80}."
            )
        if not isinstance(self.lossless, bool):
            raise TypeError(f"`lossless` must be True or False; got {self.lossless!r:.80}.")


def encode(
    form: str,
    pixels: Pixels,
    exif: bytes,
    icc: bytes,
    quality: Quality,
    description: Description = NOTHING,
) -> bytes:
    """Encode an image file.

    Args:
        form: "JPEG", "PNG", "TIFF", "WebP", "AVIF", "JPEG XL" or "OpenEXR".
        pixels: (H, W, 3), or (H, W, 4) with alpha where the format holds it; uint8, or uint16
            for PNG, TIFF and JPEG XL, float32 for TIFF and OpenEXR.
        exif: EXIF structure without prefix; may be empty.
        icc: ICC profile; may be empty.
        quality: Settings of the lossy formats.
        description: Resolution and XMP; WebP, AVIF and JPEG XL hold a resolution in
            EXIF alone.

    Raises:
        ImageFileError: If the image is larger than the format allows, or the encoder fails.
    """
    side, limit = max(pixels.shape[:2]), {"JPEG": JPEG_SIDE_LIMIT, "WebP": WEBP_SIDE_LIMIT}
    if side > limit.get(form, side):
        raise ImageFileError(
            f"a {form} image must be at most {limit[form]} pixels wide and high; this one has "
            f"{pixels.shape[1]}x{pixels.shape[0]}. Write .png or .tif instead."
        )
    pixels = np.ascontiguousarray(pixels)
    try:
        if form == "TIFF":
            return tiff_writing.encode(pixels, exif, icc, description)
        if form in _BY_EXIF and not exif and description.resolution:
            exif = exif_tags.of_resolution(*description.resolution)
        if form == "OpenEXR":
            from harmonizer.images import exr

            return exr.encode(pixels, description)
        if form == "JPEG XL":
            from harmonizer.images import jpegxl

            return jpegxl.encode(pixels, exif, icc, description.xmp, quality)
        if pixels.dtype == np.uint16:
            return _described(form, _encode_png16(pixels, exif, icc), description)
        options: dict[str, object] = {}
        if form in _BY_EXIF and description.xmp:
            options["xmp"] = description.xmp
        file = _encode_with_pillow(form, pixels, exif, icc, quality, options)
        return _described(form, file, description)
    except (ImageFileError, MemoryError):
        raise
    except Exception as error:  # the encoders' own error types are many and undocumented
        raise ImageFileError(
            f"the {form} encoder must take this image of {pixels.shape[1]}x{pixels.shape[0]}; it "
            f"fails ({type(error).__name__}: {error}). Write another format, such as .png."
        ) from error


def _encode_with_pillow(
    form: str,
    pixels: Pixels,
    exif: bytes,
    icc: bytes,
    quality: Quality,
    options: dict[str, object],
) -> bytes:
    import importlib

    from PIL import Image

    # One plug-in alone: Pillow would import all of its forty to find the one for a format.
    plugin = {"JPEG": "Jpeg", "PNG": "Png", "WebP": "WebP", "AVIF": "Avif"}[form]
    importlib.import_module(f"PIL.{plugin}ImagePlugin")
    options = dict(options)
    if exif:
        options["exif"] = b"Exif\0\0" + exif
    if icc:
        options["icc_profile"] = icc
    if form in ("JPEG", "AVIF"):
        # Not "optimize": Pillow then guesses the file's size, too low for grainy photographs.
        options |= {"quality": quality.level, "subsampling": quality.subsampling}
    elif form == "WebP":
        options |= {"quality": quality.level, "lossless": quality.lossless, "exact": True}
    else:
        options["compress_level"] = 4
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form.upper(), **options)
    return buffer.getvalue()


def _png_chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _described(form: str, file: bytes, description: Description) -> bytes:
    """A JPEG or PNG with resolution and XMP put in behind what must come first."""
    if form == "JPEG":
        return _described_jpeg(file, description)
    if form != "PNG":
        return file
    extra = b"".join(_png_chunk(*chunk) for chunk in description.chunks)
    if description.resolution:
        metric = [round(number / _INCH_M) for number in description.resolution]
        extra += _png_chunk(b"pHYs", struct.pack(">IIB", *metric, 1))
    if description.xmp:
        extra += _png_chunk(b"iTXt", b"XML:com.adobe.xmp" + b"\0" * 5 + description.xmp)
    return file[:_PNG_HEADER] + extra + file[_PNG_HEADER:]


def _described_jpeg(file: bytes, description: Description) -> bytes:
    """JFIF 1.02: the density lies in the first segment, APP0; XMP (part 3, 1.1.3) in an APP1."""
    start = 4 + int.from_bytes(file[4:6])
    head = bytearray(file[:start])
    if description.resolution and head[6:11] == b"JFIF\0":
        density = [min(max(round(number), 1), 65535) for number in description.resolution]
        head[13:18] = struct.pack(">BHH", 1, *density)
    extra = b""
    if description.xmp:
        content = XMP_JPEG + description.xmp
        extra = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    while file[start : start + 2] == b"\xff\xe1":  # EXIF comes before XMP
        start += 2 + int.from_bytes(file[start + 2 : start + 4])
    return bytes(head) + file[len(head) : start] + extra + file[start:]


def _encode_png16(pixels: Pixels, exif: bytes, icc: bytes) -> bytes:
    """PNG (third edition): the iCCP and eXIf chunks go between IHDR and IDAT."""
    from imagecodecs import png_encode

    file = bytes(png_encode(pixels, level=4))
    extra = b""
    if icc:
        extra += _png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        extra += _png_chunk(b"eXIf", exif)
    return file[:_PNG_HEADER] + extra + file[_PNG_HEADER:]
