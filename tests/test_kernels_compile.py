"""The pixel maths for GPUs: compiles with NVRTC for every supported architecture, without a GPU."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

from harmonizer.ops import OPERATIONS, c_header

KERNELS = ROOT / "runtime" / "kernels"
ARCHITECTURES = ("sm_75", "sm_86", "sm_90", "sm_120")


@cache
def compiled(architecture: str, source: str) -> bytes:
    """NVRTC's output, PTX for a compute_ architecture, else a cubin; needs no driver."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    _, program = nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], [])
    options = [f"--gpu-architecture={architecture}", "--std=c++17", f"-I{KERNELS}"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        log = bytearray(nvrtc.nvrtcGetProgramLogSize(program)[1])
        nvrtc.nvrtcGetProgramLog(program, log)
        pytest.fail(f"{architecture}: {status}\n{log.decode()}")
    kind = "PTX" if architecture.startswith("compute_") else "CUBIN"
    code = bytearray(getattr(nvrtc, f"nvrtcGet{kind}Size")(program)[1])
    getattr(nvrtc, f"nvrtcGet{kind}")(program, code)
    nvrtc.nvrtcDestroyProgram(program)
    return bytes(code)


def test_header_is_what_the_registry_generates() -> None:
    assert (KERNELS / "hz_operations.h").read_text() == c_header()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_apply_kernel_compiles_for_architecture(architecture: str) -> None:
    binary = compiled(architecture, (KERNELS / "hz_apply.cu").read_text())
    assert binary.startswith(b"\x7fELF")
    assert b"hz_apply_f32" in binary
    assert b"hz_apply_f64" in binary


def test_apply_kernel_in_float_computes_nothing_in_double() -> None:
    assembly = compiled("compute_75", (KERNELS / "hz_apply.cu").read_text()).decode()
    entries = re.split(r"\.visible \.entry ", assembly)[1:]
    (in_float,) = [entry for entry in entries if entry.startswith("hz_apply_f32")]
    (in_double,) = [entry for entry in entries if entry.startswith("hz_apply_f64")]
    assert ".f64" not in in_float
    assert ".f64" in in_double


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_prepares_and_applies_on_the_device(name: str) -> None:
    source = f"""
    #include "hz_pixel.h"
    template <typename T> __device__ void draw(T* rgb, double x, const double* statistics) {{
        hz::Step<T> step;
        hz::prepare_step(HZ_OP_{name.upper()}, x, statistics, step);
        hz::Operation<HZ_OP_{name.upper()}>::apply(step.constants, rgb[0], rgb[1], rgb[2]);
    }}
    extern "C" __global__ void draw_both(float* f, double* d, double x, const double* statistics) {{
        draw(f, x, statistics);
        draw(d, x, statistics);
    }}
    """
    assert "draw_both" in compiled("compute_75", source).decode()


def test_operation_without_pixel_maths_does_not_compile(tmp_path: Path) -> None:
    header = (KERNELS / "hz_operations.h").read_text()
    count = f"#define HZ_OP_COUNT {len(OPERATIONS)}"
    assert count in header
    (tmp_path / "hz_pixel.h").write_text((KERNELS / "hz_pixel.h").read_text())
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
