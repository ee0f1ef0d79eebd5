"""Parse JSON that somebody else wrote: limited in size, depth and digits, every key once."""

import json
from pathlib import Path
from typing import Any

from harmonizer.reading import DOCUMENT_LIMIT, read_regular

MAX_DEPTH = 32
"""Levels of lists and objects; the deepest of this project's documents has 6."""

MAX_DIGITS = 1000
"""Digits of a whole number, so that reading it takes no time; `checks.finite` refuses what no float
holds."""


def parse_document(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: If it is not UTF-8, -16 or -32, or no JSON, repeats a key, nests more than
            `MAX_DEPTH` levels, or has whole numbers of more than `MAX_DIGITS` digits.
    """
    try:
        # Editors on Windows write UTF-16, or UTF-8 behind a mark.
        text = data.decode(json.detect_encoding(data)) if isinstance(data, bytes) else data
        document = json.loads(text, object_pairs_hook=_unrepeated, parse_int=_short)
    except RecursionError as error:
        raise ValueError(f"it nests more than {MAX_DEPTH} levels") from error
    _check_depth(document)
    return document


def read_document(path: str | Path) -> Any:
    """Parse a file of JSON.

    Raises:
        OSError: If it cannot be read, is no regular file, or has more than `DOCUMENT_LIMIT` bytes.
        ValueError: As `parse_document` does.
    """
    return parse_document(read_regular(path, DOCUMENT_LIMIT))


def _check_depth(document: object) -> None:
    level: list[object] = [document]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        if not inner:
            return
        level = inner
    raise ValueError(f"it nests more than {MAX_DEPTH} levels")


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's entries, or ValueError where a key comes twice."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated[:80]!r} comes twice")
    return entries


def _short(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"it has a whole number of {len(digits):,} digits")
    return int(digits)
