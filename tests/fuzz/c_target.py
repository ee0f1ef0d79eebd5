"""Build the C target with sanitizers, once for each source, and run it."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "runtime" / "cpp" / "src"
FLAGS = ["-std=c++17", "-O1", "-g", "-fno-omit-frame-pointer", "-DSTANDALONE"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
PARTS = (
    *("api/checks", "api/errors", "api/functions", "api/renderer"),
    "api/system_posix",
    *(
        "cpu/bands",
        "cpu/dispatch",
        "cpu/drawing",
        "cpu/passes",
        "cpu/pieces",
        "cpu/region_thumbnails",
    ),
    *("cpu/threads", "cpu/thumbnail"),
)
KERNELS = ("cpu/measure_kernels", "cpu/region_kernels", "cpu/render_kernels")


def compiler() -> str | None:
    """A C++ compiler with AddressSanitizer, if there is one."""
    probe = ["-x", "c++", *SANITIZERS, "-o", "/dev/null", "-"]
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            tried = subprocess.run([name, *probe], input=b"int main() {}", capture_output=True)
            if tried.returncode == 0:
                return name
    return None


def build(folder: Path) -> Path:
    """Compile the interface, the kernels of the plainest instruction set, and the target.

    Raises:
        subprocess.CalledProcessError: If it does not compile.
    """
    name = compiler()
    if name is None:
        raise FileNotFoundError("there is no C++ compiler with AddressSanitizer")
    program = folder / "c_api"
    places = [f"-I{SOURCES}", f"-I{SOURCES.parent / 'include'}", f"-I{ROOT / 'runtime/kernels'}"]
    common = [name, *FLAGS, *SANITIZERS, *places, '-DHZ_VERSION="0"']
    objects = []
    spaces = ["hz_x86_64", "hz_x86_64_v3", "hz_x86_64_v4"] if _is_x86() else ["hz_generic"]
    for part in (*PARTS, *(f"{kernel} {space}" for kernel in KERNELS for space in spaces)):
        source, _, space = part.partition(" ")
        target = folder / f"{Path(source).name}{space}.o"
        march = {"hz_x86_64_v3": ["-march=x86-64-v3"], "hz_x86_64_v4": ["-march=x86-64-v4"]}
        extra = [f"-DHZ_NAMESPACE={space}", *march.get(space, [])] if space else []
        command = [*common, *extra, "-c", str(SOURCES / f"{source}.cpp"), "-o", str(target)]
        subprocess.run(command, check=True)
        objects.append(str(target))
    target_source = str(Path(__file__).with_name("c_api.cpp"))
    subprocess.run([*common, target_source, *objects, "-pthread", "-o", str(program)], check=True)
    return program


def run(program: Path, calls: int, seed: int) -> str:
    """Make so many calls; returns what went wrong, or nothing."""
    variables = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=0"}
    result = subprocess.run(
        [str(program), str(calls), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
        timeout=3600,
    )
    return "" if result.returncode == 0 else (result.stderr or "it was ended")[-3000:]


def _is_x86() -> bool:
    return os.uname().machine in ("x86_64", "AMD64")
