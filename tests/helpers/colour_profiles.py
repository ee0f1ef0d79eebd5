"""Pictures in other colours than sRGB's."""

import struct
from functools import cache
from itertools import product
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from harmonizer.images.colour import Colours

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


@cache
def ink_profile() -> bytes:
    """A CMYK profile (ICC.1:2001-04, 6.5.10): inks that take light away, on paper of L* 95."""
    corners = []
    for cyan, magenta, yellow, black in product((0, 1), repeat=4):
        paper, key = 0.878, 1 - 0.96 * black
        linear = [paper * key * (1 - 0.9 * ink) for ink in (cyan, magenta, yellow)]
        rows = ((0.4361, 0.3851, 0.1431), (0.2225, 0.7169, 0.0606), (0.0139, 0.0971, 0.7142))
        xyz = [sum(a * b for a, b in zip(row, linear, strict=True)) for row in rows]
        x, y, z = (
            value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
            for value in (xyz[0] / 0.9642, xyz[1], xyz[2] / 0.8249)
        )
        lab = (116 * y - 16, 500 * (x - y), 200 * (y - z))
        corners += [round(lab[0] * 652.8), *(round((part + 128) * 256) for part in lab[1:])]
    table = b"mft2" + bytes(4) + bytes((4, 3, 2, 0))
    table += struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    table += struct.pack(">HH8H", 2, 2, *(0, 65535) * 4)
    table += struct.pack(">48H6H", *corners, *(0, 65535) * 3)
    name = b"test inks\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"A2B0": table,
    }
    content, directory, start = b"", b"", 132 + 12 * len(tags)
    for signature, data in tags.items():
        directory += signature + struct.pack(">II", start + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    header = bytearray(128)
    header[8:24] = b"\x02\x10\0\0prtrCMYKLab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    whole = bytes(header) + struct.pack(">I", len(tags)) + directory + content
    return struct.pack(">I", len(whole)) + whole[4:]
