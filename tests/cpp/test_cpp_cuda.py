"""The CUDA renderer of the C++ package, on the emulated driver and, where there is one, on a GPU.

On the emulated driver the whole host code runs as on a GPU, and the kernels run on the CPU; its
streams run as late as CUDA's rules allow, and in a second pass as early.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpp_cuda import KERNELS, environment, library
from cpp_package import (
    CONSUMER,
    SONAME,
    configure,
    consumer,
    installed,
    read_netpbm,
    run,
    sample,
    succeed,
    tool,
    write_netpbm,
    write_subproject,
)
from cuda_driver.build import find_headers
from numpy.typing import NDArray

from export.tolerances import RENDER_U8_EQUAL, RENDER_U8_LEVELS
from harmonizer import Arguments
from harmonizer.renderer import CpuRenderer

DRIVERS = ("late", "eager", pytest.param("real", marks=pytest.mark.gpu))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("part", ["compare", "device", "threads", "errors"])
def test_cuda_consumer_holds(part: str, driver: str) -> None:
    variables = environment(driver)
    succeed(consumer() / "consume_cuda", part, library(driver), env=variables)


@pytest.mark.parametrize("driver", DRIVERS)
def test_captured_frame_keeps_its_arguments(driver: str) -> None:
    succeed(consumer() / "consume_queued", "capture", env=environment(driver))


@pytest.mark.parametrize("driver", DRIVERS)
def test_surfaces_of_decoders_are_drawn(driver: str) -> None:
    succeed(consumer() / "consume_video", env=environment(driver))


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_view_draws_the_same(driver: str) -> None:
    succeed(consumer() / "consume_cpp", "views", "cuda", env=environment(driver))


def test_kernel_that_fails_is_an_internal_error_and_no_crash() -> None:
    variables = environment("late", HZ_EMULATION_LIBRARY="/nowhere")
    succeed(consumer() / "consume_cuda", "broken", env=variables)


@pytest.mark.parametrize(
    ("variables", "status", "message"),
    [
        ({}, 0, "cuda:0 "),
        ({"HZ_EMULATED_DEVICES": "0"}, 4, "needs an NVIDIA GPU; the driver sees none"),
        ({"HZ_EMULATED_INIT": "100"}, 4, "needs an NVIDIA GPU; the driver sees none"),
        ({"HZ_EMULATED_INIT": "803"}, 4, "needs a working NVIDIA driver"),
    ],
)
def test_renderer_says_what_the_driver_lacks(
    variables: dict[str, str], status: int, message: str
) -> None:
    said = succeed(consumer() / "consume_c", "create", "cuda", env=environment("late", **variables))
    assert said.startswith(f"{status} ")
    assert message in said


def test_machine_without_driver_gets_one_clear_sentence() -> None:
    said = succeed(consumer() / "consume_c", "create", "cuda")
    if said.startswith("0 ") or "hz_kernels" in said:
        pytest.skip("this machine has an NVIDIA driver")
    assert said.startswith("4 ")
    assert "libcuda.so.1" in said
    assert said.rstrip().endswith("Install the driver, or use backend `cpu`.")


def test_driver_that_lacks_a_function_is_too_old(tmp_path: Path) -> None:
    (tmp_path / "old.c").write_text("int cuInit(unsigned flags) { return (int)flags; }\n")
    command = [tool("cc"), "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1"]
    succeed(*command, "-o", tmp_path / "libcuda.so.1", tmp_path / "old.c")
    said = succeed(
        consumer() / "consume_c", "create", "cuda", env={"LD_LIBRARY_PATH": str(tmp_path)}
    )
    assert said.startswith("4 ")
    assert "Update the driver" in said


def test_missing_kernels_are_named_with_the_remedy(tmp_path: Path) -> None:
    shutil.copy(installed() / "lib" / SONAME, tmp_path)
    path = os.pathsep.join((str(tmp_path), environment("late")["LD_LIBRARY_PATH"]))
    variables = {**environment("late"), "LD_LIBRARY_PATH": path}
    said = succeed(consumer() / "consume_c", "create", "cuda", env=variables)
    assert said.startswith("4 ")
    assert f"{tmp_path}/{KERNELS} is missing" in said
    cut = tmp_path / "cut.fatbin"
    cut.write_bytes(b"\x50\xed\x55\xba\x01\x00\x10\x00" + (1 << 40).to_bytes(8, "little") * 8)
    said = succeed(consumer() / "consume_c", "create", "cuda", cut, env=variables)
    assert said.startswith("1 ")
    assert "cut short" in said


@pytest.mark.parametrize("driver", DRIVERS)
def test_sample_draws_on_the_device_what_the_cpu_draws(
    driver: str, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    mask = np.zeros(photograph.shape[:2], np.uint8)
    mask[100:300, 150:500] = 255
    mask[90:100, 150:500] = 100
    source = write_netpbm(tmp_path / "c.ppm", photograph)
    covered = write_netpbm(tmp_path / "m.pgm", mask)
    arguments = Arguments(("temperature", "contrast", "saturation"), (0.3, 0.2, -0.25))
    arguments.save(tmp_path / "look.json")
    out = tmp_path / "out.ppm"
    words = [source, covered, "-o", out, "--arguments", tmp_path / "look.json"]
    variables = environment(driver)
    result = run(sample(), *words, "--backend", "cuda", "--repeat", 3, env=variables)
    assert result.returncode == 0, result.stderr
    assert "cuda:0 " in result.stderr
    renderer = CpuRenderer()
    wanted = renderer.draw(photograph, mask, renderer.measure(photograph, arguments))
    got = read_netpbm(out, photograph)
    assert np.abs(got.astype(int) - wanted).max() <= RENDER_U8_LEVELS
    assert (got == wanted).mean() >= RENDER_U8_EQUAL
    assert np.array_equal(got[mask == 0], photograph[mask == 0])

    (tmp_path / "m.gray").write_bytes(mask.tobytes())
    height, width = photograph.shape[:2]
    words = ["--raw", f"{width}x{height}", tmp_path / "m.gray"]
    words += ["--arguments", tmp_path / "look.json"]
    stream = subprocess.run(
        [str(word) for word in (sample(), *words, "--backend", "cuda")],
        input=3 * photograph.tobytes(),
        capture_output=True,
        env=variables,
        check=False,
    )
    assert stream.returncode == 0, stream.stderr
    assert stream.stdout == 3 * got.tobytes()


@pytest.mark.slow
def test_ranges_reach_a_profiler(tmp_path: Path) -> None:
    headers = find_headers()
    if headers is None or not (headers / "nvtx3/nvToolsExt.h").is_file():
        pytest.skip("no nvtx3/nvToolsExt.h: it comes with CUDA toolkits")
    write_subproject(tmp_path, f"set(HARMONIZER_NVTX ON)\nset(NVTX_INCLUDE_DIR {headers})")
    configure(tmp_path, tmp_path / "b")
    succeed(tool("cmake"), "--build", tmp_path / "b")
    profiler = tmp_path / "profiler.so"
    source = CONSUMER / "profiler.c"
    succeed("cc", "-shared", "-fPIC", f"-I{headers}", source, "-o", profiler)
    variables = environment("late", NVTX_INJECTION64_PATH=str(profiler))
    folders = [str(tmp_path / "b/harmonizer"), variables["LD_LIBRARY_PATH"]]
    variables["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
    shutil.copy(library("late") / KERNELS, tmp_path / "b/harmonizer")
    said = run(tmp_path / "b/consume_queued", "capture", env=variables)
    assert said.returncode == 0, said.stderr
    names = [line.partition("range ")[2] for line in said.stderr.splitlines()]
    assert "harmonizer: measure, draw" in names, said.stderr


@pytest.mark.slow
def test_host_code_under_sanitizers_is_clean(tmp_path: Path) -> None:
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -O1 -g"
    write_subproject(
        tmp_path,
        f"add_compile_options({flags.replace(' ', ';')})\n"
        "add_link_options(-fsanitize=address,undefined)",
    )
    configure(tmp_path, tmp_path / "b")
    succeed(tool("cmake"), "--build", tmp_path / "b")
    variables = environment("late")
    # The library of this build, not the installed one; the driver stays loaded on purpose.
    folders = [str(tmp_path / "b/harmonizer"), variables["LD_LIBRARY_PATH"]]
    variables["LD_LIBRARY_PATH"] = os.pathsep.join(folders)
    variables["ASAN_OPTIONS"] = "detect_leaks=0"
    shutil.copy(library("late") / KERNELS, tmp_path / "b/harmonizer")
    for part in ("compare", "device", "threads", "errors"):
        succeed(tmp_path / "b/consume_cuda", part, library("late"), env=variables)
    succeed(tmp_path / "b/consume_cpp", "views", "cuda", env=variables)
    succeed(tmp_path / "b/consume_queued", "capture", env=variables)


def test_engine_without_tensorrt_in_the_build_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.gray").write_bytes(bytes(12))
    words = ["--raw", "4x3", tmp_path / "m.gray", "--engine", "e", "--backend", "cuda"]
    result = run(sample(), *words, env=environment("late"), input="")
    assert result.returncode == 1
    assert "HARMONIZER_TENSORRT=ON" in result.stderr
