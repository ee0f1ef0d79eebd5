"""Build what runs in a browser: the renderer as WebAssembly, the package, the studio.

The renderer is compiled by Zig's C++ compiler from the sources of the C++ library, once without
threads and once with them (docs/decisions/0014, 0017). The rest needs Node.js with npm.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))  # a build front end does not put it there
from cross_targets import ZIG, find_zig

ROOT = Path(__file__).parent
WEB = ROOT / "runtime" / "web"
SOURCES = ROOT / "runtime" / "cpp" / "src"
OBJECTS = ROOT / "build" / "wasm"
SITE = ROOT / "build" / "studio"
MODULE = WEB / "dist" / "harmonizer.wasm"
THREADED = WEB / "dist" / "harmonizer-threads.wasm"
STUDIO = WEB / "studio"
PAGES = ("index.html", "studio.css", "icon.svg", "licences.txt")
RUNTIME = tuple(
    WEB / "node_modules" / "onnxruntime-web" / "dist" / f"ort-wasm-simd-threaded.{kind}"
    for kind in ("wasm", "mjs")
)
MODELS = (ROOT / "models" / "harmonizer.onnx", ROOT / "models" / "s2crnet.onnx")
LATER = ("models/s2crnet.onnx",)
"""What the service worker keeps once it is asked for, the rest from the beginning."""

PARTS = (
    *("api/checks", "api/errors", "api/functions"),
    *("cpu/bands", "cpu/dispatch", "cpu/drawing", "cpu/passes", "cpu/pieces"),
    *("cpu/region_thumbnails", "cpu/thumbnail"),
    *("cpu/measure_kernels", "cpu/region_kernels", "cpu/render_kernels"),
)
OURS = ("exceptions", "layout")
EXPORTS = (
    *("hz_measure", "hz_render", "hz_thumbnail", "hz_region_thumbnails"),
    *("hz_last_error", "hz_version", "hz_web_layout", "malloc", "free"),
)
HELPING = ("hz_web_help", "__stack_pointer", "__wasm_init_tls", "__tls_size")
TARGET = ("-target", "wasm32-wasi")
EXCEPTIONS = ("-fwasm-exceptions", "-mexception-handling", "-mllvm", "-wasm-enable-eh")
OWN = ("-std=c++17", "-O3", "-msimd128", "-Wall", "-Wextra", "-fno-math-errno")
SHARED = ("-matomics", "-mbulk-memory")
"""For the module with threads. Its memory is `SHARED_MEMORY` of runtime/web/src/wasm.ts."""
SHARED_MEMORY = (
    *("-Wl,--shared-memory", "-Wl,--import-memory"),
    *(f"-Wl,--initial-memory={512 * 2**16}", f"-Wl,--max-memory={65535 * 2**16}"),
)
LIBRARY = ("-O2", "-fdeclspec", "-w")
LIBRARY_PARTS = ("libcxxabi/src/cxa_exception.cpp", "libcxxabi/src/cxa_personality.cpp")
UNWINDING = "libunwind/src/Unwind-wasm.c"
DEFINITIONS = (
    *("-D_LIBCXXABI_BUILDING_LIBRARY", "-D_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS"),
    *("-D_LIBCXXABI_HAS_NO_THREADS", "-D_LIBCPP_BUILDING_LIBRARY", "-D_LIBUNWIND_HIDE_SYMBOLS"),
)
INCLUDED = ("libcxxabi/include", "libcxxabi/src", "libcxx/include", "libcxx/src")


class BuildError(Exception):
    """Something for the browser cannot be built."""


def build_wasm(target: Path = MODULE, threads: bool = False) -> Path:
    """Compile the renderer and its C interface to one WebAssembly module.

    Args:
        target: The file to write.
        threads: Whether its memory can be shared, and helpers draw with it.

    Raises:
        BuildError: If something does not compile.
        ModuleNotFoundError: If Zig is not installed.
    """
    digest, made_from = f"{_digest()} {threads}", target.with_suffix(".sha256")
    if target.is_file() and made_from.is_file() and made_from.read_text() == digest:
        return target
    zig = find_zig("compiling to WebAssembly")
    OBJECTS.mkdir(parents=True, exist_ok=True)
    shared = SHARED if threads else ()
    objects = [_compile(zig, *part, *shared) for part in _parts(zig.parent / "lib", threads)]
    target.parent.mkdir(parents=True, exist_ok=True)
    exports = [f"-Wl,--export={name}" for name in (*EXPORTS, *(HELPING if threads else ()))]
    linked = ("-mexec-model=reactor", "-O3", "-s", *EXCEPTIONS, *map(str, objects), *exports)
    memory = (*SHARED, *SHARED_MEMORY) if threads else ()
    staged = OBJECTS / target.name
    _run([str(zig), "c++", *TARGET, *linked, *memory, "-o", str(staged)])
    staged.chmod(0o644)
    staged.replace(target)
    made_from.write_text(digest)
    return target


def _digest() -> str:
    """Of all that the module is made from: a minute's work is not done twice."""
    headers = [*SOURCES.parent.rglob("*.h"), *(ROOT / "runtime" / "kernels").iterdir()]
    own = [SOURCES / f"{part}.cpp" for part in (*PARTS, "cpu/no_threads")]
    paths = sorted({*headers, *own, *(WEB / "wasm").iterdir(), Path(__file__)})
    parts = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return hashlib.sha256(" ".join((ZIG, read_version(), *parts)).encode()).hexdigest()


def _parts(library: Path, threads: bool) -> list[tuple[Path, tuple[str, ...]]]:
    """Every source file with its flags."""
    places = [f"-I{SOURCES}", f"-I{SOURCES.parent / 'include'}", f"-I{ROOT / 'runtime/kernels'}"]
    version = f'-DHZ_VERSION="{read_version()}"'
    locks = "-DHZ_SPIN_LOCKS" if threads else "-DHZ_NO_THREADS"
    own = (*OWN, "-fno-trapping-math", locks, version, *places)
    parts: list[tuple[Path, tuple[str, ...]]] = [
        (
            SOURCES / f"{part}.cpp",
            (*own, "-DHZ_NAMESPACE=hz_generic") if part.endswith("_kernels") else own,
        )
        for part in PARTS
    ]
    loops = WEB / "wasm" / "helpers.cpp" if threads else SOURCES / "cpu" / "no_threads.cpp"
    parts += [(path, own) for path in (loops, *(WEB / "wasm" / f"{name}.cpp" for name in OURS))]
    unwinding = f"-I{library / 'libunwind/include'}"
    included = [f"-I{library / folder}" for folder in INCLUDED]
    theirs = ("-std=c++23", *LIBRARY, *DEFINITIONS, *included, unwinding)
    parts += [(library / part, theirs) for part in LIBRARY_PARTS]
    return [*parts, (library / UNWINDING, (*LIBRARY, *DEFINITIONS, unwinding))]


def _compile(zig: Path, source: Path, flags: tuple[str, ...], *more: str) -> Path:
    """The object file of a source."""
    target = OBJECTS / f"{source.stem}.o"
    language = "cc" if source.suffix == ".c" else "c++"
    command = [str(zig), language, *TARGET, *EXCEPTIONS, *flags, *more]
    _run([*command, "-c", str(source), "-o", str(target)])
    return target


def read_version() -> str:
    """The version, which is written once, in the package."""
    text = (ROOT / "runtime" / "harmonizer" / "__init__.py").read_text(encoding="utf-8")
    return text.split('__version__ = "')[1].split('"')[0]


def _run(command: list[str], folder: Path = ROOT) -> str:
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if result.returncode:
        raise BuildError(
            f"`{' '.join(command)}` must succeed; it failed with:\n{result.stdout}{result.stderr}"
        )
    return result.stdout


def build_package() -> Path:
    """Build `@harmonizer/web`: the modules, the scripts as one file, and the helpers' script.

    Raises:
        BuildError: If Node.js is missing, or as `build_wasm` does.
        ModuleNotFoundError: If Zig is missing.
    """
    install_packages()
    build_modules()
    entry = str(WEB / "src" / "index.ts")
    bundle_module(str(WEB / "src" / "helper.ts"), f"--outfile={MODULE.parent / 'helper.js'}")
    bundle_module(entry, "--external:onnxruntime-web", f"--outfile={MODULE.parent / 'index.js'}")
    return MODULE.parent


def build_modules() -> tuple[Path, Path]:
    """Compile the module without threads, and the one with them.

    Raises:
        BuildError, ModuleNotFoundError: As `build_wasm` does.
    """
    return build_wasm(MODULE), build_wasm(THREADED, threads=True)


def install_packages() -> None:
    """Install what package-lock.json names into runtime/web/node_modules, where it is not.

    Raises:
        BuildError: If npm is missing or fails.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise BuildError(
            "building for a browser needs Node.js 20 or newer with npm; they are not on PATH. "
            "Install them from nodejs.org or the system's packages."
        )
    lock, done = WEB / "package-lock.json", WEB / "node_modules" / ".package-lock.json"
    if not done.is_file() or done.stat().st_mtime < lock.stat().st_mtime:
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], WEB)


def bundle_module(*arguments: str) -> None:
    """Run esbuild; modules for what every browser with SIMD understands."""
    flags = ("--bundle", "--format=esm", "--target=es2022", "--minify", "--log-level=warning")
    _run([str(WEB / "node_modules" / ".bin" / "esbuild"), *flags, *arguments], WEB)


def build_site(target: Path = SITE) -> Path:
    """Build the studio as files for any static host, under any path.

    Args:
        target: A folder, made anew.

    Raises:
        BuildError, ModuleNotFoundError: As `build_package` does, or if a model is missing.
    """
    install_packages()
    modules = build_modules()
    staged = target.with_name(target.name + ".new")
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(STUDIO / "example", staged / "example")
    (staged / "models").mkdir()
    files = [*(STUDIO / name for name in PAGES), *modules, *RUNTIME, *MODELS]
    for file in files:
        if not file.is_file():
            raise BuildError(f"the studio needs {file}; it is missing. Run: make model")
        into = staged / "models" if file in MODELS else staged
        shutil.copyfile(file, into / file.name)
    hashes = json.loads((MODELS[0].parent / "hashes.json").read_text(encoding="utf-8"))
    shipped = {file.name: hashes[file.name] for file in MODELS}
    (staged / "models" / "hashes.json").write_text(json.dumps(shipped, indent=2) + "\n")
    entries = [str(STUDIO / f"{name}.ts") for name in ("main", "worker")]
    bundle_module(*entries, f"--outdir={staged}")
    bundle_module(str(WEB / "src" / "helper.ts"), f"--outdir={staged}")
    kept = sorted(path for path in staged.rglob("*") if path.is_file())
    names = [path.relative_to(staged).as_posix() for path in kept]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in kept)).hexdigest()[:16]
    first = ["./", *(name for name in names if name not in LATER)]
    defined = (f"--define:STUDIO_FILES={json.dumps(first)}", f'--define:STUDIO_DIGEST="{digest}"')
    bundle_module(str(STUDIO / "sw.ts"), f"--outfile={staged / 'sw.js'}", *defined)
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)
    return target


def main() -> int:
    """Build everything; `--wasm` the module alone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wasm", action="store_true", help="build runtime/web/dist alone")
    options = parser.parse_args()
    try:
        print(build_package() if options.wasm else build_site())
    except (BuildError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
