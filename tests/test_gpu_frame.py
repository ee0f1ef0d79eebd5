"""What a picture costs on a GPU: how often it is sent there, and its result fetched."""

from pathlib import Path

import pytest
from gpu_device import require_gpu
from picture_costs import measured, roads

pytestmark = pytest.mark.gpu

UPLOADS = {
    "frames, every third": 3.5,
    "frames, curves": 4,
    "image": 3,
    "image, curves": 3,
    "lut": 2,
    "curves": 2,
    "video, every third": 3.5,
    "video, curves": 4,
}
"""Where there are more than one."""

WITHOUT_RESULT = ("predict", "lut", "curves")


def test_picture_goes_up_and_its_result_down_on_each_road(tmp_path: Path) -> None:
    require_gpu()
    every = roads(tmp_path, "cuda")
    del every["batch"]  # fails: it asks the predictor for a digest, which those of a GPU lack
    costs = {name: measured(road) for name, road in every.items()}
    assert {name: (cost.uploads, cost.downloads) for name, cost in costs.items()} == {
        name: (UPLOADS.get(name, 1), name not in WITHOUT_RESULT) for name in costs
    }
