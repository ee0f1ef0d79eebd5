"""The attacks of tests/fuzz with fixed seeds: a short run always, a long one by `make test-all`."""

import sys
from pathlib import Path

import pytest
from repository import ROOT

pytestmark = pytest.mark.long

FUZZ = ROOT / "tests" / "fuzz"
sys.path.insert(0, str(FUZZ))

SHORT = {
    "images": 1200,
    "images of studios and floats": 400,
    "models": 150,
    "engine descriptions": 200,
    "checkpoints": 80,
    "clips": 60,
    "JSON documents": 600,
}
LONG = {
    "images": 6000,
    "images of studios and floats": 3000,
    "models": 1000,
    "engine descriptions": 1000,
    "checkpoints": 300,
    "clips": 400,
    "JSON documents": 3000,
}


def check(name: str, count: int, seed: int) -> None:
    from campaign import attack

    outcome = attack(name, count, seed)
    assert outcome.files == count and not outcome.faults, outcome.findings[:5]
    assert outcome.refused and outcome.taken, "the mutations are all of one kind"
    assert outcome.peak_mb < 256


@pytest.mark.parametrize("name", SHORT)
def test_mutated_files_are_refused_or_right(name: str) -> None:
    check(name, SHORT[name], 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_many_mutated_files_are_refused_or_right(name: str) -> None:
    check(name, LONG[name], 2)


@pytest.mark.slow
def test_c_interface_under_sanitizers_survives_any_call(tmp_path: Path) -> None:
    from c_target import build, compiler, run

    if compiler() is None:
        pytest.skip("there is no C++ compiler with AddressSanitizer")
    assert run(build(tmp_path), 20_000, 1) == ""


@pytest.mark.slow
def test_kills_leave_nothing_torn_mixed_or_behind() -> None:
    from kills import harass

    damage = harass(25, 2)
    assert (damage.kills, damage.torn, damage.mixed, damage.left) == (25, 0, 0, 0)


@pytest.mark.parametrize("side", [1000, pytest.param(3000, marks=pytest.mark.slow)])
def test_memory_of_images_keeps_its_bound(side: int) -> None:
    from memory import image_peaks

    for peak in image_peaks(side):
        assert peak.kept, peak


@pytest.mark.parametrize(
    ("side", "composite"),
    [
        (1000, "deep.png"),
        (1500, "floats.tif"),  # small enough for a thread's heap to keep what is freed
        pytest.param(3000, "deep.png", marks=pytest.mark.slow),
        pytest.param(3000, "floats.tif", marks=pytest.mark.slow),
    ],
)
def test_memory_of_a_batch_is_that_of_one_image(side: int, composite: str) -> None:
    from memory import batch_peak

    peak = batch_peak(side, composite)
    assert peak.kept, peak


@pytest.mark.slow
def test_memory_of_a_video_keeps_its_bound() -> None:
    from memory import video_peak

    peak = video_peak(3840, 2160)
    assert peak.kept, peak
