"""Formats that are read beside JPEG, PNG, TIFF and WebP: HEIC, AVIF, GIF, BMP, and studios'.

Phones and the web bring them. Pillow reads AVIF of 8 bits, GIF and BMP; imagecodecs AVIF of 10 and
12 bits, which Pillow cuts to 8; pillow-heif HEIC, an extra of its own because its wheels hold
libraries of other licences.
"""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images import exif, exr, jpegxl, psd
from harmonizer.images.code_points import UNSPECIFIED, Stated, by_code
from harmonizer.images.containers import iso_boxes
from harmonizer.images.describing import Description, with_clean_xmp
from harmonizer.images.inspection import Size
from harmonizer.images.lossy import UNKNOWN_NOISE
from harmonizer.images.raster import Raster, plain_mode, without_orientation
from harmonizer.limits import MAX_METADATA, check_size

_MODULES: dict[str, Any] = {module.FORM: module for module in (jpegxl, exr, psd)}

FORMS = frozenset({"HEIC", "AVIF", "GIF", "BMP", *_MODULES})

_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}
"""Brands of ISO/IEC 23008-12, B.4, and of AVIF, 1.2."""

_COMMON_BRANDS = (b"mif1", b"msf1", b"miaf")
"""Of either: which, the compatible brands say."""

_PIXELS = b"mdat"


def form_of(head: bytes) -> str:
    """The format of a file by its first bytes, one of `FORMS`; else empty."""
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4]), len(head))
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
        if brands[0] in _COMMON_BRANDS or brands[0] in _BRANDS:
            return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), "")
        return ""
    for form, module in _MODULES.items():
        if module.is_one(head):
            return form
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    # A BMP's header says its own length next; text may begin with its two letters.
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (
        12,
        40,
        52,
        56,
        64,
        108,
        124,
    ):
        return "BMP"
    return ""


def size_of(path: object, form: str, data: bytes, max_pixels: int) -> Size:
    """Look through a file; its size, by its header.

    Raises:
        ImageFileError: If it has more pixels than it may, or what reads it is not installed.
        ValueError: If it is damaged, or has too much metadata.
    """
    if form in _MODULES:
        size: Size = _MODULES[form].size_of(path, data, max_pixels)
        return size
    if form in ("HEIC", "AVIF"):
        _check_boxes(data)
    image = _open(form, data)
    width, height = image.size
    check_size(path, width, height, max_pixels)
    return Size(width, height)


def decode(path: object, form: str, data: bytes, max_pixels: int) -> Raster:
    """Read a file whose `size_of` was in order.

    Raises:
        ImageFileError: If its colours would have to be guessed.
        Exception: Whatever its library raises for a damaged file.
    """
    if form in _MODULES:
        raster: Raster = _MODULES[form].decode(path, data, max_pixels)
        return raster
    image = _open(form, data)
    width, height = image.size
    check_size(path, width, height, max_pixels)
    if form == "HEIC":
        return _decode_heic(path, image)
    notes: list[str] = []
    if getattr(image, "is_animated", False):
        notes.append("it is animated; the first frame is used")
    image.load()
    structure = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    converted = plain_mode(path, image, notes)
    pixels: NDArray[Any] = np.array(converted)
    deep = _deep_avif(data) if form == "AVIF" else None
    if deep is not None:
        pixels = deep
    return Raster(
        pixels if pixels.ndim == 3 else pixels[..., None],
        converted.mode,
        without_orientation(structure, notes),
        image.info.get("icc_profile") or b"",
        exif.orientation(structure),
        tuple(notes),
        form,
        palette=image.mode == "P",
        noise=UNKNOWN_NOISE if form == "AVIF" else 0.0,
        description=_described(
            Description(_resolution(image), _xmp(image.info)),
            _avif_colours(data) if form == "AVIF" and not image.info.get("icc_profile") else None,
        ),
    )


def _open(form: str, data: bytes) -> Any:
    if form == "HEIC":
        try:
            from pillow_heif import open_heif
        except ImportError as error:
            raise ImageFileError(
                f"HEIC files need pillow-heif, which cannot be imported ({error}). Install it: "
                'pip install "harmonizer[heif]"; or export the picture as JPEG.'
            ) from error
        return open_heif(BytesIO(data), convert_hdr_to_8bit=False, bgr_mode=False)
    if form == "AVIF":
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile(BytesIO(data))
    if form == "GIF":
        from PIL.GifImagePlugin import GifImageFile

        return GifImageFile(BytesIO(data))
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(BytesIO(data))


def _decode_heic(path: object, file: Any) -> Raster:
    """The primary picture; libheif has turned it already."""
    notes = []
    if len(file) > 1:
        notes.append(f"it holds {len(file)} pictures; the primary one is used")
    info = file.info
    if any("gainmap" in kind for kind in info.get("aux", {})):
        notes.append("its gain map for bright screens is not carried over")
    mode = file.mode.split(";")[0]
    if mode not in ("L", "LA", "RGB", "RGBA"):
        raise ImageFileError(f"{path} must be RGB or greyscale; it is {mode}. Convert it to RGB.")
    if getattr(file, "premultiplied_alpha", False):
        raise ImageFileError(
            f"{path} must have straight alpha; its colours are multiplied by it. Export it again "
            "with straight alpha, such as PNG."
        )
    pixels = np.asarray(file)
    depth = info["bit_depth"]
    if depth > 8:  # in the upper bits of 16
        pixels = _widened(pixels >> (16 - depth), depth)
    structure = (info.get("exif") or b"").removeprefix(b"Exif\0\0")
    icc, code = info.get("icc_profile") or b"", info.get("nclx_profile") or {}
    stated = by_code(
        code.get("color_primaries", UNSPECIFIED),
        code.get("transfer_characteristics", UNSPECIFIED),
        "nclx",
    )
    return Raster(
        np.array(pixels if pixels.ndim == 3 else pixels[..., None]),
        mode,
        without_orientation(structure, notes),
        icc,
        1,
        tuple(notes),
        "HEIC",
        noise=UNKNOWN_NOISE,
        description=_described(Description(None, _xmp(info)), None if icc else stated),
    )


def _described(description: Description, stated: Stated | None) -> Description:
    if stated is not None:
        description = replace(description, colours=stated.name, profile=stated.profile)
    return with_clean_xmp(description)


def _avif_colours(data: bytes) -> Stated | None:
    """By its first box of code points (ISO/IEC 14496-12, 12.1.5)."""
    at = data.find(b"colrnclx") + 8
    if at < 8 or at + 4 > len(data):
        return None
    return by_code(int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4]), "nclx")


def _deep_avif(data: bytes) -> NDArray[np.uint16] | None:
    """The pixels of an AVIF file of more than 8 bits; None for one of 8."""
    from imagecodecs import avif_decode

    at = data.find(b"pixi")  # its bits a channel: ISO/IEC 23008-12, 6.5.6
    depth = data[at + 9] if at >= 0 and at + 9 < len(data) else 8
    if depth <= 8:
        return None
    return _widened(avif_decode(data), depth)


def _widened(values: NDArray[np.uint16], depth: int) -> NDArray[np.uint16]:
    """Values of some bits spread over 16, rounded."""
    most = (1 << depth) - 1
    wide: NDArray[np.uint16] = (np.arange(most + 1) * 65535 / most + 0.5).astype(np.uint16)[values]
    return wide


def _xmp(info: dict[str, Any]) -> bytes:
    packet = info.get("xmp") or b""
    return packet if isinstance(packet, bytes) else packet.encode()


def _resolution(image: Any) -> tuple[float, float] | None:
    across, down = image.info.get("dpi", (0, 0))
    return (float(across), float(down)) if across > 0 and down > 0 else None


def _check_boxes(data: bytes) -> None:
    """Boxes must lead from one to the next, to the end."""
    boxes = iso_boxes(data)
    metadata = sum(end - begin for kind, begin, end in boxes if kind != _PIXELS)
    if metadata > MAX_METADATA:
        raise ValueError(f"it has {metadata:,} bytes beside its pixels, {MAX_METADATA:,} allowed")
