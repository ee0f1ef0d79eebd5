"""What the tests of calibration share: small graphs, and images to feed them."""

from pathlib import Path

import pytest
from calibration_data import feeds

from calibration.graph import PredictorGraph, load_graph
from calibration.images import ImageSet


@pytest.fixture(scope="module")
def statistics(small_model: Path) -> PredictorGraph:
    return load_graph(small_model)


@pytest.fixture(scope="module")
def encoder(encoder_model: Path) -> PredictorGraph:
    return load_graph(encoder_model)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return feeds(4)
