"""The compiled CUDA kernels as bytes: made ahead of time, from the cache, or by NVRTC now.

An image made ahead of time (`make cuda`; wheels may carry it) is used if it comes from the very
sources that lie beside it. Otherwise NVRTC compiles them for the GPU at hand, once for each
version of sources, options and compiler: the result is kept in a folder for caches.
"""

import hashlib
import warnings
from pathlib import Path

from harmonizer import _native
from harmonizer.cuda.compiler import (
    OPTIONS,
    choose_target,
    compile_kernels,
    compiler_version,
    digest_of,
    read_sources,
)
from harmonizer.errors import DeviceError, HarmonizerWarning
from harmonizer.private import CACHE_VARIABLE, cache_folder, make_private_folder, read_private
from harmonizer.storage import write_file, write_set

IMAGE = _native.LIBRARY.with_name("hz_kernels.fatbin")
"""Where `make cuda` puts the image made ahead of time."""

DIGEST = IMAGE.with_suffix(".sha256")
"""Beside it: which sources it was made from, and which bytes it has."""


_DIGEST_BYTES = 32
_MOST_BYTES = 1 << 28


def kernel_image(capability: tuple[int, int]) -> bytes:
    """The kernels for a GPU, as ``cuModuleLoadData`` takes them.

    Args:
        capability: The GPU's compute capability, such as (9, 0).

    Returns:
        A fatbin, a cubin, or PTX with its terminating zero.

    Raises:
        DeviceError: If there is no image of these sources and none can be compiled: NVRTC is not
            installed, does not know this GPU, or refuses the sources.

    Warns:
        HarmonizerWarning: If a compiled image cannot be kept.
    """
    sources = read_sources()
    image = read_image(IMAGE, digest_of(sources))
    if image is not None:
        return image
    try:
        target = choose_target(capability)
    except DeviceError as error:
        state = "is of other sources" if IMAGE.is_file() else "is missing"
        raise DeviceError(
            f"backend `cuda` needs compiled kernels; {IMAGE} {state}, and they cannot be compiled "
            f"now: {error} Or run `make cuda` in the repository."
        ) from error
    key = digest_of(sources, target, *OPTIONS, *compiler_version())
    path = cache_folder("kernels") / f"{key}.{target}"
    cached = _read_cached(path)
    if cached is not None:
        return cached
    image, _ = compile_kernels(sources, target)
    try:
        _write_cached(path, image)
    except OSError as error:
        warnings.warn(
            f"compiled kernels are kept in {path.parent}, which cannot be written "
            f"({error.strerror or error}): they will be compiled again next time. Make it "
            f"writable, or set {CACHE_VARIABLE} to a folder that is.",
            HarmonizerWarning,
            stacklevel=2,
        )
    return image


def read_image(path: Path, digest: str) -> bytes | None:
    """An image made ahead of time, if it is whole and made from the sources with this digest."""
    try:
        made_from, checksum = path.with_suffix(DIGEST.suffix).read_text().split()
        image = path.read_bytes()
    except (OSError, ValueError):
        return None
    return image if (made_from, checksum) == (digest, _checksum(image).hex()) else None


def write_image(path: Path, image: bytes, digest: str) -> None:
    """Write an image made ahead of time, and beside it what `read_image` compares.

    Raises:
        OSError: If a file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = f"{digest} {_checksum(image).hex()}\n".encode()
    write_set({path: image, path.with_suffix(DIGEST.suffix): facts})


def _checksum(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


def _read_cached(path: Path) -> bytes | None:
    """A whole entry; None if there is none, it is damaged, or others could have written it."""
    try:
        entry = read_private(path, _MOST_BYTES)
    except OSError:
        return None
    checksum, image = entry[:_DIGEST_BYTES], entry[_DIGEST_BYTES:]
    return image if checksum == _checksum(image) else None


def _write_cached(path: Path, image: bytes) -> None:
    make_private_folder(path.parent)
    write_file(path, _checksum(image) + image)
