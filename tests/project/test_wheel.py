"""The built wheel, as a user without torch meets it."""

import os
import platform
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from repository import ROOT

from export.samples import sample_photos
from hatch_build import platform_tag


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean_environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder, with_pip=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    return folder


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(folder / "bin" / words[0]), *words[1:]],
        cwd=folder,  # away from the source tree, so that nothing of it is importable
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_wheel_holds_the_package_its_library_and_its_model_alone(wheel: Path) -> None:
    assert wheel.name.startswith("harmonizer-") and "-py3-none-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"harmonizer"}
    assert "harmonizer/_native/libharmonizer.so" in names
    model = zipfile.ZipFile(wheel).read("harmonizer/assets/harmonizer.onnx")
    assert model == (ROOT / "models/harmonizer.onnx").read_bytes()


def test_wheel_is_small_and_holds_the_studio_if_it_is_built(wheel: Path) -> None:
    assert wheel.stat().st_size < 30e6
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("/harmonizer.onnx")] == [
        "harmonizer/assets/harmonizer.onnx"
    ]
    if not (ROOT / "build/studio/index.html").is_file():
        pytest.skip("the studio is not built: make studio-build")
    inside = {name.removeprefix("harmonizer/assets/studio/") for name in names}
    assert {"index.html", "worker.js", "harmonizer.wasm", "models/s2crnet.onnx"} <= inside
    assert {"helper.js", "harmonizer-threads.wasm", "models/hashes.json"} <= inside


def test_wheel_says_which_glibc_it_needs(wheel: Path, tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(zipfile.ZipFile(wheel).read("harmonizer/_native/libharmonizer.so"))
    tag = wheel.stem.rsplit("-", 1)[1]
    assert tag == platform_tag(library)
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        pytest.skip("the platform has no glibc")
    needed = tuple(map(int, re.fullmatch(r"manylinux_(\d+)_(\d+)_\w+", tag).groups()))
    assert needed <= tuple(map(int, platform.libc_ver()[1].split(".")[:2]))


@pytest.mark.parametrize(
    ("strings", "tag"),
    [
        (b"\0GLIBC_2.2.5\0GLIBC_2.17\0", "manylinux_2_17_"),
        (b"\0GLIBC_2.34\0GLIBC_2.4\0", "manylinux_2_34_"),
        (b"\0GLIBCXX_3.4.30\0", "linux_"),
    ],
)
def test_tag_follows_the_symbols(strings: bytes, tag: str, tmp_path: Path) -> None:
    (tmp_path / "library.so").write_bytes(b"\x7fELF" + strings)
    if not sysconfig.get_platform().startswith("linux"):
        pytest.skip("tags of Linux")
    assert platform_tag(tmp_path / "library.so").startswith(tag)


def test_make_wheel_needs_no_set_up() -> None:
    command = ["make", "--dry-run", "--always-make", "wheel", "PYTHON=python3"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "pip wheel" in planned and ".venv/" not in planned and "[dev]" not in planned


def test_wheel_in_a_clean_environment_harmonizes_without_torch(
    clean_environment: Path, tmp_path: Path
) -> None:
    absent = call(clean_environment, "python", "-c", "import torch")
    assert absent.returncode != 0 and "ModuleNotFoundError" in absent.stderr
    photo = sample_photos()[1]
    files = {name: str(tmp_path / f"{name}.png") for name in ("composite", "mask", "out", "here")}
    Image.fromarray(photo.pixels).save(files["composite"])
    Image.fromarray(photo.mask).save(files["mask"])
    words = ["image", files["composite"], files["mask"], "-o"]
    result = call(clean_environment, "harmonizer", *words, files["out"])
    assert result.returncode == 0, result.stderr
    harmonized = np.asarray(Image.open(files["out"]))
    assert np.array_equal(harmonized[photo.mask == 0], photo.pixels[photo.mask == 0])
    assert not np.array_equal(harmonized, photo.pixels)
    from harmonizer.cli import main

    assert main([*words, files["here"]]) == 0
    assert np.array_equal(harmonized, np.asarray(Image.open(files["here"])))


def test_wheel_doctor_finds_the_installation_well(clean_environment: Path) -> None:
    result = call(clean_environment, "harmonizer", "doctor")
    assert result.returncode == 0, result.stdout + result.stderr
