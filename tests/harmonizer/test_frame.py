"""A frame on the CPU: checked once, then thumbnails, prediction, plan and drawing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from picture_costs import measured, roads
from video_clips import disc, picture

from harmonizer import Arguments, Harmonizer
from harmonizer.concerns import EMPTY_MASK, FULL_MASK
from harmonizer.measuring import TYPICAL
from harmonizer.renderer import CpuRenderer

OF_ARRAYS = ("predict", "render", "call", "batch of arrays", "stream", "frames")


@pytest.fixture
def harmonizer(model: Path) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cpu", threads=1) as made:
        yield made


def test_picture_is_checked_and_scanned_once_on_each_road(tmp_path: Path) -> None:
    """What files hold are integers, which are not scanned."""
    costs = {name: measured(road) for name, road in roads(tmp_path, "cpu").items()}
    assert {name: (cost.checks, cost.scans) for name, cost in costs.items()} == {
        name: (1, name.startswith(OF_ARRAYS)) for name in costs
    }


def test_open_frame_does_what_the_harmonizer_does(harmonizer: Harmonizer) -> None:
    image, mask = picture(0), disc(0)
    with harmonizer.open(image, mask) as frame:
        arguments = frame.predict()
        assert arguments == harmonizer.predict(image, mask) and frame.concerns == ()
        plan = frame.measure(arguments)
        assert plan == harmonizer.measure(image, arguments)
        for _ in range(2):
            np.testing.assert_array_equal(frame.draw(plan), harmonizer(image, mask))
        other = frame.draw(frame.measure(TYPICAL))
        np.testing.assert_array_equal(other, harmonizer.render(image, mask, TYPICAL))
        np.testing.assert_array_equal(frame.harmonize(), harmonizer(image, mask))
    assert frame.closed
    with pytest.raises(ValueError, match="the frame must be open"):
        frame.predict()


def test_open_frame_without_mask_draws_everything_and_predicts_nothing(
    harmonizer: Harmonizer,
) -> None:
    with harmonizer.open(picture(0), None) as frame:
        drawn = frame.harmonize(TYPICAL)
        np.testing.assert_array_equal(drawn, harmonizer.render(picture(0), None, TYPICAL))
        for work in (frame.predict, frame.harmonize):
            with pytest.raises(TypeError, match="`mask` must be an array to predict with"):
                work()
        with pytest.raises(TypeError, match="`mask` must be an array to predict with"):
            frame.thumbnails(crops=True)


def test_frame_says_what_may_not_be_as_meant(harmonizer: Harmonizer) -> None:
    for value, said in ((0, EMPTY_MASK), (255, FULL_MASK)):
        with harmonizer.open(picture(0), np.full_like(disc(0), value)) as frame:
            assert frame.concerns == ()
            assert (frame.predict() == Arguments.identity()) == (value == 0)
            assert frame.concerns == (said,)


def test_frame_without_network_refuses_to_predict() -> None:
    with (
        CpuRenderer(1).open(picture(0), disc(0)) as frame,
        pytest.raises(ValueError, match="`harmonizer` must be there to predict"),
    ):
        frame.predict()


def test_frame_is_drawn_as_stored_and_predicted_upright(harmonizer: Harmonizer) -> None:
    image, mask = picture(0), disc(0)

    def upright(array: np.ndarray) -> np.ndarray:
        return np.rot90(array)

    with harmonizer.renderer.open(image, mask, harmonizer.network, upright=upright) as frame:
        arguments = frame.predict()
        assert arguments == harmonizer.predict(np.rot90(image), np.rot90(mask))
        drawn = frame.draw(frame.measure(arguments))
    np.testing.assert_array_equal(drawn, harmonizer.render(image, mask, arguments))
