"""TensorRT engines in the C++ package, where TENSORRT_ROOT names a folder with TensorRT's headers.

The library of TensorRT is stood in for (cpp_tensorrt.py), and so is the GPU: what runs is this
project's code, compiled against the real headers.
"""

import os
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cpp_cuda import KERNELS, environment, library
from cpp_package import (
    CPP,
    SONAME,
    configure,
    consumer,
    read_netpbm,
    run,
    sample,
    scratch,
    succeed,
    tool,
    write_netpbm,
)
from cpp_tensorrt import build_stand_in
from cuda_driver.build import find_headers
from numpy.typing import NDArray
from repository import ROOT

from export.tolerances import RENDER_U8_EQUAL, RENDER_U8_LEVELS
from harmonizer.arguments import Arguments
from harmonizer.contract import LABELS
from harmonizer.renderer import CpuRenderer

PREDICTED = "temperature=0.05,brightness=-0.1,contrast=0.15,saturation=-0.2,highlight=0.25"


def tensorrt_root() -> Path:
    """The folder of TensorRT, or a skip."""
    root = os.environ.get("TENSORRT_ROOT")
    if not root:
        pytest.skip("TENSORRT_ROOT is not set; it names a folder with include/NvInferRuntime.h")
    return Path(root)


def cuda_include() -> Path:
    """The folder of CUDA's headers, or a skip."""
    headers = find_headers()
    if headers is None:
        pytest.skip("no cuda.h: neither a CUDA toolkit nor NVIDIA's runtime wheel")
    return headers


@cache
def tensorrt_folder() -> Path:
    """A folder with the C++ library built for TensorRT, kernels, and the stand-in."""
    build = scratch() / "tensorrt"
    options = [f"-DTENSORRT_ROOT={tensorrt_root()}", "-DCMAKE_BUILD_TYPE=Debug"]
    configure(CPP, build, "-DHARMONIZER_TENSORRT=ON", *options)
    succeed(tool("cmake"), "--build", build, "--target", "harmonizer")
    shutil.copy(library("late") / KERNELS, build)
    build_stand_in(tensorrt_root(), cuda_include(), build)
    return build


def variables(**more: str) -> dict[str, str]:
    found = environment("late", **more)
    path = os.pathsep.join((str(tensorrt_folder()), found["LD_LIBRARY_PATH"]))
    return {**found, "LD_LIBRARY_PATH": path}


def test_tensorrt_part_compiles_without_warnings_and_links_nothing(tmp_path: Path) -> None:
    includes = [f"-I{path}" for path in (CPP / "include", CPP / "src", ROOT / "runtime/kernels")]
    includes += ["-isystem", f"{tensorrt_root()}/include", "-isystem", str(cuda_include())]
    command = [tool("c++"), "-std=c++17", "-O1", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    succeed(*command, *includes, "-c", CPP / "src/cuda/tensorrt.cpp", "-o", tmp_path / "tensorrt.o")
    undefined = succeed(tool("nm"), "-u", "-C", tmp_path / "tensorrt.o")
    assert "nvinfer1" not in undefined
    assert "createInferRuntime" not in undefined


@pytest.mark.parametrize("kind", ["type=0", "type=1"])
def test_engine_predicts_on_the_renderers_stream(
    kind: str, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    mask = np.zeros(photograph.shape[:2], np.uint8)
    mask[100:300, 150:500] = 255
    picture = write_netpbm(tmp_path / "c.ppm", photograph)
    covered = write_netpbm(tmp_path / "m.pgm", mask)
    engine = tmp_path / "model.engine"
    engine.write_text(f"ftrt count=6 {kind}")
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    words = [sample(), picture, covered, "--backend", "cuda", "-o"]
    predicted = [tmp_path / "a.ppm", "--engine", engine, "--tensorrt", stand_in, "--repeat", 2]
    result = run(*words, *predicted, env=variables())
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()[0].split()
    assert said[:4] == ["temperature", "+0.050", "brightness", "-0.100"]
    given = [tmp_path / "b.ppm", "--arguments", PREDICTED + ",shadow=-0.3"]
    succeed(*words, *given, env=variables())
    # The engine's numbers are float32, the others double: off by 1e-8, far below a level.
    first, second = ((tmp_path / name).read_bytes() for name in ("a.ppm", "b.ppm"))
    differing = np.frombuffer(first, np.uint8) != np.frombuffer(second, np.uint8)
    assert differing.mean() <= 1e-5
    assert first != picture.read_bytes()


@pytest.mark.parametrize(
    ("name", "filters"), [("harmonizer-1f:shadow,tint", None), ("Unnamed", "shadow,tint")]
)
def test_engine_is_drawn_with_the_filters_that_it_names_or_that_are_given(
    name: str, filters: str | None, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    picture = write_netpbm(tmp_path / "c.ppm", photograph)
    covered = write_netpbm(tmp_path / "m.pgm", np.full(photograph.shape[:2], 255, np.uint8))
    engine = tmp_path / "model.engine"
    engine.write_text(f"ftrt count=2 name={name}")
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    words = [sample(), picture, covered, "--backend", "cuda", "-o", tmp_path / "o.ppm"]
    words += ["--engine", engine, "--tensorrt", stand_in]
    result = run(*words, *(["--filters", filters] if filters else []), env=variables())
    assert result.returncode == 0, result.stderr
    said = result.stderr.splitlines()[0].split()
    assert said[:4] == ["shadow", "+0.050", "tint", "-0.100"]
    if filters is None:
        result = run(*words, "--filters", "tint,shadow", env=variables())
        assert result.returncode == 1
        assert "predicts, shadow,tint; got tint,shadow. Leave them out." in result.stderr


def test_engine_that_goes_waits_for_its_queued_frames(tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    engine.write_text("ftrt count=6")
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    succeed(consumer() / "consume_queued", "engine", engine, stand_in, env=variables())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ftrt fails=1", "expecting library version 11.1.0 got 9.9.9"),
        ("ftrt fails=2", "too little free memory"),
        ("ftrt fails=3", "could not run: cuBLAS is tired"),
        ("ftrt count=5", "must predict 6 arguments; it gives -1x5"),
        ("ftrt size=128", "composite of Nx3x256x256; it takes -1x3x128x128"),
        ("ftrt least=4", "a batch of one; its profile begins at 4x3x256x256"),
        ("ftrt type=2", "all inputs in float32, or all in float16"),
        ("ftrt regions=1", "must predict 192 or 384 or 576 arguments; it gives -1x6"),
        ("ftrt regions=1 lacks=1 count=192", "inputs foreground and background and the output"),
        ("ftrt regions=1 lacks=1 count=192", "it lacks background"),
        ("ftrt regions=2 least=2 count=192", "its profile begins at 2x3x256x256"),
        ("ftrt regions=1 size=64 count=192", "foreground of Nx3x256x256; it takes -1x3x64x64"),
        ("ftrt name=Unnamed", "must say which filters it predicts; those of trtexec do not"),
        ("ftrt name=harmonizer-1f", "must say which filters it predicts"),
        ("ftrt name=harmonizer-1f:shadow,grain", "filters that this library knows; it names shad"),
        ("ftrt count=2 name=harmonizer-1f:shadow", "must predict 1 arguments; it gives -1x2"),
        ("ftrt output=1", "give its arguments in float32"),
        ("ftrt lacks=1", "it lacks mask"),
        ("not an engine", "must be a TensorRT engine; it begins with the bytes 6e 6f 74 20"),
        ("", "must be a TensorRT engine; it is empty"),
        ("\x08\x0a\x12\x07pytorch", "it is an ONNX model"),
        ("\x08\x0a", "it begins with the bytes 08 0a"),
        ("vtrt and so on", "one of TensorRT-RTX, which this library does not take"),
        ("vtrt and so on", "build_engine.py --module tensorrt"),
        (None, "cannot be read"),
    ],
)
def test_engine_that_does_not_fit_is_refused_with_the_reason(
    content: str | None, message: str, tmp_path: Path
) -> None:
    engine = tmp_path / "model.engine"
    if content is not None:
        engine.write_text(content)
    (tmp_path / "m.gray").write_bytes(b"\xff" * 12)
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    words = ["--raw", "4x3", tmp_path / "m.gray", "--engine", engine, "--tensorrt", stand_in]
    result = run(sample(), *words, "--backend", "cuda", env=variables(), input="x" * 36)
    assert result.returncode == 1
    assert message in result.stderr
    assert str(engine) in result.stderr


def numbers(count: int, half: bool, label: int | None) -> NDArray[np.float32]:
    """What the stand-in answers: see cpp_consumer/nvinfer.cpp."""
    slopes = (1 + 0.3 * (np.arange(count) % 7 - 3)).astype(np.float32)
    if label is not None:
        row = np.eye(5, dtype=np.float16 if half else np.float32)[label].view(np.uint8)
        slopes.view(np.uint8)[: len(row)] = row
    return slopes


@pytest.mark.parametrize(
    ("content", "label", "strength"),
    [
        ("regions=1 count=192", None, 1.0),
        ("regions=2 count=384", "person", 1.0),
        ("regions=2 count=384", None, 0.6),
        ("regions=2 count=576 type=1", "vehicle", 1.0),
    ],
)
def test_engine_of_curves_draws_what_python_draws(
    content: str, label: str | None, strength: float, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    mask = np.zeros(photograph.shape[:2], np.uint8)
    mask[100:300, 150:500] = 255
    picture = write_netpbm(tmp_path / "c.ppm", photograph)
    covered = write_netpbm(tmp_path / "m.pgm", mask)
    engine = tmp_path / "model.engine"
    engine.write_text(f"ftrt {content}")
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    words = [sample(), picture, covered, "--backend", "cuda", "-o", tmp_path / "o.ppm"]
    words += ["--engine", engine, "--tensorrt", stand_in, "--repeat", 2, "--strength", strength]
    words += ["--label", label] if label else []
    result = run(*words, env=variables())
    assert result.returncode == 0, result.stderr
    count = int(content.split("count=")[1].split()[0])
    assert f"piecewise_curve of {count // 192} stages" in result.stderr
    shown = LABELS.index(label or "other") if "regions=2" in content else None
    slopes = numbers(count, "type=1" in content, shown)
    arguments = Arguments.from_array(slopes, ("piecewise_curve",), (count,)).scaled(strength)
    renderer = CpuRenderer()
    wanted = renderer.draw(photograph, mask, renderer.measure(photograph, arguments))
    got = read_netpbm(tmp_path / "o.ppm", photograph)
    assert np.abs(got.astype(int) - wanted).max() <= RENDER_U8_LEVELS
    assert (got == wanted).mean() >= RENDER_U8_EQUAL
    assert np.abs(got.astype(int) - photograph).max() > 5


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("regions=2 count=192", ("--label", "tree"), "one of person, animal, food, vehicle, other"),
        ("regions=1 count=192", ("--label", "food"), "`label` must go with an engine that reads"),
        ("count=6", ("--label", "food"), "`label` must go with an engine that reads"),
        ("regions=1 count=192", (), "2 pixels high and wide or more"),
        ("regions=1 count=192", ("--filters", "shadow"), "must predict 1 arguments; it gives -1x1"),
    ],
)
def test_label_or_mask_that_does_not_fit_is_refused(
    content: str, words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    engine = tmp_path / "model.engine"
    engine.write_text(f"ftrt {content}")
    image = np.full((9, 12, 3), 90, np.uint8)
    thin = np.zeros((9, 12), np.uint8)
    thin[4, 2:9] = 255
    picture, mask = write_netpbm(tmp_path / "c.ppm", image), write_netpbm(tmp_path / "m.pgm", thin)
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    command = [sample(), picture, mask, "-o", tmp_path / "o.ppm", "--backend", "cuda"]
    command += ["--engine", engine, "--tensorrt", stand_in, *words]
    result = run(*command, env=variables())
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "o.ppm").exists()


def test_missing_or_other_tensorrt_is_said(tmp_path: Path) -> None:
    engine = tmp_path / "model.engine"
    engine.write_text("ftrt")
    (tmp_path / "m.gray").write_bytes(b"\xff" * 12)
    words = [sample(), "--raw", "4x3", tmp_path / "m.gray", "--backend", "cuda"]
    words += ["--engine", engine, "--tensorrt"]
    stand_in = tensorrt_folder() / "libnvinfer_stand_in.so"
    for path, environment_variable, message in (
        (tmp_path / "none.so", "", "none.so"),
        (library("late") / SONAME, "", "is another library"),
        (stand_in, "HZ_REFUSE_VERSION", "it refused: another version"),
    ):
        more = {environment_variable: "1"} if environment_variable else {}
        result = run(*words, path, env=variables(**more), input="x" * 36)
        assert result.returncode == 1
        assert message in result.stderr
