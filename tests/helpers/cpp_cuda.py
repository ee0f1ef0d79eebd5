"""The C++ package's library where it finds an emulated driver, or a real one, and kernels."""

import os
import shutil
from functools import cache
from pathlib import Path

import pytest
from cpp_package import SONAME, consumer, installed, scratch, succeed
from cuda_driver.build import build_driver, find_headers
from cuda_emulation import LIBRARY, emulation
from gpu_device import require
from repository import ROOT

KERNELS = "hz_kernels.fatbin"
COMPILED = ROOT / "runtime" / "harmonizer" / "_native" / KERNELS


@cache
def emulated() -> Path:
    """A folder with the emulated driver and the emulated kernels."""
    if find_headers() is None:
        pytest.skip("no cuda.h: neither a CUDA toolkit nor NVIDIA's wheels are installed")
    folder = scratch() / "emulated"
    build_driver(folder)
    shutil.copy(emulation(), folder)
    return folder


@cache
def library(driver: str) -> Path:
    """A folder with the C++ library and kernels beside it."""
    folder = scratch() / f"library-{driver}"
    folder.mkdir()
    shutil.copy(installed() / "lib" / SONAME, folder)
    if driver == "real":
        shutil.copy(COMPILED, folder)
    else:  # the emulated driver looks at no more than what kind of file it is
        (folder / KERNELS).write_text("// kernels\n" * 8 + ".version 9.0\n.target sm_75\n")
    return folder


def environment(driver: str, **more: str) -> dict[str, str]:
    """Environment variables with which a program finds library, kernels and driver."""
    if driver == "real":
        status = succeed(consumer() / "consume_c", "create", "cuda", COMPILED)
        require(status.startswith("0 "), f"no GPU: {status}")
    folders = [str(library(driver))]
    variables = {**os.environ, **more}
    if driver != "real":
        folders.append(str(emulated()))
        variables["HZ_EMULATED_STREAMS"] = driver
        variables.setdefault("HZ_EMULATION_LIBRARY", str(emulated() / LIBRARY))
    folders += filter(None, [os.environ.get("LD_LIBRARY_PATH")])
    return {**variables, "LD_LIBRARY_PATH": os.pathsep.join(folders)}
