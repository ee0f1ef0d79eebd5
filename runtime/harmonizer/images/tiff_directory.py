"""The tags of the first image of a TIFF file (TIFF 6.0, section 2; BigTIFF)."""

import struct

from harmonizer.images.exif import TYPE_SIZES
from harmonizer.limits import MAX_METADATA, MAX_PAGES

_FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 7: "B", 8: "h", 9: "i", 13: "I", 16: "Q"}
"""struct codes of the types that structural tags have; rationals and floats describe."""

_SIZES = {**TYPE_SIZES, 16: 8, 17: 8, 18: 8}
_RATIONAL = 5
_PARTS = {273, 279, 324, 325}
"""Tags whose length follows from the number of strips and tiles."""


class Directory:
    """The tags of one image, read when they are asked for."""

    def __init__(self, data: bytes) -> None:
        self.order = "<" if data[:2] == b"II" else ">"
        self._data, self._big = data, data[2:4] in (b"+\0", b"\0+")
        self.first = self._number(8, 8) if self._big else self._number(4, 4)
        self._entries, self.next = self._read(self.first)
        self._check_claims()

    def _number(self, at: int, size: int) -> int:
        code = {2: "H", 4: "I", 8: "Q"}[size]
        try:
            return int(struct.unpack_from(self.order + code, self._data, at)[0])
        except struct.error as error:
            raise ValueError("a directory lies outside the file") from error

    def _read(self, at: int) -> tuple[dict[int, tuple[int, int, int]], int]:
        """Tag -> (type, count, where), and the next directory's place."""
        size, inline = (20, 8) if self._big else (12, 4)
        count = self._number(at, 8 if self._big else 2)
        if count > 4096:
            raise ValueError(f"its directory has {count} tags")
        entries, at = {}, at + (8 if self._big else 2)
        for start in range(at, at + size * count, size):
            tag, kind = self._number(start, 2), self._number(start + 2, 2)
            values, place = self._number(start + 4, inline), start + 4 + inline
            if _SIZES.get(kind, 0) * values > inline:
                place = self._number(place, inline)
            entries[tag] = (kind, values, place)
        return entries, self._number(at + size * count, inline)

    def _check_claims(self) -> None:
        """Refuse tags that lie outside the file, or use its bytes many times over."""
        metadata = claimed = 0
        for tag, (kind, count, place) in self._entries.items():
            length = _SIZES.get(kind, 0) * count
            if place + length > len(self._data):
                raise ValueError(f"tag {tag} points outside the file")
            claimed += length
            metadata += 0 if tag in _PARTS or tag == 37724 else length  # 37724: editors' layers
        if claimed > len(self._data) + 4096 or metadata > MAX_METADATA:
            raise ValueError(
                f"its tags claim {claimed:,} bytes, {metadata:,} of them metadata, of a file of "
                f"{len(self._data):,}"
            )

    def pages(self) -> int:
        """How many directories follow on each other, this one among them."""
        seen, at = {self.first}, self.next
        while at and at not in seen and len(seen) < MAX_PAGES:
            seen.add(at)
            try:
                at = self._read(at)[1]
            except ValueError:  # a broken list after the first image does not matter to it
                break
        return len(seen)

    def numbers(self, tag: int, default: tuple[int, ...] = (), most: int = 64) -> tuple[int, ...]:
        """The whole numbers of a tag.

        Raises:
            ValueError: If they are of another type, or more than `most`.
        """
        if tag not in self._entries:
            return default
        kind, count, place = self._entries[tag]
        if kind not in _FORMATS or not 0 < count <= most:
            raise ValueError(f"tag {tag} has {count} values of type {kind}")
        return struct.unpack_from(f"{self.order}{count}{_FORMATS[kind]}", self._data, place)

    def number(self, tag: int, default: int | None = None) -> int:
        """The one number of a tag.

        Raises:
            ValueError: If the tag is missing, or as in `numbers`.
        """
        values = self.numbers(tag, () if default is None else (default,), 1)
        if not values:
            raise ValueError(f"tag {tag} is missing")
        return values[0]

    def leading(self, tag: int) -> float:
        """The first integer or rational of a tag; 0 if there is none."""
        kind, count, place = self._entries.get(tag, (0, 0, 0))
        if count and kind in _FORMATS:
            return float(struct.unpack_from(self.order + _FORMATS[kind], self._data, place)[0])
        if count and kind == _RATIONAL:
            above, below = struct.unpack_from(self.order + "II", self._data, place)
            return above / below if below else 0.0
        return 0.0

    def content(self, tag: int) -> bytes:
        """The bytes of a tag."""
        kind, count, place = self._entries.get(tag, (1, 0, 0))
        return self._data[place : place + _SIZES.get(kind, 0) * count]

    def __contains__(self, tag: int) -> bool:
        return tag in self._entries
