"""The compiled CPU renderer through ctypes, which releases the GIL for the time of a call.

Mirrors ``runtime/cpp/include/harmonizer.h``; the contract of each function is written there.
"""

import ctypes
from functools import cache
from pathlib import Path

from harmonizer.errors import NativeLibraryError
from harmonizer.ops import MAX_FILTERS

LIBRARY = Path(__file__).parent / "_native" / "libharmonizer_cpu.so"
"""Where the build hook puts the library."""

OK, INVALID, OUT_OF_MEMORY = range(3)
"""`hz_status`; the rest is an internal failure."""

U8, U16, F32, BOOL = range(4)
"""`hz_type`."""


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


class Step(ctypes.Structure):
    """`hz_step`: an operation's code, its argument and the statistics it reads."""

    _fields_ = (
        ("operation", ctypes.c_int32),
        ("argument", ctypes.c_double),
        ("statistics", ctypes.c_double * 3),
    )


class Program(ctypes.Structure):
    """`hz_program`: steps in drawing order."""

    _fields_ = (("count", ctypes.c_int32), ("steps", Step * MAX_FILTERS))


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
        raise NativeLibraryError(
            f"{LIBRARY} must be loadable on this system; {error}. Run `pip install -e .` again to "
            "compile it here."
        ) from error
    image, mask, program = map(ctypes.POINTER, (Image, Mask, Program))
    floats = ctypes.POINTER(ctypes.c_float)
    for name, result, arguments in (
        ("hz_measure", ctypes.c_int32, (image, program, ctypes.c_int32)),
        ("hz_render", ctypes.c_int32, (image, mask, program, image, ctypes.c_int32)),
        ("hz_thumbnail", ctypes.c_int32, (image, mask, ctypes.c_int32, floats, floats)),
        ("hz_set_isa", ctypes.c_int32, (ctypes.c_char_p,)),
        ("hz_isa", ctypes.c_char_p, ()),
        ("hz_version", ctypes.c_char_p, ()),
        ("hz_last_error", ctypes.c_char_p, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
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
