"""Checks of plain numbers that several modules share."""

import math
from numbers import Integral, Real
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, of Python or numpy; text and truth values are not."""
    if type(value) in (float, int):  # the abstract class is asked a hundred times a picture
        return True
    return isinstance(value, Real) and not isinstance(value, bool)


def finite(value: object) -> float | None:
    """A real number as Python's float; None for what is none, not finite, or too large for one."""
    if not is_number(value):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of 400 digits
        return None
    return number if math.isfinite(number) else None


MAX_THREADS = 4096
"""More are a slip of the keyboard, and no system starts them."""


def check_threads(threads: object) -> int | None:
    """Return `threads` as Python's int, or None.

    Raises:
        TypeError: If it is neither a whole number nor None.
        ValueError: If it is below 1 or above `MAX_THREADS`.
    """
    if threads is None:
        return None
    if not isinstance(threads, Integral) or isinstance(threads, bool):
        raise TypeError(
            f"`threads` must be a whole number, or None for all; got {threads!r} "
            f"({type(threads).__name__})."
        )
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1, or None for all; got {threads}.")
    if int(threads) > MAX_THREADS:
        raise ValueError(
            f"`threads` must be at most {MAX_THREADS}, or None for all; got {threads}."
        )
    return int(threads)
