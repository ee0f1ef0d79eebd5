"""The CUDA kernels compile for every supported GPU, without one, and keep out of local memory."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from repository import ROOT

import build_kernels
from harmonizer.c_header import c_header
from harmonizer.cuda import compiled_kernels, compiler
from harmonizer.errors import DeviceError, HarmonizerWarning
from harmonizer.ops import OPERATIONS
from harmonizer.private import CACHE_VARIABLE, cache_folder
from hatch_build import kernel_files

KERNELS = ROOT / "runtime" / "kernels"
TYPES = ("u8", "u16", "f32")
NAMES = {
    *(
        f"hz_{job}_{kind}"
        for job in ("measure", "reduce", "draw")
        for kind in ("u8", "u16", "f32", "nv12", "p010")
    ),
    *(f"hz_regions_{kind}" for kind in TYPES),
    *("hz_region_box", "hz_prepare"),
    *(f"hz_draw_{order}8" for order in ("rgb", "bgr", "rgba", "bgra")),
}
WITHOUT_STACK = ("hz_draw", "hz_measure", "hz_region")
"""Kernels whose loops over pixels decide the speed may use no local memory."""

MOST_SPILLED = 64
"""Bytes; preparation and reductions keep values across the calls that prepare a program, which is
done once a block."""

NOTHING = b'extern "C" __global__ void nothing() {}'


@pytest.fixture(autouse=True, scope="module")
def nvrtc() -> None:
    try:
        compiler.load_nvrtc()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a small kernel instead of the real ones, an empty cache, and no image."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / compiler.MAIN_SOURCE).write_bytes(NOTHING)
    monkeypatch.setattr(compiler, "kernel_folder", lambda: folder)
    monkeypatch.setattr(compiled_kernels, "IMAGE", tmp_path / "hz_kernels.fatbin")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


@cache
def assembler_report(architecture: int) -> dict[str, str]:
    """What the assembler says of each kernel."""
    options = (*compiler.OPTIONS, "--ptxas-options=-v")
    image, log = compiler.compile_kernels(compiler.read_sources(), f"sm_{architecture}", options)
    assert image.startswith(b"\x7fELF")
    entries = re.split(r"Compiling entry function '(\w+)'", log)[1:]
    return dict(zip(entries[::2], entries[1::2], strict=True))


def test_header_is_what_the_registry_generates() -> None:
    assert (KERNELS / "hz_operations.h").read_text() == c_header()


@pytest.mark.parametrize("architecture", build_kernels.ARCHITECTURES)
def test_kernels_compile_without_local_memory(architecture: int) -> None:
    report = assembler_report(architecture)
    assert set(report) == NAMES
    for name, text in report.items():
        stack, *spills = map(int, re.findall(r"(\d+) bytes (?:stack|spill)", text)[:3])
        if name.startswith(WITHOUT_STACK):
            assert (stack, *spills) == (0, 0, 0), f"{name} uses local memory: {text}"
        else:
            assert max(spills) <= MOST_SPILLED, f"{name} spills registers: {text}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_in_float_computes_nothing_in_double(name: str) -> None:
    source = f"""
    #include "hz_pixel.h"
    extern "C" __global__ void draw(float* rgb, const float* constants) {{
        hz::Operation<HZ_OP_{name.upper()}>::apply(constants, rgb[0], rgb[1], rgb[2]);
    }}
    extern "C" __global__ void prepare(hz::Step<double>* step, const double* statistics) {{
        hz::prepare_step(HZ_OP_{name.upper()}, step->constants[0], statistics, *step);
    }}
    """
    headers = compiler.read_sources()
    image, _ = compiler.compile_kernels(
        {**headers, compiler.MAIN_SOURCE: source.encode()}, "compute_75"
    )
    draw = next(part for part in image.decode().split(".entry ") if part.startswith("draw"))
    assert ".f64" not in draw


def test_operation_without_pixel_maths_does_not_compile(tmp_path: Path) -> None:
    header = (KERNELS / "hz_operations.h").read_text()
    count = f"#define HZ_OP_COUNT {len(OPERATIONS)}"
    assert count in header
    for name in ("hz_pixel.h", "hz_float.h"):
        shutil.copy(KERNELS / name, tmp_path)
    (tmp_path / "hz_operations.h").write_text(
        header.replace(count, f"#define HZ_OP_COUNT {len(OPERATIONS) + 1}")
    )
    (tmp_path / "draw.cpp").write_text(
        '#include "hz_pixel.h"\n'
        "void draw(const hz::Step<double>& step, double* rgb) {\n"
        "    hz::apply_step(step, rgb[0], rgb[1], rgb[2]);\n}\n"
    )
    result = subprocess.run(
        ["c++", "-std=c++17", "-fsyntax-only", "draw.cpp"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert f"Operation<{len(OPERATIONS)}>" in result.stderr


def test_image_is_compiled_once_and_then_read_from_the_cache(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = compiled_kernels.kernel_image((9, 0))
    assert image.startswith(b"\x7fELF") and b"nothing" in image
    monkeypatch.setattr(compiled_kernels, "compile_kernels", None)
    assert compiled_kernels.kernel_image((9, 0)) == image


def test_image_for_other_sources_gpus_or_compilers_is_another_entry(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_kernels.kernel_image((9, 0))
    compiled_kernels.kernel_image((8, 6))
    (sources / "unused.cuh").write_text("")
    compiled_kernels.kernel_image((9, 0))
    (sources / "unused.cuh").write_text("// edited")
    compiled_kernels.kernel_image((9, 0))
    monkeypatch.setattr(compiled_kernels, "compiler_version", lambda: (99, 0))
    compiled_kernels.kernel_image((9, 0))
    assert len(list(cache_folder("kernels").iterdir())) == 5


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 5000])
def test_image_from_a_damaged_cache_entry_is_compiled_again(sources: Path, damage: bytes) -> None:
    image = compiled_kernels.kernel_image((9, 0))
    (entry,) = cache_folder("kernels").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage)
    assert compiled_kernels.kernel_image((9, 0)) == image
    assert entry.read_bytes() == whole


def test_image_with_an_unwritable_cache_is_returned_with_a_warning(
    sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()  # a folder's permissions do not stop root
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.warns(HarmonizerWarning, match=CACHE_VARIABLE):
        assert compiled_kernels.kernel_image((9, 0)).startswith(b"\x7fELF")


def test_image_for_a_gpu_newer_than_the_compiler_is_ptx(sources: Path) -> None:
    image = compiled_kernels.kernel_image((99, 0))
    assert b".visible .entry nothing" in image and image.endswith(b"\0")


def test_image_for_a_gpu_that_is_too_old_is_refused(sources: Path) -> None:
    with pytest.raises(DeviceError, match=r"compute capability 7.5 or newer; it has 3.5"):
        compiled_kernels.kernel_image((3, 5))


def test_image_made_ahead_of_time_is_used_while_its_sources_are_the_same(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_kernels.write_image(
        compiled_kernels.IMAGE, b"made before", compiler.digest_of(compiler.read_sources())
    )
    assert compiled_kernels.kernel_image((9, 0)) == b"made before"
    compiled_kernels.IMAGE.write_bytes(b"made bef")
    assert compiled_kernels.kernel_image((9, 0)).startswith(b"\x7fELF")
    compiled_kernels.write_image(compiled_kernels.IMAGE, b"made before", "of other sources")
    assert compiled_kernels.kernel_image((9, 0)).startswith(b"\x7fELF")


def test_image_without_compiler_or_made_ahead_of_time_names_both_ways_out(
    sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    compiler.load_nvrtc.cache_clear()
    try:
        with pytest.raises(DeviceError, match=r"is missing.*pip install.*make cuda"):
            compiled_kernels.kernel_image((9, 0))
    finally:
        compiler.load_nvrtc.cache_clear()


def test_sources_that_do_not_compile_raise_with_the_log(sources: Path) -> None:
    (sources / compiler.MAIN_SOURCE).write_text("this is no kernel")
    with pytest.raises(DeviceError, match=r"must compile with NVRTC[\s\S]*error"):
        compiled_kernels.kernel_image((9, 0))


def test_wheel_carries_the_sources(tmp_path: Path) -> None:
    carried = set(kernel_files(ROOT).values())
    assert {f"harmonizer/_kernels/{name}" for name in compiler.read_sources()} <= carried


@pytest.mark.slow
def test_fatbin_holds_every_architecture(tmp_path: Path) -> None:
    if not shutil.which("nvcc"):
        pytest.skip("nvcc is not installed")
    target = tmp_path / "hz_kernels.fatbin"
    command = [sys.executable, str(ROOT / "build_kernels.py"), "--output", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    digest = compiler.digest_of(compiler.read_sources())
    assert compiled_kernels.read_image(target, digest) == target.read_bytes()
