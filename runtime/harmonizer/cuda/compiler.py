"""Compile the CUDA kernels with NVRTC, which needs no driver and no CUDA toolkit.

NVRTC and its Python names come with the wheels nvidia-cuda-nvrtc and cuda-bindings.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harmonizer.errors import DeviceError

MAIN_SOURCE = "hz_kernels.cu"
"""The translation unit; the other sources are its headers."""

OPTIONS = ("--std=c++17", "--dopt=on")

_SUFFIXES = (".cu", ".cuh", ".h")


def kernel_folder() -> Path:
    """Where the kernels' sources are: in an installed package, or in the repository.

    Raises:
        DeviceError: If they are in neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "_kernels", package.parent / "kernels"):
        if (folder / MAIN_SOURCE).is_file():
            return folder
    raise DeviceError(
        f"the kernels' sources must be in {package / '_kernels'}; {MAIN_SOURCE} is missing. "
        "Install harmonizer again."
    )


def read_sources() -> dict[str, bytes]:
    """The bytes of each source by file name, in alphabetical order.

    Raises:
        DeviceError: As in `kernel_folder`.
    """
    paths = sorted(kernel_folder().iterdir())
    return {path.name: path.read_bytes() for path in paths if path.suffix in _SUFFIXES}


def digest_of(sources: Mapping[str, bytes], *words: object) -> str:
    """SHA-256 over names and bytes of the sources, and over whatever else decides the result."""
    digest = hashlib.sha256()
    for part in (*(part for item in sources.items() for part in item), *map(str, words)):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


@cache
def load_nvrtc() -> Any:
    """The module `cuda.bindings.nvrtc`, with its library found.

    Raises:
        DeviceError: If one of the two is not installed.
    """
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except Exception as error:  # a class of cuda-pathfinder's own where the library is missing
        raise DeviceError(
            "compiling the kernels needs the packages cuda-bindings and nvidia-cuda-nvrtc, or "
            f"cuda-bindings and a CUDA toolkit; importing them failed ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}). Run `pip install cuda-bindings nvidia-cuda-nvrtc`."
        ) from error
    return nvrtc


def compiler_version() -> tuple[int, int]:
    """NVRTC's version, such as (13, 2).

    Raises:
        DeviceError: As in `load_nvrtc`.
    """
    _, major, minor = load_nvrtc().nvrtcVersion()
    return major, minor


def choose_target(capability: tuple[int, int]) -> str:
    """What to compile for a GPU: "sm_90", or PTX such as "compute_120" for a newer one than NVRTC.

    Raises:
        DeviceError: As in `load_nvrtc`; if NVRTC supports no architecture as old as the GPU's.
    """
    _, supported = load_nvrtc().nvrtcGetSupportedArchs()
    wanted = capability[0] * 10 + capability[1]
    if wanted in supported:
        return f"sm_{wanted}"
    older = [architecture for architecture in supported if architecture < wanted]
    if not older:
        version = ".".join(map(str, compiler_version()))
        raise DeviceError(
            f"the GPU must have compute capability {min(supported) / 10:g} or newer; it has "
            f"{capability[0]}.{capability[1]}, for which NVRTC {version} does not compile. Use "
            "backend `cpu`, or an older nvidia-cuda-nvrtc that still does."
        )
    return f"compute_{max(older)}"


def compile_kernels(
    sources: Mapping[str, bytes], target: str, options: tuple[str, ...] = OPTIONS
) -> tuple[bytes, str]:
    """Compile `MAIN_SOURCE`.

    Args:
        sources: From `read_sources`: what is hashed is what is compiled.
        target: "sm_..." for a cubin, "compute_..." for PTX.
        options: NVRTC's.

    Returns:
        The image and the compiler's log.

    Raises:
        DeviceError: If it does not compile, with the log; or as in `load_nvrtc`.
    """
    nvrtc = load_nvrtc()
    success = nvrtc.nvrtcResult.NVRTC_SUCCESS
    headers = {name: text for name, text in sources.items() if name != MAIN_SOURCE}
    status, program = nvrtc.nvrtcCreateProgram(
        sources[MAIN_SOURCE],
        MAIN_SOURCE.encode(),
        len(headers),
        list(headers.values()),
        [name.encode() for name in headers],
    )
    if status != success:
        raise DeviceError(f"NVRTC must take the kernels' sources; it answered {status}.")
    try:
        arguments = [f"--gpu-architecture={target}", *options]
        (status,) = nvrtc.nvrtcCompileProgram(
            program, len(arguments), [argument.encode() for argument in arguments]
        )
        log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
        nvrtc.nvrtcGetProgramLog(program, log)
        text = log.decode(errors="replace").strip("\0\n ")
        if status != success:
            raise DeviceError(
                f"the kernels must compile with NVRTC {compiler_version()} for {target} "
                f"({' '.join(options)}); it answered {status}:\n{text}"
            )
        kind = "PTX" if target.startswith("compute_") else "CUBIN"
        image = bytearray(getattr(nvrtc, f"nvrtcGet{kind}Size")(program)[1])
        getattr(nvrtc, f"nvrtcGet{kind}")(program, image)
        return bytes(image), text
    finally:
        nvrtc.nvrtcDestroyProgram(program)
