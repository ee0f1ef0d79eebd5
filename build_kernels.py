"""Compile the CUDA kernels ahead of time, for every supported GPU: `make cuda`.

With nvcc where a CUDA toolkit is installed, else with the wheels nvidia-cuda-nvrtc, nvidia-nvfatbin
and cuda-bindings. No GPU and no driver is needed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harmonizer.cuda.compiled_kernels import IMAGE, write_image
from harmonizer.cuda.compiler import (
    MAIN_SOURCE,
    compile_kernels,
    digest_of,
    load_nvrtc,
    read_sources,
)
from harmonizer.errors import DeviceError

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""Machine code is made for these; the PTX of the first and the last serves all others."""

PTX_ARCHITECTURES = (75, 120)


def build_with_nvcc(sources: dict[str, bytes]) -> bytes:
    """The fatbin by nvcc.

    Raises:
        DeviceError: If it does not compile.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_bytes(text)
        command = ["nvcc", "-fatbin", "-std=c++17", "-O3", "--threads", "2"]
        for architecture in ARCHITECTURES:
            code = f"sm_{architecture}"
            if architecture in PTX_ARCHITECTURES:
                code += f",compute_{architecture}"
            command += [f"-gencode=arch=compute_{architecture},code=[{code}]"]
        command += ["-o", str(folder / "kernels.fatbin"), str(folder / MAIN_SOURCE)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise DeviceError(f"`{' '.join(command)}` failed:\n{result.stdout}{result.stderr}")
        return (folder / "kernels.fatbin").read_bytes()


def build_with_nvrtc(sources: dict[str, bytes]) -> bytes:
    """The fatbin by NVRTC and nvFatbin.

    Raises:
        DeviceError: If a package is missing, or the kernels do not compile.
    """
    load_nvrtc()
    try:
        from cuda.bindings import nvfatbin

        handle = nvfatbin.create(["-compress=true"], 1)
    except Exception as error:
        raise DeviceError(
            "a fatbin needs nvcc, or the packages cuda-bindings, nvidia-cuda-nvrtc and "
            f"nvidia-nvfatbin; using the last failed ({str(error).splitlines()[0]}). Run `pip "
            "install nvidia-nvfatbin`."
        ) from error
    for architecture in ARCHITECTURES:
        cubin, _ = compile_kernels(sources, f"sm_{architecture}")
        nvfatbin.add_cubin(handle, cubin, len(cubin), str(architecture), "hz_kernels")
    for architecture in PTX_ARCHITECTURES:
        ptx, _ = compile_kernels(sources, f"compute_{architecture}")
        nvfatbin.add_ptx(handle, ptx, len(ptx), str(architecture), "hz_kernels", "")
    image = bytearray(nvfatbin.size(handle))
    nvfatbin.get(handle, image)
    nvfatbin.destroy(handle)
    return bytes(image)


def main() -> int:
    """Build, and write the image with the digest of its sources."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=IMAGE)
    parser.add_argument("--compiler", choices=("nvcc", "nvrtc"))
    options = parser.parse_args()
    sources = read_sources()
    compiler = options.compiler or ("nvcc" if shutil.which("nvcc") else "nvrtc")
    try:
        image = (build_with_nvcc if compiler == "nvcc" else build_with_nvrtc)(sources)
    except DeviceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_image(options.output, image, digest_of(sources))
    print(f"{options.output}: {len(image):,} bytes, by {compiler}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
