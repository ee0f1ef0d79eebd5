"""What is recorded for a frame, stage by stage: the real schedule, and no device."""

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from harmonizer import _native
from harmonizer.cuda.arrays import packed
from harmonizer.cuda.queueing import FrameRunner, FrameTask
from harmonizer.cuda.scratch import Scratch

MEASURE, DRAW, PREPARE = _native.PHASE_MEASURE, _native.PHASE_DRAW, _native.PHASE_PREPARE

IMAGE = packed(1 << 20, 40, 50, 3, _native.U8)
OUT = packed(1 << 21, 40, 50, 3, _native.U8)
MASK = packed(1 << 22, 40, 50, 1, _native.U8)
SCRATCH = Scratch(1 << 23, 1 << 20, 1 << 26, 1 << 27, 1 << 28, 0, 4, 2, 2, 6, False)


class Kernel:
    """A function of the module; it is not launched."""

    def __init__(self, name: str) -> None:
        self.name = name

    def _launch_kernel(self, *given: object) -> None:
        raise AssertionError("there is no device")


def kernel_of(call: Callable[[], None]) -> str:
    assert isinstance(call, partial)
    function: Any = call.func
    name: str = function.__self__.name
    return name


@pytest.fixture
def runner() -> FrameRunner:
    """One that has found its kernels: each function is a name that would be launched."""
    made: Any = object.__new__(FrameRunner)
    made.device = SimpleNamespace(processors=8)
    made._functions = {}
    made._module = SimpleNamespace(get_function=Kernel)
    runner: FrameRunner = made
    return runner


@pytest.mark.parametrize(
    ("phases", "predicts", "stages"),
    [
        (MEASURE, False, ["measure"]),
        (DRAW, False, ["draw"]),
        (MEASURE | PREPARE, False, ["measure", "draw"]),
        (MEASURE | DRAW, False, ["measure", "draw"]),
        (MEASURE, True, ["measure", "predict"]),
        (MEASURE | DRAW, True, ["measure", "predict", "draw"]),
    ],
)
def test_stages_are_those_of_the_phases(
    runner: FrameRunner, phases: int, predicts: bool, stages: list[str]
) -> None:
    out = OUT if phases & DRAW else None
    tasks = [FrameTask(IMAGE, MASK, out, ("brightness", "contrast"))] * 2
    predictor: Any = SimpleNamespace(enqueue=lambda *given: None) if predicts else None
    slot: Any = SimpleNamespace(stream=None, handle=7)
    recording = runner._record(slot, tasks, phases, predictor, SCRATCH, False, False)
    assert [stage for stage, _ in recording.stages] == stages
    calls = dict(recording.stages)
    measured = [kernel_of(call) for call in calls.get("measure", ())]
    drawn = [kernel_of(call) for call in calls.get("draw", ())]
    assert all(name.startswith("hz_measure") for name in measured)
    assert drawn.count("hz_prepare") == (2 if "draw" in stages else 0)
    assert sum(name.startswith("hz_draw") for name in drawn) == (2 if phases & DRAW else 0)
    assert len(calls.get("predict", ())) == int(predicts)
