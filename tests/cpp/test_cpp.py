"""The C and C++ package: built, installed, found, and drawing bit for bit what Python draws."""

import os
import platform
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from cpp_package import (
    CONSUMER,
    CPP,
    SONAME,
    build_against_package,
    configure,
    consumer,
    installed,
    run,
    scratch,
    succeed,
    tool,
    write_subproject,
)
from numpy.typing import NDArray
from repository import ROOT

from harmonizer import Arguments, __version__
from harmonizer.renderer import CpuRenderer

HEADERS = ("harmonizer.h", "harmonizer_cuda.h", "harmonizer_surface.h", "harmonizer_video.h")
WRAPPERS = ("harmonizer.hpp", "harmonizer_surface.hpp", "harmonizer_video.hpp")


def test_install_tree_holds_what_is_needed_and_no_path_of_the_build() -> None:
    tree = installed()
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    package = {f"lib/cmake/harmonizer/harmonizer{name}.cmake" for name in ("Config", "Targets")}
    package |= {
        f"lib/cmake/harmonizer/harmonizer{name}.cmake"
        for name in ("ConfigVersion", "Targets-release")
    }
    headers = {f"include/{name}" for name in (*HEADERS, *WRAPPERS, "hz_operations.h")}
    libraries = {
        f"lib/{name}" for name in ("libharmonizer.so", SONAME, f"libharmonizer.so.{__version__}")
    }
    others = {"lib/pkgconfig/harmonizer.pc", "share/doc/harmonizer/LICENSE"}
    assert files == libraries | others | package | headers
    for name in (*package, "lib/pkgconfig/harmonizer.pc"):
        text = (tree / name).read_text()
        assert str(ROOT) not in text
        assert str(scratch()) not in text


def test_library_exports_the_functions_of_its_headers_alone() -> None:
    declared = set()
    for header in HEADERS:
        text = (CPP / "include" / header).read_text()
        declared |= set(re.findall(r"HZ_API [\w* ]*?\b(hz_\w+)\(", text))
    listing = succeed(tool("nm"), "-D", "--defined-only", installed() / "lib/libharmonizer.so")
    exported = {line.split()[-1] for line in listing.splitlines()}
    assert exported == declared
    assert len(declared) > 20


def test_library_needs_no_nvidia_library_and_no_cpp_runtime() -> None:
    listing = succeed(tool("readelf"), "-d", installed() / "lib/libharmonizer.so")
    assert f"soname: [{SONAME}]" in listing
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", listing))
    assert needed <= {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0"} | {
        name for name in needed if name.startswith("ld-linux")
    }


@pytest.mark.parametrize(
    ("header", "standard"),
    [
        ("harmonizer.h", "c99"),
        ("harmonizer.h", "c++11"),
        ("harmonizer_cuda.h", "c11"),
        ("harmonizer_cuda.h", "c++11"),
        ("harmonizer.hpp", "c++17"),
        ("harmonizer.hpp", "c++20"),
    ],
)
def test_header_alone_compiles_without_warnings(header: str, standard: str) -> None:
    language = "c++" if "++" in standard else "c"
    compiler = tool("c++" if language == "c++" else "cc")
    command = [compiler, "-x", language, f"-std={standard}", "-fsyntax-only"]
    command += ["-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{installed() / 'include'}", "-"]
    succeed(*command, input=f'#include "{header}"\n#include "{header}"\n')


def test_cpp_header_in_cpp14_says_what_it_needs() -> None:
    command = [tool("c++"), "-x", "c++", "-std=c++14", f"-I{installed() / 'include'}"]
    result = run(*command, "-fsyntax-only", "-", input='#include "harmonizer.hpp"\n')
    assert result.returncode != 0
    assert "harmonizer.hpp needs C++17" in result.stderr


def test_c99_consumer_draws_what_python_draws(
    photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    height, width = photograph.shape[:2]
    (tmp_path / "in.rgb").write_bytes(photograph.tobytes())
    mask = np.full(height * width, 255, np.uint8)
    mask[: height * width // 4] = 0
    succeed(
        consumer() / "consume_c", "draw", tmp_path / "in.rgb", tmp_path / "out.rgb", width, height
    )
    renderer = CpuRenderer()
    arguments = Arguments(("temperature", "contrast", "shadow"), (0.21, -0.3, 0.4))
    plan = renderer.measure(photograph, arguments)
    wanted = renderer.draw(photograph, mask.reshape(height, width), plan)
    assert (tmp_path / "out.rgb").read_bytes() == wanted.tobytes()


@pytest.mark.parametrize("part", ["errors", "memory"])
def test_c99_consumer_gets_every_error_code_with_its_message(part: str) -> None:
    succeed(consumer() / "consume_c", part)


@pytest.mark.parametrize("part", ["views", "regions", "threads", "predict"])
def test_cpp_consumer_holds(part: str) -> None:
    succeed(consumer() / "consume_cpp", part)


def test_allocation_that_fails_is_an_error_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "fail.c").write_text(
        "#include <stdatomic.h>\n#include <stddef.h>\n"
        "extern void* __libc_malloc(size_t);\nstatic atomic_int left = -1;\n"
        "void fail_after(int count) { left = count; }\n"
        "void* malloc(size_t size) {\n"
        "    if (left >= 0 && atomic_fetch_sub(&left, 1) == 0) return NULL;\n"
        "    return __libc_malloc(size);\n}\n"
    )
    library = tmp_path / "fail.so"
    succeed(tool("cc"), "-shared", "-fPIC", "-o", library, tmp_path / "fail.c")
    succeed(consumer() / "consume_cpp", "memory", env={"LD_PRELOAD": str(library)})


def test_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    text = (CONSUMER / "CMakeLists.txt").read_text()
    (tmp_path / "CMakeLists.txt").write_text(
        text.replace("harmonizer REQUIRED", "harmonizer 99 REQUIRED")
    )
    for name in ("consume.c", "consume.cpp"):
        (tmp_path / name).touch()
    prefix = f"-DCMAKE_PREFIX_PATH={installed()}"
    result = run(tool("cmake"), "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "b", prefix)
    assert result.returncode != 0
    assert "harmonizer" in result.stderr


def test_component_that_was_not_built_is_refused(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.22)\nproject(p LANGUAGES NONE)\n"
        "find_package(harmonizer REQUIRED COMPONENTS TENSORRT)\n"
    )
    prefix = f"-DCMAKE_PREFIX_PATH={installed()}"
    result = run(tool("cmake"), "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "b", prefix)
    assert result.returncode != 0
    assert "TENSORRT" in result.stderr


def test_subdirectory_brings_the_target_and_installs_nothing(tmp_path: Path) -> None:
    write_subproject(tmp_path)
    configure(tmp_path, tmp_path / "b")
    targets = succeed(tool("ninja"), "-C", tmp_path / "b", "-t", "targets", "all")
    assert f"libharmonizer.so.{__version__}" in targets
    assert "harmonizerConfig" not in (tmp_path / "b/cmake_install.cmake").read_text()
    build_type = re.search(
        r"CMAKE_BUILD_TYPE:STRING=(.*)", (tmp_path / "b/CMakeCache.txt").read_text()
    )
    assert build_type is not None
    assert build_type[1] == ""


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_consumer_under_sanitizers_is_clean(
    sanitizer: str, photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    flags = f"-fsanitize={sanitizer} -fno-sanitize-recover=all -O1 -g"
    write_subproject(
        tmp_path,
        f"add_compile_options({flags.replace(' ', ';')})\n"
        f"add_link_options(-fsanitize={sanitizer})\nset(HARMONIZER_CUDA OFF)",
    )
    configure(tmp_path, tmp_path / "b", "-DHARMONIZER_CUDA=OFF")
    succeed(tool("cmake"), "--build", tmp_path / "b")
    height, width = photograph.shape[:2]
    (tmp_path / "in.rgb").write_bytes(photograph.tobytes())
    for name in ("views", "regions", "threads", "predict"):
        succeed(tmp_path / "b/consume_cpp", name)
    succeed(tmp_path / "b/consume_c", "draw", tmp_path / "in.rgb", tmp_path / "out", width, height)
    succeed(tmp_path / "b/consume_c", "errors")
    message = succeed(tmp_path / "b/consume_c", "create", "cuda")
    assert message.startswith("4 ")
    assert "HARMONIZER_CUDA=OFF" in message


def cuda_include() -> Path:
    """The folder of cuda.h, or a skip."""
    from cuda_driver.build import find_headers

    headers = find_headers()
    if headers is None:
        pytest.skip("no cuda.h: neither a CUDA toolkit nor NVIDIA's runtime wheel")
    return headers


def test_driver_functions_are_declared_as_in_cuda_h(tmp_path: Path) -> None:
    source = tmp_path / "declarations.cpp"
    source.write_text(
        """
        #include <cuda.h>
        #include <type_traits>
        #include "cuda/driver.h"
        template <typename T> struct Plain {
            typedef typename std::conditional<std::is_enum<T>::value, int, T>::type type;
        };
        template <typename T> struct Plain<T*> { typedef typename Plain<T>::type* type; };
        template <typename T> struct Plain<const T> { typedef const typename Plain<T>::type type; };
        template <typename R, typename... A> struct Plain<R (*)(A...)> {
            typedef typename Plain<R>::type (*type)(typename Plain<A>::type...);
        };
        #define SAME(name, symbol, parameters) static_assert(std::is_same< \\
            Plain<decltype(&::symbol)>::type, decltype(hz_cuda::Driver::name)>::value, #symbol);
        HZ_DRIVER_FUNCTIONS(SAME)
        static_assert(hz_cuda::kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY, "");
        static_assert(hz_cuda::kNoDevice == CUDA_ERROR_NO_DEVICE, "");
        static_assert(hz_cuda::kInvalidImage == CUDA_ERROR_INVALID_IMAGE, "");
        static_assert(hz_cuda::kNoBinaryForGpu == CUDA_ERROR_NO_BINARY_FOR_GPU, "");
        static_assert(hz_cuda::kUnsupportedPtx == CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "");
        static_assert(CU_STREAM_NON_BLOCKING == 1 && CU_EVENT_DISABLE_TIMING == 2, "");
        static_assert(CU_POINTER_ATTRIBUTE_MEMORY_TYPE == 2, "");
        static_assert(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL == 9, "");
        static_assert(CU_POINTER_ATTRIBUTE_IS_MANAGED == 8, "");
        static_assert(CU_STREAM_CAPTURE_STATUS_NONE == 0, "");
        static_assert(CU_MEMORYTYPE_DEVICE == 2, "");
        static_assert(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES == 8, "");
        static_assert(CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT == 1, "");
        static_assert(CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT == 2, "");
        static_assert(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT == 16, "");
        static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == 75, "");
        static_assert(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == 76, "");
        """
    )
    includes = [f"-I{CPP / 'src'}", "-isystem", str(cuda_include())]
    succeed(tool("c++"), "-std=c++17", "-fsyntax-only", *includes, source)


def test_kernels_are_found_from_where_cmake_is_called_and_are_kernels(tmp_path: Path) -> None:
    fat = b"\x50\xed\x55\xba and so on"
    (tmp_path / "k.fatbin").write_bytes(fat)
    (tmp_path / "k.ptx").write_text(".version 9.0\n")
    command = [tool("cmake"), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}"]
    command += ["-S", str(CPP), "-B", "b"]
    succeed(*command, "-DHARMONIZER_KERNELS=k.fatbin", cwd=tmp_path)
    assert (tmp_path / "b/hz_kernels.fatbin").read_bytes() == fat
    for options, message in (
        (["-DHARMONIZER_KERNELS=k.ptx"], "is something else"),
        (["-DHARMONIZER_KERNELS=none"], "is missing"),
        (["-DHARMONIZER_KERNELS=k.fatbin", "-DHARMONIZER_CUDA=OFF"], "is for the CUDA renderer"),
    ):
        result = run(*command, *options, cwd=tmp_path)
        assert result.returncode != 0
        assert message in " ".join(result.stderr.split())


def test_tensorrt_without_headers_is_refused(tmp_path: Path) -> None:
    options = ["-DHARMONIZER_TENSORRT=ON", f"-DTENSORRT_ROOT={tmp_path}"]
    result = subprocess.run(
        [tool("cmake"), "-G", "Ninja", "-S", CPP, "-B", tmp_path / "b", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == 0:
        pytest.skip("this system has TensorRT's headers where every compiler looks")
    assert "TENSORRT_ROOT" in result.stderr


def test_minimal_program_draws_what_python_draws(
    photograph: NDArray[np.uint8], tmp_path: Path
) -> None:
    samples = build_against_package(CPP / "samples", "sample")
    height, width = photograph.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    mask[100:300, 150:500] = 200
    for name, magic, data in (("c.ppm", "P6", photograph), ("m.pgm", "P5", mask)):
        (tmp_path / name).write_bytes(f"{magic}\n{width} {height}\n255\n".encode() + data.tobytes())
    succeed(samples / "minimal", tmp_path / "c.ppm", tmp_path / "m.pgm", tmp_path / "o.ppm")
    renderer = CpuRenderer()
    plan = renderer.measure(photograph, Arguments(("temperature", "contrast"), (0.2, -0.3)))
    drawn = renderer.draw(photograph, mask, plan)
    assert (tmp_path / "o.ppm").read_bytes().endswith(b"\n255\n" + drawn.tobytes())
    assert "is no P5" in run(samples / "minimal", *[tmp_path / "c.ppm"] * 3).stderr


@pytest.mark.parametrize("static", [False, True])
def test_pkg_config_tells_how_to_build_without_cmake(static: bool, tmp_path: Path) -> None:
    tree, name = installed(), "libharmonizer.so"
    if static:
        tree, name = tmp_path / "tree", "libharmonizer.a"
        options = [
            "-DBUILD_SHARED_LIBS=OFF",
            "-DCMAKE_INSTALL_LIBDIR=lib",
            "-DCMAKE_BUILD_TYPE=Debug",
        ]
        configure(CPP, tmp_path / "b", *options)
        succeed(tool("cmake"), "--build", tmp_path / "b")
        succeed(tool("cmake"), "--install", tmp_path / "b", "--prefix", tree)
    assert (tree / "lib" / name).is_file()
    variables = {**os.environ, "PKG_CONFIG_PATH": str(tree / "lib/pkgconfig")}
    version = succeed(tool("pkg-config"), "--modversion", "harmonizer", env=variables)
    assert version.strip() == __version__
    words = succeed(tool("pkg-config"), "--cflags", "--libs", "harmonizer", env=variables).split()
    program = tmp_path / "consume"
    compiler = tool("cc" if static else "c++")
    source = CONSUMER / ("consume.c" if static else "consume.cpp")
    words += ["-pthread", "-ldl", f"-Wl,-rpath,{tree / 'lib'}"]
    succeed(compiler, *([] if static else ["-std=c++17"]), source, *words, "-o", program)
    succeed(program, "errors" if static else "views")
    if static:  # and to those who do: Threads and the C++ library come with the target
        (tmp_path / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.22)\nproject(p LANGUAGES C CXX)\n"
            f"find_package(harmonizer REQUIRED)\nadd_executable(p {source})\n"
            "target_link_libraries(p PRIVATE harmonizer::harmonizer)\n"
        )
        configure(tmp_path, tmp_path / "p", f"-DCMAKE_PREFIX_PATH={tree}")
        succeed(tool("cmake"), "--build", tmp_path / "p")
        succeed(tmp_path / "p/p", "errors")


ISA = """
#include <stdio.h>
#include "harmonizer.h"
int main(void) { return puts(hz_isa()) < 0; }
"""


@pytest.mark.parametrize(
    ("processor", "expected"), [("Nehalem", "x86-64"), ("Haswell", "x86-64-v3")]
)
def test_library_on_an_older_processor_takes_what_it_has(
    processor: str, expected: str, tmp_path: Path
) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("processors of x86-64")
    emulator, library = tool("qemu-x86_64"), installed() / "lib"
    (tmp_path / "isa.c").write_text(ISA)
    words = [f"-I{installed() / 'include'}", f"-L{library}", "-lharmonizer"]
    succeed(tool("cc"), tmp_path / "isa.c", *words, "-o", tmp_path / "isa")
    environment = os.environ | {"LD_LIBRARY_PATH": str(library)}
    said = succeed(emulator, "-cpu", processor, tmp_path / "isa", env=environment)
    assert said.strip() == expected
