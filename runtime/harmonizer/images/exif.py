"""EXIF as what it is, a small TIFF structure: read its orientation, reset it, move its tags.

EXIF 2.32 stores tags in image file directories (IFDs) as TIFF 6.0 (section 2) does. JPEG, PNG and
WebP carry the structure as one blob, which stays byte for byte as it came but for the orientation
and the link to the embedded thumbnail. A TIFF file *is* such a structure: its tags are copied out
of, or into, the file's own first directory.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]

ORIENTATION = 0x0112
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
EXIF_IFD = 0x8769
GPS_IFD = 0x8825
_INTEROPERABILITY_IFD = 0xA005
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003

_DESCRIPTIVE_TAGS = frozenset(
    {
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x011A,  # XResolution
        0x011B,  # YResolution
        0x0128,  # ResolutionUnit
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x013C,  # HostComputer
        0x4746,  # Rating
        0x8298,  # Copyright
    }
)
"""First-directory tags that describe the picture; the rest describe how the file stores it."""

TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag's value: the TIFF type, how many values, and their bytes in the file's order."""

    kind: int
    count: int
    data: bytes


Directory = dict[int, Entry]


def byte_order(structure: bytes) -> str:
    """The struct prefix of a TIFF structure: "<" or ">".

    Raises:
        ValueError: If it does not begin as a classic TIFF does.
    """
    orders = {b"II*\0": "<", b"MM\0*": ">"}
    if structure[:4] not in orders:
        raise ValueError(f"a TIFF structure must begin with II*0 or MM0*; got {structure[:4]!r}")
    return orders[structure[:4]]


def first_directory(structure: bytes) -> int:
    """The offset of the first directory; raises ValueError as `byte_order` does."""
    offset: int = struct.unpack_from(byte_order(structure) + "I", structure.ljust(8, b"\0"), 4)[0]
    return offset


def read_directory(structure: bytes, offset: int, order: str) -> Directory:
    """Read one IFD; tags of unknown type are left out.

    Raises:
        ValueError: If it points outside the structure, or its tags use the same bytes so often
            that their values together are longer than the structure.
    """
    directory: Directory = {}
    claimed = 0
    try:
        (count,) = struct.unpack_from(order + "H", structure, offset)
        for at in range(offset + 2, offset + 2 + 12 * count, 12):
            tag, kind, values = struct.unpack_from(order + "HHI", structure, at)
            size = TYPE_SIZES.get(kind, 0) * values
            start = at + 8
            if size > 4:
                (start,) = struct.unpack_from(order + "I", structure, start)
            claimed += size
            if claimed > len(structure):
                raise ValueError(f"its tags claim more than its {len(structure):,} bytes")
            data = structure[start : start + size]
            if len(data) != size:
                raise ValueError(f"tag {tag:#06x} points outside the structure")
            if size:
                directory[tag] = Entry(kind, values, data)
    except struct.error as error:
        raise ValueError(f"a directory points outside the structure ({error})") from error
    return directory


def pack_directory(directory: Mapping[int, Entry], offset: int, order: str) -> bytes:
    """Serialise one IFD for the absolute position `offset`, with no directory after it."""
    entries, values = [], b""
    start = offset + 2 + 12 * len(directory) + 4
    for tag, entry in sorted(directory.items()):
        if len(entry.data) <= 4:
            field = entry.data.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", start + len(values))
            values += entry.data + b"\0" * (len(entry.data) % 2)
        entries.append(struct.pack(order + "HHI", tag, entry.kind, entry.count) + field)
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + b"\0" * 4 + values


def pack_integers(order: str, kind: int, values: list[int]) -> Entry:
    """An entry of SHORT (3) or LONG (4) values."""
    code = {3: "H", 4: "I"}[kind]
    return Entry(kind, len(values), struct.pack(f"{order}{len(values)}{code}", *values))


def orientation(structure: bytes) -> int:
    """The orientation, 1 to 8 (EXIF 2.32, 4.6.4); 1 where absent or not readable."""
    try:
        order = byte_order(structure)
        entry = read_directory(structure, first_directory(structure), order).get(ORIENTATION)
    except ValueError:
        return 1
    if entry is None or entry.kind != 3 or entry.count != 1:
        return 1
    (value,) = struct.unpack(order + "H", entry.data)
    return value if 1 <= value <= 8 else 1


def resolution(structure: bytes) -> tuple[float, float] | None:
    """Pixels per inch, across and down (EXIF 2.32, 4.6.4); None where absent or without unit."""
    try:
        order = byte_order(structure)
        directory = read_directory(structure, first_directory(structure), order)
        scale = 1.0
        if RESOLUTION_UNIT in directory:
            (unit,) = struct.unpack(order + "H", directory[RESOLUTION_UNIT].data)
            scale = {2: 1.0, 3: 2.54}.get(unit, 0.0)
        parts = [
            struct.unpack(order + "II", directory[tag].data) for tag in (X_RESOLUTION, Y_RESOLUTION)
        ]
        across, down = (scale * above / below for above, below in parts)
    except (ValueError, KeyError, struct.error, ZeroDivisionError):
        return None
    return (across, down) if is_resolution(across) and is_resolution(down) else None


def is_resolution(number: float) -> bool:
    """Whether a number can be meant as pixels per inch."""
    return 1 <= number <= 1_000_000


def resolution_entries(order: str, across: float, down: float) -> Directory:
    """The three tags that state pixels per inch."""

    def rational(number: float) -> Entry:
        above, below = Fraction(number).limit_denominator(1000).as_integer_ratio()
        return Entry(5, 1, struct.pack(order + "II", min(above, 2**32 - 1), below))

    return {
        X_RESOLUTION: rational(across),
        Y_RESOLUTION: rational(down),
        RESOLUTION_UNIT: pack_integers(order, 3, [2]),
    }


def of_resolution(across: float, down: float) -> bytes:
    """An EXIF structure that says nothing but pixels per inch."""
    packed, start = pack_directories(resolution_entries("<", across, down), {}, 8, "<")
    return b"II*\0" + struct.pack("<I", start) + packed


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an orientation (EXIF 2.32, 4.6.4) to (H, W, C) pixels; a view."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def interoperability(structure: bytes) -> bytes:
    """The interoperability index (EXIF 2.32, 4.6.7), such as b"R98"; empty where absent."""
    try:
        order = byte_order(structure)
        directory = read_directory(structure, first_directory(structure), order)
        for link in (EXIF_IFD, _INTEROPERABILITY_IFD):
            if link not in directory or len(directory[link].data) != 4:
                return b""
            (offset,) = struct.unpack(order + "I", directory[link].data)
            directory = read_directory(structure, offset, order)
    except ValueError:
        return b""
    entry = directory.get(1)
    return entry.data.rstrip(b"\0") if entry is not None else b""


def without_orientation(structure: bytes) -> bytes:
    """The same structure for upright pixels.

    The orientation becomes 1; where it swapped rows and columns, so do the width and height that
    the EXIF directory states. The embedded thumbnail, which shows the picture as it was, is
    unlinked. Every other byte stays.

    Raises:
        ValueError: If the structure is malformed.
    """
    order, offset = byte_order(structure), first_directory(structure)
    read_directory(structure, offset, order)
    result = bytearray(structure)
    turned, nested = False, 0
    entries = _places(structure, offset, order)
    for tag, at in entries.items():
        (kind,) = struct.unpack_from(order + "H", result, at + 2)
        if tag == ORIENTATION and kind == 3:
            turned = struct.unpack_from(order + "H", result, at + 8)[0] in (5, 6, 7, 8)
            struct.pack_into(order + "H", result, at + 8, 1)
        elif tag == EXIF_IFD and kind == 4:
            (nested,) = struct.unpack_from(order + "I", result, at + 8)
    if turned and nested:
        read_directory(structure, nested, order)
        sides = _places(structure, nested, order)
        if {_PIXEL_WIDTH, _PIXEL_HEIGHT} <= sides.keys():
            one, other = (slice(sides[t] + 2, sides[t] + 12) for t in (_PIXEL_WIDTH, _PIXEL_HEIGHT))
            result[one], result[other] = result[other], result[one]
    (count,) = struct.unpack_from(order + "H", structure, offset)
    end = offset + 2 + 12 * count
    result[end : end + 4] = b"\0" * len(result[end : end + 4])
    return bytes(result)


def _places(structure: bytes, offset: int, order: str) -> dict[int, int]:
    """Where the entries of a directory lie, by tag."""
    (count,) = struct.unpack_from(order + "H", structure, offset)
    places = range(offset + 2, offset + 2 + 12 * count, 12)
    return {struct.unpack_from(order + "H", structure, at)[0]: at for at in places}


def describing_tags(structure: bytes) -> tuple[Directory, dict[int, Directory]]:
    """What a TIFF structure says of the picture: first-directory tags, EXIF and GPS directories.

    Raises:
        ValueError: If the structure is malformed.
    """
    order = byte_order(structure)
    first = read_directory(structure, first_directory(structure), order)
    nested = {}
    for tag in (EXIF_IFD, GPS_IFD):
        if tag in first and len(first[tag].data) == 4:
            (offset,) = struct.unpack(order + "I", first[tag].data)
            nested[tag] = read_directory(structure, offset, order)
            nested[tag].pop(_INTEROPERABILITY_IFD, None)
    return {tag: first[tag] for tag in first if tag in _DESCRIPTIVE_TAGS}, nested


def pack_directories(
    first: Directory, nested: Mapping[int, Directory], offset: int, order: str
) -> tuple[bytes, int]:
    """Serialise a first directory and the ones that it links to, for the position `offset`.

    Returns:
        The bytes, and the absolute offset of the first directory within the file.
    """
    linked, packed = dict(first), b""
    for tag, directory in nested.items():
        linked[tag] = pack_integers(order, 4, [offset + len(packed)])
        packed += pack_directory(directory, offset + len(packed), order)
    return packed + pack_directory(linked, offset + len(packed), order), offset + len(packed)


def from_tiff(file: bytes) -> bytes:
    """The EXIF blob of a TIFF file: its describing tags, orientation 1; empty if it has none.

    Raises:
        ValueError: If the file is not a classic TIFF or its directories are malformed.
    """
    order = byte_order(file)
    first, nested = describing_tags(file)
    if not first and not nested:
        return b""
    packed, start = pack_directories(first, nested, 8, order)
    return file[:4] + struct.pack(order + "I", start) + packed
