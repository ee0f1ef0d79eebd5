"""What the CUDA kernels are made of, read from their machine code. No GPU is needed.

    python -m bench.sass --output bench/results/kernel-code.csv

Compiles with NVRTC, as a renderer does where no image was made ahead of time, and disassembles with
nvdisasm: of a CUDA toolkit, of the wheel nvidia-cuda-nvdisasm, or Triton's, which comes with
PyTorch. Counts are of the code, not of a run. The columns named pixel_ are instructions a pixel of
the way that a picture of 8-bit RGB, its rows without gaps, takes through a kernel with the default
filters and a full mask of 8 bits: see `bench.sass_paths`.
"""

import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.results_file import check_output
from bench.sass_paths import CLASSES, PATHS, Instruction, instructions_of, per_pixel
from harmonizer.contract import THUMBNAIL_SIZE
from harmonizer.cuda import compiler
from harmonizer.errors import DeviceError
from harmonizer.usage import says_errors, tool_parser

ARCHITECTURES = (90, 100)

REGISTERS, WARPS, BLOCKS, SHARED, RESERVED = 65536, 64, 32, 228 << 10, 1 << 10
"""Of a multiprocessor of compute capability 9.0 and 10.0, and the shared memory that the system
takes of each block: NVIDIA's tuning guides for Hopper and Blackwell, "Occupancy" and "Unified
Shared Memory"."""

WIDTHS = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}


def find_disassembler() -> Path:
    """nvdisasm.

    Raises:
        DeviceError: If it is nowhere.
    """
    found = shutil.which("nvdisasm")
    if found:
        return Path(found)
    for folder in map(Path, sys.path):
        for place in ("nvidia/cu13/bin", "triton/backends/nvidia/bin"):
            if (folder / place / "nvdisasm").is_file():
                return folder / place / "nvdisasm"
    raise DeviceError(
        "reading machine code needs nvdisasm; neither PATH nor an installed wheel has it. Run `pip "
        "install nvidia-cuda-nvdisasm`."
    )


def disassemble(image: bytes) -> dict[str, list[Instruction]]:
    """Instructions by kernel.

    Raises:
        DeviceError: As in `find_disassembler`; if the image cannot be read.
    """
    tool = find_disassembler()
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(image)
        file.flush()
        result = subprocess.run([tool, "-c", file.name], capture_output=True, text=True)
    if result.returncode:
        raise DeviceError(f"nvdisasm must read what NVRTC compiled; it answered: {result.stderr}")
    parts = re.split(r"^\.text\.(\w+):$", result.stdout, flags=re.MULTILINE)[1:]
    return {name: instructions_of(text) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def resources(log: str) -> dict[str, dict[str, int]]:
    """Registers and bytes by kernel, of the assembler's report."""
    entries = re.split(r"Compiling entry function '(\w+)'", log)[1:]
    found = {}
    for name, text in zip(entries[::2], entries[1::2], strict=True):
        stack, *spilled = map(int, re.findall(r"(\d+) bytes (?:stack|spill)", text)[:3])
        shared = re.search(r"(\d+) bytes smem", text)
        found[name] = {
            "registers": int(re.findall(r"Used (\d+) registers", text)[0]),
            "shared_bytes": int(shared[1]) if shared else 0,
            "stack_bytes": stack,
            "spilled_bytes": sum(spilled),
        }
    return found


def threads_of(kernel: str, header: str) -> int:
    """Threads of a kernel's block, which hz_workspace.h says."""
    constants = dict(re.findall(r"k(\w+)Threads = (\w+)", header))
    job = kernel.split("_")[1]
    name = {"region": "Box", "regions": "Region"}.get(job, job.capitalize())
    size = constants[name]
    return THUMBNAIL_SIZE if size == "kThumbnail" else int(size)


def blocks_of(threads: int, registers: int, shared: int) -> int:
    """How many blocks a multiprocessor holds; registers are dealt to warps by 256."""
    warps = threads // 32
    by_registers = REGISTERS // (-(-registers * 32 // 256) * 256) // warps
    return min(BLOCKS, WARPS // warps, by_registers, SHARED // (shared + RESERVED))


def accesses(code: Iterable[Instruction]) -> Counter[str]:
    """Global loads and stores by width in bits; those of memory of any kind ("generic")."""
    found: Counter[str] = Counter()
    for instruction in code:
        name, *suffixes = instruction.opcode.split(".")
        if name in ("LDG", "STG"):
            width = next((WIDTHS[suffix] for suffix in suffixes if suffix in WIDTHS), 32)
            found[f"{name.lower()}_{width}"] += 1
        elif name in ("LD", "ST"):
            found[f"{name.lower()}_generic"] += 1
    return found


def describe(
    kernel: str, code: list[Instruction], used: Mapping[str, int], threads: int
) -> dict[str, object]:
    """A line of the table."""
    blocks = blocks_of(threads, used["registers"], used["shared_bytes"])
    moved = accesses(code)
    line: dict[str, object] = {"kernel": kernel, "threads": threads, **used}
    line["blocks"] = blocks
    line["occupancy_percent"] = round(100 * blocks * threads / 32 / WARPS, 1)
    line["instructions"] = len(code)
    line["branches"] = sum(one.opcode.split(".")[0] == "BRA" for one in code)
    for name in ("ld", "st"):
        line |= {f"{name}g_{width}": moved[f"{name}g_{width}"] for width in (8, 16, 32, 64, 128)}
        line[f"{name}_generic"] = moved[f"{name}_generic"]
    if kernel in PATHS:
        counts = per_pixel(kernel, code)
        line["pixel_instructions"] = round(sum(counts.values()), 2)
        line |= {f"pixel_{name}": round(counts[name], 2) for name in CLASSES}
    return line


def table(architecture: int) -> list[dict[str, object]]:
    """A line a kernel.

    Raises:
        DeviceError: If compiler or disassembler is missing or fails.
    """
    sources = compiler.read_sources()
    image, log = compiler.compile_kernels(
        sources, f"sm_{architecture}", (*compiler.OPTIONS, "--ptxas-options=-v")
    )
    used = resources(log)
    header = sources["hz_workspace.h"].decode()
    about = {
        "architecture": f"sm_{architecture}",
        "compiler": "NVRTC " + ".".join(map(str, compiler.compiler_version())),
        "sources": compiler.digest_of(sources)[:12],
    }
    return [
        about | describe(kernel, code, used[kernel], threads_of(kernel, header))
        for kernel, code in sorted(disassemble(image).items())
    ]


@says_errors("sass")
def main() -> int:
    """Print the table, and write it."""
    parser = tool_parser(__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES)
    options = parser.parse_args()
    check_output(options.output)
    lines = [line for number in options.architectures for line in table(number)]
    columns = list(dict.fromkeys(column for line in lines for column in line))
    for line in lines:
        print("  ".join(f"{name} {line[name]}" for name in columns if line.get(name)))
    if options.output:
        with options.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
