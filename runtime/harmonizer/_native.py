"""The compiled library through ctypes, which releases the GIL for the time of a call.

Mirrors ``runtime/cpp/include/harmonizer.h`` (the CPU renderer) and ``harmonizer_cuda.h`` (which
kernels a frame on a GPU takes); the contract of each function is written there.
"""

import ctypes
import platform
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harmonizer.errors import NativeLibraryError
from harmonizer.ops import CURVE_KNOTS, CURVE_STAGES, MAX_FILTERS, OPERATIONS

if TYPE_CHECKING:
    from harmonizer import plan
    from harmonizer.values import Value

_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
LIBRARY = Path(__file__).parent / "_native" / f"libharmonizer{_SUFFIX}"
"""Where the build hook puts the library."""

OK, INVALID, OUT_OF_MEMORY = range(3)
"""`hz_status`; the rest is an internal failure."""

U8, U16, F32, BOOL, F16 = range(5)
"""`hz_type`."""

PHASE_MEASURE, PHASE_DRAW, PHASE_PREPARE = 1, 2, 4
"""`HZ_PHASE_*`, bits."""

SEEN_FOREGROUND, SEEN_THUMBNAIL, SEEN_BACKGROUND, SEEN_NOT_FINITE = 1, 2, 4, 8
"""`HZ_SEEN_*`, bits."""

MOST_LAUNCHES = 16
"""`HZ_MOST_LAUNCHES`."""


class Image(ctypes.Structure):
    """`hz_image`: where the three channels of a picture lie; strides in bytes."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("pixel_stride", ctypes.c_int64),
        ("channel_stride", ctypes.c_int64),
        ("type", ctypes.c_int32),
    )


class Mask(ctypes.Structure):
    """`hz_mask`: where the mask's values lie; strides in bytes."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("row_stride", ctypes.c_int64),
        ("pixel_stride", ctypes.c_int64),
        ("type", ctypes.c_int32),
    )


class ProgramStep(ctypes.Structure):
    """`hz_step`: an operation's code, its argument and the statistics it reads."""

    _fields_ = (
        ("operation", ctypes.c_int32),
        ("argument", ctypes.c_double),
        ("statistics", ctypes.c_double * 3),
    )


class Curves(ctypes.Structure):
    """`hz_curves`: the slopes of a cascade of curves, stages of 3 channels."""

    _fields_ = (
        ("stages", ctypes.c_int32),
        ("slopes", ctypes.c_float * (CURVE_STAGES * 3 * CURVE_KNOTS)),
    )


class Given(Protocol):
    """What a step of a plan is made of."""

    @property
    def operation(self) -> str:
        """Name of a registered operation."""

    @property
    def argument(self) -> "Value":
        """As many numbers as it takes."""

    @property
    def statistics(self) -> tuple[float, ...]:
        """What the operation reads; may be left out where it is measured."""


class Program(ctypes.Structure):
    """`hz_program`: steps in drawing order, and the curves of the one that has curves."""

    _fields_ = (("count", ctypes.c_int32), ("steps", ProgramStep * MAX_FILTERS), ("curves", Curves))

    @classmethod
    def of(cls, steps: Sequence["Given"]) -> "Program":
        """The program of a plan's steps."""
        program = cls(len(steps))
        for target, step in zip(program.steps, steps, strict=False):
            target.operation = OPERATIONS[step.operation].code
            target.statistics[: len(step.statistics)] = step.statistics
            if isinstance(step.argument, tuple):
                program.curves.stages = len(step.argument) // (3 * CURVE_KNOTS)
                program.curves.slopes[: len(step.argument)] = step.argument
            else:
                target.argument = step.argument
        return program

    def steps_of(self, filters: Sequence[str]) -> tuple["plan.Step", ...]:
        """The steps of a program whose operations have these names."""
        from harmonizer.plan import STATISTICS_COUNTS, Step

        steps = []
        for name, step in zip(filters, self.steps, strict=False):
            numbers: Value = float(step.argument)
            if OPERATIONS[name].sizes != (1,):
                numbers = tuple(self.curves.slopes[: self.curves.stages * 3 * CURVE_KNOTS])
            count = STATISTICS_COUNTS[OPERATIONS[name].statistics]
            steps.append(Step(name, numbers, tuple(step.statistics[:count])))
        return tuple(steps)


class Report(ctypes.Structure):
    """`hz_report`: the beginning of a frame's workspace."""

    _fields_ = (("program", Program), ("seen", ctypes.c_uint32), ("in_double", ctypes.c_uint32))


class Surface(ctypes.Structure):
    """`hz_surface`: a plane of luma and one of chroma; strides in bytes."""

    _fields_ = (
        ("luma", ctypes.c_void_p),
        ("chroma", ctypes.c_void_p),
        ("width", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("luma_stride", ctypes.c_int64),
        ("chroma_stride", ctypes.c_int64),
        ("bits", ctypes.c_int32),
        ("matrix", ctypes.c_int32),
        ("full_range", ctypes.c_int32),
    )


class Frame(ctypes.Structure):
    """`hz_frame`: one frame in device memory."""

    _fields_ = (
        ("image", Image),
        ("mask", Mask),
        ("out", Image),
        ("workspace", ctypes.c_void_p),
        ("composite", ctypes.c_void_p),
        ("coverage", ctypes.c_void_p),
        ("thumbnail_type", ctypes.c_int32),
        ("arguments", ctypes.c_void_p),
        ("strength", ctypes.c_double),
        ("statistics_given", ctypes.c_int32),
        ("count", ctypes.c_int32),
        ("operations", ctypes.c_int32 * MAX_FILTERS),
        ("stages", ctypes.c_int32),
        ("processors", ctypes.c_int32),
        ("foreground", ctypes.c_void_p),
        ("background", ctypes.c_void_p),
        ("surface", ctypes.POINTER(Surface)),
        ("surface_out", ctypes.POINTER(Surface)),
    )


class Launch(ctypes.Structure):
    """`hz_launch`: a kernel's name, grid, block and parameters."""

    _fields_ = (
        ("kernel", ctypes.c_char_p),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("shared", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("alignment", ctypes.c_uint64),
        ("parameters", ctypes.c_ubyte * 384),
    )


@cache
def load_library() -> ctypes.CDLL:
    """Load the library once and declare its functions.

    Raises:
        NativeLibraryError: If the library is missing or cannot be loaded.
    """
    if not LIBRARY.is_file():
        raise NativeLibraryError(
            f"the CPU renderer must be compiled; {LIBRARY} is missing. Run `pip install -e .` in "
            "the repository, or install a wheel for this platform."
        )
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        reason = str(error)
        if reason.startswith(str(LIBRARY)) and "No such file" in reason:  # what glibc says then
            reason = f"it is a file, and holds nothing for this processor ({platform.machine()})"
        raise NativeLibraryError(
            f"{LIBRARY} must be loadable on this system; {reason}. Install a wheel for this "
            "platform (docs/platforms.md), or compile it here: `pip install .` in the repository."
        ) from error
    image, mask, program = map(ctypes.POINTER, (Image, Mask, Program))
    floats = ctypes.POINTER(ctypes.c_float)
    for name, result, arguments in (
        ("hz_measure", ctypes.c_int32, (image, program, ctypes.c_int32)),
        ("hz_render", ctypes.c_int32, (image, mask, program, image, ctypes.c_int32)),
        ("hz_thumbnail", ctypes.c_int32, (image, mask, ctypes.c_int32, floats, floats)),
        (
            "hz_region_thumbnails",
            ctypes.c_int32,
            (image, mask, floats, floats, ctypes.c_int32),
        ),
        ("hz_set_isa", ctypes.c_int32, (ctypes.c_char_p,)),
        ("hz_isa", ctypes.c_char_p, ()),
        ("hz_version", ctypes.c_char_p, ()),
        ("hz_last_error", ctypes.c_char_p, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@cache
def _load_scheduler() -> ctypes.CDLL:
    """The same library, with the functions of ``harmonizer_cuda.h`` declared."""
    library = load_library()
    try:
        library.hz_workspace_size.restype = ctypes.c_size_t
        library.hz_workspace_size.argtypes = ()
        library.hz_cuda_schedule.restype = ctypes.c_int32
        library.hz_cuda_schedule.argtypes = (
            ctypes.POINTER(Frame),
            ctypes.c_int32,
            ctypes.POINTER(Launch),
            ctypes.c_int32,
            ctypes.POINTER(ctypes.c_int32),
        )
    except AttributeError as error:
        raise NativeLibraryError(
            f"{LIBRARY} must be of this version of harmonizer; it is older ({error}). Run `pip "
            "install -e .` again to compile it."
        ) from error
    return library


def call(name: str, *arguments: object) -> None:
    """Call a function that returns an `hz_status`.

    Raises:
        ValueError: If an argument breaks a rule of the function; the message says which.
        MemoryError: If it runs out of memory.
        NativeLibraryError: If the library is missing or fails otherwise.
    """
    library = load_library()
    status = getattr(library, name)(*arguments)
    message = library.hz_last_error().decode()
    if status == INVALID:
        raise ValueError(message)
    if status == OUT_OF_MEMORY:
        raise MemoryError(f"{name} ran out of memory.")
    if status != OK:
        raise NativeLibraryError(f"{name} failed: {message}.")


def schedule(frame: Frame, phases: int) -> list[Launch]:
    """The kernels of a frame, in order; needs no GPU.

    Raises:
        ValueError: If the frame breaks a rule of ``harmonizer_cuda.h``; the message says which.
        NativeLibraryError: As in `call`.
    """
    _load_scheduler()
    launches = (Launch * MOST_LAUNCHES)()
    count = ctypes.c_int32()
    call(
        "hz_cuda_schedule",
        ctypes.byref(frame),
        phases,
        launches,
        MOST_LAUNCHES,
        ctypes.byref(count),
    )
    return list(launches[: count.value])


def workspace_size() -> int:
    """Bytes of device memory that a frame needs beside its pictures."""
    return int(_load_scheduler().hz_workspace_size())


def version() -> str:
    """The version the library was built from."""
    text: bytes = load_library().hz_version()
    return text.decode()


def isa() -> str:
    """The instruction set in use: "x86-64-v4", "x86-64-v3", "x86-64" or "generic"."""
    name: bytes = load_library().hz_isa()
    return name.decode()


def set_isa(name: str | None) -> None:
    """Use a named instruction set from now on, None for the best one; for tests and measurements.

    Raises:
        ValueError: If this build or this processor lacks it.
    """
    call("hz_set_isa", None if name is None else name.encode())
