"""A composite and its mask from files, as arrays, and the way back into a file."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harmonizer.errors import ImageFileError
from harmonizer.images.cutouts import Placing, load_placed
from harmonizer.images.encoding import Quality
from harmonizer.images.files import (
    ALPHA_FORMATS,
    FORMATS,
    MAX_PIXELS,
    Photo,
    Pixels,
    load_pair,
    output_format,
    save_photo,
    to_depth,
)
from harmonizer.images.light import Light
from harmonizer.images.memory import Blob, Place, Sink, Source, source_of
from harmonizer.masks import Levels, levels_of


@dataclass(frozen=True, slots=True)
class FileOptions:
    """How files are read and written.

    Attributes:
        max_pixels: Larger images are refused.
        fit_mask: Scale a mask of another size.
        depth: 8 or 16 bits a channel in the output; None for the composite's.
        quality: Settings of JPEG and WebP; None for the default ones.
        mask_levels: What is black and white in masks; None for 0 and the largest value.
        colour_management: Convert colours other than sRGB's for the filters, and back.
        placing: What the composites are cut-outs for; None if they are composites.
        keep: Where the composite and the mask that were made of a cut-out are written, too.
        invert_mask: What is black in masks is the foreground.

    Raises:
        TypeError: If the quality is no `Quality`, or the placing no `Placing`.
        ImageFileError: If the depth is another.
    """

    max_pixels: int = MAX_PIXELS
    fit_mask: bool = False
    depth: int | None = None
    quality: Quality | None = None
    mask_levels: Levels | None = None
    colour_management: bool = True
    placing: Placing | None = None
    keep: tuple[Path | None, Path | None] = (None, None)
    invert_mask: bool = False

    def __post_init__(self) -> None:
        if self.depth not in (None, 8, 16):
            raise ImageFileError(
                f"`depth` must be 8 or 16 bits a channel, or None; got {self.depth!r}."
            )
        _check_quality(self.quality)
        if not isinstance(self.placing, Placing | None):
            raise TypeError(
                f"`placing` must be a harmonizer.Placing, or None; got {self.placing!r:.80}. Pass "
                "Placing(background)."
            )


@dataclass(frozen=True, slots=True)
class Saved:
    """What `Picture.save` did.

    Attributes:
        notes: What the format could not hold, one sentence each.
        data: The file's bytes, where it was written to memory.
    """

    notes: tuple[str, ...]
    data: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A composite and its mask, ready for a `Harmonizer`, and what a file of it needs.

    Attributes:
        image: (H, W, 3) RGB, upright, sRGB-encoded: uint8, uint16, or float32 in [0, 1] where the
            file holds floats. Colours of another space are converted, values beyond sRGB's are
            clipped here and come back in `save`.
        mask: (H, W) uint8 or uint16; its largest value is the foreground.
        notes: Conversions, one sentence each.
        photo: The composite in its own colours, with what its file said.
        name: What messages call it.
        options: How it was read.
        has_mask: The mask is not the composite's alpha.
    """

    image: Pixels
    mask: Pixels
    notes: tuple[str, ...]
    photo: Photo
    name: str
    options: FileOptions
    has_mask: bool

    def save(
        self,
        drawn: Pixels,
        output: str | Path | None = None,
        *,
        form: str = "PNG",
        quality: Quality | None = None,
    ) -> Saved:
        """Write what `image` became, with all that belongs to the composite's file.

        Colours go back to the file's own: where nothing was drawn its pixels are the same, bit for
        bit, in a format that loses nothing. EXIF, XMP, resolution, profile and alpha go along.

        Args:
            drawn: `image` as a `Harmonizer` drew it: the same shape and dtype.
            output: Path to write, whose suffix names the format; None to get the bytes.
            form: Without `output`, the format: JPEG, PNG, TIFF, WebP, AVIF, JPEG XL or OpenEXR, or
                its suffix.
            quality: Settings of the lossy formats; None for 95, 4:4:4.

        Raises:
            TypeError, ValueError: If `drawn` has another dtype or shape.
            TypeError: If the quality is no `Quality`, or the output no path.
            ImageFileError: If the format is unknown, or cannot hold the pixels.
            StorageError: If the file cannot be written.
        """
        place = place_of(output, form)
        _check_quality(quality)
        if not isinstance(drawn, np.ndarray) or drawn.dtype != self.image.dtype:
            kind = getattr(drawn, "dtype", type(drawn).__name__)
            raise TypeError(
                f"`drawn` must be an array of {self.image.dtype}, as the picture's `image` is; got "
                f"{kind}. Pass what the Harmonizer returned."
            )
        if drawn.shape != self.image.shape:
            raise ValueError(
                f"`drawn` must have the shape of the picture's `image`, {self.image.shape}; got "
                f"{drawn.shape}. Pass what the Harmonizer returned."
            )
        photo, notes = self.finish(drawn, place)
        notes += save_photo(place, photo.pixels, photo, self.alpha_for(place), quality)
        return Saved(notes, place.data if isinstance(place, Sink) else b"")

    def finish(self, drawn: Pixels, output: Place) -> tuple[Photo, tuple[str, ...]]:
        """What `image` became, in the colours and depth of the output; and notes.

        Raises:
            ImageFileError: If a profile cannot be used.
        """
        photo, depth, notes = self.photo, self.options.depth, tuple[str, ...]()
        if photo.pixels.dtype == np.float32 and depth:
            said = f"{output}: its floats are written as sRGB, {depth} bits; what lies beyond is"
            notes += (f"{said} clipped",)
            photo = replace(photo, icc=b"")
        elif (colours := photo.colours) is not None:
            drawn = colours.back(drawn, photo.pixels)
            if isinstance(colours, Light) and photo.icc and output_format(output) == "OpenEXR":
                drawn = colours.linear(drawn)
                notes += (f"{output}: its floats are converted to scene-linear light",)
        return replace(photo, pixels=to_depth(drawn, depth) if depth else drawn), notes

    def alpha_for(self, output: Place) -> Pixels | None:
        """The alpha to write; an alpha that only served as mask is dropped without a note."""
        if not self.has_mask and output_format(output) not in ALPHA_FORMATS:
            return None
        return self.photo.alpha


def open_picture(composite: Source, mask: Source | None, options: FileOptions) -> Picture:
    """Read a composite and its mask, or make them of a cut-out and its background.

    Args:
        composite: Image file, its bytes, or a Pillow image; a cut-out, if the options have a
            background for it.
        mask: The same of a mask; None if the composite's alpha is the mask.
        options: How files are read.

    Raises:
        ImageFileError: If a file cannot be read, or the mask does not fit.
        MaskError: If the mask levels are beyond the mask's type.
        PlacementError: If a cut-out cannot be placed.
    """
    composite = source_of(composite, "the composite")
    mask = None if mask is None else source_of(mask, "the mask")
    how = (
        options.max_pixels,
        options.fit_mask,
        options.mask_levels,
        options.colour_management,
        options.invert_mask,
    )
    own: Path | Blob = composite  # the file whose colours and depth the composite has
    if options.placing is None:
        photo, values, notes = load_pair(composite, mask, *how)
    else:
        own = source_of(options.placing.background, "the background")
        placing = replace(options.placing, background=own)
        photo, values, notes = load_placed(composite, mask, placing, *how)
    if photo.pixels.dtype == np.uint8 and options.depth == 16:
        photo = replace(photo, pixels=to_depth(photo.pixels, 16))
        notes += (f"{own}: its 8-bit values are widened to 16 bits",)
    image = photo.pixels
    if (colours := photo.colours) is not None:
        try:
            image = colours.to_srgb(image)
            notes += (f"{own}: {colours.say(photo.pixels)}",)
        except ImageFileError as error:
            raise ImageFileError(f"{own}: {error}") from error
    return Picture(image, values, notes, photo, str(composite), options, mask is not None)


def open(
    composite: Source,
    mask: Source | None = None,
    *,
    placing: Placing | None = None,
    mask_levels: tuple[float, float] | None = None,
    invert_mask: bool = False,
    fit_mask: bool = False,
    depth: int | None = None,
    colour_management: bool = True,
    max_pixels: int = MAX_PIXELS,
) -> Picture:
    """Read a composite and its mask for a `Harmonizer`; `Picture.save` writes what it drew.

    Args:
        composite: Path, bytes of an image file, or a Pillow image; with `placing`, a cut-out.
        mask: The same; None if the composite's alpha channel is the mask.
        placing: The background of a cut-out, and where it goes.
        mask_levels: What is black and white in the mask; None for 0 and its type's largest value.
        invert_mask: What is black in the mask is the foreground.
        fit_mask: Scale a mask of another size.
        depth: 8 or 16 bits a channel to save; 8-bit values are widened to 16 before anything is
            drawn. None for the composite's.
        colour_management: Convert colours other than sRGB's, and back in `save`.
        max_pixels: Larger images are refused before they are decoded.

    Raises:
        TypeError: If composite, mask or placing are none of these, or the mask levels are not two
            numbers.
        ImageFileError: If a file cannot be read, or the mask does not fit.
        MaskError, PlacementError: As `Harmonizer.harmonize_file` has them.
    """
    levels = levels_of(mask_levels)
    options = FileOptions(
        max_pixels,
        fit_mask,
        depth,
        None,
        levels,
        colour_management,
        placing,
        invert_mask=invert_mask,
    )
    return open_picture(composite, mask, options)


def place_of(output: str | Path | None, form: str) -> Place:
    """Where an output goes: a path, or without one memory, in the format of that name or suffix.

    Raises:
        TypeError: If the output is no path.
        ImageFileError: If there is no such format.
    """
    if output is not None:
        if not isinstance(output, str | Path):
            raise TypeError(
                f"the output must be a path, or None; got {type(output).__name__}. Leave it out, "
                "and the result's `data` has the bytes."
            )
        return Path(output)
    suffixes = {name.upper(): suffix for suffix, name in reversed(FORMATS.items())}
    suffixes |= {suffix[1:].upper(): suffix for suffix in FORMATS}
    suffix = suffixes.get(str(form).removeprefix(".").upper())
    if suffix is None:
        raise ImageFileError(
            f"`form` must be one of {', '.join(dict.fromkeys(FORMATS.values()))}; got {form!r}."
        )
    return Sink(suffix)


def _check_quality(quality: object) -> None:
    if not isinstance(quality, Quality | None):
        raise TypeError(
            f"`quality` must be a harmonizer.Quality, or None; got {quality!r:.80}. Pass "
            "Quality(95)."
        )
