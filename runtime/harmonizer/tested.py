"""The versions that the package is tested with; `doctor` says which of an installation lie outside.

The oldest are those that pyproject.toml declares. docs/platforms.md says how both ends are tested.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VersionRange:
    """The oldest and the newest version that the tests have run with, each as its beginning."""

    oldest: str
    newest: str


PYTHON = VersionRange("3.11", "3.13")

PACKAGES = {
    "numpy": VersionRange("2.0", "2.5"),
    "onnxruntime": VersionRange("1.20", "1.32"),
    "Pillow": VersionRange("11.3", "13.0"),
    "imagecodecs": VersionRange("2026.3.6", "2026.10"),
    "av": VersionRange("18.1", "19.0"),
    "platformdirs": VersionRange("4.0", "4.14"),
    "tqdm": VersionRange("4.66", "4.70"),
}


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with: (2, 5, 0) of "2.5.0rc1"."""
    leading = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, leading[0].split("."))) if leading else ()


def outside(version: str, tested: VersionRange) -> str | None:
    """Which end of the tested range a version is beyond, in words; None if it is neither."""
    found, newest = numbers(version), numbers(tested.newest)
    if found < numbers(tested.oldest):
        return f"older than {tested.oldest}, the oldest that works"
    if found[: len(newest)] > newest:
        return f"newer than {tested.newest}, the newest that was tested"
    return None
