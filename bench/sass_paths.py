"""The way of the usual pixel through a kernel's machine code, and what lies on it.

A kernel is cut into blocks of instructions without a branch. The work of a strip of 512 pixels, 16
a lane, is a walk through these blocks and back to where it began. Known of it are the stations that
it must pass, each told by what its block holds (four reciprocals are saturation); between two
stations it is taken to be the shortest there is, for every other way that a kernel has (ends of
rows, soft pixels, other filters) is longer than the usual one. A branch whose targets are in a
table is followed nowhere.
"""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

PIXELS_OF_LANE = 16
"""Of a strip: kStrip of hz_workspace.h for 32 lanes."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its opcode with suffixes, what follows, and the label before it."""

    opcode: str
    operands: str
    guarded: bool
    labels: tuple[str, ...]

    @property
    def target(self) -> str | None:
        """Where a branch goes."""
        found = re.search(r"`\((\S+)\)", self.operands)
        return found[1] if found and self.opcode.split(".")[0] == "BRA" else None

    @property
    def always_leaves(self) -> bool:
        """Whether what follows is never reached from here."""
        if self.guarded:
            return False
        name, *suffixes = self.opcode.split(".")
        if name == "BRA":
            return "DIV" not in suffixes and not re.match(r"\s*!?U?P\d", self.operands)
        return name in ("EXIT", "RET", "BRX", "JMP")


@dataclass
class Block:
    """Instructions that are run one after another."""

    code: list[Instruction] = field(default_factory=list)
    followers: list[int] = field(default_factory=list)

    def count(self, opcode: str) -> int:
        """How many are this opcode and have its suffixes, others or not."""
        name, *suffixes = opcode.split(".")
        parts = [one.opcode.split(".") for one in self.code]
        return sum(found[0] == name and set(suffixes) <= set(found) for found in parts)

    def has(self, number: int, *opcodes: str) -> bool:
        """Whether there are so many at least of each."""
        return all(self.count(opcode) >= number for opcode in opcodes)


Station = Callable[[Block], bool]


def instructions_of(text: str) -> list[Instruction]:
    """Of a kernel's part of nvdisasm's text."""
    found: list[Instruction] = []
    labels: list[str] = []
    line_of_code = re.compile(r"/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
    for line in text.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels.append(label[1])
        elif match := line_of_code.search(line):
            guard, opcode, operands = match.groups()
            found.append(Instruction(opcode, operands, guard is not None, tuple(labels)))
            labels = []
    return found


def blocks_of(code: Sequence[Instruction]) -> list[Block]:
    """Cut at labels and after branches."""
    blocks: list[Block] = [Block()]
    labels: dict[str, int] = {}
    for one in code:
        if blocks[-1].code and (one.labels or leaves(blocks[-1].code[-1])):
            blocks.append(Block())
        labels |= dict.fromkeys(one.labels, len(blocks) - 1)
        blocks[-1].code.append(one)
    for index, block in enumerate(blocks):
        last = block.code[-1]
        if not last.always_leaves and index + 1 < len(blocks):
            block.followers.append(index + 1)
        if last.target:
            block.followers.append(labels[last.target])
    return blocks


def leaves(one: Instruction) -> bool:
    """Whether a block ends with this."""
    return one.target is not None or one.always_leaves


def ways_from(blocks: Sequence[Block], start: int) -> dict[int, list[int]]:
    """The shortest walk of one step at least to each block within reach, without its start."""
    ways: dict[int, list[int]] = {}
    waiting: list[tuple[int, list[int]]] = [
        (len(blocks[follower].code), [follower]) for follower in blocks[start].followers
    ]
    heapq.heapify(waiting)
    while waiting:
        length, way = heapq.heappop(waiting)
        if way[-1] in ways:
            continue
        ways[way[-1]] = way
        for follower in blocks[way[-1]].followers:
            if follower not in ways:
                heapq.heappush(waiting, (length + len(blocks[follower].code), [*way, follower]))
    return ways


def shortest_round(
    blocks: Sequence[Block], stations: Sequence[Station], apart: bool = False
) -> list[int]:
    """The shortest closed walk through blocks that are the stations, in their order.

    Args:
        blocks: The kernel's.
        stations: What tells each.
        apart: Whether one block cannot be two stations that follow each other.

    Raises:
        ValueError: If there is none.
    """
    places = [[i for i, block in enumerate(blocks) if station(block)] for station in stations]
    ways = {i: ways_from(blocks, i) for place in places for i in place}

    def arriving(walks: list[list[int]], stop: int, may_stay: bool) -> list[list[int]]:
        """The shortest of the walks, gone on to a stop."""
        longer = [
            walk if may_stay and walk[-1] == stop else walk + ways[walk[-1]][stop]
            for walk in walks
            if (may_stay and walk[-1] == stop) or stop in ways[walk[-1]]
        ]
        return sorted(longer, key=lambda walk: size(blocks, walk))[:1]

    rounds = []
    for first in places[0]:
        walks = [[first]]
        for place in places[1:]:
            walks = [walk for stop in place for walk in arriving(walks, stop, not apart)]
        back = [walk for walk in walks if walk[1:] and walk[-1] == first]
        rounds += [walk[1:] for walk in back or arriving(walks, first, False)]
    if not rounds:
        found = [len(place) for place in places]
        raise ValueError(
            "the code of the kernel must have a loop through all stations; of each there are "
            f"{found} blocks. Say in bench/sass_paths.py what tells them now."
        )
    return min(rounds, key=lambda walk: size(blocks, walk))


def size(blocks: Sequence[Block], walk: Sequence[int]) -> int:
    """Instructions of a walk."""
    return sum(len(blocks[i].code) for i in walk)


def curve(block: Block) -> bool:
    """Twelve values are looked up."""
    return block.count("LDS") >= 12 and block.has(12, "FADD")


def lines(block: Block) -> bool:
    """Twelve bytes become floats, on a line each."""
    return block.has(12, "PRMT", "FFMA.SAT", "FFMA")


def saturation(block: Block) -> bool:
    """Of four pixels."""
    return (
        block.count("MUFU.RCP") == 4 and not block.count("MUFU.LG2") and block.has(12, "FFMA.SAT")
    )


def mask(block: Block) -> bool:
    """Four words of it are loaded."""
    return block.count("LDG") == 4 and not block.count("LDG.128")


def load(block: Block) -> bool:
    """Three times 16 bytes a lane."""
    return block.has(3, "LDG.128")


def store(block: Block) -> bool:
    """Likewise."""
    return block.has(3, "STG.128")


def counted(block: Block) -> bool:
    """16 bytes go into the histogram."""
    return block.count("ATOMS") >= 16


def strip_of_drawing(blocks: Sequence[Block]) -> Iterator[list[int]]:
    """A strip's walk has one group of four pixels a lane; three more go round alone."""
    yield shortest_round(blocks, (curve, store, load, mask, lines, saturation))
    group = shortest_round(blocks, (curve, lines, saturation))
    for _ in range(3):
        yield group


def strip_of_measuring(blocks: Sequence[Block]) -> Iterator[list[int]]:
    """A lane counts three times 16 bytes."""
    yield shortest_round(blocks, (counted, counted, counted, load), apart=True)


PATHS: dict[str, Callable[[Sequence[Block]], Iterator[list[int]]]] = {
    "hz_draw_rgb8": strip_of_drawing,
    "hz_draw_bgr8": strip_of_drawing,
    "hz_measure_u8": strip_of_measuring,
}
"""Kernels whose usual way is known, and the walks that a strip is made of."""

NAMES = {
    "fp32": "FADD FMUL FFMA FADD2 FMUL2 FFMA2",
    "multiply": "IMAD",
    "special": "MUFU",
    "convert": "I2F I2FP F2I F2F F2FP I2I FRND",
    "shared": "LDS STS ATOMS",
    "global": "LDG STG LD ST RED ATOMG",
    "control": "BRA BSSY BSYNC BREAK EXIT WARPSYNC NOP VOTE BAR CALL RET YIELD DEPBAR ERRBAR",
}
"""Opcodes by class. What is in none is "integer": additions, logic, shifts, comparisons, minima,
permutations, moves, and what is done once for a warp."""

CLASSES = (*NAMES, "integer")


def class_of(one: Instruction) -> str:
    """Of `NAMES`."""
    name = one.opcode.split(".")[0]
    return next((kind for kind, names in NAMES.items() if name in names.split()), "integer")


def per_pixel(kernel: str, code: Sequence[Instruction]) -> Counter[str]:
    """Instructions a pixel by class, on the usual way.

    Raises:
        ValueError: If the code is not as `PATHS` takes it to be.
    """
    blocks = blocks_of(code)
    counts: Counter[str] = Counter()
    for walk in PATHS[kernel](blocks):
        counts.update(class_of(one) for i in walk for one in blocks[i].code)
    return Counter({kind: number / PIXELS_OF_LANE for kind, number in counts.items()})
