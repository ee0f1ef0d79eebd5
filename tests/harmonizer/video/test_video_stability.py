"""Smoothing, scene cuts, tracks, interpolation; frames from anywhere."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_clips import (
    HEIGHT,
    RATE,
    WIDTH,
    assert_same_frames,
    disc,
    picture,
    write_clip,
    write_pair,
)

from harmonizer.arguments import Arguments
from harmonizer.errors import ArgumentsError, MaskError
from harmonizer.harmonizer import Harmonizer
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.recipes import Recipe, Tools
from harmonizer.renderer import CpuRenderer
from harmonizer.video import (
    OFF,
    Encoding,
    Inputs,
    Job,
    Smoothing,
    Track,
    VideoError,
    harmonize_frames,
    harmonize_video,
)
from harmonizer.video.cuts import CutDetector
from harmonizer.video.smoothing import Ema, Smoother, smooth_both_ways

FAST = Encoding(preset="ultrafast")
LOSSLESS = Encoding(codec="ffv1")


def clip(count: int, start: int = 0) -> list[tuple[np.ndarray, np.ndarray, float]]:
    return [(picture(i), disc(i), i / RATE) for i in range(start, start + count)]


def test_ema_reaches_the_papers_and_the_demos_weights() -> None:
    for weight, seconds in ((0.9, 0.04 / math.log(10)), (0.04, -0.04 / math.log(0.96))):
        by_weight, by_time = Ema(0, weight), Ema(seconds)
        for step, value in enumerate((0.0, 1.0, -0.5, 0.25)):
            expected = by_weight.update(np.array([value]), step * 0.04)
            found = by_time.update(np.array([value]), step * 0.04)
            np.testing.assert_allclose(found, expected, atol=1e-12)
    ema = Ema(0, 0.9)
    ema.update(np.array([0.0]), 0.0)
    assert ema.update(np.array([1.0]), 0.04)[0] == pytest.approx(0.9)


def test_ema_does_not_depend_on_the_frame_rate() -> None:
    """A step seen at 25, 50 or irregular frame times has one answer at one time."""
    answers = []
    for times in (np.arange(0, 2.01, 0.04), np.arange(0, 2.01, 0.02), [0, 0.04, 0.5, 1.2, 2.0]):
        ema = Ema(0.5)
        value = ema.update(np.zeros(1), -0.04)
        for time in times:
            value = ema.update(np.ones(1), float(time))
        answers.append(value[0])
    np.testing.assert_allclose(answers, 1 - math.exp(-2.04 / 0.5), atol=1e-9)


def test_smooth_both_ways_keeps_constants_and_has_no_delay() -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.01, 0.1, 50))
    np.testing.assert_allclose(smooth_both_ways(np.full((50, 2), 0.3), times, 0.4), 0.3)
    regular = np.arange(101) / 25
    ramp = smooth_both_ways(regular[:, None], regular, 0.1)[:, 0]
    np.testing.assert_allclose(ramp[40:61], regular[40:61], atol=1e-4)
    values = np.random.default_rng(2).normal(size=(30, 1))
    found = smooth_both_ways(values, regular[:30], 0.3)[:, 0]
    weights = np.exp(-np.abs(regular[:30, None] - regular[None, :30]) / 0.3)
    np.testing.assert_allclose(found, weights @ values[:, 0] / weights.sum(axis=1))
    values[7] = np.nan
    known = np.arange(30) != 7
    found = smooth_both_ways(values, regular[:30], 0.3)[:, 0]
    expected = weights[:, known] @ values[known, 0] / weights[:, known].sum(axis=1)
    np.testing.assert_allclose(found[known], expected[known])
    assert math.isnan(found[7])


def test_smoother_averages_statistics_and_leaves_out_identities() -> None:
    renderer, smoother = CpuRenderer(1), Smoother(Smoothing(0, 0, weight=0.5))
    arguments = Arguments(DEFAULT_FILTERS, (0.2, 0.0, 0.3, 0.0, 0.0, 0.0))
    plain = [renderer.measure(np.full((4, 4, 3), v, np.uint8), arguments) for v in (0, 255)]
    smoother.plan(plain[0], 0.0)
    idle = renderer.measure(np.full((4, 4, 3), 9, np.uint8), Arguments.identity())
    assert smoother.plan(idle, 0.04) == idle
    steps = {step.operation: step for step in smoother.plan(plain[1], 0.08).steps}
    assert steps["temperature"].statistics == pytest.approx((0.5, 0.5, 0.5))
    low, high = (p.steps[2].statistics[0] for p in plain)
    assert steps["contrast"].statistics[0] == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    "settings",
    [{"seconds": -1}, {"seconds": math.nan}, {"weight": 0.0}, {"weight": 1.1}, {"every": 0}],
)
def test_smoothing_out_of_range_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(VideoError, match="must"):
        Smoothing(**settings)  # type: ignore[arg-type]


def thumbnail(index: int, gain: float = 1.0) -> np.ndarray:
    image = picture(index, 256, 256).astype(np.float32) / 255 * gain
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def test_cuts_are_found_and_motion_and_fades_are_not() -> None:
    detector = CutDetector()
    gains = np.linspace(1, 0.3, 20)
    assert not any(detector.is_cut(thumbnail(i)) for i in range(0, 60, 3))
    assert not any(detector.is_cut(thumbnail(60, g)) for g in gains)
    other = thumbnail(0)[:, ::-1, ::-1].copy()
    assert detector.is_cut(other)
    assert not detector.is_cut(other)


def test_frames_without_smoothing_equal_the_image_pipeline(model: Path) -> None:
    with Harmonizer(model, "cpu", 1) as harmonizer:
        for ahead in (0, 3):
            results = list(harmonize_frames(harmonizer, iter(clip(4)), OFF, ahead=ahead))
            assert [r.time for r in results] == [i / RATE for i in range(4)]
            for (image, mask, _), result in zip(clip(4), results, strict=True):
                np.testing.assert_array_equal(result.image, harmonizer(image, mask))


def test_frames_are_smoothed_and_a_cut_resets(model: Path) -> None:
    scene = [*clip(3), (255 - picture(0)[::-1], disc(0), 3 / RATE)]
    with Harmonizer(model, "cpu", 1) as harmonizer:
        plain = list(harmonize_frames(harmonizer, scene, OFF))
        soft = list(harmonize_frames(harmonizer, scene, Smoothing(1.0, 1.0)))
    assert [r.cut for r in soft] == [False, False, False, True]
    assert soft[0].arguments == plain[0].arguments
    assert soft[2].arguments != plain[2].arguments
    assert soft[3].plan == plain[3].plan


def test_frames_are_drawn_one_by_one_without_ahead(model: Path) -> None:
    """Each result comes before the next frame is asked for."""
    asked: list[int] = []

    def frames() -> Iterator[Any]:
        for index, frame in enumerate(clip(5)):
            asked.append(index)
            yield frame

    with Harmonizer(model, "cpu", 1) as harmonizer:
        for index, _ in enumerate(harmonize_frames(harmonizer, frames(), OFF)):
            assert len(asked) == index + 1


def test_prediction_of_every_third_frame_is_interpolated(model: Path) -> None:
    smoothing = Smoothing(0, 0, every=3)
    with Harmonizer(model, "cpu", 1) as harmonizer:
        all_frames = list(harmonize_frames(harmonizer, clip(8), OFF))
        sparse = list(harmonize_frames(harmonizer, clip(8), smoothing))
    full = [np.array(list((r.arguments or {}).values())) for r in all_frames]
    found = [np.array(list((r.arguments or {}).values())) for r in sparse]
    for index in (0, 3, 6):
        np.testing.assert_allclose(found[index], full[index], atol=1e-7)
    np.testing.assert_allclose(found[1], full[0] + (full[3] - full[0]) / 3, atol=1e-7)
    np.testing.assert_allclose(found[7], full[6], atol=1e-7)
    assert [r.time for r in sparse] == [r.time for r in all_frames]


def test_frames_without_foreground_pass_and_do_not_reset(model: Path) -> None:
    frames = clip(4)
    frames[1] = (frames[1][0], np.zeros((HEIGHT, WIDTH), np.uint8), frames[1][2])
    with Harmonizer(model, "cpu", 1) as harmonizer:
        results = list(harmonize_frames(harmonizer, frames))
    assert results[1].arguments is None
    assert results[1].image is frames[1][0]
    assert results[2].arguments is not None


def test_frames_whose_times_do_not_increase_are_refused(model: Path) -> None:
    with Harmonizer(model, "cpu", 1) as harmonizer:
        frames = [clip(1)[0], clip(1)[0]]
        with pytest.raises(VideoError, match="times must increase"):
            list(harmonize_frames(harmonizer, frames))


def drawn_with_its_track(folder: Path, model: Path, two_pass: bool) -> tuple[Inputs, Track]:
    """A video harmonized to a.mkv, and what t.jsonl says was drawn."""
    inputs = Inputs(*write_pair(folder))
    with Harmonizer(model, "cpu", 1) as harmonizer:
        tools = Tools(harmonizer.renderer, harmonizer)
        job = Job(encoding=LOSSLESS, two_pass=two_pass, save_track=folder / "t.jsonl")
        harmonize_video(tools, inputs, folder / "a.mkv", job)
    return inputs, Track.load(folder / "t.jsonl")


@pytest.mark.parametrize("two_pass", [False, True])
def test_saved_track_replays_the_same_video(tmp_path: Path, model: Path, two_pass: bool) -> None:
    inputs, track = drawn_with_its_track(tmp_path, model, two_pass)
    assert len(track.entries) == 8
    replay = Job(encoding=LOSSLESS, track=track, save_track=tmp_path / "u.jsonl")
    harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "b.mkv", replay)
    assert_same_frames(tmp_path / "a.mkv", tmp_path / "b.mkv")
    assert (tmp_path / "t.jsonl").read_text() == (tmp_path / "u.jsonl").read_text()


@pytest.mark.parametrize("two_pass", [False, True])
def test_statistics_are_those_of_the_arguments_that_are_drawn(
    tmp_path: Path, model: Path, two_pass: bool
) -> None:
    inputs, track = drawn_with_its_track(tmp_path, model, two_pass)
    bare = Track(track.filters, [replace(entry, statistics={}) for entry in track.entries])
    measured = Job(encoding=LOSSLESS, track=bare, save_track=tmp_path / "u.jsonl")
    harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "b.mkv", measured)
    for saved, found in zip(track.entries, Track.load(tmp_path / "u.jsonl").entries, strict=True):
        assert saved.statistics.keys() == found.statistics.keys() != set()
        for name, numbers in found.statistics.items():
            np.testing.assert_allclose(saved.statistics[name], numbers, atol=1e-6)


@pytest.mark.parametrize("two_pass", [False, True])
def test_curves_of_s2crnet_are_smoothed_saved_and_drawn_again(
    tmp_path: Path, curves_model: Path, two_pass: bool
) -> None:
    composite, mask = write_pair(tmp_path, 5)
    with Harmonizer(curves_model, "cpu", 1, label="food") as harmonizer:
        tools = Tools(harmonizer.renderer, harmonizer)
        job = Job(two_pass=two_pass, save_track=tmp_path / "t.jsonl", encoding=LOSSLESS)
        harmonize_video(tools, Inputs(composite, mask), tmp_path / "o.mkv", job)
    track = Track.load(tmp_path / "t.jsonl")
    slopes = np.array([entry.arguments.array() for entry in track.entries if entry.arguments])
    assert slopes.shape == (5, 384)
    assert np.ptp(slopes, axis=0).max() > 1e-4
    job = Job(track=track, encoding=LOSSLESS)
    harmonize_video(Tools(CpuRenderer(1)), Inputs(composite, mask), tmp_path / "r.mkv", job)
    assert_same_frames(tmp_path / "o.mkv", tmp_path / "r.mkv")


def test_a_foreground_that_comes_into_view_by_one_pixel_passes(curves_model: Path) -> None:
    frames = clip(6)
    for width, (_, mask, _) in enumerate(frames):
        mask[:] = 0
        mask[:, :width] = 255
    with Harmonizer(curves_model, "cpu", 1) as harmonizer:
        with pytest.raises(MaskError, match="48x1"):
            harmonizer.predict(*frames[1][:2])
        results = [r.image for r in harmonize_frames(harmonizer, frames)]
    changed = [bool((r != f[0]).any()) for r, f in zip(results, frames, strict=True)]
    assert changed == [False, False, True, True, True, True]


@pytest.mark.parametrize("how", [{}, {"two_pass": True}, {"smoothing": Smoothing(every=3)}])
def test_thin_frames_are_left_alone_and_counted_however_is_smoothed(
    tmp_path: Path, curves_model: Path, how: dict[str, object]
) -> None:
    composite = write_clip(tmp_path / "c.mkv", map(picture, range(8)))
    masks = [np.zeros((HEIGHT, WIDTH), np.uint8) for _ in range(8)]
    for index, mask in enumerate(masks):
        mask[:, 20 : 21 if index % 2 else 40] = 255
    moving = write_clip(tmp_path / "m.mkv", masks, codec="ffv1", pixel_format="gray")
    with Harmonizer(curves_model, "cpu", 1) as harmonizer:
        tools = Tools(harmonizer.renderer, harmonizer)
        job = Job(encoding=LOSSLESS, **how)  # type: ignore[arg-type]
        report = harmonize_video(tools, Inputs(composite, moving), tmp_path / "o.mkv", job)
    assert report.drawn == 4
    assert any(note.startswith("in 4 frames the foreground is 1 pixel") for note in report.notes)


def test_a_track_that_ends_before_the_video_is_noted(tmp_path: Path, model: Path) -> None:
    inputs = Inputs(*write_pair(tmp_path, 6))
    job = Job(Recipe(Arguments.identity(), overrides={"brightness": 0.3}), encoding=LOSSLESS)
    job = replace(job, save_track=tmp_path / "t.jsonl")
    harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "a.mkv", job)
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    (tmp_path / "t.jsonl").write_text("\n".join(lines[:4]) + "\n")
    replay = Job(encoding=LOSSLESS, track=Track.load(tmp_path / "t.jsonl"))
    report = harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "b.mkv", replay)
    assert any(note.startswith("in 3 frames the track") for note in report.notes)


def test_a_track_with_stages_missing_in_a_line_is_refused(tmp_path: Path) -> None:
    stage = [[1.0] * 64] * 3
    head = {"format": "harmonizer-track", "version": 1, "filters": ["piecewise_curve"]}
    lines: list[object] = [head, {"time": 0, "arguments": {"piecewise_curve": [stage, stage]}}]
    lines.append({"time": 1, "arguments": {"piecewise_curve": [stage]}})
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ArgumentsError, match=r"line 3 of .*384 numbers.*got 192"):
        Track.load(tmp_path / "t.jsonl")


def test_two_pass_is_steadier_than_no_smoothing(tmp_path: Path, model: Path) -> None:
    inputs = Inputs(*write_pair(tmp_path, 12))
    jitter = []
    with Harmonizer(model, "cpu", 1) as harmonizer:
        for smoothing, two_pass in ((OFF, False), (Smoothing(0.2, 0.2), True)):
            job = Job(Recipe(), smoothing, FAST, two_pass, save_track=tmp_path / "t.jsonl")
            harmonize_video(Tools(harmonizer.renderer, harmonizer), inputs, tmp_path / "o.mp4", job)
            rows = [e.arguments.array() for e in Track.load(tmp_path / "t.jsonl").entries]
            jitter.append(np.abs(np.diff(rows, axis=0)).mean())
    assert jitter[1] < 0.7 * jitter[0]


def test_track_is_interpolated_by_time_but_not_across_cuts(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [{"format": "harmonizer-track", "version": 1, "filters": ["brightness"]}]
    for time, value, cut in ((0.0, 0.0, False), (1.0, 0.4, False), (2.0, -0.4, True)):
        lines.append({"time": time, "arguments": {"brightness": value}, "cut": cut})
    lines.append({"time": 3.0, "arguments": None})
    path.write_text("\n".join(map(json.dumps, lines)))
    track = Track.load(path)
    found = [track.at(t).arguments for t in (-1, 0.25, 1.0, 1.9, 2.0, 2.5)]
    assert [a["brightness"] for a in found if a] == pytest.approx([0, 0.1, 0.4, 0.4, -0.4, -0.4])
    assert track.at(3.0).arguments is None
    track.save(tmp_path / "again.jsonl")
    assert Track.load(tmp_path / "again.jsonl").entries == track.entries


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 .* must be JSON"),
        ('{"time": 0}', '"arguments"'),
        ('{"time": 0, "arguments": {"brightness": 3}}', r"line 2 .*\[-1, 1\]"),
        ('{"time": 0, "arguments": {"shadow": 0}}', "line 2 .*unknown shadow"),
        ('{"time": 0, "arguments": null, "colour": 1}', "colour"),
        ('{"time": NaN, "arguments": null}', "time"),
        ('{"time": 0, "arguments": null, "statistics": {"contrast": [2]}}', "statistics in"),
        ('{"time": 0, "arguments": null}\n{"time": 0, "arguments": null}', "line 3 .*later time"),
        ("", "at least one frame"),
    ],
)
def test_track_with_a_mistake_is_refused_with_its_line(
    tmp_path: Path, line: str, words: str
) -> None:
    path = tmp_path / "t.jsonl"
    header = {"format": "harmonizer-track", "version": 1, "filters": ["brightness"]}
    path.write_text(json.dumps(header) + "\n" + line + "\n")
    with pytest.raises((VideoError, ArgumentsError), match=words):
        Track.load(path)


def test_track_edited_by_hand_measures_what_it_lacks(tmp_path: Path) -> None:
    write_clip(tmp_path / "c.mp4", map(picture, range(3)))
    write_clip(tmp_path / "m.mp4", map(disc, range(3)))
    header = {"format": "harmonizer-track", "version": 1, "filters": ["contrast"]}
    entry = {"time": 0, "arguments": {"contrast": 0.3}}
    (tmp_path / "t.jsonl").write_text(json.dumps(header) + "\n" + json.dumps(entry) + "\n")
    track = Track.load(tmp_path / "t.jsonl")
    job = Job(encoding=FAST, track=track, save_track=tmp_path / "u.jsonl")
    inputs = Inputs(tmp_path / "c.mp4", tmp_path / "m.mp4")
    harmonize_video(Tools(CpuRenderer(1)), inputs, tmp_path / "o.mp4", job)
    means = [e.statistics["contrast"][0] for e in Track.load(tmp_path / "u.jsonl").entries]
    assert len(means) == 3
    assert all(0.2 < mean < 0.8 for mean in means)
    assert len(set(means)) > 1
