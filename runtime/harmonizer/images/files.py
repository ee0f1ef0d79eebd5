"""Image files in and out: photographs with their metadata, and masks.

Nothing is lost or converted in silence: what was done is in ``Photo.notes``. Filters run on the
encoded (display-referred) values; `harmonizer.images.colour` has the way to sRGB's and back.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError, printable
from harmonizer.images.colour import Colours, colours_of
from harmonizer.images.describing import NOTHING, Description, other_colours
from harmonizer.images.exif import resolution as exif_resolution
from harmonizer.images.exif import upright
from harmonizer.images.fitting import Fit, scaled
from harmonizer.images.light import SRGB_LIGHT, Light, light_of, linear_profile
from harmonizer.images.mask_reading import check_brightness, read_mask, whole_numbers
from harmonizer.images.memory import Place, Sink, Source, source_of
from harmonizer.limits import MAX_PIXELS as MAX_PIXELS
from harmonizer.masks import Levels, full_value, inverted
from harmonizer.storage import write_atomically

if TYPE_CHECKING:
    from harmonizer.images.encoding import Quality

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".avif": "AVIF",
    ".jxl": "JPEG XL",
    ".exr": "OpenEXR",
}
"""The format that a file name's suffix asks for when writing."""

READ_SUFFIXES = (*FORMATS, ".heic", ".heif", ".gif", ".bmp", ".psd", ".psb")
"""Suffixes of files that are looked for when reading; what they hold, their content says."""

DEEP_FORMATS = frozenset({"PNG", "TIFF", "JPEG XL"})
"""Formats that hold 16 bits a channel."""

FLOAT_FORMATS = frozenset({"TIFF", "OpenEXR"})
"""Formats that hold floats."""

EXTRA_FORMATS = frozenset({"JPEG XL", "OpenEXR"})
"""Formats that need the extra harmonizer[formats]."""

ALPHA_FORMATS = frozenset({"PNG", "TIFF", "WebP", "AVIF", "JPEG XL", "OpenEXR"})
"""Formats that hold an alpha channel."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph as the pipeline takes it, with what its file said beside the pixels.

    Attributes:
        pixels: (H, W, 3) RGB, uint8 or uint16, upright, writable; float32 with `colours` that say
            what they are.
        alpha: (H, W) of the same dtype, or None.
        exif: EXIF structure (without prefix), its orientation reset to 1; may be empty.
        icc: ICC profile; may be empty.
        notes: Conversions done on reading, one sentence each.
        stored_size: (height, width) before the EXIF orientation was applied.
        form: The file's format, such as "PNG"; empty if it came from no file.
        orientation: 1 to 8, the EXIF orientation that was applied.
        description: Resolution and XMP, for the upright picture.
        colours: What `pixels` are to be converted from for the filters; None if they are sRGB's, or
            are to be taken for such.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    exif: bytes = b""
    icc: bytes = b""
    notes: tuple[str, ...] = ()
    stored_size: tuple[int, int] = field(default=(0, 0))
    form: str = ""
    orientation: int = 1
    description: Description = NOTHING
    colours: Colours | Light | None = None

    def in_srgb(self) -> Pixels:
        """The pixels in sRGB's colours, in their own depth; converted floats in 16 bits."""
        if self.colours is None:
            return self.pixels
        depth = 8 if self.pixels.dtype == np.uint8 else 16
        return to_depth(self.colours.to_srgb(self.pixels), depth)


def load_photo(
    path: Source, max_pixels: int = MAX_PIXELS, colour_management: bool = False
) -> Photo:
    """Read a photograph of any format that is read, by its content.

    The EXIF orientation is applied. Greyscale and palette images become RGB, and the notes say so,
    as they do of what is not carried over.

    Args:
        path: Image file, its bytes, or a Pillow image.
        max_pixels: Limit.
        colour_management: The caller converts the pixels from `Photo.colours` for the filters;
            otherwise the notes say that they are not sRGB's.

    Raises:
        ImageFileError: As `decoding.decode` does, or if it holds floats and the caller
            does not convert them.
    """
    from harmonizer.images.decoding import decode

    source = source_of(path, "the image")
    raster = decode(source, max_pixels)
    floats = raster.pixels.dtype == np.float32
    if floats and not colour_management:
        raise ImageFileError(
            f"{source} must have 8 or 16 bits a channel here; it has floats, which are light and "
            "are converted for the filters. Leave `colour_management` on, or export it as PNG."
        )
    pixels, notes, icc = upright(raster.pixels, raster.orientation), list(raster.notes), raster.icc
    colours = pixels[..., :-1] if raster.channels.endswith("A") else pixels
    if colours.shape[2] == 1:
        colours = np.repeat(colours, 3, axis=2)
        notes.append("it is greyscale and is converted to RGB")
    if icc and icc[16:20] != b"RGB ":
        kind = printable(icc[16:20].decode("ascii", "replace"), 4)
        notes.append(f"its ICC profile is for {kind or 'unknown'} colours, not RGB, and is dropped")
        icc = b""
    alpha = np.ascontiguousarray(pixels[..., -1]) if raster.channels.endswith("A") else None
    size = (raster.pixels.shape[0], raster.pixels.shape[1])
    description = raster.description
    if description.resolution is None:
        description = replace(description, resolution=exif_resolution(raster.exif))
    if raster.orientation in (5, 6, 7, 8):
        description = description.turned()
    other = other_colours(icc, raster.exif, description)
    adobe = bool(other) and not description.colours
    own: Colours | Light | None = None
    if colour_management and description.profile and (description.chunks or not icc):
        own = Colours(description.profile, description.colours)
    elif colour_management and not description.chunks:
        own = colours_of(icc, adobe)
    if floats:
        own = light_of(icc, description.chromaticities)
    if other and own is None:
        notes.append(
            f"its colours are {other}, not sRGB's, for which the network was trained and the "
            "filters are meant; they are carried over as they are: look at the result, or convert "
            "the picture to sRGB first"
        )
    notes += description.notes
    return Photo(
        np.ascontiguousarray(colours),
        alpha,
        raster.exif,
        icc,
        tuple(notes),
        size,
        raster.form,
        raster.orientation,
        description,
        own,
    )


def load_mask(
    path: Source,
    max_pixels: int = MAX_PIXELS,
    levels: Levels | None = None,
    may_be_faint: bool = False,
) -> tuple[Pixels, tuple[str, ...]]:
    """Read a mask file: white is foreground, values between are soft.

    A file with an alpha channel that is not opaque everywhere gives its alpha; otherwise the
    largest of its colour channels counts, which for grey is the grey value. What lossy compression
    left where the mask was black or white is taken off, unless levels are given.

    Args:
        path: Image file.
        max_pixels: Limit.
        levels: What is black and white, in the file's own values; None for 0 and the largest value
            of its type.
        may_be_faint: Without levels, accept a mask that comes nowhere near white.

    Returns:
        (H, W) uint8 or uint16, upright, and notes on what was done.

    Raises:
        ImageFileError: As `decoding.decode` does, or if the file holds labels where
            a mask has black and white: nothing as bright as half of white, or a palette of colours
            none of which is bright.
        MaskError: If the levels are beyond the file's type.
    """
    mask, notes, _ = read_mask(path, max_pixels, levels, may_be_faint)
    return mask, notes


def load_pair(
    composite: Source,
    mask: Source | None,
    max_pixels: int = MAX_PIXELS,
    fit_mask: bool = False,
    levels: Levels | None = None,
    colour_management: bool = False,
    invert_mask: bool = False,
) -> tuple[Photo, Pixels, tuple[str, ...]]:
    """Read a composite and its mask; without a mask file the composite's alpha is the mask.

    Args:
        composite: Image file, its bytes, or a Pillow image.
        mask: The same of a mask, or None.
        max_pixels: Limit for either.
        fit_mask: Scale a mask of another size to the composite's.
        levels: What is black and white in the mask; see `load_mask`.
        colour_management: As `load_photo` has it.
        invert_mask: What is black in the mask is the foreground.

    Returns:
        The photo, the mask (H, W), and all notes, each naming its file.

    Raises:
        ImageFileError: If a file cannot be read, there is no mask, its values are labels, or the
            sizes differ.
        MaskError: If the levels are beyond the mask's type.
    """
    composite = source_of(composite, "the composite")
    mask = None if mask is None else source_of(mask, "the mask")
    photo = load_photo(composite, max_pixels, colour_management)
    notes = [f"{composite}: {note}" for note in photo.notes]
    if mask is None:
        if photo.alpha is None:
            raise ImageFileError(
                f"{composite} must have an alpha channel when no mask is given; it has none. "
                "Name a mask file."
            )
        values = whole_numbers(composite, photo.alpha)
        if values.min() == full_value(values.dtype):
            raise ImageFileError(
                f"{composite} must have an alpha channel that marks the foreground when no mask "
                "is given; its alpha is opaque everywhere. Name a mask file."
            )
        said = f"{composite}: its alpha channel is the mask"
        if levels is None:
            check_brightness(composite, values)
        else:
            values = levels.apply(values)
        return photo, inverted(values) if invert_mask else values, (*notes, said)
    values, mask_notes, orientation = read_mask(mask, max_pixels, levels, False)
    if invert_mask:
        values = inverted(values)
    notes += [f"{mask}: {note}" for note in mask_notes]
    size = photo.pixels.shape[0], photo.pixels.shape[1]
    fit = Fit(str(mask), (values.shape[0], values.shape[1]), "composite", size, photo.stored_size)
    if refusal := fit.refusal(fit_mask):
        raise ImageFileError(refusal)
    if fit.size != size:
        values = scaled(values, *size)
        notes.append(fit.note())
    elif photo.orientation != 1 and (doubt := fit.doubt(orientation != 1)):
        notes.append(doubt)
    return photo, values, tuple(notes)


def output_format(path: str | Path | Sink) -> str:
    """The format that an output file's name asks for.

    Raises:
        ImageFileError: If the suffix is none of the supported ones.
    """
    suffix = (path if isinstance(path, Sink) else Path(path)).suffix.lower()
    if suffix not in FORMATS:
        raise ImageFileError(
            f"{path} must end in one of {', '.join(FORMATS)}; "
            f"{f'it ends in {suffix}' if suffix else 'it has no suffix'}. Rename the output."
        )
    return FORMATS[suffix]


def check_depth(
    path: str | Path | Sink, dtype: np.dtype[np.uint8 | np.uint16 | np.float32]
) -> None:
    """Refuse pixels for a format of fewer bits, floats for one of integers, and these for OpenEXR.

    Raises:
        ImageFileError: If the format that the name asks for does not hold them.
    """
    form = output_format(path)
    if dtype == np.float32 and form not in FLOAT_FORMATS:
        raise ImageFileError(
            f"{path}: {form} holds no floats, as the pixels are. Write .exr or .tif, or pass "
            "`depth=16` for sRGB-encoded values."
        )
    if dtype != np.float32 and form == "OpenEXR":
        raise ImageFileError(
            f"{path}: OpenEXR holds scene-linear light in floats; the pixels have "
            f"{8 * dtype.itemsize} bits of encoded colours. Write .png or .tif."
        )
    if dtype == np.uint16 and form not in DEEP_FORMATS:
        raise ImageFileError(
            f"{path}: {form} holds 8 bits a channel; the pixels have 16. Write .png or .tif, or "
            "pass `depth=8` to round them."
        )


def to_depth(pixels: Pixels, depth: int) -> Pixels:
    """Change 8-bit to 16-bit values (times 257, exact) or back (rounded), or floats in [0, 1]."""
    if pixels.dtype == np.float32:
        full, kind = (255, np.uint8) if depth == 8 else (65535, np.uint16)
        rounded: Pixels = np.floor(np.clip(pixels, 0, 1) * full + 0.5).astype(kind)
        return rounded
    if pixels.dtype == (np.uint8 if depth == 8 else np.uint16):
        return pixels
    if depth == 16:
        return pixels.astype(np.uint16) * np.uint16(257)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def save_photo(
    path: str | Path | Sink,
    pixels: Pixels,
    like: Photo | None = None,
    alpha: Pixels | None = None,
    quality: "Quality | None" = None,
) -> tuple[str, ...]:
    """Write an image file atomically; the suffix names the format.

    Args:
        path: Output, ending in one of `FORMATS`; a `Sink` takes the bytes.
        pixels: (H, W, 3) RGB, uint8, or uint16 for PNG, TIFF and JPEG XL, or float32 for TIFF and
            OpenEXR.
        like: Where EXIF, ICC, XMP and resolution come from.
        alpha: (H, W) of the pixels' dtype; dropped, with a note, where the format has none.
        quality: Settings of JPEG, WebP, AVIF and JPEG XL; None for 95, 4:4:4.

    Returns:
        Notes on what the format could not hold.

    Raises:
        TypeError: If the pixels are neither uint8, uint16 nor float32.
        ValueError: If the pixels are not (H, W, 3).
        ImageFileError: If the suffix is unknown, the format cannot hold the pixels, or they cannot
            be encoded.
        StorageError: If the file cannot be written.
    """
    from harmonizer.images.describing import JPEG_XMP_LIMIT
    from harmonizer.images.encoding import JPEG_EXIF_LIMIT, Quality, encode

    if pixels.dtype not in (np.uint8, np.uint16, np.float32):
        raise TypeError(
            f"`pixels` must be uint8, uint16 or float32; got {pixels.dtype}. Convert them first."
        )
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"`pixels` must have shape (H, W, 3); got {pixels.shape}.")
    form = output_format(path)
    check_depth(path, pixels.dtype)
    notes = []
    exif, icc = (like.exif, like.icc) if like is not None else (b"", b"")
    if alpha is not None and form in ALPHA_FORMATS:
        fitting = alpha if alpha.dtype == pixels.dtype else to_depth(alpha, 8 * pixels.itemsize)
        pixels = np.dstack([pixels, fitting])
    elif alpha is not None:
        notes.append(f"{path}: {form} holds no alpha channel; it is dropped")
    if form == "JPEG" and len(exif) > JPEG_EXIF_LIMIT:
        notes.append(f"{path}: its EXIF data has {len(exif)} bytes, too many for JPEG; left out")
        exif = b""
    description = like.description if like is not None else NOTHING
    if form != "PNG" and description.profile and (description.chunks or not icc):
        icc = description.profile
    elif description.chunks and form == "PNG":
        icc = b""  # the chunks say it
    elif description.colours and not description.profile:
        notes.append(
            f"{path}: {form} is not told that its colours are of {description.colours}; others "
            "will show it as sRGB"
        )
    if form == "JPEG" and len(description.xmp) > JPEG_XMP_LIMIT:
        notes.append(
            f"{path}: its XMP data has {len(description.xmp)} bytes, too many for JPEG; left out"
        )
        description = replace(description, xmp=b"")
    if form == "TIFF" and like is not None and like.form == "OpenEXR" and not icc:
        icc = linear_profile(description.chromaticities or SRGB_LIGHT)
    in_exif = form in ("WebP", "AVIF", "JPEG XL")
    if in_exif and exif and description.resolution and not exif_resolution(exif):
        notes.append(f"{path}: its EXIF data states no resolution, and {form} holds none beside it")
    data = encode(form, pixels, exif, icc, quality or Quality(), description)
    if isinstance(path, Sink):
        path.data = data
    else:
        write_atomically(path, data)
    return tuple(notes)


def copy_atomically(source: Source, path: Place, max_pixels: int = MAX_PIXELS) -> None:
    """Copy an image file's bytes as `write_atomically` writes them.

    Raises:
        ImageFileError: If the one cannot be read.
        StorageError: If the other cannot be written.
    """
    from harmonizer.images.decoding import read_file

    data = read_file(source_of(source, "the image"), max_pixels)
    if isinstance(path, Sink):
        path.data = data
    else:
        write_atomically(path, data)
