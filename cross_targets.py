"""The systems that wheels are built for on one machine, and Zig's C++ compiler for each.

Zig brings the headers of every system and the symbols of every glibc, so that a wheel for an old
glibc, for arm64, Windows or macOS needs no such machine: docs/decisions/0013.
"""

import importlib.util
import stat
from dataclasses import dataclass
from pathlib import Path

ZIG = "ziglang==0.17.1"
"""What `HARMONIZER_TARGET` adds to the build's requirements."""


@dataclass(frozen=True)
class Target:
    """A system.

    Attributes:
        triple: Zig's name of it; of glibc, with the oldest version that must do.
        system, processor: CMake's names.
        tag: The wheel's platform.
        library: Name of the compiled library.
    """

    triple: str
    system: str
    processor: str
    tag: str
    library: str = "libharmonizer.so"


TARGETS = {
    "linux-x86_64": Target("x86_64-linux-gnu.2.28", "Linux", "x86_64", "manylinux_2_28_x86_64"),
    "linux-arm64": Target("aarch64-linux-gnu.2.28", "Linux", "aarch64", "manylinux_2_28_aarch64"),
    "windows-x86_64": Target(
        "x86_64-windows-gnu", "Windows", "AMD64", "win_amd64", "libharmonizer.dll"
    ),
    "macos-arm64": Target(
        "aarch64-macos.11.0", "Darwin", "arm64", "macosx_11_0_arm64", "libharmonizer.dylib"
    ),
    "macos-x86_64": Target(
        "x86_64-macos.11.0", "Darwin", "x86_64", "macosx_11_0_x86_64", "libharmonizer.dylib"
    ),
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in TARGETS:
        raise ValueError(
            f"HARMONIZER_TARGET must be one of {', '.join(TARGETS)}; got {name!r}. Unset it to "
            "build for this machine."
        )
    return TARGETS[name]


def find_zig(purpose: str) -> Path:
    """Zig's program.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(f"{purpose} needs Zig; it is not installed. pip install {ZIG}")
    return Path(package.origin).with_name("zig")


def cmake_settings(target: Target, folder: Path) -> list[str]:
    """CMake's flags for a target; its compiler's wrappers are put into `folder`.

    Raises:
        ModuleNotFoundError: If Zig is not installed.
    """
    zig = find_zig("building for another system")
    tools = {"cxx": f"c++ -target {target.triple}", "ar": "ar", "ranlib": "ranlib"}
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in tools.items():
        wrapper = folder / name
        wrapper.write_text(f'#!/bin/sh\nexec "{zig}" {words} "$@"\n')
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return [
        f"-DCMAKE_SYSTEM_NAME={target.system}",
        f"-DCMAKE_SYSTEM_PROCESSOR={target.processor}",
        f"-DCMAKE_CXX_COMPILER={folder / 'cxx'}",
        f"-DCMAKE_AR={folder / 'ar'}",
        f"-DCMAKE_RANLIB={folder / 'ranlib'}",
        "-DCMAKE_SHARED_LINKER_FLAGS=-s",
    ]
