"""Decode image files to arrays, refusing what would have to be guessed.

Pillow reads JPEG, WebP and 8-bit PNG; imagecodecs (libpng) reads 16-bit PNG, which Pillow cuts to
8 bits; `tiff_reading` reads TIFF (docs/decisions/0003-image-files.md). The plug-ins are called
directly: the file's first bytes say which, and no other is imported. Before a decoder sees a file,
`inspection` has looked through it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer import mistaken
from harmonizer.errors import ImageFileError, brief
from harmonizer.images import exif, further, tiff_reading
from harmonizer.images.describing import describe
from harmonizer.images.inspection import Size, inspect
from harmonizer.images.lossy import noise_of
from harmonizer.images.memory import Blob
from harmonizer.images.raster import (
    Raster,
    plain_mode,
    straightened,
    without_ink,
    without_orientation,
)
from harmonizer.limits import check_size, max_file_bytes
from harmonizer.masks import inverted
from harmonizer.reading import read_regular

_SIGNATURES = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"RIFF", "WebP"))
SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg"), ("JPEG",)),
    **dict.fromkeys((".tif", ".tiff"), ("TIFF",)),
    **dict.fromkeys((".heic", ".heif"), ("HEIC", "AVIF")),
    **dict.fromkeys((".psd", ".psb"), ("Photoshop",)),
    ".png": ("PNG",),
    ".webp": ("WebP",),
    ".avif": ("AVIF",),
    ".jxl": ("JPEG XL",),
    ".exr": ("OpenEXR",),
    ".gif": ("GIF",),
    ".bmp": ("BMP",),
}
"""What files of these names hold, if they are named rightly."""

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def identify(path: Path | Blob, head: bytes) -> str:
    """The format of a file by its first bytes.

    Raises:
        ImageFileError: If it is none that can be read.
    """
    for signature, name in _SIGNATURES:
        if head.startswith(signature) and (name != "WebP" or head[8:12] == b"WEBP"):
            return name
    if head[:4] in _TIFF_STARTS:
        return "TIFF"
    if form := further.form_of(head):
        return form
    failed = ": " in mistaken.kind_of(head)  # its remedy is said there
    raise ImageFileError(
        f"{path} must be a JPEG, PNG, TIFF, WebP, HEIC, AVIF, JPEG XL, OpenEXR, Photoshop, "
        f"GIF or BMP image; "
        f"{mistaken.came(head)}." + ("" if failed else " Convert it to one of these.")
    )


def read_file(path: Path | Blob, max_pixels: int) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageFileError: If it cannot be read, is no regular file, or is larger than an image of
            `max_pixels` can be.
    """
    limit = max_file_bytes(max_pixels)
    if isinstance(path, Blob):
        if len(path.data) > limit:
            raise ImageFileError(
                f"{path} must have at most {limit:,} bytes; it has {len(path.data):,}. Make it "
                "smaller, or raise `max_pixels`."
            )
        return path.data
    try:
        return read_regular(path, limit)
    except OSError as error:
        raise _read_error(path, error) from error


def _read_error(path: Path | Blob, error: OSError) -> ImageFileError:
    return ImageFileError(
        f"{path} cannot be read: {error.strerror or error}. Check the path and its permissions."
    )


def decode(path: Path | Blob, max_pixels: int) -> Raster:
    """Read an image file.

    Args:
        path: A file of a format that is read, or its bytes; the content says which, not the name.
        max_pixels: Larger images are refused before their pixels are decoded.

    Raises:
        ImageFileError: If it cannot be read, is of another format, is damaged, is larger than
            `max_pixels`, or has colours that would have to be guessed (Lab, CMYK without
            a profile).
    """
    data = read_file(path, max_pixels)
    form = identify(path, data[: mistaken.HEAD])
    decoder = {"TIFF": _decode_tiff, "PNG": _decode_png}.get(form, _decode_with_pillow)
    with _damage_named(path, form):
        size = _measured(path, form, data, max_pixels)
        if form in further.FORMS:
            raster = further.decode(path, form, data, max_pixels)
        else:
            raster = decoder(path, data, form, max_pixels)
        if raster.pixels.shape[:2] != (size.height, size.width):
            raise ValueError(f"{size.width}x{size.height} in its header, else in its pixels")
        if form not in further.FORMS:
            raster = replace(raster, noise=noise_of(form, data), description=describe(form, data))
        return replace(raster, notes=(*_misnamed(path, form), *raster.notes))


def _misnamed(path: Path | Blob, form: str) -> tuple[str, ...]:
    """A note on a name that promises another format."""
    suffix = path.suffix.lower() if isinstance(path, Path) else ""
    if form in SUFFIXES.get(suffix, (form,)):
        return ()
    return (f"it is {form}, though its name ends in {suffix}",)


def read_size(path: Path | Blob, max_pixels: int) -> Size:
    """The size of an image file, by its header; nothing is decoded.

    Raises:
        ImageFileError: As `decode` does, as far as that shows without decoding.
    """
    data = read_file(path, max_pixels)
    form = identify(path, data[: mistaken.HEAD])
    with _damage_named(path, form):
        return _measured(path, form, data, max_pixels)


def _measured(path: Path | Blob, form: str, data: bytes, max_pixels: int) -> Size:
    if form == "TIFF":
        return tiff_reading.read_layout(path, data, max_pixels).size
    if form in further.FORMS:
        return further.size_of(path, form, data, max_pixels)
    return inspect(path, form, data, max_pixels)


@contextmanager
def _damage_named(path: Path | Blob, form: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an ImageFileError."""
    try:
        yield
    except (ImageFileError, MemoryError):
        raise
    except Exception as error:  # the decoders' own error types are many and undocumented
        raise ImageFileError(
            f"{path} must be a complete {form} file; it is damaged or truncated "
            f"({brief(error, 100)}). Copy or export it again."
        ) from error


def _decode_with_pillow(path: Path | Blob, data: bytes, form: str, max_pixels: int) -> Raster:
    image: Any
    if form == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        image = JpegImageFile(BytesIO(data))
    elif form == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        image = PngImageFile(BytesIO(data))
    else:
        from PIL.WebPImagePlugin import WebPImageFile

        image = WebPImageFile(BytesIO(data))
    check_size(path, image.width, image.height, max_pixels)
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"it holds {image.n_frames} frames; the first is used")
    image.load()  # a PNG's eXIf chunk may come after the pixels
    structure = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    icc = image.info.get("icc_profile") or b""
    converted = plain_mode(path, image, notes, icc)
    icc = icc if image.mode != "CMYK" else b""
    pixels = np.array(converted)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    orientation = exif.orientation(structure)
    return Raster(
        pixels,
        converted.mode,
        without_orientation(structure, notes),
        icc,
        orientation,
        tuple(notes),
        form,
        palette=image.mode == "P",
    )


def _png_exif(data: bytes) -> bytes:
    """The content of the eXIf chunk, before or after the pixels (PNG, third edition, 11.3.3.4)."""
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"eXIf":
            return data[at + 8 : at + 8 + length]
        at += 12 + length
    return b""


def _decode_png(path: Path | Blob, data: bytes, form: str, max_pixels: int) -> Raster:
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    depth, colour_type = data[24], data[25]
    if depth != 16:
        return _decode_with_pillow(path, data, form, max_pixels)
    check_size(path, width, height, max_pixels)
    from imagecodecs import png_decode
    from PIL.PngImagePlugin import PngImageFile

    info = PngImageFile(BytesIO(data)).info
    pixels: NDArray[np.uint16] = png_decode(data)
    pixels = pixels.reshape(height, width, -1)
    channels = {0: "L", 2: "RGB", 4: "LA", 6: "RGBA"}[colour_type]
    notes: list[str] = []
    if "transparency" in info and colour_type in (0, 2) and pixels.shape[2] == len(channels):
        opaque = np.any(pixels != np.asarray(info["transparency"]), axis=2, keepdims=True)
        pixels = np.concatenate([pixels, np.where(opaque, 65535, 0).astype(np.uint16)], axis=2)
        notes.append("its transparent colour is converted to an alpha channel")
    structure = _png_exif(data).removeprefix(b"Exif\0\0")
    return Raster(
        pixels,
        {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]],
        without_orientation(structure, notes),
        info.get("icc_profile") or b"",
        exif.orientation(structure),
        tuple(notes),
        form,
    )


def _decode_tiff(path: Path | Blob, data: bytes, form: str, max_pixels: int) -> Raster:
    layout = tiff_reading.read_layout(path, data, max_pixels)
    notes: list[str] = []
    if layout.pages > 1:
        notes.append(f"it holds {layout.pages} pages; the first is used")
    kept = _tiff_channels(layout, notes)
    pixels = tiff_reading.read_pixels(data, layout, kept)
    if layout.photometric == tiff_reading.WHITE_IS_0:
        pixels = inverted(pixels)
    if layout.colours is not None:
        notes.append("its palette colours are converted to RGB")
        indices = pixels[..., 0] if layout.bits > 1 else pixels[..., 0] // 255
        pixels = (layout.colours.T[indices] >> 8).astype(np.uint8)
    inks = layout.photometric == tiff_reading.CMYK
    has_alpha = len(kept) == (5 if inks else 4) or len(kept) == 2
    if has_alpha and layout.extra[kept[-1] - len(kept) + 1] == 1:
        pixels = straightened(pixels, notes)
    if inks:
        colours = without_ink(path, pixels[..., :4], layout.icc, notes)
        pixels = np.concatenate([colours, pixels[..., 4:]], axis=2)
    channels = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    structure = b""
    try:
        structure = exif.from_tiff(data)
    except ValueError as error:
        notes.append(f"its descriptive tags cannot be carried over ({error})")
    palette = layout.colours is not None
    return Raster(
        pixels,
        channels,
        structure,
        b"" if inks else layout.icc,
        layout.orientation,
        tuple(notes),
        form,
        palette,
    )


def _tiff_channels(layout: tiff_reading.Layout, notes: list[str]) -> list[int]:
    """Which samples of a TIFF are its colours and its alpha."""
    colours = {tiff_reading.RGB: 3, tiff_reading.YCBCR: 3, tiff_reading.CMYK: 4}.get(
        layout.photometric, 1
    )
    count = layout.samples - colours
    if count < 0:
        raise ValueError(f"it has {layout.samples} values a pixel for {colours} colours")
    if layout.photometric == tiff_reading.PALETTE and count:
        raise ValueError(f"it has {layout.samples} values a pixel for a palette")
    # TIFF 6.0, ExtraSamples: 1 is alpha that colours are multiplied by, 2 straight alpha; 0, or no
    # entry, may be anything.
    meanings = layout.extra[:count]
    alphas = [colours + at for at, meaning in enumerate(meanings) if meaning in (1, 2)][:1]
    if count > len(alphas):
        notes.append(
            f"it has {count - len(alphas)} extra channel(s) not marked as its alpha, which are "
            "dropped"
        )
    return [*range(colours), *alphas]
