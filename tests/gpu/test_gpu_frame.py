"""A frame on a GPU: sent there once, its result fetched once."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from gpu_device import nothing_left, require_gpu
from picture_costs import measured, roads
from video_clips import disc, picture

from harmonizer import Harmonizer
from harmonizer.errors import BusyError
from harmonizer.measuring import TYPICAL

pytestmark = pytest.mark.gpu

WITHOUT_RESULT = ("predict", "lut", "curves")

LEVELS = 1


@pytest.fixture
def on_gpu(model: Path) -> Iterator[Harmonizer]:
    require_gpu()
    with nothing_left(), Harmonizer(model, "cuda", threads=1) as made:
        yield made


def test_picture_goes_up_and_its_result_down_once_on_each_road(tmp_path: Path) -> None:
    require_gpu()
    costs = {name: measured(road) for name, road in roads(tmp_path, "cuda").items()}
    assert {name: (cost.uploads, cost.downloads) for name, cost in costs.items()} == {
        name: (1, name not in WITHOUT_RESULT) for name in costs
    }


def test_more_frames_than_places_are_open_and_drawn_twice(on_gpu: Harmonizer, model: Path) -> None:
    with Harmonizer(model, "cpu", threads=1) as on_cpu, ExitStack() as stack:
        pairs = [(picture(index), disc(index)) for index in range(6)]
        frames = [stack.enter_context(on_gpu.open(*pair)) for pair in pairs]
        for frame, (image, mask) in zip(frames, pairs, strict=True):
            expected = on_cpu.predict(image, mask)
            arguments = frame.predict()
            assert arguments.array() == pytest.approx(expected.array(), abs=1e-5)
            for wanted in (arguments, TYPICAL):
                drawn = frame.draw(frame.measure(wanted)).astype(int)
                assert np.abs(drawn - on_cpu.render(image, mask, wanted)).max() <= LEVELS
    assert all(frame.closed for frame in frames)
    with pytest.raises(ValueError, match="the frame must be open"):
        frames[0].predict()


def test_brief_frames_hold_the_places_and_a_turned_one_is_drawn_as_stored(
    on_gpu: Harmonizer, model: Path
) -> None:
    image, mask = picture(0), disc(0)
    renderer, network = on_gpu.renderer, on_gpu.network

    def upright(array: np.ndarray) -> np.ndarray:
        return np.rot90(array)

    with ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(renderer.open(image, mask, brief=True))
        with pytest.raises(BusyError, match="wait for one to end"):
            renderer.open(image, mask, brief=True, wait=False)
    with (
        Harmonizer(model, "cpu", threads=1) as on_cpu,
        renderer.open(image, mask, network, upright=upright, brief=True) as frame,
    ):
        expected = on_cpu.predict(np.rot90(image), np.rot90(mask))
        frame.start(predicts=True)
        arguments = frame.predict()
        assert arguments.array() == pytest.approx(expected.array(), abs=1e-5)
        plan, out = frame.measure(arguments), image.copy()
        frame.send(plan, out)
        assert frame.draw(plan, out) is out
        drawn = on_cpu.render(image, mask, arguments)
        assert np.abs(out.astype(int) - drawn).max() <= LEVELS
