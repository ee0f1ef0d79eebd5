"""The value of one argument: a float, or as many as its operation takes."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.checks import finite, is_number
from harmonizer.errors import ArgumentsError
from harmonizer.ops import CURVE_KNOTS, OPERATIONS

Value = float | tuple[float, ...]
"""A float, or the numbers of an operation that takes many, flat."""


def to_numbers(value: Value) -> NDArray[np.float64]:
    """The numbers of a value, (n,) float64."""
    return np.atleast_1d(np.asarray(value, np.float64))


def of_numbers(numbers: NDArray[Any]) -> Value:
    """The value that has these (n,) numbers."""
    listed = numbers.tolist()
    return float(listed[0]) if len(listed) == 1 else tuple(listed)


def stages_of(values: Iterable[Value]) -> int:
    """How many curves come in turn in an operation's argument among these; 0 without such."""
    lengths = (len(value) for value in values if isinstance(value, tuple))
    return next(lengths, 0) // (3 * CURVE_KNOTS)


def nested(name: str, value: Value) -> object:
    """A value for JSON; curves as one list for each stage, in it one for each channel."""
    if isinstance(value, float):
        return value
    return np.reshape(value, (-1, 3, CURVE_KNOTS)).tolist()


def clamped(name: str, value: Value) -> Value:
    """The value as it is drawn: within its operation's range."""
    operation = OPERATIONS[name]
    if isinstance(value, float):
        return min(max(value, operation.minimum), operation.maximum)
    return of_numbers(np.clip(to_numbers(value), operation.minimum, operation.maximum))


def describe(name: str, value: Value) -> str:
    """A value in a few characters, as it is drawn: clamped to its operation's range.

    Where that makes it another, what it was is said behind it.
    """
    operation = OPERATIONS[name]
    drawn = np.clip(to_numbers(value), operation.minimum, operation.maximum)
    if isinstance(value, float):
        said = f"{drawn[0]:+.3f}"
        return said if drawn[0] == value else f"{said} (clamped from {value:+.3f})"
    count = len(value) // (3 * CURVE_KNOTS)
    curves = "1 curve" if count == 1 else f"{count} curves"
    said = f"{curves} a channel, slopes {drawn.min():.2f}..{drawn.max():.2f}"
    if (drawn == value).all():
        return said
    return f"{said} (clamped from {min(value):.2f}..{max(value):.2f})"


def check_value(name: str, value: object) -> Value:
    """Take an operation's argument from outside.

    Args:
        name: The operation.
        value: A number; for an operation that takes many, nested sequences or an array of them.

    Returns:
        A float or a flat tuple of floats, finite.

    Raises:
        ArgumentsError: If it is something else, or its numbers are too many or too few.
    """
    operation = OPERATIONS[name]
    if operation.sizes == (1,):
        return _finite(name, value)
    remedy = "Write stages of 3 channels of 64 slopes; 1 everywhere changes nothing."
    wanted = ", ".join(map(str, operation.sizes))
    try:
        given = np.asarray(value)
        if given.dtype.kind not in "iuf":  # such as texts and booleans, which would be converted
            raise TypeError(given.dtype.name)
        numbers = given.astype(np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ArgumentsError(
            f"argument `{name}` must be {wanted} numbers, in lists of the same length; got "
            f"{str(value)[:60]}. {remedy}"
        ) from error
    if numbers.size not in operation.sizes:
        raise ArgumentsError(
            f"argument `{name}` must be {wanted} numbers; got {numbers.size}. {remedy}"
        )
    if not np.isfinite(numbers).all():
        raise ArgumentsError(f"argument `{name}` must be finite numbers; got some that are not.")
    return of_numbers(numbers)


def check_within(name: str, value: Value) -> None:
    """Refuse what is out of the operation's range.

    Raises:
        ArgumentsError: If a number is.
    """
    operation = OPERATIONS[name]
    if isinstance(value, float) and operation.minimum <= value <= operation.maximum:
        return
    numbers = to_numbers(value)
    wrong = numbers[~((numbers >= operation.minimum) & (numbers <= operation.maximum))]
    if wrong.size:
        raise ArgumentsError(
            f"argument `{name}` must lie in [{operation.minimum:g}, {operation.maximum:g}]; got "
            f"{wrong[0]:.6g}. Write a value in that range."
        )


def _finite(name: str, value: object) -> float:
    """A filter's argument as a finite float, or ArgumentsError."""
    number = finite(value)
    if number is not None:
        return number
    operation = OPERATIONS[name]
    remedy = f"Write a number between {operation.minimum:g} and {operation.maximum:g}."
    if not is_number(value):
        raise ArgumentsError(
            f"argument `{name}` must be a number; got {value!r} ({type(value).__name__}). {remedy}"
        )
    raise ArgumentsError(
        f"argument `{name}` must be a finite number; got {str(value)[:20]}. {remedy}"
    )
