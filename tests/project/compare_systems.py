"""Draw the same pictures on two systems, and say how far apart they are.

    python tests/project/compare_systems.py write there.npz             # on the one
    python tests/project/compare_systems.py write here.npz --isa x86-64-v3     # on the other
    python tests/project/compare_systems.py compare there.npz here.npz

The one may be emulated: Debian's python3.11 for arm64, unpacked into a folder, runs under
`qemu-aarch64 -cpu neoverse-n1 -L FOLDER`, with wheels that `uv pip install --python-platform
aarch64-manylinux_2_28 --target` put beside it. ONNX Runtime crashes there unless FOLDER has a
proc/cpuinfo of such a processor: QEMU shows it the host's.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

PICTURES = 12
FULL_SCALE = {"uint8": 255, "uint16": 65535, "float32": 1}


def draw_all() -> dict[str, NDArray[np.generic]]:
    """Pictures of every depth, drawn, and their thumbnails: noise, and every third a ramp."""
    generator, renderer = np.random.default_rng(11), CpuRenderer()
    results: dict[str, NDArray[np.generic]] = {}
    for number in range(PICTURES):
        width, height = int(generator.integers(50, 700)), int(generator.integers(50, 400))
        values = generator.random((height, width, 3)) ** (1, 3)[number % 2]
        if number % 3 == 0:
            down, right = np.mgrid[:height, :width]
            ramps = (right / width, down / height, (right + down) / (width + height))
            values = np.stack(ramps, -1)
        mask = np.clip(generator.random((height, width)) * 3 - 1, 0, 1).astype(np.float32)
        look = tuple(map(float, generator.uniform(-0.6, 0.6, len(DEFAULT_FILTERS))))
        for name, full in FULL_SCALE.items():
            image = (values * full + (0.5 if full > 1 else 0)).astype(name)
            plan = renderer.measure(image, Arguments(tuple(DEFAULT_FILTERS), look))
            results[f"drawn {name} {number}"] = renderer.draw(image, mask, plan)
            for part, made in enumerate(renderer.thumbnail(image, mask)):
                results[f"thumbnail {name} {number} {part}"] = made
            for part, made in enumerate(renderer.region_thumbnails(image, mask)):
                results[f"regions {name} {number} {part}"] = made
    return results


def compare(one: Path, other: Path) -> None:
    """Print the largest difference of each kind, and how many values differ."""
    first, second = np.load(one), np.load(other)
    if sorted(first.files) != sorted(second.files):
        raise SystemExit(f"{one} and {other} must hold the same pictures; they do not.")
    found: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    for name in first.files:
        off = np.abs(first[name].astype(np.float64) - second[name].astype(np.float64))
        found[" ".join(name.split()[:2])].append(off.reshape(-1))
    for kind, parts in found.items():
        off = np.concatenate(parts)
        print(f"{kind}: {off.max():.3g} at most; {(off > 0).sum()} of {off.size} values differ")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", choices=("write", "compare"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--isa", help="an instruction set that this library has")
    options = parser.parse_args()
    if len(options.files) != (1 if options.work == "write" else 2):
        parser.error(f"`write` must have one file, `compare` two; got {len(options.files)}")
    if options.work == "compare":
        compare(*options.files)
        return 0
    _native.set_isa(options.isa)
    print(_native.isa())
    np.savez(options.files[0], **draw_all())  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main())
