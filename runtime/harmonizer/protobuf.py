"""Walk through the bytes of a protobuf message: fields and their numbers, nothing is built.

Only the wire format is known here (protobuf.dev, "Encoding"); `harmonizer.onnx_files` knows what
the fields of ONNX mean.
"""

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int, int, memoryview]
"""Number, wire type, the value of a varint (else 0), and the bytes (empty for a varint)."""


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message, in order.

    Raises:
        ValueError: If the bytes are no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value, data[:0]
            continue
        if kind == BYTES:
            length, at = _varint(data, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"a field has the wire type {kind}")
        if length > end - at:
            raise ValueError("a field reaches beyond its message")
        yield number, kind, 0, data[at : at + length]
        at += length


def varints(data: memoryview) -> Iterator[int]:
    """Packed whole numbers, without sign.

    Raises:
        ValueError: If they are cut off.
    """
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number is cut off or too long")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
