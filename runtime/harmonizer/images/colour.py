"""From a picture's own RGB colours to sRGB's, for which the filters are meant, and back.

LittleCMS converts in 16 bits without its tables of precomputed colours, which are off by up to 20
of 255 levels here. Relative colorimetric, as all matrix profiles are. A colour beyond sRGB is drawn
as the nearest that sRGB has, and what it had beyond that is added again afterwards, in its own
encoding: so a pixel that nothing is drawn on is the same, bit for bit.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images.icc import is_srgb, profile_name
from harmonizer.systems import available_cores

Array = NDArray[Any]

_BLOCK = 1 << 18
"""Pixels that are converted at a time: what LittleCMS needs beside them stays small."""

_WORKERS = 8

# Adobe RGB (1998) Color Image Encoding, 4.3.1: white point D65, primaries, and the gamma of 2.2.
_ADOBE: dict[str, Any] = {
    "whitepoint": (0.3127, 0.3290, 1.0),
    "primaries": (0.64, 0.33, 1.0, 0.21, 0.71, 1.0, 0.15, 0.06, 1.0),
    "gamma": 563 / 256,
}


@dataclass(frozen=True, slots=True)
class Colours:
    """RGB colours other than sRGB's.

    Attributes:
        profile: Their ICC profile.
        name: As editors show it.
    """

    profile: bytes
    name: str

    def to_srgb(self, pixels: Array) -> NDArray[np.uint16]:
        """These colours as sRGB's, clipped to it.

        Args:
            pixels: (H, W, 3) uint8 or uint16.

        Returns:
            (H, W, 3) uint16, sRGB-encoded.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        return self._converted(pixels, self.profile, srgb_profile())

    def from_srgb(self, pixels: Array) -> NDArray[np.uint16]:
        """SRGB-encoded colours as these, (H, W, 3) uint16.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        return self._converted(pixels, srgb_profile(), self.profile)

    def back(self, drawn: Array, own: Array) -> Array:
        """What was drawn in sRGB's colours, in these; equal to `own` where nothing was.

        Args:
            drawn: (H, W, 3) uint16, what `to_srgb(own)` became.
            own: (H, W, 3) uint8 or uint16: the picture as it was.

        Returns:
            A new array of the type of `own`.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        unit = 257 if own.dtype == np.uint8 else 1
        full = np.iinfo(own.dtype).max

        def convert(rows: slice) -> Array:
            before = self.to_srgb(own[rows])
            touched = (before != drawn[rows]).any(axis=2)
            result = own[rows].copy()
            if touched.any():
                ends = self.from_srgb(np.stack([drawn[rows][touched], before[touched]]))
                moved = ends[0].astype(np.int32) - ends[1]
                values = own[rows][touched].astype(np.int32) * unit + moved
                result[touched] = np.clip((values + unit // 2) // unit, 0, full)
            return result

        return in_blocks(convert, own.shape, own.dtype)

    def say(self, pixels: Array) -> str:
        """What is done with these colours, for a person.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        said = f"its colours ({self.name}) are converted to sRGB for the filters, and back"
        share = self.beyond(pixels)
        if share < 0.0005:
            return said
        return f"{said}; {share:.1%} of them lie outside of sRGB and keep what they have beyond it"

    def beyond(self, pixels: Array) -> float:
        """The share of pixels that sRGB does not hold, 0 to 1.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / 250_000)))
        sample = np.ascontiguousarray(pixels[::step, ::step])
        there = self.from_srgb(self.to_srgb(sample)).astype(np.int32)
        unit = 257 if sample.dtype == np.uint8 else 1
        gone = np.abs(there - sample.astype(np.int32) * unit).max(axis=2)
        return float((gone > 257).mean())

    def _converted(self, pixels: Array, source: bytes, target: bytes) -> NDArray[np.uint16]:
        def convert(rows: slice) -> NDArray[np.uint16]:
            deep = pixels[rows]
            if deep.dtype == np.uint8:
                deep = deep.astype(np.uint16) * np.uint16(257)
            return transformed(deep, source, target, "uint16", self.name)

        return in_blocks(convert, pixels.shape, np.uint16)


def transformed(
    pixels: NDArray[Any],
    source: bytes,
    target: bytes,
    kind: str,
    name: str,
    ink: bool = False,
) -> NDArray[Any]:
    """Colours of a profile as those of another, relative colorimetric; black of ink as black.

    Args:
        pixels: (H, W, 3) uint16, or float32, which is not clipped; with `ink` (H, W, 4), 0 is none.
        source, target: ICC profiles.
        kind: Type of the result, such as "uint16".
        name: Of the profile that is not ours, for messages.
        ink: The source's colours are CMYK.

    Raises:
        ImageFileError: If LittleCMS cannot use one.
    """
    from imagecodecs import CMS, cms_transform

    try:
        result: NDArray[Any] = cms_transform(
            np.ascontiguousarray(pixels),
            source,
            target,
            colorspace="cmyk" if ink else "rgb",
            outcolorspace="rgb",
            outdtype=kind,
            intent=int(CMS.INTENT.RELATIVE_COLORIMETRIC),
            flags=int(CMS.FLAGS.NOOPTIMIZE) | (int(CMS.FLAGS.BLACKPOINTCOMPENSATION) if ink else 0),
        )
    except Exception as error:  # LittleCMS's own
        raise ImageFileError(
            f"the ICC profile {name!r} must be one for {'CMYK' if ink else 'RGB'} that LittleCMS "
            f"can use; {error}. Convert the picture to sRGB in an editor, or turn "
            "`colour_management` off."
        ) from error
    return result.reshape(*pixels.shape[:-1], 3)


def colours_of(icc: bytes, adobe: bool) -> Colours | None:
    """The colours that a file states, if they are not sRGB's.

    Args:
        icc: Its ICC profile, for RGB; may be empty.
        adobe: Without a profile, whether EXIF marks it as Adobe RGB (DCF 2.0, R03).
    """
    if icc:
        return None if is_srgb(icc) else Colours(icc, profile_name(icc))
    return Colours(_adobe(), "Adobe RGB (EXIF)") if adobe else None


def in_blocks(work: Callable[[slice], Array], shape: tuple[int, ...], kind: Any) -> Array:
    """Make a picture of some rows at a time, on several cores.

    Args:
        work: Gives the rows of a slice.
        shape: Of the picture.
        kind: Its type.
    """
    result = np.empty(shape, kind)

    def put(rows: slice) -> None:
        result[rows] = work(rows)

    rows = max(1, _BLOCK // max(int(np.prod(shape[1:-1])), 1))
    parts = [slice(first, first + rows) for first in range(0, shape[0], rows)]
    with ThreadPoolExecutor(min(_WORKERS, available_cores(), len(parts))) as pool:
        for _ in pool.map(put, parts):
            pass
    return result


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    from imagecodecs import cms_profile

    profile: bytes = cms_profile("srgb")
    return profile


@cache
def _adobe() -> bytes:
    from imagecodecs import cms_profile

    profile: bytes = cms_profile("rgb", **_ADOBE)
    return profile
