"""The CUDA kernels compiled by g++ and run on the CPU: see cuda_shim.h and emulate.cpp."""

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
LIBRARY = "libhz_emulated.so"


@cache
def emulation() -> Path:
    """The library, compiled once for all tests of a run."""
    folder = Path(tempfile.mkdtemp(prefix="harmonizer-emulation-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_emulation(folder)


def build_emulation(folder: Path, sanitized: bool = False) -> Path:
    """Compile ``libhz_emulated.so`` into an existing folder; it exports `hz_emulate`.

    Args:
        folder: Where to put it.
        sanitized: With the address and undefined-behaviour sanitizers, which stop the process at
            the first error; it must be started with ``LD_PRELOAD`` of libasan.

    Raises:
        subprocess.CalledProcessError: If the compiler fails.
    """
    target = folder / LIBRARY
    options = ["-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-fvisibility=hidden"]
    # Fused multiplications only where the kernels ask for them, as they do for thumbnails.
    options += ["-ffp-contract=off", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra"]
    options += ["-Wno-unknown-pragmas", "-Wno-attributes"]
    if sanitized:
        options += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    includes = [ROOT / "runtime/kernels", ROOT / "runtime/cpp/include", FOLDER]
    command = ["c++", *options, *(f"-I{path}" for path in includes), "-o", str(target)]
    command += [str(FOLDER / "emulate.cpp"), str(FOLDER / "fibers.cpp")]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return target
