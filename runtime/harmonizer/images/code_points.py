"""Colours by code points (ITU-T H.273, ISO/IEC 23091-2), as PNG, HEIC and AVIF state them.

And by PNG's older cHRM and gAMA: all as an ICC profile, which LittleCMS can use.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

_D65 = (0.3127, 0.3290)
_SRGB = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)

UNSPECIFIED = 2
"""Of primaries and of transfer functions."""

_PRIMARIES = {
    1: ("sRGB", (*_SRGB, *_D65)),
    4: ("NTSC", (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, 0.310, 0.316)),
    5: ("BT.601 (625 lines)", (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65)),
    6: ("BT.601 (525 lines)", (0.63, 0.34, 0.31, 0.595, 0.155, 0.07, *_D65)),
    9: ("BT.2020", (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65)),
    11: ("DCI-P3", (*_P3, 0.314, 0.351)),
    12: ("Display P3", (*_P3, *_D65)),
}
"""Table 2: names, and x and y of red, green, blue and white."""

SRGB_CURVE, LINEAR = 13, 8
_GAMMAS = {4: 2.2, 5: 2.8, LINEAR: 1.0}
_LIKE_SRGB = frozenset({1, UNSPECIFIED, 6, SRGB_CURVE, 14, 15})
"""Table 3: sRGB's, and BT.709's and its kin, which pictures on screens are not told from it by."""

HDR = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}


@dataclass(frozen=True, slots=True)
class Stated:
    """Colours that are not sRGB's.

    Attributes:
        name: For a person.
        profile: An ICC profile of them; empty where they cannot be converted.
    """

    name: str
    profile: bytes = b""


def by_code(primaries: int, transfer: int, where: str) -> Stated | None:
    """What code points stand for; None for sRGB's colours.

    Args:
        primaries, transfer: Of H.273.
        where: What states them, such as "cICP".
    """
    if transfer in HDR:
        return Stated(f"{HDR[transfer]} ({where})")
    known = _PRIMARIES.get(1 if primaries == UNSPECIFIED else primaries)
    gamma = None if transfer in _LIKE_SRGB else _GAMMAS.get(transfer, 0.0)
    if known is None or gamma == 0:
        return Stated(f"code points {primaries}/{transfer} ({where})")
    name, places = known
    if gamma is None and name == "sRGB":
        return None
    curve = "" if gamma is None else " in linear light" if gamma == 1 else f" of gamma {gamma:g}"
    return Stated(f"{name}{curve} ({where})", _profile(places, gamma))


def by_numbers(places: tuple[float, ...] | None, gamma: float | None) -> Stated | None:
    """What PNG's cHRM and gAMA stand for; None for sRGB's colours.

    Args:
        places: x and y of red, green, blue and white; None for sRGB's.
        gamma: Exponent from value to light; None for sRGB's curve, which 2.2 is taken for.
    """
    usual = _PRIMARIES[1][1]
    primaries: tuple[float, ...] = usual
    if places is not None and not np.allclose(places, usual, rtol=0, atol=0.01):
        primaries = places
    if gamma is not None and abs(1 / gamma - 0.45455) <= 0.007:
        gamma = None
    if gamma is None and primaries == usual:
        return None
    parts = [] if gamma is None else [f"gamma {gamma:.2f} (gAMA)"]
    parts += [] if primaries == usual else ["other primaries (cHRM)"]
    if not 0.2 <= (gamma or 1) <= 5 or not all(0 < n < 1 for n in primaries[1::2]):
        return Stated(" and ".join(parts))
    return Stated(" and ".join(parts), _profile(primaries, gamma))


@cache
def _profile(places: tuple[float, ...], gamma: float | None) -> bytes:
    from imagecodecs import cms_profile

    pairs = zip(places[0:6:2], places[1:6:2], strict=True)
    points = tuple(number for x, y in pairs for number in (x, y, 1.0))
    codes = np.linspace(0, 1, 4096)
    curve = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    how = {"gamma": gamma} if gamma else {"transferfunction": curve.astype(np.float32)}
    profile: bytes = cms_profile("rgb", whitepoint=(*places[6:], 1.0), primaries=points, **how)
    return profile
