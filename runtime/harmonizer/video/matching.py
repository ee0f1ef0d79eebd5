"""What goes along with a video: a mask or a background, still or moving, matched by timestamp."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, get_args

from harmonizer.video.errors import VideoError
from harmonizer.video.stages import RunAhead, close

WhenShort = Literal["refuse", "hold", "stop"]
WHEN_SHORT: tuple[WhenShort, ...] = get_args(WhenShort)

Value = TypeVar("Value")
Covariant = TypeVar("Covariant", covariant=True)

_AHEAD = 3

TOLERANCE = 0.5
"""In frames: how far beyond its last frame's time a stream may be asked, because containers round
timestamps (Matroska to milliseconds)."""


class EndedError(Exception):
    """A companion has ended and `when_short` is "stop"."""


class Companion(Protocol[Covariant]):
    """Something that has a value at any time of the video."""

    def at(self, time: float) -> Covariant:
        """The value at a time in seconds; times must not decrease."""

    def close(self) -> None:
        """Stop reading."""


@dataclass(frozen=True, slots=True)
class Still(Generic[Value]):
    """The same value at all times."""

    value: Value

    def at(self, time: float) -> Value:
        """The value."""
        return self.value

    def close(self) -> None:
        """Nothing is open."""


class Follower(Generic[Value]):
    """The frame of another stream that is nearest in time, read ahead in a thread.

    The nearest, not the latest: rounded timestamps of equal frame rates then always give the
    partner, and of different ones the smallest offset.

    Args:
        values: (seconds since the stream's first frame, value), in order.
        what: Name for messages, such as "the mask mask.mp4".
        interval: Seconds between two frames, until two of them say it.
        when_short: What to do after its end: "refuse", "hold" the last value, or "stop".
    """

    def __init__(
        self,
        values: Iterator[tuple[float, Value]],
        what: str,
        interval: float,
        when_short: WhenShort,
    ) -> None:
        self._values = RunAhead(values, _AHEAD, "companion")
        self._what, self._interval, self._when_short = what, interval, when_short
        self._now: tuple[float, Value] | None = None
        self._next: tuple[float, Value] | None = None
        self._started = False

    def at(self, time: float) -> Value:
        """The value nearest to a time in seconds; times must not decrease.

        Raises:
            VideoError: If it has ended before, and that is to be refused.
            EndedError: If it has ended before, and that is to stop.
        """
        if not self._started:
            self._started = True
            self._now, self._next = next(self._values, None), next(self._values, None)
        if self._now is None:
            raise VideoError(
                f"{self._what} must have at least one frame; it has none. Name another file."
            )
        while self._next is not None and abs(self._next[0] - time) <= abs(self._now[0] - time):
            self._interval = self._next[0] - self._now[0]
            self._now, self._next = self._next, next(self._values, None)
        beyond = time - self._now[0]
        if self._next is None and beyond > TOLERANCE * self._interval:
            if self._when_short == "stop":
                raise EndedError
            if self._when_short == "refuse":
                raise VideoError(too_short(self._what, self._now[0] + self._interval, time))
        return self._now[1]

    def close(self) -> None:
        """Stop reading."""
        close(self._values)


def too_short(what: str, end: float, needed: float) -> str:
    """The sentence for a companion that ends before the video."""
    return (
        f"{what} must last as long as the video; it ends at {end:.3f} s, and the video has a frame "
        f"at {needed:.3f} s. Pass `when_short='hold'` to keep its last frame, or "
        "`when_short='stop'` to end there."
    )
