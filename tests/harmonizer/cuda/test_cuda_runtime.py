"""The GPU tests on an emulated device: real PyCUDA and host code, kernels compiled for the CPU.

The emulated driver runs streams as late as CUDA's rules allow, and in a second pass as early: a
missing wait gives a wrong result in one of them. What the tests allocate is counted.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_driver.build import build_driver, find_headers
from cuda_emulation import emulation
from PIL import Image
from repository import ROOT

from bench.results_file import check
from harmonizer.cuda.bench import TARGETS


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which a process finds the emulated driver."""
    if importlib.util.find_spec("pycuda") is None:
        pytest.skip("PyCUDA is not installed: python tests/helpers/cuda_driver/build.py builds it")
    if find_headers() is None:
        pytest.skip("no cuda.h: neither a CUDA toolkit nor NVIDIA's wheels are installed")
    folder = tmp_path_factory.mktemp("emulated")
    driver = build_driver(folder)
    path = os.pathsep.join(filter(None, [str(driver.parent), os.environ.get("LD_LIBRARY_PATH")]))
    return {
        **os.environ,
        "LD_LIBRARY_PATH": path,
        "HZ_EMULATION_LIBRARY": str(emulation()),
        "HARMONIZER_GPU_TESTS": "emulated",
    }


@pytest.mark.parametrize(
    ("suite", "streams"),
    (
        ("test_gpu_renderer.py", "late"),
        ("test_gpu_surfaces.py", "late"),
        ("test_gpu_ladder.py", "late"),
        ("test_gpu_pipeline.py", "late"),
        ("test_gpu_curves.py", "late"),
        ("test_gpu_frame.py", "late"),
        ("test_gpu_pipeline.py", "eager"),
        ("test_gpu_video.py", "late"),
        ("test_gpu_video.py", "eager"),
        # Every call of it waits for its result: the order of streams hardly matters there.
        pytest.param("test_gpu_renderer.py", "eager", marks=pytest.mark.slow),
        # What it adds to the pipeline's is queued on the frame's own stream.
        pytest.param("test_gpu_curves.py", "eager", marks=pytest.mark.slow),
    ),
)
def test_gpu_suite_passes_on_emulated_device(
    environment: dict[str, str], suite: str, streams: str
) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "pytest", f"tests/gpu/{suite}"]
    command += ["-m", "gpu", "-q", "-p", "no:cacheprovider", "--tb=short"]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, "HZ_EMULATED_STREAMS": streams},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said[-6000:]
    assert "PyCUDA WARNING" not in said
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None and int(passed[1]) > 0, said[-2000:]


def test_process_without_close_ends_quietly(environment: dict[str, str], tmp_path: Path) -> None:
    code = (
        "import numpy as np\n"
        "from harmonizer import Harmonizer\n"
        "h = Harmonizer(backend='auto')\n"
        "assert h.backend == 'cuda'\n"
        "image = np.full((40, 50, 3), 90, np.uint8)\n"
        "mask = np.zeros((40, 50), np.uint8); mask[10:30, 10:30] = 255\n"
        "h(image, mask)\n"
        "print('done')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"
    assert "PyCUDA WARNING" not in result.stderr


def test_bench_on_a_gpu_writes_a_checked_result(
    environment: dict[str, str], tmp_path: Path
) -> None:
    target = tmp_path / "gpu.json"
    (tmp_path / "rivals.py").write_text(
        "def cases(size):\n    yield 'eager PyTorch', lambda: size\n"
    )
    command = [sys.executable, "-m", "harmonizer.cli", "bench", "--backend", "cuda"]
    command += ["-o", str(target), "--size", "64x48", "--seconds", "0.001"]
    result = subprocess.run(
        [*command, "--against", "rivals"],
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    document = json.loads(target.read_text())
    check(document)
    assert document["environment"]["gpu"] == "Emulated GPU 0"
    names = {row["name"] for row in document["measurements"]}
    assert {"copy on device", "transfers alone", "render, graph", "apply, plain"} <= names
    assert {"thumbnail+histogram", "frame on device", "batch of 16 on device"} <= names
    assert {"render, host to host", "render, pageable", "frame, eager PyTorch"} <= names
    figures = {row["name"] for row in document["figures"]}
    sizeless = {name.replace("64x48", "1920x1080") for name in figures}
    assert {
        name.replace("7680x4320", "1920x1080").replace("3840x2160", "1920x1080") for name in TARGETS
    } <= sizeless
    for options, message in (
        (["--against", "nothing"], "--against must name a module with `cases`"),
        (["--dtype", "uint16"], "--dtype must be uint8 on a GPU"),
    ):
        refused = subprocess.run(
            [*command, *options], env=environment, capture_output=True, text=True, check=False
        )
        assert refused.returncode == 2 and message in refused.stderr, refused.stderr


def test_gpu_run_writes_its_result(environment: dict[str, str], tmp_path: Path) -> None:
    target = tmp_path / "gpu-test.json"
    suite = "tests/gpu/test_gpu_renderer.py::test_draw_whole_image_without_mask"
    command = [sys.executable, "tests/gpu/run_gpu.py", "--output", str(target), "--allow-missing"]
    result = subprocess.run(
        [*command, suite], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    document = json.loads(target.read_text())
    assert document["passed"] and document["counts"] == {"passed": 1}


def test_doctor_and_command_line_use_the_gpu(environment: dict[str, str], scene: Path) -> None:
    command = [sys.executable, "-m", "harmonizer.cli"]
    said = subprocess.run(
        [*command, "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "Emulated GPU 0, compute capability 8.6" in said.stdout
    assert "draws what the CPU draws" in said.stdout
    for backend in ("cpu", "cuda"):
        words = ["image", "c.png", "m.png", "-o", f"{backend}.png", "--backend", backend]
        result = subprocess.run(
            [*command, *words], cwd=scene, env=environment, capture_output=True, check=False
        )
        assert result.returncode == 0, result.stderr
    ours, theirs = (np.asarray(Image.open(scene / f"{b}.png")).astype(int) for b in ("cuda", "cpu"))
    assert np.abs(ours - theirs).max() <= 1
