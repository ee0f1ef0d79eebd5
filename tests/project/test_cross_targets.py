"""Wheels for other systems, and what is in them; test_cross_runs.py runs what can run here."""

import re
import struct
import zipfile
from pathlib import Path

import pytest
from cross_wheels import folder_of, succeed_in, wheel_for
from repository import ROOT

from cross_targets import TARGETS, cmake_settings, find_target


def test_find_target_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be one of linux-x86_64, .*; got 'plan9'"):
        find_target("plan9")


def test_cmake_settings_without_zig_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install ziglang=="):
        cmake_settings(TARGETS["linux-arm64"], tmp_path)


@pytest.fixture(scope="module", params=list(TARGETS))
def name(request: pytest.FixtureRequest) -> str:
    """A target's."""
    return str(request.param)


@pytest.mark.slow
def test_wheel_is_tagged_small_and_whole(name: str) -> None:
    target, wheel = TARGETS[name], wheel_for(name)
    assert wheel.name.endswith(f"-py3-none-{target.tag}.whl")
    assert wheel.stat().st_size < 30e6
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
def test_library_exports_the_interface_and_knows_no_folder(name: str) -> None:
    target = TARGETS[name]
    library = folder_of(name) / target.library
    heads = {"Linux": b"\x7fELF", "Windows": b"MZ", "Darwin": b"\xcf\xfa\xed\xfe"}
    assert library.read_bytes().startswith(heads[target.system])
    if target.system == "Linux":
        names = re.findall(
            r" (\w+)$", succeed_in(None, "nm", "-D", "--defined-only", library), re.MULTILINE
        )
        versions = {tuple(map(int, v.split("."))) for v in _glibc_versions(library)}
        assert versions and max(versions) <= (2, 28)
        dynamic = succeed_in(None, "readelf", "-d", library)
        assert "RUNPATH" not in dynamic and "RPATH" not in dynamic
    elif target.system == "Windows":
        table = succeed_in(None, "objdump", "-p", library).partition(
            "[Ordinal/Name Pointer] Table"
        )[2]
        names = re.findall(r"\[ *\d+\][^\n]*? (\w+)$", table, re.MULTILINE)
    else:
        names, folders = _read_macho(library.read_bytes())
        # Zig's linker for macOS cannot hide libc++'s operators new and delete, nor its own names.
        hidden_elsewhere = re.compile(r"_Z(n[wa]|d[la])|__dso_handle$|_mh_dylib_header$")
        names = [name for name in names if not hidden_elsewhere.match(name)]
        assert folders == 0
    assert set(names) == LISTED


def _glibc_versions(library: Path) -> list[str]:
    words = succeed_in(None, "readelf", "-V", library).replace("\n", " ").split()
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
