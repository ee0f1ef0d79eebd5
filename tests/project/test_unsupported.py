"""Machines that harmonizer is not made for: one sentence each."""

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
from cpp_package import CPP, run, tool
from repository import ROOT

from harmonizer import _native
from harmonizer.errors import NativeLibraryError

OLDER_PYTHON = """
import sys
sys.version_info, sys.version = (3, 10, 13, "final", 0), "3.10.13 (main)"
import harmonizer
"""


def test_import_on_an_older_python_says_which_it_must_be() -> None:
    command = [sys.executable, "-c", OLDER_PYTHON]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == (
        "ImportError: harmonizer must have Python 3.11 or newer; this is 3.10.13. Install a newer "
        "Python, and harmonizer into it."
    )


@pytest.mark.parametrize(
    "reason",
    [
        "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.28' not found (required by l.so)",
        "l.so: wrong ELF class: ELFCLASS64",
    ],
)
def test_library_for_another_system_is_refused_in_one_line(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str) -> None:
        raise OSError(reason)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(NativeLibraryError) as caught:
        _native.load_library.__wrapped__()
    said = str(caught.value)
    assert reason in said and "Install a wheel for this platform" in said and "\n" not in said


def test_library_for_another_processor_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the ELF header of a library for MIPS; glibc says of it that there is no such file."""
    code = bytearray(_native.LIBRARY.read_bytes())
    if code[:4] != b"\x7fELF":
        pytest.skip("libraries of Linux")
    code[18:20] = (8).to_bytes(2, "little")
    library = tmp_path / "libharmonizer.so"
    library.write_bytes(code)
    monkeypatch.setattr(_native, "LIBRARY", library)
    with pytest.raises(NativeLibraryError) as caught:
        _native.load_library.__wrapped__()
    said = str(caught.value)
    assert "holds nothing for this processor" in said and "\n" not in said


def build_hook() -> str:
    pytest.importorskip("hatchling")
    import hatch_build

    return hatch_build.library_name()


def test_build_with_a_python_of_32_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.maxsize", (1 << 31) - 1)
    with pytest.raises(Exception, match=r"must be built by a Python of 64 bits; this one has 32"):
        build_hook()


def test_build_on_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "plan9")
    with pytest.raises(Exception, match=r"built on Linux, macOS or Windows; this is plan9\."):
        build_hook()


def test_build_without_a_compiler_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("hatchling")
    import hatch_build

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(hatch_build.CompileError, match=r"none of c\+\+.*apt install g\+\+"):
        hatch_build.compile_library(ROOT / "runtime/cpp", tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("set(CMAKE_SIZEOF_VOID_P 4)", "must be compiled for 64 bits"),
        ("set(MSVC 1)", "must be compiled by g++ or clang"),
    ],
)
def test_cmake_refuses_what_is_not_supported(settings: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(app LANGUAGES CXX)\n"
        f"{settings}\nadd_subdirectory({CPP} harmonizer)\n"
    )
    ninja = f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"
    words = ["-G", "Ninja", ninja, "-S", tmp_path, "-B", tmp_path / "build"]
    refused = run(tool("cmake"), *words)
    assert refused.returncode and said in " ".join(refused.stderr.split())
