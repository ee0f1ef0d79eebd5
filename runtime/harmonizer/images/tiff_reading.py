"""Read the first image of a TIFF file: what is declared is checked, what is decoded is counted.

TIFF 6.0 and BigTIFF, strips and tiles, interleaved and planar; uncompressed, PackBits, LZW,
Deflate, Zstandard, LZMA and JPEG. Every strip and tile must be there and give exactly its
number of bytes: the pixels of a file that breaks this are not guessed, and memory that nothing was
decoded into is never part of a picture.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ImageFileError
from harmonizer.images.inspection import Size, inspect
from harmonizer.images.tiff_directory import Directory
from harmonizer.limits import MAX_SAMPLES, MAX_TILE_BYTES, check_size

Pixels = NDArray[np.uint8 | np.uint16 | np.float32]

RGB, YCBCR, PALETTE, BLACK_IS_0, WHITE_IS_0, CMYK = 2, 6, 3, 1, 0, 5
_PHOTOMETRICS = {
    **{0: "MINISWHITE", 1: "MINISBLACK", 2: "RGB", 3: "PALETTE", 4: "MASK", 5: "CMYK"},
    **{6: "YCBCR", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "CFA", 34892: "LINEAR_RAW"},
}
JPEG = 7
_COMPRESSIONS = {
    1: "no compression",
    5: "LZW",
    JPEG: "JPEG",
    8: "Deflate",
    32773: "PackBits",
    32946: "Deflate",
    34925: "LZMA",
    50000: "Zstandard",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file stores its first image.

    Attributes:
        width, height: In pixels.
        samples: Values of a pixel.
        bits: Of each: 1, 8 or 16, of floats 16 or 32.
        floats: Whether they are floats.
        photometric: What they mean: one of the constants of this module.
        compression: TIFF's number.
        predictor: 1; 2 where rows hold differences, 3 where they hold those of the bytes of floats.
        planar: Whether each channel has strips or tiles of its own.
        reversed_bits: Whether the lowest bit of a byte is its first.
        part: (height, width) of a strip or tile.
        tiled: Whether there are tiles.
        places: (offset, bytes) of each strip or tile.
        extra: Meanings of the samples beyond the colours; 1 is premultiplied alpha, 2 straight.
        order: struct's prefix, "<" or ">".
        colours: The palette, (3, n) uint16; None without one.
        tables: JPEG tables that all parts share; empty without.
        icc: The colour profile; empty without.
        orientation: 1 to 8.
        pages: How many images the file holds; at most `MAX_PAGES` are counted.
    """

    width: int
    height: int
    samples: int
    bits: int
    floats: bool
    photometric: int
    compression: int
    predictor: int
    planar: bool
    reversed_bits: bool
    part: tuple[int, int]
    tiled: bool
    places: tuple[tuple[int, int], ...]
    extra: tuple[int, ...]
    order: str
    colours: NDArray[np.uint16] | None
    tables: bytes
    icc: bytes
    orientation: int
    pages: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return Size(self.width, self.height, self.floats)


def read_layout(path: object, data: bytes, max_pixels: int) -> Layout:
    """Read and check the first directory of a TIFF file.

    Raises:
        ImageFileError: If it has more than `max_pixels` pixels, or stores them in a way that is
            not known.
        ValueError: If it is damaged.
    """
    directory = Directory(data)
    width, height = directory.number(256), directory.number(257)
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width}x{height}")
    check_size(path, width, height, max_pixels)
    layers = max(directory.number(32997, 1), directory.number(32998, 1))
    if layers != 1:
        raise ImageFileError(
            f"{path} must hold one flat image; it has {layers} layers of depth. Export one of them."
        )
    planar, samples = directory.number(284, 1), directory.number(277, 1)
    if planar not in (1, 2):
        raise ValueError(f"its planar configuration is {planar}; there are 1 and 2")
    if not 1 <= samples <= MAX_SAMPLES:
        raise ImageFileError(
            f"{path} must have 1 to {MAX_SAMPLES} values a pixel; it has {samples}. Export its "
            "colours alone."
        )
    photometric, compression = directory.number(262, -1), directory.number(259, 1)
    _check_meaning(path, photometric, compression)
    if photometric == CMYK and (samples < 4 or directory.number(332, 1) != 1):
        raise ImageFileError(
            f"{path} must have the inks cyan, magenta, yellow and black; it has {samples} values a "
            "pixel of others. Convert it to RGB in a colour-managed editor."
        )
    bits, floats = _bits(path, directory)
    if floats and photometric not in (BLACK_IS_0, RGB):
        raise ImageFileError(
            f"{path} must be RGB, or greyscale with black as 0, to hold floats; its colours are "
            f"{_PHOTOMETRICS[photometric]}. Save it as RGB."
        )
    _check_compression(path, compression, directory.number(317, 1), bits, floats)
    planar_parts = planar == 2 and samples > 1
    if bits == 1 and samples > 1:
        raise ImageFileError(f"{path} must have 8 or 16 bits a channel; it has 1. Export it so.")
    part, tiled, places = _parts(directory, (height, width), samples if planar_parts else 1)
    layout = Layout(
        width,
        height,
        samples,
        bits,
        floats,
        photometric,
        compression,
        directory.number(317, 1),
        planar_parts,
        directory.number(266, 1) == 2,
        part,
        tiled,
        places,
        directory.numbers(338),
        directory.order,
        _palette(directory, bits) if photometric == PALETTE else None,
        directory.content(347),
        directory.content(34675),
        _orientation(directory),
        directory.pages(),
    )
    if max(_part_bytes(layout, layout.part)) > (MAX_TILE_BYTES if tiled else 2 << 40):
        raise ValueError(f"its tiles are {part[1]}x{part[0]}")
    for offset, count in places:
        if not count or offset < 8 or offset + count > len(data):
            raise ValueError("its pixel data is missing or ends after the end of the file")
    return layout


def read_pixels(data: bytes, layout: Layout, kept: Sequence[int]) -> Pixels:
    """Decode every strip and tile.

    Args:
        data: The file.
        layout: Of it.
        kept: Which of the samples are wanted.

    Returns:
        (H, W, len(kept)) uint8, uint16 or float32; of 1 bit 0 and 255.

    Raises:
        ValueError: If one does not give exactly its bytes, or does not decompress.
    """
    shape = (layout.height, layout.width, len(kept))
    kind = np.float32 if layout.floats else np.uint16 if layout.bits == 16 else np.uint8
    out: Pixels = np.zeros(shape, kind)
    for (offset, count), (plane, top, left) in zip(layout.places, _positions(layout), strict=True):
        if layout.planar and plane not in kept:
            continue
        rows = layout.part[0] if layout.tiled else min(layout.part[0], layout.height - top)
        part = _decode(data[offset : offset + count], layout, rows)
        target = out[top : top + rows, left : left + layout.part[1]]
        if layout.planar:
            at = kept.index(plane)
            target[..., at : at + 1] = part[: target.shape[0], : target.shape[1]]
        else:
            target[...] = part[: target.shape[0], : target.shape[1], kept]
    return out


def _check_meaning(path: object, photometric: int, compression: int) -> None:
    known = photometric in (WHITE_IS_0, BLACK_IS_0, RGB, PALETTE)
    # Whether JPEG parts of CMYK are inverted, files do not agree on.
    known |= photometric == CMYK and compression != JPEG
    if not known and not (photometric == YCBCR and compression == JPEG):
        name = _PHOTOMETRICS.get(photometric, "unknown" if photometric < 0 else str(photometric))
        raise ImageFileError(
            f"{path} must be RGB or greyscale; its TIFF colours are {name}. Convert it to RGB in a "
            "colour-managed editor."
        )


def _bits(path: object, directory: Directory) -> tuple[int, bool]:
    bits = set(directory.numbers(258, (1,)))
    forms = set(directory.numbers(339, (1,)))
    known = {1, 8, 16} if forms == {1} else {16, 32} if forms == {3} else set()
    if len(bits) != 1 or not bits <= known:
        raise ImageFileError(
            f"{path} must have 8 or 16 bits of unsigned integer a channel, or floats of 16 or 32; "
            f"it has {', '.join(map(str, sorted(bits)))} (sample format "
            f"{', '.join(map(str, sorted(forms)))}). Save it as 8- or 16-bit TIFF."
        )
    return bits.pop(), forms == {3}


def _check_compression(
    path: object, compression: int, predictor: int, bits: int, floats: bool
) -> None:
    if compression not in _COMPRESSIONS:
        known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise ImageFileError(
            f"{path} must be compressed by one of {known}; its TIFF compression is {compression}. "
            "Save it with Deflate or LZW."
        )
    if compression == JPEG and bits != 8:
        raise ValueError(f"its JPEG parts have {bits} bits")
    if predictor not in (1, 2, 3 if floats else 1) or (predictor == 2 and bits == 1):
        raise ImageFileError(
            f"{path} must store rows as they are or as differences (predictor 1 or 2, 3 of "
            f"floats); its "
            f"predictor is {predictor}. Save it with Deflate or LZW."
        )


def _parts(
    directory: Directory, size: tuple[int, int], planes: int
) -> tuple[tuple[int, int], bool, tuple[tuple[int, int], ...]]:
    """The size of strips or tiles, which of the two, and where they are."""
    height, width = size
    tiled = 322 in directory
    if tiled:
        part = (directory.number(323), directory.number(322))
    else:
        part = (min(directory.number(278, height), height), width)
    if min(part) < 1:
        raise ValueError(f"its strips or tiles are {part[1]}x{part[0]}")
    wanted = planes * math.ceil(height / part[0]) * math.ceil(width / part[1])
    tags = (324, 325) if tiled and 324 in directory else (273, 279)
    offsets, counts = (directory.numbers(tag, (), wanted) for tag in tags)
    if len(offsets) != wanted or len(counts) != wanted:
        raise ValueError(
            f"it must have {wanted} strips or tiles; it has {len(offsets)} places and "
            f"{len(counts)} lengths"
        )
    return part, tiled, tuple(zip(offsets, counts, strict=True))


def _palette(directory: Directory, bits: int) -> NDArray[np.uint16]:
    values = directory.numbers(320, (), 3 << 16)
    if len(values) != 3 << bits:
        raise ValueError(f"its palette has {len(values)} values for {bits} bits")
    return np.array(values, np.uint16).reshape(3, -1)


def _orientation(directory: Directory) -> int:
    try:
        value = directory.number(274, 1)
    except ValueError:
        return 1
    return value if 1 <= value <= 8 else 1


def _positions(layout: Layout) -> Iterator[tuple[int, int, int]]:
    """(plane, top, left) of each strip or tile, in the file's order."""
    for plane in range(layout.samples if layout.planar else 1):
        for top in range(0, layout.height, layout.part[0]):
            for left in range(0, layout.width, layout.part[1]):
                yield plane, top, left


def _part_bytes(layout: Layout, shape: tuple[int, int]) -> tuple[int, int]:
    """Bytes of a strip or tile, and of one of its rows."""
    values = shape[1] * (1 if layout.planar else layout.samples)
    row = math.ceil(values * layout.bits / 8)
    return shape[0] * row, row


def _decode(data: bytes, layout: Layout, rows: int) -> Pixels:
    """One strip or tile as (rows, columns, samples)."""
    samples = 1 if layout.planar else layout.samples
    shape = (rows, layout.part[1], samples)
    if layout.compression == JPEG:
        return _decode_jpeg(data, layout, shape)
    if layout.reversed_bits:
        from imagecodecs import bitorder_decode

        data = bytes(bitorder_decode(data))
    expected, _ = _part_bytes(layout, shape[:2])
    full, _ = _part_bytes(layout, layout.part)  # some writers fill up the last strip
    raw = _decompress(data, layout.compression, full + 1)
    if len(raw) not in (expected, full):
        raise ValueError(f"a strip or tile must give {expected} bytes; it gives {len(raw)}")
    raw = raw[:expected]
    if layout.bits == 1:
        packed = np.frombuffer(raw, np.uint8).reshape(rows, -1)
        return np.unpackbits(packed, axis=1, count=shape[1])[..., None] * np.uint8(255)
    size = layout.bits // 8
    if layout.predictor == 3:
        from imagecodecs import floatpred_decode

        # Bytes of a row's values lie by their weight, the highest first, whatever the file's order.
        coded = np.frombuffer(raw, f">f{size}").reshape(shape)
        decoded: Pixels = floatpred_decode(coded, axis=-2).astype(np.float32)
        return decoded
    values: NDArray[Any] = np.frombuffer(raw, np.dtype(f"{layout.order}u{size}")).reshape(shape)
    if layout.predictor == 2:
        native = values.astype(values.dtype.newbyteorder("="))
        values = np.cumsum(native, axis=1, dtype=native.dtype, out=native)
    if layout.floats:
        floats: Pixels = values.view(values.dtype.str.replace("u", "f")).astype(np.float32)
        return floats
    return values


def _decode_jpeg(data: bytes, layout: Layout, shape: tuple[int, int, int]) -> Pixels:
    from imagecodecs import jpeg_decode

    size = inspect(Path("a JPEG part"), "JPEG", data, math.prod(layout.part))
    if size.width != shape[1] or size.height not in (shape[0], layout.part[0]):
        raise ValueError(f"a part must be {shape[1]}x{shape[0]}; it is {size.width}x{size.height}")
    colours = layout.photometric in (RGB, YCBCR) and not layout.planar
    plain = layout.photometric == RGB and b"JFIF\0" not in data[:32]
    pixels: Pixels = jpeg_decode(
        data,
        tables=layout.tables or None,
        colorspace=RGB if colours and plain else None,
        outcolorspace=RGB if colours else None,
        shape=(size.height, size.width),
    )
    if pixels.dtype != np.uint8 or pixels.size != size.pixels * shape[2]:
        raise ValueError(f"a part must be {shape}; it is {pixels.shape}")
    return pixels.reshape(size.height, size.width, shape[2])[: shape[0]]


def _decompress(data: bytes, compression: int, most: int) -> bytes:
    """At most so many bytes of what was compressed; of damaged data fewer, or ValueError."""
    if compression == 1:
        return data
    if compression in (8, 32946):
        stream = zlib.decompressobj()
        try:
            raw = stream.decompress(data, most)
        except zlib.error as error:
            raise ValueError(f"a strip or tile does not decompress ({error})") from error
        if not stream.eof:
            raise ValueError("a strip or tile is cut off, or gives too much")
        return raw
    import imagecodecs

    decoders: dict[int, Callable[..., bytes | bytearray]] = {
        5: imagecodecs.lzw_decode,
        32773: imagecodecs.packbits_decode,
        34925: imagecodecs.lzma_decode,
        50000: imagecodecs.zstd_decode,
    }
    return bytes(decoders[compression](data, out=most))
