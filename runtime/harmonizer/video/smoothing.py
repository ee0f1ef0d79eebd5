"""Smoothing over time: of the arguments, and of the image statistics that the filters read.

An exponential moving average (Harmonizer, arXiv 2207.01322, eq. 14) has one time constant in
seconds here, so that it does not depend on the frame rate:

    y <- y + a (x - y),  a = 1 - exp(-dt / tau)

The paper's a = 0.9 (weight of the new value) at 25 frames/s is tau = 0.0174 s; the authors' demo,
which keeps 0.96 of the old value, is tau = 0.98 s.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.arguments import Arguments
from harmonizer.checks import is_number
from harmonizer.errors import ArgumentsError
from harmonizer.plan import Plan, Step
from harmonizer.values import to_numbers
from harmonizer.video.errors import VideoError

Values = NDArray[np.float64]

DEFAULT_SECONDS = 1.0
"""Time constant of the arguments by default; docs/video.md has the table it was chosen from."""


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How arguments and statistics are smoothed.

    Attributes:
        seconds: Time constant of the arguments; 0 does not smooth them.
        statistics_seconds: Time constant of the statistics; 0 does not smooth them.
        weight: Weight of the new value of either, per frame whatever its length, in place of the
            two time constants: the paper's 0.9, the demo's 0.04. None for the time constants.
        every: Predict every n-th frame; arguments between are interpolated in time.
        cuts: Find scene cuts and begin anew after each.

    Raises:
        VideoError: If a number is out of range.
    """

    seconds: float = DEFAULT_SECONDS
    statistics_seconds: float = 0.0
    weight: float | None = None
    every: int = 1
    cuts: bool = True

    def __post_init__(self) -> None:
        for name in ("seconds", "statistics_seconds"):
            value = getattr(self, name)
            if not is_number(value) or not 0 <= value < math.inf:
                raise VideoError(
                    f"`{name}` must be a time constant of 0 or more seconds; got {value!r}. 0 does "
                    "not smooth."
                )
        if self.weight is not None and not (is_number(self.weight) and 0 < self.weight <= 1):
            raise VideoError(
                f"`weight` of the new value must lie above 0 and up to 1; got {self.weight!r}. The "
                "paper has 0.9, the authors' demo 0.04."
            )
        if not isinstance(self.every, int) or isinstance(self.every, bool) or self.every < 1:
            raise VideoError(
                f"`every` must be a whole number of frames, at least 1; got {self.every!r}. Give 1 "
                "to predict them all."
            )


OFF = Smoothing(0.0, 0.0)
"""No smoothing: each frame as if it were alone."""


def numbers_of(arguments: Arguments) -> Values:
    """All numbers of the arguments, (k,) float64: what is averaged and interpolated."""
    return np.concatenate([to_numbers(value) for value in arguments.numbers])


def with_numbers(arguments: Arguments, numbers: Values) -> Arguments:
    """Arguments of the same filters and sizes with other numbers, (k,)."""
    return Arguments.from_array(numbers, arguments.filters, arguments.sizes)


def mixed(one: Arguments, other: Arguments, share: float) -> Arguments:
    """Arguments of the same filters and sizes, interpolated: 0 is the one, 1 the other.

    Raises:
        ArgumentsError: If the sizes differ.
    """
    if one.sizes != other.sizes:
        raise ArgumentsError(
            f"arguments to interpolate between must have as many numbers each; got {one.sizes} and "
            f"{other.sizes}. Write as many stages of curves in both."
        )
    numbers = numbers_of(one)
    return with_numbers(one, numbers + share * (numbers_of(other) - numbers))


class Ema:
    """An exponential moving average of vectors at irregular times.

    Args:
        seconds: Time constant; 0 returns what comes.
        weight: Fixed weight of the new value instead; None for the time constant.
    """

    def __init__(self, seconds: float, weight: float | None = None) -> None:
        self._seconds, self._weight = seconds, weight
        self._state: Values | None = None
        self._time = 0.0

    def update(self, values: Values, time: float) -> Values:
        """Take the values at a time in seconds; returns the average, which is the first's own."""
        if self._state is None:
            self._state = np.array(values, np.float64)
        else:
            self._state = self._state + self._share(time - self._time) * (values - self._state)
        self._time = time
        return self._state

    def reset(self) -> None:
        """Forget: the next values are the average."""
        self._state = None

    def _share(self, elapsed: float) -> float:
        if self._weight is not None:
            return self._weight
        return 1.0 if self._seconds == 0 else -math.expm1(-elapsed / self._seconds)


class Smoother:
    """The state of the smoothing of one video."""

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._arguments = Ema(smoothing.seconds, smoothing.weight)
        self._statistics: dict[str, Ema] = {}

    def arguments(self, arguments: Arguments, time: float) -> Arguments:
        """The smoothed arguments; times must increase."""
        return with_numbers(arguments, self._arguments.update(numbers_of(arguments), time))

    def plan(self, plan: Plan, time: float) -> Plan:
        """The plan with smoothed statistics.

        A step that is the identity has none, and leaves its average as it was.
        """
        smoothing = self._smoothing
        if smoothing.weight is None and smoothing.statistics_seconds == 0:
            return plan
        steps = []
        for step in plan.steps:
            if step.statistics and not step.is_identity:
                state = self._statistics.setdefault(
                    step.operation, Ema(smoothing.statistics_seconds, smoothing.weight)
                )
                # An average of numbers in [0, 1] may leave it by one rounding.
                means = state.update(np.asarray(step.statistics), time).clip(0.0, 1.0)
                step = Step(step.operation, step.argument, tuple(means.tolist()))
            steps.append(step)
        return Plan(tuple(steps))

    def reset(self) -> None:
        """Begin anew, as after a scene cut."""
        self._arguments.reset()
        self._statistics.clear()


def smooth_both_ways(values: NDArray[Any], times: Values, seconds: float) -> Values:
    """Average with weights exp(-|t - s| / tau) over all times s: zero-phase, for a whole scene.

    Args:
        values: (n, k); NaN rows are left out and stay NaN.
        times: (n,) seconds, increasing.
        seconds: Time constant tau; 0 returns the values.

    Returns:
        (n, k) float64. A constant stays what it is, also at the ends.
    """
    result = np.array(values, np.float64)
    known = np.flatnonzero(np.isfinite(result).all(axis=1))
    if seconds == 0 or len(known) < 2:
        return result
    inputs, moments = result[known], np.asarray(times, np.float64)[known]
    fading = np.exp(-np.diff(moments) / seconds)
    # Both sums run over past and future by one recursion each; the present is counted in both.
    past, future = inputs.copy(), inputs.copy()
    past_weight, future_weight = np.ones(len(known)), np.ones(len(known))
    for i in range(1, len(known)):
        past[i] += fading[i - 1] * past[i - 1]
        past_weight[i] += fading[i - 1] * past_weight[i - 1]
    for i in range(len(known) - 2, -1, -1):
        future[i] += fading[i] * future[i + 1]
        future_weight[i] += fading[i] * future_weight[i + 1]
    total = past_weight + future_weight - 1
    result[known] = (past + future - inputs) / total[:, None]
    return result
