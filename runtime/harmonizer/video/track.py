"""A track: arguments and statistics over time, as JSON lines that can be edited and replayed.

    {"format": "harmonizer-track", "version": 1, "filters": ["temperature", ...]}
    {"frame": 0, "time": 0.0, "cut": true, "arguments": {...}, "statistics": {...}}

One line a frame. `arguments` null means that nothing is drawn. Without `statistics` (or where they
lack an operation) the frame's own are measured. Lines may be left out: arguments between two lines
are interpolated in time, unless the later one is a cut, and held beyond the ends.
"""

import bisect
import math
from pathlib import Path

import numpy as np

from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS
from harmonizer.storage import write_atomically
from harmonizer.video.entries import Entry
from harmonizer.video.errors import VideoError
from harmonizer.video.smoothing import (
    Smoothing,
    mixed,
    numbers_of,
    smooth_both_ways,
    with_numbers,
)
from harmonizer.video.track_files import header, read_track


class Track:
    """Entries in the order of time, looked up by time.

    Args:
        filters: Filters of the arguments, in drawing order.
        entries: With increasing times.
    """

    def __init__(self, filters: tuple[str, ...], entries: list[Entry]) -> None:
        self.filters = filters
        self.entries = entries
        self._times = [entry.time for entry in entries]

    def at(self, time: float, tolerance: float = 1e-4) -> Entry:
        """What holds at a time in seconds: an entry, or one interpolated between two.

        Raises:
            VideoError: If the track is empty.
        """
        if not self.entries:
            raise VideoError("a track must have entries; it has none. Write it anew.")
        after = bisect.bisect_left(self._times, time - tolerance)
        if after == len(self.entries):
            return self.entries[-1]
        later = self.entries[after]
        if after == 0 or later.time <= time + tolerance:
            return later
        earlier = self.entries[after - 1]
        if later.cut or earlier.arguments is None or later.arguments is None:
            return earlier
        share = (time - earlier.time) / (later.time - earlier.time)
        arguments = mixed(earlier.arguments, later.arguments, share)
        shared = earlier.statistics.keys() & later.statistics.keys()
        statistics = {
            name: _between(earlier.statistics[name], later.statistics[name], share)
            for name in shared
        }
        return Entry(earlier.frame, time, arguments, statistics)

    @property
    def end(self) -> float:
        """The time of the last entry, in seconds."""
        return self._times[-1]

    def smoothed(self, smoothing: Smoothing) -> "Track":
        """Arguments and statistics averaged over past and future, scene by scene.

        Statistics that are not smoothed are left out, so that they are measured: those of this
        track belong to its arguments, and contrast pivots around a mean that other filters move.

        Raises:
            VideoError: If the smoothing has a fixed weight, which has no future.
        """
        if smoothing.weight is not None:
            raise VideoError(
                "two-pass smoothing must have time constants; it has a weight per frame. Give "
                "seconds instead of a weight."
            )
        entries: list[Entry] = []
        starts = [i for i, e in enumerate(self.entries) if e.cut and i > 0]
        for begin, end in zip([0, *starts], [*starts, len(self.entries)], strict=True):
            entries += _smooth_scene(self.filters, self.entries[begin:end], smoothing)
        return Track(self.filters, entries)

    def save(self, path: str | Path) -> None:
        """Write the JSON lines, atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        lines = [header(self.filters), *(entry.to_json() for entry in self.entries)]
        write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8"))

    @classmethod
    def load(cls, path: str | Path) -> "Track":
        """Read what `save` or `track_files.TrackWriter` wrote; a person may have edited it.

        Raises:
            VideoError: If the file cannot be read, a line is not such JSON, or times do not
                increase; the message names the line.
            ArgumentsError: If arguments break the rules of `Arguments.from_mapping`.
        """
        return cls(*read_track(path))


def _between(a: tuple[float, ...], b: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(x + share * (y - x) for x, y in zip(a, b, strict=True))


def _smooth_scene(
    filters: tuple[str, ...], entries: list[Entry], smoothing: Smoothing
) -> list[Entry]:
    """One scene's entries with averaged numbers; entries without arguments stay as they are."""
    times = np.array([entry.time for entry in entries])
    known = [e.arguments for e in entries if e.arguments is not None]
    if not known:
        return entries
    gap = np.full_like(numbers_of(known[0]), math.nan)
    rows = [gap if e.arguments is None else numbers_of(e.arguments) for e in entries]
    numbers = smooth_both_ways(np.array(rows), times, smoothing.seconds)
    averages = {}
    for name in filters:
        count = STATISTICS_COUNTS[OPERATIONS[name].statistics]
        if count and smoothing.statistics_seconds:
            absent = (math.nan,) * count
            means = np.array([e.statistics.get(name, absent) for e in entries])
            averages[name] = smooth_both_ways(means, times, smoothing.statistics_seconds)
    result = []
    for i, entry in enumerate(entries):
        if entry.arguments is None:
            result.append(entry)
            continue
        statistics = {
            name: tuple(table[i].clip(0.0, 1.0).tolist())
            for name, table in averages.items()
            if np.isfinite(table[i]).all()
        }
        arguments = with_numbers(entry.arguments, numbers[i])
        result.append(Entry(entry.frame, entry.time, arguments, statistics, entry.cut))
    return result
