"""Wheels for other systems: what Zig compiles for them, and what of it can run here."""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from repository import ROOT

from cross_targets import TARGETS, cmake_settings, find_target
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer
from hatch_build import compile_library

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


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=list(TARGETS))
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a target's library; the folder's name is the target's."""
    pytest.importorskip("ziglang", reason="needs ziglang, a C++ compiler for other systems")
    folder = tmp_path_factory.mktemp("cross") / str(request.param)
    compile_library(ROOT / "runtime/cpp", folder, TARGETS[request.param])
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


@pytest.mark.slow
def test_library_is_of_the_system_and_exports_the_interface(built: Path) -> None:
    target = TARGETS[built.name]
    library = built / target.library
    data = library.read_bytes()
    heads = {"Linux": b"\x7fELF", "Windows": b"MZ", "Darwin": b"\xcf\xfa\xed\xfe"}
    assert data.startswith(heads[target.system]) and len(data) < 8 << 20
    for name in ("hz_version", "hz_render", "hz_last_error"):
        assert name.encode() in data
    if target.system == "Linux":
        versions = {tuple(map(int, v.split("."))) for v in _glibc_versions(library)}
        assert versions and max(versions) <= (2, 28)
        assert "RUNPATH" not in run("readelf", "-d", library)


def _glibc_versions(library: Path) -> list[str]:
    words = run("readelf", "-V", library).replace("\n", " ").split()
    return [word.removeprefix("GLIBC_") for word in words if word.startswith("GLIBC_")]


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
    """x86-64 runs here; arm64 by emulation; of Windows and macOS nothing runs."""
    target, start = TARGETS[built.name], []
    if target.system != "Linux" or sys.platform != "linux":
        pytest.skip("nothing here runs its programs")
    if target.processor != platform.machine():
        emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
        if target.processor != "aarch64" or emulator is None or not ARM_SYSTEM.is_dir():
            pytest.skip("needs qemu-user and libc6-arm64-cross")
        start = [emulator, "-L", ARM_SYSTEM, "-E", f"LD_LIBRARY_PATH={built}"]
    random = np.random.default_rng(5)
    composite = random.integers(0, 256, (97, 131, 3), np.uint8)
    mask = np.linspace(0, 255, 131).astype(np.uint8)[None].repeat(97, axis=0)
    write_netpbm(tmp_path / "c.ppm", composite)
    write_netpbm(tmp_path / "m.pgm", mask)
    program = compile_minimal(built, tmp_path / "minimal")
    files = [tmp_path / name for name in ("c.ppm", "m.pgm", "o.ppm")]
    run(*start, program, *files, LD_LIBRARY_PATH=str(built))
    got = np.frombuffer(files[2].read_bytes()[-composite.size :], np.uint8)
    renderer = CpuRenderer()
    none = dict.fromkeys(DEFAULT_FILTERS, 0.0)
    look = Arguments.from_mapping(none | {"temperature": 0.2, "contrast": -0.3})
    plan = renderer.measure(composite, look)
    expected = renderer.draw(composite, mask, plan)
    assert not np.array_equal(expected, composite)
    difference = np.abs(expected.reshape(-1).astype(int) - got)
    assert difference.max() <= 1, "another compiler contracts multiply and add elsewhere"
    assert (difference > 0).mean() < 1e-3
