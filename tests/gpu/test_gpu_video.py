"""Video on a GPU against the CPU: frames stay there from upload to download."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gpu_device import EMULATED, EMULATED_ONLY, counts
from video_clips import decoded, disc, picture, write_clip

from harmonizer.harmonizer import Harmonizer
from harmonizer.recipes import Tools
from harmonizer.video import (
    OFF,
    Encoding,
    Inputs,
    Job,
    Smoothing,
    VideoError,
    harmonize_frames,
    harmonize_video,
)

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]

LEVELS = 1


@pytest.fixture
def on_cpu(model: Path) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cpu", threads=1) as made:
        yield made


@pytest.fixture
def on_gpu(model: Path, device: None) -> Iterator[Harmonizer]:
    with Harmonizer(model, "cuda", threads=1) as made:
        yield made


def clip(count: int) -> list[tuple[np.ndarray, np.ndarray, float]]:
    return [(picture(i), disc(i), i / 25) for i in range(count)]


def assert_all_slots_free(harmonizer: Harmonizer) -> None:
    frames = harmonizer.renderer.frames
    assert len(frames._idle) == frames._made


@pytest.mark.parametrize(
    ("smoothing", "ahead"),
    [(OFF, 0), (Smoothing(), 2), (Smoothing(0.5, 0.5), 2), (Smoothing(every=3), 2)],
)
def test_frames_equal_the_cpus(
    on_cpu: Harmonizer, on_gpu: Harmonizer, smoothing: Smoothing, ahead: int
) -> None:
    frames = clip(7)
    frames[2] = (frames[2][0], np.zeros_like(frames[2][1]), frames[2][2])
    frames[5] = (255 - frames[5][0][::-1], *frames[5][1:])
    expected = list(harmonize_frames(on_cpu, frames, smoothing))
    found = list(harmonize_frames(on_gpu, frames, smoothing, ahead=ahead))
    assert len(found) == 7
    for one, other in zip(expected, found, strict=True):
        assert (one.time, one.cut) == (other.time, other.cut)
        assert (one.arguments is None) == (other.arguments is None)
        if one.arguments is not None and other.arguments is not None:
            assert other.arguments.array() == pytest.approx(one.arguments.array(), abs=1e-5)
        difference = np.abs(one.image.astype(int) - other.image)
        assert difference.max() <= LEVELS and (difference > 0).mean() < 1e-3
    assert_all_slots_free(on_gpu)


def test_frame_goes_up_and_down_once(on_gpu: Harmonizer) -> None:
    if not EMULATED:
        pytest.skip(EMULATED_ONLY)
    list(harmonize_frames(on_gpu, clip(3), ahead=2))
    before = counts().copies, counts().pageable_copies
    list(harmonize_frames(on_gpu, clip(10), ahead=2))
    # Up: mask, image, thumbnails' predictor (1 down to ONNX Runtime each, 1 up), two programs.
    # Down: two thumbnails, arguments, report, image.
    assert counts().copies - before[0] <= 10 * 13
    assert counts().pageable_copies == before[1]


@pytest.mark.parametrize("turn", [0, 90])
@pytest.mark.parametrize("two_pass", [False, True])
def test_video_equals_the_cpus(
    tmp_path: Path, on_cpu: Harmonizer, on_gpu: Harmonizer, turn: int, two_pass: bool
) -> None:
    composite = write_clip(tmp_path / "c.mp4", map(picture, range(6)), turn=turn)
    mask = write_clip(tmp_path / "m.mp4", map(disc, range(6)), turn=turn)
    for name, harmonizer in (("cpu", on_cpu), ("gpu", on_gpu)):
        job = Job(encoding=Encoding("ffv1"), two_pass=two_pass)
        tools = Tools(harmonizer.renderer, harmonizer)
        report = harmonize_video(tools, Inputs(composite, mask), tmp_path / f"{name}.mkv", job)
        assert (report.frames, report.drawn) == (6, 6)
    frames = zip(decoded(tmp_path / "cpu.mkv"), decoded(tmp_path / "gpu.mkv"), strict=True)
    for one, other in frames:
        difference = np.abs(one.to_ndarray().astype(int) - other.to_ndarray())
        assert difference.max() <= LEVELS + 1 and (difference > 0).mean() < 0.01
    assert_all_slots_free(on_gpu)


def test_abandoned_frames_leave_the_gpu(on_gpu: Harmonizer) -> None:
    results = harmonize_frames(on_gpu, clip(9), ahead=2)
    next(results)
    results.close()
    assert_all_slots_free(on_gpu)


def test_video_that_fails_midway_leaves_the_gpu(tmp_path: Path, on_gpu: Harmonizer) -> None:
    composite = write_clip(tmp_path / "c.mkv", map(picture, range(9)))
    mask = write_clip(tmp_path / "m.mkv", map(disc, range(5)), times=None)
    tools = Tools(on_gpu.renderer, on_gpu)
    start = time.monotonic()
    with pytest.raises(VideoError, match="must last as long"):
        harmonize_video(tools, Inputs(composite, mask), tmp_path / "o.mkv", Job())
    assert_all_slots_free(on_gpu)
    assert time.monotonic() - start < 30
