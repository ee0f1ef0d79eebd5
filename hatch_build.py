"""Hatchling build hook: compile the library and put it into the package.

An editable install leaves the library in ``runtime/harmonizer/_native/`` (ignored by git), where
the package finds it; a wheel carries it under ``harmonizer/_native/``. A wheel also carries the
sources of the CUDA kernels, for NVRTC, their compiled image if `make cuda` has made one, and the
studio if `make studio-build` has.
`HARMONIZER_TARGET` names another system to build the wheel for: see cross_targets.py.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.append(str(Path(__file__).parent))  # a build front end does not put it there
from cross_targets import ZIG, Target, cmake_settings, find_target

SUFFIXES = {"linux": ".so", "win32": ".dll", "darwin": ".dylib"}
KERNEL_IMAGE = ("hz_kernels.fatbin", "hz_kernels.sha256")
KERNEL_SOURCES = (".cu", ".cuh", ".h")


class CompileError(Exception):
    """The C++ part cannot be compiled."""


class RendererBuildHook(BuildHookInterface[Any]):
    """Runs CMake with Ninja; both come with ``build-system.requires``."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beside `build-system.requires`: for another system, Zig."""
        return [ZIG] if os.environ.get("HARMONIZER_TARGET") else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and tag the wheel with this platform.

        Args:
            version: "standard" or "editable".
            build_data: Hatchling's; gets the tag and, for a standard wheel, the library.

        Raises:
            CompileError: If this platform is not supported, no C++ compiler is found, or CMake
                fails.
        """
        root = Path(self.root)
        other = os.environ.get("HARMONIZER_TARGET")
        target = find_target(other) if other else None
        name = target.library if target else library_name()
        place = root / "runtime" / "harmonizer" / "_native" / name
        if target:
            place = root / "build" / target.tag / name
        with tempfile.TemporaryDirectory() as folder:
            compile_library(root / "runtime" / "cpp", Path(folder), target)
            place.parent.mkdir(parents=True, exist_ok=True)
            # A process may have the old library mapped: replace the file, do not write into it.
            staged = place.with_suffix(".new")
            shutil.copyfile(Path(folder) / name, staged)
            staged.replace(place)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{target.tag if target else platform_tag(place)}"
        if version == "standard":
            build_data["force_include"][str(place)] = f"harmonizer/_native/{name}"
            for path, inside in (kernel_files(root) | studio_files(root)).items():
                build_data["force_include"][str(path)] = inside


def library_name() -> str:
    """What the library is called on this machine.

    Raises:
        CompileError: If it is none that harmonizer is built on.
    """
    if sys.maxsize < 1 << 32:
        raise CompileError(
            "harmonizer must be built by a Python of 64 bits; this one has 32. Install the 64-bit "
            "Python of this system."
        )
    if sys.platform not in SUFFIXES:
        raise CompileError(
            f"harmonizer must be built on Linux, macOS or Windows; this is {sys.platform}. The C++ "
            "library alone may compile here: docs/cpp.md."
        )
    return f"libharmonizer{SUFFIXES[sys.platform]}"


def platform_tag(library: Path) -> str:
    """The platform that a wheel with this library runs on, as pip compares it.

    On Linux the oldest glibc that has every symbol the library asks for (PEP 600), so that pip
    refuses the wheel where it could be installed and not loaded; without glibc, as Python names
    the platform. The versions stand in the library's string table, each as text of its own.
    """
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    asked = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\0])", library.read_bytes())
    if not platform.startswith("linux_") or not asked:
        return platform
    major, minor = max((int(major), int(minor)) for major, minor in asked)
    return f"manylinux_{major}_{minor}_{platform.removeprefix('linux_')}"


def kernel_files(root: Path) -> dict[Path, str]:
    """What a wheel carries of the CUDA kernels, and where."""
    files = {
        path: f"harmonizer/_kernels/{path.name}"
        for path in sorted((root / "runtime" / "kernels").iterdir())
        if path.suffix in KERNEL_SOURCES
    }
    images = [root / "runtime" / "harmonizer" / "_native" / name for name in KERNEL_IMAGE]
    if all(path.is_file() for path in images):
        files |= {path: f"harmonizer/_native/{path.name}" for path in images}
    return files


def studio_files(root: Path) -> dict[Path, str]:
    """What a wheel carries of the studio, if build_studio.py has built it, and where.

    The shipped network is in the package already, and served from there.
    """
    site = root / "build" / "studio"
    return {
        path: f"harmonizer/assets/studio/{path.relative_to(site).as_posix()}"
        for path in sorted(site.rglob("*"))
        if path.is_file() and path.name != "harmonizer.onnx"
    }


def compile_library(source: Path, folder: Path, target: Target | None = None) -> None:
    """Configure and build ``source`` in ``folder``, for this machine or for another system.

    Raises:
        CompileError: As in `RendererBuildHook.initialize`.
    """
    compilers = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    if target is None and not any(
        shutil.which(compiler.split()[0]) for compiler in compilers if compiler.strip()
    ):
        raise CompileError(
            "building harmonizer needs a C++17 compiler; none of c++, g++ and clang++ is on PATH. "
            "Install the system package g++ or clang (Debian, Ubuntu: apt install g++), set CXX to "
            "a compiler, or HARMONIZER_TARGET to a target of cross_targets.py, which brings one."
        )
    for command in (
        [
            "cmake",
            "-S",
            str(source),
            "-B",
            str(folder),
            "-G",
            "Ninja",
            "-DCMAKE_BUILD_TYPE=Release",
            "-DBUILD_SHARED_LIBS=ON",
            *(cmake_settings(target, folder / "zig") if target else ()),
        ],
        ["cmake", "--build", str(folder), "--target", "harmonizer"],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise CompileError(
                f"`{' '.join(command)}` must succeed; it failed with:\n"
                f"{result.stdout}{result.stderr}"
            )
