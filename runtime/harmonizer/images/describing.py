"""What an image file says of its picture beside EXIF and ICC: resolution, XMP, colours.

And what else lies in it that is not carried over, so that a person can be told.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from harmonizer.errors import printable
from harmonizer.images import exif
from harmonizer.images.code_points import Stated, by_code, by_numbers
from harmonizer.images.containers import jpeg_segments, png_chunks, webp_chunks
from harmonizer.images.icc import is_srgb, profile_name
from harmonizer.images.tiff_directory import Directory

_INCH_CM, _INCH_M = 2.54, 0.0254

XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_JPEG_MORE = b"http://ns.adobe.com/xmp/extension/\0"
_XMP_PNG = b"XML:com.adobe.xmp\0"

_NAMED = 10
"""Things that are not carried over that a note names."""

JPEG_XMP_LIMIT = 65533 - len(XMP_JPEG)
"""Bytes of XMP that one JPEG segment holds."""

_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))\s*[1-8]\s*(?=[\"'<])")

_OF_OTHER_PARTS = (b"hdrgm:", b"Container:Directory", b"GCamera:M", b"GDepth:", b"GImage:")
"""In XMP that describes pictures or films that are appended to a file: gain maps, depth, motion."""


@dataclass(frozen=True, slots=True)
class Description:
    """What lies beside the pixels.

    Attributes:
        resolution: Pixels per inch, across and down; None if the file does not say.
        xmp: The XMP packet, its orientation 1; empty if there is none.
        colours: What its colours are, where the file says that they are not sRGB's without an ICC
            profile; else empty.
        notes: What is not carried over, one sentence each.
        profile: An ICC profile of these colours; empty where there is none for them.
        chunks: PNG's chunks that state them.
        chromaticities: Of scene-linear light: x and y of red, green, blue and white; None for
            sRGB's.
        half: Its floats have 16 bits.
    """

    resolution: tuple[float, float] | None = None
    xmp: bytes = b""
    colours: str = ""
    notes: tuple[str, ...] = ()
    profile: bytes = b""
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    chromaticities: tuple[float, ...] | None = None
    half: bool = False

    def turned(self) -> "Description":
        """For rows and columns swapped."""
        if self.resolution is None:
            return self
        return replace(self, resolution=self.resolution[::-1])


NOTHING = Description()


def describe(form: str, data: bytes) -> Description:
    """Read what a file says of its picture.

    Args:
        form: "JPEG", "PNG", "TIFF" or "WebP".
        data: The file; what is malformed in it is passed over.
    """
    readers: dict[str, Callable[[bytes], Description]] = {
        "JPEG": _of_jpeg,
        "PNG": _of_png,
        "TIFF": _of_tiff,
        "WebP": _of_webp,
    }
    return with_clean_xmp(readers[form](data))


def other_colours(icc: bytes, structure: bytes, description: Description) -> str:
    """What a picture's colours are where they are not sRGB's; else empty.

    Args:
        icc: Its ICC profile, for RGB; may be empty.
        structure: Its EXIF structure; may be empty.
        description: As `describe` gives it.
    """
    if description.chunks:  # cICP counts before a profile
        return f"of {description.colours}"
    if icc:
        return "" if is_srgb(icc) else f"those of the profile {profile_name(icc)!r}"
    if description.colours:
        return f"of {description.colours}"
    # DCF 2.0: cameras mark Adobe RGB by this interoperability index, without a profile.
    if exif.interoperability(structure) == b"R03":
        return "Adobe RGB's (EXIF interoperability index R03)"
    return ""


def _of_jpeg(data: bytes) -> Description:
    resolution, xmp, lost = None, b"", dict[str, None]()
    for marker, content in jpeg_segments(data):
        if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) >= 12:
            across, down = int.from_bytes(content[8:10]), int.from_bytes(content[10:12])
            resolution = _per_inch(across, down, {1: 1.0, 2: _INCH_CM}.get(content[7], 0))
        elif marker == 0xE1 and content.startswith(XMP_JPEG):
            xmp = xmp or content[len(XMP_JPEG) :]
        elif marker == 0xE1 and content.startswith(_XMP_JPEG_MORE):
            lost["the part of its XMP data that is too long for one segment"] = None
        elif marker == 0xE2 and content.startswith(b"MPF\0"):
            lost["the further pictures that are appended to it (MPF, such as a gain map)"] = None
        elif marker == 0xED and content.startswith(b"Photoshop 3.0\0"):
            lost["its IPTC or Photoshop data"] = None
        elif marker == 0xFE:
            lost["its comment"] = None
    return Description(resolution, xmp, "", _not_carried(lost))


def _of_png(data: bytes) -> Description:
    resolution, xmp, lost = None, b"", dict[str, None]()
    found = dict[bytes, bytes]()
    for kind, content in png_chunks(data):
        found.setdefault(kind, content)
        if kind == b"pHYs" and len(content) == 9:
            across, down, unit = struct.unpack(">IIB", content)
            resolution = _per_inch(across, down, _INCH_M if unit == 1 else 0)
        elif kind == b"iTXt" and content.startswith(_XMP_PNG):
            # Compression flag and method, language and translated keyword come before the text.
            parts = content[len(_XMP_PNG) + 2 :].split(b"\0", 2)
            if content[len(_XMP_PNG) : len(_XMP_PNG) + 1] == b"\0" and len(parts) == 3:
                xmp = parts[2]
            else:
                lost["its compressed XMP data"] = None
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = content[:79].split(b"\0")[0].decode("latin-1")
            lost[f"its text ({printable(keyword, 40)})"] = None
    stated, kinds = _png_colours(found)
    description = Description(resolution, xmp, "", _not_carried(lost))
    if stated is None:
        return description
    chunks = tuple((kind, found[kind]) for kind in kinds if kind in found)
    return replace(description, colours=stated.name, profile=stated.profile, chunks=chunks)


def _png_colours(chunks: dict[bytes, bytes]) -> tuple[Stated | None, tuple[bytes, ...]]:
    """By precedence (PNG, third edition, 4.3): cICP, iCCP, sRGB, then gAMA and cHRM."""
    if len(code := chunks.get(b"cICP", b"")) == 4:
        stated = by_code(code[0], code[1], "cICP")
        if code[2:] != b"\0\1" and stated is None:
            stated = Stated("narrow range (cICP)")
        return stated if code[2:] == b"\0\1" or stated is None else Stated(stated.name), (b"cICP",)
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return None, ()
    gamma, places = chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")
    numbers = struct.unpack(">8I", places) if len(places) == 32 else None
    primaries = None
    if numbers is not None:  # white comes first there
        primaries = tuple(number / 100000 for number in (*numbers[2:], *numbers[:2]))
    exponent = None
    if len(gamma) == 4 and int.from_bytes(gamma):
        exponent = 100000 / int.from_bytes(gamma)
    return by_numbers(primaries, exponent), (b"gAMA", b"cHRM")


def _of_tiff(data: bytes) -> Description:
    directory, lost = Directory(data), dict[str, None]()
    across, down, unit = (directory.leading(tag) for tag in (282, 283, 296))
    resolution = _per_inch(across, down, {1: 0, 3: _INCH_CM}.get(int(unit), 1.0))
    if directory.content(33723) or directory.content(34377):
        lost["its IPTC or Photoshop data"] = None
    return Description(resolution, directory.content(700), "", _not_carried(lost))


def _of_webp(data: bytes) -> Description:
    chunks = dict(webp_chunks(data))
    return Description(None, chunks.get(b"XMP ", b""))


def _per_inch(across: float, down: float, scale: float) -> tuple[float, float] | None:
    """None for a ratio alone, and for what is no resolution."""
    found = across * scale, down * scale
    return found if all(exif.is_resolution(number) for number in found) else None


def _not_carried(lost: dict[str, None]) -> tuple[str, ...]:
    more = f" and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
    return (f"not carried over: {', '.join(list(lost)[:_NAMED])}{more}",) if lost else ()


def with_clean_xmp(description: Description) -> Description:
    """XMP for upright pixels in a file of its own: orientation 1, nothing of appended parts."""
    xmp = description.xmp.rstrip(b"\0")
    if not xmp:
        return replace(description, xmp=b"")
    reason = ""
    if any(word in xmp for word in _OF_OTHER_PARTS):
        reason = "describes further parts of the file, such as a gain map, depth or motion"
    elif xmp.count(b"\0") > 8 or b"x" not in xmp:
        reason = "is not UTF-8"
    if reason:
        notes = (*description.notes, f"its XMP data {reason}, and is left out")
        return replace(description, xmp=b"", notes=notes)
    return replace(description, xmp=_ORIENTATION.sub(rb"\g<1>1", xmp))
