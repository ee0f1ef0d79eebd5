"""Scene-linear light, as OpenEXR and TIFF hold it in floats, for filters that are meant for sRGB.

A value of 1 is what a screen shows as white; what is brighter is drawn as white. Then, with L the
light before, D what is drawn and S what was given to draw, both in light, a pixel becomes
L + D - S, and what was beyond white L * D: highlights keep their strength, and fall with the rest.
So a pixel that nothing is drawn on is the same, bit for bit.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.images.colour import in_blocks, transformed
from harmonizer.images.icc import profile_name

Floats = NDArray[np.float32]
Array = NDArray[Any]

SRGB_LIGHT = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
"""x and y of red, green, blue and white (IEC 61966-2-1, ITU-R BT.709)."""


@dataclass(frozen=True, slots=True)
class Light:
    """What a picture of floats holds.

    Attributes:
        profile: Its ICC profile; empty for linear light of sRGB's primaries.
        name: For a person.
    """

    profile: bytes = b""
    name: str = "scene-linear light"

    def to_srgb(self, pixels: Array) -> Floats:
        """Values for the filters.

        Args:
            pixels: (H, W, 3); what is not finite counts as 0, or as white.

        Returns:
            (H, W, 3) float32 in [0, 1], sRGB-encoded.

        Raises:
            ImageFileError: If the profile cannot be used.
        """

        def convert(rows: slice) -> Floats:
            return to_encoded(np.clip(self._linear(pixels[rows]), 0, 1))

        return in_blocks(convert, pixels.shape, np.float32)

    def linear(self, pixels: Array) -> Floats:
        """Linear light of sRGB's primaries, not clipped.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        if not self.profile:
            return pixels
        return in_blocks(lambda rows: self._linear(pixels[rows]), pixels.shape, np.float32)

    def from_encoded(self, pixels: Array) -> Floats:
        """This light of sRGB-encoded colours in [0, 1].

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        light = to_linear(pixels)
        return self._from_linear(light) if self.profile else light

    def back(self, drawn: Array, own: Array) -> Floats:
        """What was drawn, as this light; equal to `own` where nothing was.

        Args:
            drawn: (H, W, 3), what `to_srgb(own)` became.
            own: (H, W, 3): the picture as it was.

        Returns:
            A new array.

        Raises:
            ImageFileError: If the profile cannot be used.
        """

        def convert(rows: slice) -> Floats:
            light = self._linear(own[rows])
            before = to_encoded(np.clip(light, 0, 1))
            # Less than 16 bits show: powers of floats may differ by where they lie in memory.
            touched = (np.abs(before - drawn[rows]) > 1e-6) & np.isfinite(own[rows])
            there, shown = to_linear(drawn[rows]), np.clip(light, 0, 1)
            new = np.where(light > 1, light * there, light + (there - shown))
            result = own[rows].copy()
            if not self.profile:
                result[touched] = new[touched]
                return result
            moved = touched.any(axis=2)
            if moved.any():
                # Both ends by way of the profile: its rounding falls out.
                ends = self._from_linear(np.stack([new[moved], light[moved]]))
                result[moved] += ends[0] - ends[1]
            return result

        return in_blocks(convert, own.shape, np.float32)

    def say(self, pixels: Array) -> str:
        """What is done with this light, for a person.

        Raises:
            ImageFileError: If the profile cannot be used.
        """
        said = f"its floats ({self.name}) are converted to sRGB for the filters, and back"
        step = max(1, int(np.sqrt(pixels.shape[0] * pixels.shape[1] / 250_000)))
        light = self._linear(np.ascontiguousarray(pixels[::step, ::step]))
        beyond = float(((light > 1) | (light < -1e-4)).any(axis=2).mean())
        if beyond >= 0.0005:
            said += (
                f"; {beyond:.1%} of them lie beyond what a screen shows and keep what they have "
                "beyond it"
            )
        wrong = int((~np.isfinite(pixels)).any(axis=2).sum())
        if wrong:
            said += f"; {wrong:,} pixels are not finite, and stay so"
        return said

    def _linear(self, pixels: Array) -> Floats:
        if not self.profile:
            return np.nan_to_num(pixels, nan=0.0)
        plain = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0)
        return transformed(plain, self.profile, linear_profile(), "float32", self.name)

    def _from_linear(self, light: Floats) -> Floats:
        return transformed(light, linear_profile(), self.profile, "float32", self.name)


def light_of(icc: bytes, chromaticities: tuple[float, ...] | None) -> Light:
    """What floats are, by what their file says.

    Args:
        icc: ICC profile; may be empty.
        chromaticities: x and y of red, green, blue and white, of linear light; None for sRGB's.
    """
    if icc:
        return Light(icc, f"of the profile {profile_name(icc)!r}")
    if chromaticities is None or np.allclose(chromaticities, SRGB_LIGHT, atol=0.001):
        return Light()
    return Light(linear_profile(chromaticities), "scene-linear light of other primaries")


@cache
def linear_profile(chromaticities: tuple[float, ...] = SRGB_LIGHT) -> bytes:
    """An ICC profile of linear light; x and y of red, green, blue and white."""
    from imagecodecs import cms_profile

    x, y = chromaticities[0:6:2], chromaticities[1:6:2]
    points = tuple(n for a, b in zip(x, y, strict=True) for n in (a, b, 1.0))
    white = (*chromaticities[6:], 1.0)
    profile: bytes = cms_profile("rgb", whitepoint=white, primaries=points, gamma=1.0)
    return profile


def to_linear(encoded: NDArray[Any]) -> Floats:
    """Linear light of sRGB-encoded values (IEC 61966-2-1)."""
    bent = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, encoded / 12.92, bent).astype(np.float32)


def to_encoded(linear: NDArray[Any]) -> Floats:
    """SRGB-encoded values of linear light."""
    bent = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bent).astype(np.float32)
