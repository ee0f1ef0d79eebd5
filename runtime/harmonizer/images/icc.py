"""What an ICC profile is called, and whether it is that of sRGB (ICC.1:2022)."""

import struct

from harmonizer.errors import printable

_SRGB_COLUMNS = {
    b"rXYZ": (0.4360, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}
"""sRGB's primaries, adapted to D50."""

_COLUMN_SLACK = 0.005
_CURVE = {0.2: 0.0331, 0.5: 0.2140, 0.8: 0.6038}
"""sRGB's curve at three places (IEC 61966-2-1)."""

_CURVE_SLACK = 0.012
"""Takes a plain gamma of 2.2 for sRGB's: they differ by 1 level in the mean."""


def profile_name(profile: bytes) -> str:
    """The description of a profile, as editors show it; "unnamed" where it has none."""
    content = _tags(profile).get(b"desc", b"")
    name = ""
    if content[:4] == b"desc":
        length = int.from_bytes(content[8:12])
        name = content[12 : 12 + length].split(b"\0")[0].decode("latin-1")
    elif content[:4] == b"mluc" and len(content) >= 28:
        length, offset = int.from_bytes(content[20:24]), int.from_bytes(content[24:28])
        name = content[offset : offset + length].decode("utf-16-be", "replace")
    return printable(name, 60) or "unnamed"


def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile's primaries and curves are sRGB's, whatever it is called.

    A profile that has tables alone is told by its name.
    """
    tags = _tags(profile)
    if not _SRGB_COLUMNS.keys() <= tags.keys() or b"rTRC" not in tags:
        return "srgb" in profile_name(profile).lower()
    try:
        for name, expected in _SRGB_COLUMNS.items():
            column = [number / 65536 for number in struct.unpack_from(">3i", tags[name], 8)]
            if any(abs(a - b) > _COLUMN_SLACK for a, b in zip(column, expected, strict=True)):
                return False
        curves = [tags.get(name, b"") for name in (b"rTRC", b"gTRC", b"bTRC")]
        return all(
            abs(_curve_at(curve, at) - expected) <= _CURVE_SLACK
            for curve in curves
            for at, expected in _CURVE.items()
        )
    except (struct.error, IndexError, TypeError, ValueError, ArithmeticError):
        return False  # TypeError: a power of a negative number is complex


def _tags(profile: bytes) -> dict[bytes, bytes]:
    """The contents of a profile's tags by their signatures (7.3)."""
    count = min(int.from_bytes(profile[128:132]), 100)
    tags = {}
    for at in range(132, 132 + 12 * count, 12):
        offset, size = int.from_bytes(profile[at + 4 : at + 8]), profile[at + 8 : at + 12]
        tags[profile[at : at + 4]] = profile[offset : offset + int.from_bytes(size)]
    return tags


def _curve_at(curve: bytes, value: float) -> float:
    """A curve of type curv (10.6) or para (10.18) at a value in [0, 1]."""
    if curve[:4] == b"curv":
        (count,) = struct.unpack_from(">I", curve, 8)
        if count == 0:
            return value
        if count == 1:
            (gamma,) = struct.unpack_from(">H", curve, 12)
            return float(value ** (gamma / 256))
        position = value * (count - 1)
        left = min(int(position), count - 2)
        low, high = struct.unpack_from(">2H", curve, 12 + 2 * left)
        return float(low + (high - low) * (position - left)) / 65535
    if curve[:4] != b"para":
        raise ValueError("a curve must be of type curv or para")
    (kind,) = struct.unpack_from(">H", curve, 8)
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}[kind] if kind <= 4 else 0
    numbers = [number / 65536 for number in struct.unpack_from(f">{count}i", curve, 12)]
    g, a, b, c, d, e, f = (numbers + [0.0] * 7)[:7]
    if kind == 0:
        return float(value**g)
    if kind in (1, 2):
        shift = c if kind == 2 else 0.0
        return float((a * value + b) ** g + shift) if value >= -b / a else shift
    return float((a * value + b) ** g + e) if value >= d else c * value + f
