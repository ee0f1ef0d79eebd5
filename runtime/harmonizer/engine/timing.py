"""TensorRT's timing cache in a file: read before a build, written again after it."""

from pathlib import Path
from typing import Any

from harmonizer.engine.files import publish
from harmonizer.errors import EngineError
from harmonizer.private import locked
from harmonizer.reading import DOCUMENT_LIMIT, read_regular


def open_timing_cache(config: Any, path: Path) -> Any:
    """Give a build the measurements of earlier ones; an absent file is an empty cache.

    Raises:
        EngineError: If the file is of another TensorRT or GPU, or none at all.
    """
    data = _read(path)
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):
        raise EngineError(
            f"{path} must be a timing cache of this TensorRT and this GPU; it is not. Delete it or "
            "name another file."
        )
    return cache


def save_timing_cache(config: Any, path: Path) -> None:
    """Write what was measured, together with what other builds have written meanwhile."""
    cache = config.get_timing_cache()
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(path.name + ".lock")):
        written = _read(path)
        if written:
            other = config.create_timing_cache(written)
            if other is not None:
                cache.combine(other, False)
        publish({path: bytes(cache.serialize())})


def _read(path: Path) -> bytes:
    """The bytes of the cache; none where there is no file."""
    try:
        return read_regular(path, 16 * DOCUMENT_LIMIT)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise EngineError(
            f"{path} must be a readable timing cache; it is not: {error.strerror or error}. Delete "
            "it or name another file."
        ) from error
