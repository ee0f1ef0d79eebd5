"""TensorRT's timing cache in a file: read before a build, written again after it."""

from pathlib import Path
from typing import Any

from harmonizer.engine.files import publish
from harmonizer.engine.locks import locked
from harmonizer.errors import EngineError


def open_timing_cache(config: Any, path: Path) -> Any:
    """Give a build the measurements of earlier ones; an absent file is an empty cache.

    Raises:
        EngineError: If the file is of another TensorRT or GPU, or none at all.
    """
    data = path.read_bytes() if path.is_file() else b""
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
        if path.is_file():
            other = config.create_timing_cache(path.read_bytes())
            if other is not None:
                cache.combine(other, False)
        publish({path: bytes(cache.serialize())})
