"""Wheels for other systems: built or brought, taken apart, and what runs their programs here."""

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

import pytest
from cpp_package import SONAME, scratch
from repository import ROOT

from cross_targets import TARGETS, cmake_settings

ARM_SYSTEM = Path("/usr/aarch64-linux-gnu")
"""Where Debian's libc6-arm64-cross puts the C library that programs for arm64 load."""


def succeed_in(folder: Path | None, *command: object, **environment: str) -> str:
    """Run a program that must succeed in a folder; its stdout."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def wheel_for(name: str) -> Path:
    """A target's wheel: that of the folder HARMONIZER_WHEELS where it is set, else a new one."""
    brought = os.environ.get("HARMONIZER_WHEELS")
    if brought:
        (path,) = (ROOT / brought).glob(f"*-{TARGETS[name].tag}.whl")
        return path
    for module in ("ziglang", "build", "hatchling"):
        pytest.importorskip(module, reason=f"needs {module}, to build wheels for other systems")
    folder = scratch() / "wheels" / name
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    words = ["--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", folder, ROOT]
    command = [sys.executable, "-m", "build", *words]
    succeed_in(None, *command, HARMONIZER_TARGET=name, PATH=programs)
    (path,) = folder.iterdir()
    return path


@cache
def folder_of(name: str) -> Path:
    """The folder of a target's library, taken out of the wheel; its name is the target's."""
    pytest.importorskip("ziglang", reason="needs ziglang, to link programs for other systems")
    target, folder = TARGETS[name], scratch() / "cross" / name
    folder.mkdir(parents=True)
    data = zipfile.ZipFile(wheel_for(name)).read(f"harmonizer/_native/{target.library}")
    (folder / target.library).write_bytes(data)
    if target.system == "Linux":
        (folder / SONAME).symlink_to(target.library)  # what a program that is linked to it asks for
    cmake_settings(target, folder / "zig")  # the compiler, for what is linked to it
    return folder


@cache
def program_for(name: str, source: Path) -> Path:
    """A program in C99 or C++17, compiled for a target and linked to its library, beside it."""
    folder, target = folder_of(name), TARGETS[name]
    program = folder / f"{source.name}.exe"
    standard = ("-x", "c", "-std=c99") if source.suffix == ".c" else ("-x", "c++", "-std=c++17")
    strict = ("-O2", "-Wall", "-Wextra", "-Werror")
    places = (f"-I{ROOT / 'runtime/cpp/include'}", f"-I{ROOT / 'runtime/kernels'}")
    linked = ("-x", "none", folder / target.library)
    succeed_in(
        None, folder / "zig/cxx", *standard, *strict, *places, source, *linked, "-o", program
    )
    return program


def succeed_for(name: str, program: Path, *words: object, processor: str | None = None) -> str:
    """Run a target's program, which must succeed; its stdout. A skip where nothing here can.

    Args:
        name: The target's.
        program: What `program_for` gave.
        words: Its arguments; files among them lie in the program's folder.
        processor: QEMU's name of one to emulate, such as "Haswell".
    """
    target, start = TARGETS[name], []
    environment = {"LD_LIBRARY_PATH": str(program.parent)}
    if target.system == "Windows":
        wine = (
            shutil.which("wine64") or shutil.which("wine") or shutil.which("/usr/lib/wine/wine64")
        )
        if wine is None:
            pytest.skip("needs wine, to run programs for Windows")
        start = [wine]
        environment = {"WINEPREFIX": str(scratch() / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    elif target.system != platform.system() or target.system != "Linux":
        pytest.skip(f"nothing here runs programs for {name}")
    elif processor or target.processor != platform.machine():
        emulator = f"qemu-{target.processor}"
        found = shutil.which(emulator) or shutil.which(f"{emulator}-static")
        alien = target.processor != platform.machine()
        if found is None or (alien and not (target.processor == "aarch64" and ARM_SYSTEM.is_dir())):
            pytest.skip(f"needs {emulator}, and for arm64 libc6-arm64-cross")
        start = [found, *(("-L", str(ARM_SYSTEM)) if alien else ())]
        start += ["-cpu", processor] if processor else []
        start += ["-E", f"LD_LIBRARY_PATH={environment.pop('LD_LIBRARY_PATH')}"]
    return succeed_in(program.parent, *start, program, *words, **environment)
