"""Count the instructions that drawing a pixel takes on processors that are emulated here.

    PYTHONPATH=.:tests/helpers python tests/project/count_instructions.py

Time under emulation says nothing about a processor; how many instructions it executes does, within
one architecture. QEMU runs `minimal` (one photograph of 8 bits, two operations, a soft mask) one
instruction at a time and logs each, for two sizes of picture; the difference is the pixels' own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from cross_wheels import ARM_SYSTEM, program_for
from repository import ROOT

SIZES = (64, 192)
CASES = (
    ("linux-x86_64", "Nehalem", "SSE2"),
    ("linux-x86_64", "Haswell", "AVX2"),
    ("linux-arm64", "cortex-a72", "NEON"),
)


def write_scene(folder: Path, size: int) -> None:
    """A noisy square picture with a soft mask: `c.ppm` and `m.pgm`."""
    generator = np.random.default_rng(3)
    pixels = generator.integers(0, 256, (size, size, 3), np.uint8)
    mask = np.linspace(0, 255, size).astype(np.uint8)[None].repeat(size, axis=0)
    (folder / "c.ppm").write_bytes(b"P6\n%d %d\n255\n" % (size, size) + pixels.tobytes())
    (folder / "m.pgm").write_bytes(b"P5\n%d %d\n255\n" % (size, size) + mask.tobytes())


def count(name: str, processor: str, size: int) -> int:
    """How many instructions the program executes for a picture of that width and height."""
    program = program_for(name, ROOT / "runtime/cpp/samples/minimal.cpp")
    write_scene(program.parent, size)
    architecture = "aarch64" if name == "linux-arm64" else "x86_64"
    emulator = shutil.which(f"qemu-{architecture}") or shutil.which(f"qemu-{architecture}-static")
    if emulator is None:
        raise SystemExit(f"qemu-{architecture} must be on PATH; apt-get install qemu-user")
    system = ["-L", str(ARM_SYSTEM)] if architecture == "aarch64" else []
    settings = ["-E", f"LD_LIBRARY_PATH={program.parent}", "-cpu", processor, *system]
    command = [emulator, *settings, "-singlestep", "-d", "exec,nochain", program]
    with subprocess.Popen(
        [*map(str, command), "c.ppm", "m.pgm", "o.ppm"],
        cwd=program.parent,
        stderr=subprocess.PIPE,
        bufsize=1 << 20,
    ) as process:
        assert process.stderr is not None
        executed = sum(line.startswith(b"Trace") for line in process.stderr)
    if process.returncode:
        raise SystemExit(f"{program} must succeed under {emulator}; it ended {process.returncode}.")
    return executed


def main() -> int:
    """Print a row for each processor."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread draws
    small, large = SIZES
    for name, processor, instructions in CASES:
        more = count(name, processor, large) - count(name, processor, small)
        pixels = large * large - small * small
        print(f"| {name} | {processor} | {instructions} | {more / pixels:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
