"""Pictures in other colours than sRGB's."""

from functools import cache
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from harmonizer.colour import Colours

D65, D50 = (0.3127, 0.3290, 1.0), (0.3457, 0.3585, 1.0)
_CODES = np.linspace(0, 1, 1024)
_SRGB_CURVE = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def primaries(*xy: float) -> tuple[float, ...]:
    return tuple(n for x, y in zip(xy[::2], xy[1::2], strict=True) for n in (x, y, 1.0))


PROFILES: dict[str, dict[str, Any]] = {
    "Display P3": {
        "whitepoint": D65,
        "primaries": primaries(0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
        "transferfunction": _SRGB_CURVE,
    },
    "Adobe RGB": {
        "whitepoint": D65,
        "primaries": primaries(0.64, 0.33, 0.21, 0.71, 0.15, 0.06),
        "gamma": 563 / 256,
    },
    "ProPhoto": {
        "whitepoint": D50,
        "primaries": primaries(0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001),
        "gamma": 1.8,
    },
    "linear sRGB": {
        "whitepoint": D65,
        "primaries": primaries(0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
        "gamma": 1.0,
    },
}


@cache  # it bears the time at which it was made
def profile(name: str) -> bytes:
    made: bytes = imagecodecs.cms_profile("rgb", **PROFILES[name])
    return made


def scene(height: int = 60, width: int = 90) -> NDArray[np.uint16]:
    """Smooth sRGB-encoded colours, none of them at the ends."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    planes = [0.5 + 0.35 * np.sin(7 * x + 3 * y + shift) for shift in (0, 1.7, 3.1)]
    return np.round(np.dstack(planes) * 65535).astype(np.uint16)


def colours(name: str) -> Colours:
    return Colours(profile(name), name)
