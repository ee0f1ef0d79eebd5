"""Keys that a service's users show, from a file."""

import hashlib
import hmac
from pathlib import Path

from harmonizer.reading import read_regular
from harmonizer.usage import UsageError

SHORTEST = 16
"""Letters of a key; shorter ones can be tried out."""

_MOST_BYTES = 1 << 20


class Keys:
    """Keys of which digests alone are kept.

    Args:
        digests: SHA-256 of each.
    """

    def __init__(self, digests: list[bytes]) -> None:
        self._digests = digests

    def hold(self, key: str) -> bool:
        """Whether a key is one of them; how long that takes tells nothing of them."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(found)  # all were compared


def read_keys(path: Path) -> Keys:
    """Read keys: one a line, `#` begins a comment.

    Raises:
        UsageError: If the file cannot be read, holds none, or holds one that is too short.
    """
    try:
        text = read_regular(path, _MOST_BYTES).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise UsageError(
            f"{path} must be a readable file of keys in ASCII; {said}. Write one a line."
        ) from error
    keys = [line.partition("#")[0].strip() for line in text.splitlines()]
    keys = [key for key in keys if key]
    if not keys:
        raise UsageError(f"{path} must hold a key; it holds none. Write one a line.")
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST:
            raise UsageError(
                f"{path}: a key must have at least {SHORTEST} letters; key {number} has "
                f"{len(key)}. Make one by `openssl rand -hex 24`."
            )
    return Keys([hashlib.sha256(key.encode()).digest() for key in keys])
