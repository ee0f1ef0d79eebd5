"""One frame's line of a track: arguments and statistics."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from harmonizer.arguments import Arguments
from harmonizer.plan import Plan, Step
from harmonizer.values import nested

Statistics = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame of a track.

    Attributes:
        frame: Number from 0; informative.
        time: Seconds since the video's first frame.
        arguments: As drawn; None where nothing is drawn.
        statistics: Operation -> numbers as in `harmonizer.plan.Step`; an operation that is not
            there is measured.
        cut: A new scene begins here.
    """

    frame: int
    time: float
    arguments: Arguments | None
    statistics: Statistics = field(default_factory=dict)
    cut: bool = False

    def to_json(self) -> str:
        """The JSON line."""
        drawn = None
        if self.arguments is not None:
            drawn = {name: nested(name, value) for name, value in self.arguments.clamped().items()}
        entry: dict[str, object] = {"frame": self.frame, "time": round(self.time, 6)}
        if self.cut:
            entry["cut"] = True
        entry["arguments"] = drawn
        if self.statistics:
            entry["statistics"] = {name: list(v) for name, v in self.statistics.items()}
        return json.dumps(entry)


def statistics_of(plan: Plan) -> dict[str, tuple[float, ...]]:
    """A plan's statistics by operation; those of identities, which nothing reads, left out."""
    return {
        step.operation: step.statistics
        for step in plan.steps
        if step.statistics and not step.is_identity
    }


def with_statistics(plan: Plan, statistics: Statistics) -> Plan:
    """The plan with given statistics in place of the measured ones, where they are given."""
    return Plan(
        tuple(
            Step(s.operation, s.argument, statistics.get(s.operation, s.statistics))
            for s in plan.steps
        )
    )
