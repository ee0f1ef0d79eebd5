"""Wheels for other systems: what Zig compiles for them, and what of it can run here."""

import ctypes
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cpp_package import SONAME
from numpy.typing import NDArray
from repository import ROOT

from cross_targets import TARGETS, cmake_settings, find_target
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

ARM_SYSTEM = Path("/usr/aarch64-linux-gnu")
"""Where Debian's libc6-arm64-cross puts the C library that programs for arm64 load."""


def test_find_target_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be one of linux-x86_64, .*; got 'plan9'"):
        find_target("plan9")


def test_cmake_settings_without_zig_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install ziglang=="):
        cmake_settings(TARGETS["linux-arm64"], tmp_path)


def run(*command: object, cwd: Path | None = None, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=list(TARGETS))
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target's wheel; its folder's name is the target's."""
    for module in ("ziglang", "build", "hatchling"):
        pytest.importorskip(module, reason=f"needs {module}, to build wheels for other systems")
    folder = tmp_path_factory.mktemp("cross") / str(request.param)
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    words = ["--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", folder, ROOT]
    command = [sys.executable, "-m", "build", *words]
    run(*command, HARMONIZER_TARGET=str(request.param), PATH=programs)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def built(wheel: Path) -> Path:
    """The folder of a target's library, taken out of the wheel; its name is the target's."""
    folder = wheel.parent
    target = TARGETS[folder.name]
    data = zipfile.ZipFile(wheel).read(f"harmonizer/_native/{target.library}")
    (folder / target.library).write_bytes(data)
    if target.system == "Linux":
        (folder / SONAME).symlink_to(target.library)  # what a program that is linked to it asks for
    cmake_settings(target, folder / "zig")  # the compiler, for what is linked to it
    return folder


def compile_minimal(folder: Path, output: Path) -> Path:
    """The sample that draws a look on a PPM, for the target whose library lies in `folder`."""
    library = folder / TARGETS[folder.name].library
    run(
        *(folder / "zig/cxx", "-std=c++17", "-O2", ROOT / "runtime/cpp/samples/minimal.cpp"),
        *(f"-I{ROOT / 'runtime/cpp/include'}", f"-I{ROOT / 'runtime/kernels'}"),
        *(library, "-o", output),
    )
    return output


def write_netpbm(path: Path, pixels: NDArray[np.uint8]) -> None:
    magic = b"P6" if pixels.ndim == 3 else b"P5"
    head = b"%s\n%d %d\n255\n" % (magic, pixels.shape[1], pixels.shape[0])
    path.write_bytes(head + pixels.tobytes())


def write_scene(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture and its mask, `c.ppm` and `m.pgm`."""
    random = np.random.default_rng(5)
    composite = random.integers(0, 256, (97, 131, 3), np.uint8)
    mask = np.linspace(0, 255, 131).astype(np.uint8)[None].repeat(97, axis=0)
    write_netpbm(folder / "c.ppm", composite)
    write_netpbm(folder / "m.pgm", mask)
    return composite, mask


def check_drawing(folder: Path, composite: NDArray[np.uint8], mask: NDArray[np.uint8]) -> None:
    """Compare `o.ppm` with what the installed library draws."""
    got = np.frombuffer((folder / "o.ppm").read_bytes()[-composite.size :], np.uint8)
    renderer = CpuRenderer()
    none = dict.fromkeys(DEFAULT_FILTERS, 0.0)
    look = Arguments.from_mapping(none | {"temperature": 0.2, "contrast": -0.3})
    plan = renderer.measure(composite, look)
    expected = renderer.draw(composite, mask, plan)
    assert not np.array_equal(expected, composite)
    difference = np.abs(expected.reshape(-1).astype(int) - got)
    assert difference.max() <= 1, "another compiler contracts multiply and add elsewhere"
    assert (difference > 0).mean() < 1e-3


@pytest.mark.slow
def test_wheel_is_tagged_small_and_whole(wheel: Path) -> None:
    target = TARGETS[wheel.parent.name]
    assert wheel.name.endswith(f"-py3-none-{target.tag}.whl")
    assert wheel.stat().st_size < 30 << 20
    archive = zipfile.ZipFile(wheel)
    (about,) = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
    lines = archive.read(about).decode().splitlines()
    assert f"Tag: py3-none-{target.tag}" in lines and "Root-Is-Purelib: false" in lines
    natives = [name for name in archive.namelist() if name.startswith("harmonizer/_native/")]
    assert natives == [f"harmonizer/_native/{target.library}"]
    assert "harmonizer/assets/harmonizer.onnx" in archive.namelist()


LISTED = {
    line.split()[0]
    for line in (ROOT / "runtime/cpp/abi.txt").read_text().splitlines()
    if line.startswith("hz_") and len(line.split()) == 1
}
"""The functions of the binary interface."""


@pytest.mark.slow
def test_library_exports_the_interface_and_knows_no_folder(built: Path) -> None:
    target = TARGETS[built.name]
    library = built / target.library
    heads = {"Linux": b"\x7fELF", "Windows": b"MZ", "Darwin": b"\xcf\xfa\xed\xfe"}
    assert library.read_bytes().startswith(heads[target.system])
    if target.system == "Linux":
        names = re.findall(r" (\w+)$", run("nm", "-D", "--defined-only", library), re.MULTILINE)
        versions = {tuple(map(int, v.split("."))) for v in _glibc_versions(library)}
        assert versions and max(versions) <= (2, 28)
        dynamic = run("readelf", "-d", library)
        assert "RUNPATH" not in dynamic and "RPATH" not in dynamic
    elif target.system == "Windows":
        table = run("objdump", "-p", library).partition("[Ordinal/Name Pointer] Table")[2]
        names = re.findall(r"\[ *\d+\][^\n]*? (\w+)$", table, re.MULTILINE)
    else:
        names, folders = _read_macho(library.read_bytes())
        # Zig's linker for macOS cannot hide libc++'s operators new and delete, nor its own names.
        hidden_elsewhere = re.compile(r"_Z(n[wa]|d[la])|__dso_handle$|_mh_dylib_header$")
        names = [name for name in names if not hidden_elsewhere.match(name)]
        assert folders == 0
    assert set(names) == LISTED


def _glibc_versions(library: Path) -> list[str]:
    words = run("readelf", "-V", library).replace("\n", " ").split()
    return [word.removeprefix("GLIBC_") for word in words if word.startswith("GLIBC_")]


def _read_macho(data: bytes) -> tuple[list[str], int]:
    """The functions that a library of macOS defines for others, and how many rpaths it has."""
    names, folders, place = [], 0, 32
    for _ in range(int.from_bytes(data[16:20], "little")):
        command, size = struct.unpack_from("<II", data, place)
        folders += command == 0x8000001C  # LC_RPATH
        if command == 2:  # LC_SYMTAB
            symbols, count, strings, _ = struct.unpack_from("<IIII", data, place + 8)
            for index in range(count):
                name, kind, section = struct.unpack_from("<IBB", data, symbols + 16 * index)
                if kind & 1 and not kind & 0x10 and section:  # external, not private, defined here
                    start = strings + name + 1  # C's names begin with an underscore
                    names.append(data[start : data.index(0, start)].decode())
        place += size
    return names, folders


@pytest.mark.slow
def test_library_for_windows_draws_under_wine(built: Path, tmp_path: Path) -> None:
    wine = shutil.which("wine64") or shutil.which("wine") or shutil.which("/usr/lib/wine/wine64")
    if TARGETS[built.name].system != "Windows" or wine is None:
        pytest.skip("needs wine, and a library for Windows")
    program = compile_minimal(built, built / "minimal.exe")  # beside the DLL
    composite, mask = write_scene(tmp_path)
    names = ("c.ppm", "m.pgm", "o.ppm")
    settings = {"WINEPREFIX": str(tmp_path / "wine"), "WINEDEBUG": "-all", "DISPLAY": ""}
    run(wine, program, *names, cwd=tmp_path, **settings)
    check_drawing(tmp_path, composite, mask)


@pytest.mark.slow
def test_library_finds_the_instruction_set_that_the_installed_one_finds(built: Path) -> None:
    target = TARGETS[built.name]
    if target.system != platform.system() or target.processor != platform.machine():
        pytest.skip("a library for another system")
    library = ctypes.CDLL(str(built / target.library))
    library.hz_isa.restype = ctypes.c_char_p
    assert library.hz_isa().decode() == _native.isa()


@pytest.mark.slow
def test_library_draws_what_the_installed_one_draws(built: Path, tmp_path: Path) -> None:
    """x86-64 runs here; arm64 by emulation; of macOS nothing runs."""
    target, start = TARGETS[built.name], []
    if target.system != "Linux" or sys.platform != "linux":
        pytest.skip("nothing here runs its programs")
    if target.processor != platform.machine():
        emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
        if target.processor != "aarch64" or emulator is None or not ARM_SYSTEM.is_dir():
            pytest.skip("needs qemu-user and libc6-arm64-cross")
        start = [emulator, "-L", ARM_SYSTEM, "-E", f"LD_LIBRARY_PATH={built}"]
    composite, mask = write_scene(tmp_path)
    program = compile_minimal(built, tmp_path / "minimal")
    files = [tmp_path / name for name in ("c.ppm", "m.pgm", "o.ppm")]
    run(*start, program, *files, LD_LIBRARY_PATH=str(built))
    check_drawing(tmp_path, composite, mask)
