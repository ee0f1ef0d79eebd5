"""Try the package with the oldest or the newest versions of what it needs.

    python tests/project/run_ranges.py --wheel dist/harmonizer-*.whl --resolution lowest-direct

makes an environment of this Python, in which uv puts the wheel, its extras and what the
tests need, each at its declared minimum (`lowest-direct`) or at its newest (`highest`); then
`harmonizer doctor` and the tests of `make test-quick` run on it. The last line is a row of
docs/platforms.md. `--resolve-only` asks for any Python whether wheels exist, and installs nothing.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("completion", "formats", "heif", "matting", "test")
SHOWN = ("numpy", "onnxruntime", "pillow", "imagecodecs", "av")
OF_THE_SOURCE_TREE = ("tests/project/test_wheel.py", "tests/project/test_structure.py")
"""They build, or look at how the sources are installed."""


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program whose output is kept."""
    words = [str(word) for word in command]
    return subprocess.run(words, text=True, stdout=subprocess.PIPE, check=False, **options)  # type: ignore[call-overload]


def uv(*words: object) -> str:
    """What uv prints; it ends this program if it fails."""
    done = run("uv", *words)
    if done.returncode:
        raise SystemExit(f"`uv {' '.join(map(str, words))}` must succeed; it does not.")
    return done.stdout


def versions(text: str) -> dict[str, str]:
    """The versions of a requirements file."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", text, re.MULTILINE))


def resolve(python: str, resolution: str, extras: tuple[str, ...]) -> str:
    """What `pip` would be given: the versions that have wheels for that Python."""
    chosen = [word for extra in extras for word in ("--extra", extra)]
    settings = ["--no-header", "--no-annotate", "--quiet", "--no-python-downloads"]
    rules = ["--only-binary", ":all:", "--resolution", resolution, "--python-version", python]
    return uv("pip", "compile", *settings, *rules, *chosen, ROOT / "pyproject.toml")


def install(folder: Path, wheel: Path, resolution: str, extras: tuple[str, ...]) -> Path:
    """Make the environment; its folder of programs."""
    uv("venv", "--quiet", "--python", sys.executable, folder / "venv")
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    (folder / "versions.txt").write_text(resolve(platform.python_version(), resolution, extras))
    into = ["pip", "install", "--quiet", "--python", programs / "python", "--no-deps"]
    uv(*into, "--only-binary", ":all:", "--requirements", folder / "versions.txt")
    uv(*into, wheel.resolve())
    return programs


def try_out(programs: Path, words: list[str]) -> tuple[bool, bool, str]:
    """Whether `doctor` and the tests are content, and the tests' last line."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    doctor = run(programs / "harmonizer", "doctor", cwd=programs, env=kept)
    print(doctor.stdout, flush=True)
    # The tests read files of the repository; the package is the installed one.
    tests = run(
        *(programs / "python", "-m", "pytest", "-q", "-m", "not slow and not gpu and not long"),
        *(f"--ignore={name}" for name in OF_THE_SOURCE_TREE),
        *words,
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    print(tests.stdout, flush=True)
    return doctor.returncode == 0, tests.returncode == 0, tests.stdout.strip().splitlines()[-1]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", choices=("lowest-direct", "highest"), required=True)
    parser.add_argument("--wheel", type=Path)
    parser.add_argument("--resolve-only", metavar="PYTHON", help="such as 3.14")
    parser.add_argument("--also", default="", metavar="EXTRA", help="such as export: several GB")
    parser.add_argument("words", nargs="*", help="more words for pytest, after --")
    options = parser.parse_args()
    extras = (*EXTRAS, options.also) if options.also else EXTRAS
    if options.resolve_only:
        print(resolve(options.resolve_only, options.resolution, extras))
        return 0
    if options.wheel is None or not options.wheel.is_file():
        parser.error(f"--wheel must be a file that `make wheel` made; got {options.wheel}")
    with tempfile.TemporaryDirectory() as folder:
        programs = install(Path(folder), options.wheel, options.resolution, extras)
        found = versions(uv("pip", "freeze", "--python", programs / "python"))
        print(json.dumps(found), flush=True)
        doctor, tests, line = try_out(programs, options.words)
    cells = [platform.python_version(), options.resolution]
    cells += [found[name] for name in SHOWN]
    cells += ["healthy" if doctor else "**fails**", line.strip("= ")]
    print(f"| {' | '.join(cells)} |")
    return 0 if doctor and tests else 1


if __name__ == "__main__":
    sys.exit(main())
