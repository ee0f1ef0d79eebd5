"""Build and install the C++ package once for all tests that use it."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from repository import ROOT

from harmonizer import __version__

CPP = ROOT / "runtime" / "cpp"
SONAME = f"libharmonizer.so.{__version__.rpartition('.')[0]}"
CONSUMER = Path(__file__).parent / "cpp_consumer"


def tool(name: str) -> str:
    """A program on PATH or beside the interpreter, or a skip that says which is missing."""
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(sys.executable).parent)))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"no {name}; install it to build the C++ package")
    return found


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program and keep what it prints, as text."""
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        **options,  # type: ignore[call-overload]
    )


def succeed(*command: object, **options: object) -> str:
    """Run a program that must succeed; its stdout."""
    result = run(*command, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@cache
def scratch() -> Path:
    """A folder that lives as long as the test run."""
    folder = Path(tempfile.mkdtemp(prefix="harmonizer-cpp-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def configure(source: Path, build: Path, *options: str) -> None:
    """Run CMake; skip without it."""
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    succeed(tool("cmake"), "-G", "Ninja", ninja, "-S", source, "-B", build, *options)


@cache
def installed() -> Path:
    """A Release install tree, moved after installation: it must not know where it was made."""
    build, first, moved = (scratch() / name for name in ("build", "first", "installed"))
    configure(CPP, build, "-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_INSTALL_LIBDIR=lib")
    succeed(tool("cmake"), "--build", build)
    succeed(tool("cmake"), "--install", build, "--prefix", first)
    first.rename(moved)
    return moved


def build_against_package(source: Path, name: str) -> Path:
    """Build a project that calls find_package(harmonizer); its build folder."""
    build = scratch() / name
    configure(source, build, f"-DCMAKE_PREFIX_PATH={installed()}", "-DCMAKE_BUILD_TYPE=Release")
    succeed(tool("cmake"), "--build", build)
    return build


@cache
def consumer() -> Path:
    """The folder of `consume_c` and `consume_cpp`."""
    return build_against_package(CONSUMER, "consumer")


@cache
def sample() -> Path:
    """The sample application, built by itself against the install tree."""
    return build_against_package(CPP / "samples", "sample") / "harmonize"


def write_subproject(folder: Path, options: str = "") -> None:
    """A project that adds the library with add_subdirectory, and the consumers."""
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(app LANGUAGES C CXX)\n"
        f"{options}\nadd_subdirectory({CPP} harmonizer)\n"
        "find_package(Threads REQUIRED)\n"
        f"add_executable(consume_c {CONSUMER}/consume.c)\n"
        f"add_executable(consume_cpp {CONSUMER}/consume.cpp)\n"
        f"add_executable(consume_cuda {CONSUMER}/consume_cuda.cpp)\n"
        f"add_executable(consume_queued {CONSUMER}/consume_queued.cpp)\n"
        "foreach(app consume_c consume_cpp consume_cuda consume_queued)\n"
        "  target_compile_features(${app} PRIVATE cxx_std_17 c_std_99)\n"
        "  target_link_libraries(${app} PRIVATE\n"
        "    harmonizer::harmonizer Threads::Threads ${CMAKE_DL_LIBS})\n"
        "endforeach()\n"
    )


def write_netpbm(path: Path, array: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """Write PGM, PPM or (four channels, or by suffix) PAM."""
    height, width = array.shape[:2]
    channels = array.shape[2] if array.ndim == 3 else 1
    maximum = np.iinfo(array.dtype).max
    if path.suffix == ".pam":
        header = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {channels}\nMAXVAL {maximum}\nENDHDR\n"
    else:
        header = f"P{5 if channels == 1 else 6}\n# a comment\n{width} {height}\n{maximum}\n"
    path.write_bytes(header.encode() + array.astype(array.dtype.newbyteorder(">")).tobytes())
    return path


def read_netpbm(path: Path, like: NDArray[np.generic]) -> NDArray[np.generic]:
    """Read back what the sample wrote, of a known shape and type."""
    data = path.read_bytes()[-like.nbytes :]
    return np.frombuffer(data, like.dtype.newbyteorder(">")).reshape(like.shape).astype(like.dtype)
