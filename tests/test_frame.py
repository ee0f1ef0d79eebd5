"""What a picture costs on the CPU: how often it is checked and scanned for NaN."""

from pathlib import Path

from picture_costs import measured, roads

COSTS = {
    "predict": (1, 1),
    "render": (2, 2),
    "call": (3, 3),
    "call, curves": (4, 4),
    "batch of arrays": (3, 3),
    "stream": (3, 3),
    "frames": (4, 4),
    "frames, ahead": (4, 4),
    "frames, every third": (4, 4),
    "frames, curves": (6, 6),
    "image": (3, 0),
    "image, curves": (4, 0),
    "batch": (3, 0),
    "lut": (2, 0),
    "curves": (3, 0),
    "video": (2, 0),
    "video, every third": (2, 0),
    "video, curves": (4, 0),
}
"""Checks and scans of a picture; what files hold are integers, which are not scanned."""


def test_picture_is_checked_and_scanned_on_each_road(tmp_path: Path) -> None:
    costs = {name: measured(road) for name, road in roads(tmp_path, "cpu").items()}
    assert {name: (cost.checks, cost.scans) for name, cost in costs.items()} == COSTS
