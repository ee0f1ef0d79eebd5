"""Compile the emulated CUDA driver, libcuda.so.1, and install PyCUDA where only headers are."""

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parent
ROOT = SOURCES.parents[2]


def find_headers() -> Path | None:
    """The folder of cuda.h: of an installed toolkit, or of NVIDIA's wheels; None without any."""
    folders = [Path(sysconfig.get_path("purelib")) / "nvidia/cu13/include"]
    nvcc = shutil.which("nvcc")
    if nvcc:
        folders.insert(0, Path(nvcc).resolve().parents[1] / "include")
    folders.insert(0, Path("/usr/local/cuda/include"))
    return next((folder for folder in folders if (folder / "cuda.h").is_file()), None)


def build_driver(folder: Path) -> Path:
    """Compile the emulated driver into a folder, for LD_LIBRARY_PATH.

    Functions that PyCUDA refers to and nothing here uses answer "not supported".

    Returns:
        The library, ``folder/libcuda.so.1``.

    Raises:
        FileNotFoundError: If there is no cuda.h.
        subprocess.CalledProcessError: If the compiler fails; its message goes to stderr.
    """
    headers = find_headers()
    if headers is None:
        raise FileNotFoundError("no cuda.h: neither a CUDA toolkit nor NVIDIA's runtime wheel")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libcuda.so.1"
    includes = [headers, ROOT / "runtime/cpp/include", ROOT / "runtime/kernels"]
    command = ["c++", "-std=c++17", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden"]
    command += ["-Wl,-soname,libcuda.so.1", "-o", str(library)]
    command += [f"-I{path}" for path in includes]
    sources = [str(path) for path in sorted(SOURCES.glob("*.cpp"))]
    subprocess.run([*command, *sources, "-ldl", "-lpthread"], check=True)
    return library


def install_pycuda(archive: Path | None = None, target: Path | None = None) -> None:
    """Build PyCUDA's source package and install it beside this interpreter.

    It links with libcuda, which a machine without a driver lacks: an empty library of that name
    stands in while linking. cuRAND, which nothing here needs, is left out.

    Args:
        archive: The source package; downloaded if None.
        target: Folder to install into instead, without the network.

    Raises:
        FileNotFoundError: If there is no cuda.h.
        subprocess.CalledProcessError: If downloading or building fails.
    """
    headers = find_headers()
    if headers is None:
        raise FileNotFoundError("no cuda.h: neither a CUDA toolkit nor NVIDIA's runtime wheel")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "empty.c").touch()
        pip = [sys.executable, "-m", "pip"]
        stub = ["cc", "-shared", "-Wl,-soname,libcuda.so.1", "-o", "libcuda.so", "empty.c"]
        subprocess.run(stub, cwd=folder, check=True)
        if archive is None:
            fetch = [*pip, "download", "-q", "--no-deps", "--no-binary", "pycuda", "pycuda>=2025.1"]
            subprocess.run(fetch, cwd=folder, check=True)
            archive = next(folder.glob("pycuda-*.tar.gz"))
        with tarfile.open(archive) as content:
            content.extractall(folder, filter="data")
        source = next(path for path in folder.glob("pycuda-*") if path.is_dir())
        (source / "siteconf.py").write_text(
            f"CUDA_ROOT = {str(headers.parent)!r}\n"
            f"CUDA_INC_DIR = [{str(headers)!r}]\n"
            f"CUDADRV_LIB_DIR = [{name!r}]\n"
            'CUDA_ENABLE_CURAND = False\nCXXFLAGS = ["-O1"]\n'
        )
        environment = {"LDFLAGS": "-Wl,--no-as-needed"}
        where = [] if target is None else ["--target", str(target), "--no-deps", "--no-index"]
        where += [] if target is None else ["--no-build-isolation"]
        subprocess.run(
            [*pip, "install", "-q", *where, str(source)],
            env={**os.environ, **environment},
            check=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Install PyCUDA from its source package.")
    parser.add_argument("archive", type=Path, nargs="?", help="the package (downloaded)")
    parser.add_argument("--target", type=Path, help="folder to install into, offline")
    options = parser.parse_args()
    install_pycuda(options.archive, options.target)
