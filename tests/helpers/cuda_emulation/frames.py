"""Frames in host memory for the emulated kernels: schedule, launches, and what they leave."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.arrays import IMAGE_TYPES, MASK_TYPES
from harmonizer.ops import OPERATIONS
from harmonizer.plan import Plan
from harmonizer.values import Value, stages_of

Array = NDArray[Any]

DRAW_GIVEN = _native.PHASE_MEASURE | _native.PHASE_DRAW
"""Both phases, for arguments that nobody has to predict."""


def aligned_zeros(size: int, alignment: int = 256) -> NDArray[np.uint8]:
    """Bytes at a multiple of `alignment`."""
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size]


@dataclass
class Thumbnail:
    """The predictor's inputs of a frame: float32 or float16."""

    dtype: type[np.floating[Any]] = np.float32
    composite: Array = field(init=False)
    coverage: Array = field(init=False)

    def __post_init__(self) -> None:
        self.composite = np.full((1, 3, 256, 256), np.nan, self.dtype)
        self.coverage = np.full((1, 1, 256, 256), np.nan, self.dtype)


@dataclass
class Regions:
    """The other predictor's inputs of a frame: float32 or float16."""

    dtype: type[np.floating[Any]] = np.float32
    foreground: Array = field(init=False)
    background: Array = field(init=False)

    def __post_init__(self) -> None:
        self.foreground = np.full((1, 3, 256, 256), np.nan, self.dtype)
        self.background = np.full((1, 3, 256, 256), np.nan, self.dtype)


class EmulatedDevice:
    """Runs launches on host memory, and has one workspace for all its frames."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.hz_emulate.argtypes = (ctypes.POINTER(_native.Launch),)
        self._library.hz_emulate_backwards.argtypes = (ctypes.c_int32,)
        self.workspace = aligned_zeros(_native.workspace_size())
        self.processors = 1
        self.kernels: list[str] = []

    @property
    def report(self) -> _native.Report:
        """The workspace's beginning, not copied."""
        return _native.Report.from_address(self.workspace.ctypes.data)

    def run_backwards(self, yes: bool) -> None:
        """Blocks and threads from the last to the first from now on."""
        self._library.hz_emulate_backwards(int(yes))

    def frame(
        self,
        image: Array,
        mask: Array | None,
        out: Array,
        filters: Sequence[str],
        predicted: Array | None = None,
        strength: float = 1.0,
        thumbnail: Thumbnail | None = None,
        statistics_given: bool = False,
        stages: int = 0,
        regions: Regions | None = None,
    ) -> _native.Frame:
        """Describe a frame; the arrays must outlive it."""
        frame = _native.Frame(image=image_at(image), out=image_at(out))
        if mask is not None:
            frame.mask = _native.Mask(
                mask.ctypes.data, mask.shape[1], mask.shape[0], *mask.strides, mask_type(mask)
            )
        frame.workspace = self.workspace.ctypes.data
        if thumbnail is not None:
            frame.composite = thumbnail.composite.ctypes.data
            frame.coverage = thumbnail.coverage.ctypes.data
            half = thumbnail.composite.dtype == np.float16
            frame.thumbnail_type = _native.F16 if half else _native.F32
        if regions is not None:
            frame.foreground = regions.foreground.ctypes.data
            frame.background = regions.background.ctypes.data
            half = regions.foreground.dtype == np.float16
            frame.thumbnail_type = _native.F16 if half else _native.F32
        if predicted is not None:
            frame.arguments = predicted.ctypes.data
        frame.strength = strength
        frame.statistics_given = int(statistics_given)
        frame.count = len(filters)
        frame.operations[: len(filters)] = [OPERATIONS[name].code for name in filters]
        frame.stages = stages
        frame.processors = self.processors
        return frame

    def run(self, frame: _native.Frame, phases: int) -> None:
        """Schedule and launch."""
        launches = _native.schedule(frame, phases)
        self.kernels = [launch.kernel.decode() for launch in launches]
        for launch in launches:
            status = self._library.hz_emulate(ctypes.byref(launch))
            if status:
                raise AssertionError(f"hz_emulate({launch.kernel.decode()}) returned {status}")

    def put_arguments(self, arguments: Arguments) -> None:
        """Upload given arguments, as a host does."""
        kept = [tuple(step.statistics) for step in self.report.program.steps]
        # Not `Step`s, which refuse what is out of range: clamping is the device's work here.
        self.report.program = _native.Program.of(
            [_Given(name, value) for name, value in arguments.items()]
        )
        for step, statistics in zip(self.report.program.steps, kept, strict=True):
            step.statistics[:] = statistics

    def draw(
        self, image: Array, mask: Array | None, arguments: Arguments, out: Array | None = None
    ) -> Array:
        """Draw given arguments, statistics measured."""
        result = np.empty(image.shape, image.dtype) if out is None else out
        self.put_arguments(arguments)
        stages = stages_of(arguments.values())
        frame = self.frame(image, mask, result, arguments.filters, stages=stages)
        self.run(frame, DRAW_GIVEN)
        return result

    def plan(self) -> Plan:
        """What the last frame drew."""
        names = {operation.code: name for name, operation in OPERATIONS.items()}
        program = self.report.program
        drawn = [names[step.operation] for step in program.steps[: program.count]]
        return Plan(program.steps_of(drawn))


class _Given(NamedTuple):
    operation: str
    argument: Value
    statistics: tuple[float, ...] = ()


def image_at(image: Array) -> _native.Image:
    """Where an image lies, of any strides."""
    height, width = image.shape[:2]
    kind = IMAGE_TYPES[image.dtype.type]
    return _native.Image(image.ctypes.data, width, height, *image.strides, kind)


def mask_type(mask: Array) -> int:
    """`hz_type` of a mask."""
    return MASK_TYPES[mask.dtype.type]
