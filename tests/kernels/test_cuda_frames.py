"""Emulated kernels: statistics, predicted arguments, thumbnails, and the rules of a frame."""

import ctypes
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import parity
import pytest
from cuda_emulation import build_emulation, emulation
from cuda_emulation.frames import DRAW_GIVEN, Array, EmulatedDevice, Thumbnail, aligned_zeros
from cuda_emulation.pictures import (
    ALL,
    FULL_SCALE,
    USUAL,
    assert_close,
    expected_by_cpu,
    laid_out,
    masks,
    photograph,
)
from repository import ROOT

from export import tolerances
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, OPERATIONS, PHOTO_FILTERS
from harmonizer.renderer import CpuRenderer
from harmonizer.values import stages_of

MEASURE, DRAW, PREPARE = _native.PHASE_MEASURE, _native.PHASE_DRAW, _native.PHASE_PREPARE


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_plan_holds_clamped_arguments_and_the_cpus_statistics(
    device: EmulatedDevice, cpu: CpuRenderer, dtype: str
) -> None:
    image = photograph(50, 300, dtype)
    for filters in (DEFAULT_FILTERS, PHOTO_FILTERS[MAX_FILTERS - 1 :: -1]):
        arguments = Arguments(filters, tuple(np.linspace(-1.4, 0.9, len(filters))))
        expected = cpu.measure(image, arguments)
        device.draw(image, None, arguments)
        for step, wanted in zip(device.plan().steps, expected.steps, strict=True):
            assert (step.operation, step.argument) == (wanted.operation, wanted.argument)
            assert step.statistics == pytest.approx(
                wanted.statistics, abs=tolerances.CUDA_STATISTICS
            )


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_given_statistics_are_drawn_and_kept(
    device: EmulatedDevice, cpu: CpuRenderer, dtype: str
) -> None:
    image, other = photograph(20, 300, dtype), photograph(21, 100, dtype)
    plan = cpu.measure(other, USUAL)
    device.put_arguments(USUAL)
    for step, source in zip(device.report.program.steps, plan.steps, strict=False):
        step.statistics[: len(source.statistics)] = source.statistics
    out = np.empty_like(image)
    frame = device.frame(image, None, out, USUAL.filters, statistics_given=True)
    device.run(frame, DRAW_GIVEN)
    assert device.plan() == plan
    assert not any("measure" in name or "reduce" in name for name in device.kernels)
    assert_close(out, cpu.draw(image, None, plan), image, None, dtype)


def predict(
    device: EmulatedDevice,
    image: Array,
    mask: Array | None,
    arguments: Arguments,
    strength: float = 1,
) -> Array:
    """A whole frame with a predictor that says `arguments`."""
    out, thumbnail = np.empty_like(image), Thumbnail()
    predicted = np.empty(sum(arguments.sizes), np.float32)
    filters, stages = arguments.filters, stages_of(arguments.values())
    frame = device.frame(image, mask, out, filters, predicted, strength, thumbnail, stages=stages)
    device.run(frame, MEASURE)
    assert np.isfinite(thumbnail.composite).all() and np.isfinite(thumbnail.coverage).all()
    predicted[:] = arguments.array()
    device.run(frame, DRAW)
    return out


@pytest.mark.parametrize("dtype", FULL_SCALE)
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 1.5])
def test_predicted_arguments_are_blended_and_drawn(
    device: EmulatedDevice, cpu: CpuRenderer, dtype: str, strength: float
) -> None:
    image = photograph(33, 300, dtype)
    mask = parity.soft_mask(image)
    drawn = predict(device, image, mask, USUAL, strength)
    scaled = Arguments(USUAL.filters, tuple(map(float, USUAL.array()))).scaled(strength)
    assert [step.argument for step in device.plan().steps] == list(scaled.clamped().values())
    assert_close(drawn, expected_by_cpu(cpu, image, mask, scaled), image, mask, dtype)


def seen_of(mask: Array | None) -> int:
    if mask is None:
        return _native.SEEN_FOREGROUND | _native.SEEN_THUMBNAIL
    full = np.iinfo(mask.dtype).max if mask.dtype.kind == "u" else 1
    seen = _native.SEEN_FOREGROUND if mask.any() else 0
    return seen | (0 if (mask == full).all() else _native.SEEN_BACKGROUND)


def test_what_is_seen_of_a_mask_is_reported(device: EmulatedDevice, cpu: CpuRenderer) -> None:
    for height, width in ((40, 300), (7, 33), (1, 1)):
        image = photograph(height, width)
        for kind, mask in masks(height, width):
            predict(device, image, mask, USUAL)
            expected = seen_of(mask)
            if cpu.thumbnail(image, mask)[1].any():
                expected |= _native.SEEN_THUMBNAIL
            assert device.report.seen == expected, (height, width, kind)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.bool_])
def test_mask_that_vanishes_in_the_thumbnail_draws_identities(
    device: EmulatedDevice, dtype: type[np.generic]
) -> None:
    image = photograph(600, 700)
    mask = np.zeros((600, 700), dtype)
    mask[2, 2] = 1  # between the pixels that are sampled
    drawn = predict(device, image, mask, USUAL)
    assert device.report.seen == _native.SEEN_FOREGROUND | _native.SEEN_BACKGROUND
    assert np.array_equal(drawn, image)
    assert [step.argument for step in device.plan().steps] == [0] * len(USUAL)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_predicted_argument_that_is_not_finite_is_reported_and_not_drawn(
    device: EmulatedDevice, value: float
) -> None:
    image, out = photograph(20, 100), np.zeros((20, 100, 3), np.uint8)
    mask = parity.soft_mask(image)
    predicted = np.array([0.1, 0.2, value, 0.1, 0.1, 0.1], np.float32)
    thumbnail = Thumbnail()
    frame = device.frame(image, mask, out, DEFAULT_FILTERS, predicted, thumbnail=thumbnail)
    device.run(frame, MEASURE | DRAW)
    assert device.report.seen & _native.SEEN_NOT_FINITE
    assert np.array_equal(out, image)
    predicted[2] = 0
    device.run(frame, DRAW)
    assert not device.report.seen & _native.SEEN_NOT_FINITE
    assert not np.array_equal(out, image)


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_thumbnail_is_the_cpus(device: EmulatedDevice, cpu: CpuRenderer, dtype: str) -> None:
    for height, width in ((1, 1), (3, 500), (256, 256), (301, 257), (700, 40)):
        image = photograph(height, width, dtype)
        for kind, mask in masks(height, width):
            if height > 1 and kind in ("empty", "full", "single pixel", "tile", "hard"):
                continue
            layout = "BGRA" if kind == "soft" else "RGB"
            expected = cpu.thumbnail(image, mask)
            source, out = laid_out(image, layout), np.empty_like(image)
            for precision in (np.float32, np.float16) if kind == "soft" else (np.float32,):
                thumbnail = Thumbnail(precision)
                frame = device.frame(source, mask, out, DEFAULT_FILTERS, thumbnail=thumbnail)
                device.run(frame, MEASURE)
                for made, wanted in zip(
                    (thumbnail.composite, thumbnail.coverage), expected, strict=True
                ):
                    if precision is np.float32:
                        assert np.array_equal(made, wanted), (height, width, kind, layout)
                    else:
                        error = np.abs(made.astype(np.float32) - wanted).max()
                        assert error <= tolerances.CUDA_THUMBNAIL_F16 / 2


def test_every_integer_becomes_the_cpus_unit_value(
    device: EmulatedDevice, cpu: CpuRenderer
) -> None:
    image = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, axis=2)
    thumbnail, out = Thumbnail(), np.empty_like(image)
    device.run(device.frame(image, None, out, (), thumbnail=thumbnail), MEASURE)
    assert np.array_equal(thumbnail.composite, cpu.thumbnail(image, None)[0])
    device.run(device.frame(image, None, out, ("hue",), thumbnail=thumbnail), MEASURE)


def test_frames_leave_the_workspace_ready_for_the_next(
    device: EmulatedDevice,
) -> None:
    generator = np.random.default_rng(5)
    for attempt in range(25):
        height, width = map(int, generator.integers(1, 700, 2))
        image = photograph(height, width, list(FULL_SCALE)[attempt % 3])
        mask = dict(masks(height, width))["hard" if attempt % 2 else "empty"]
        arguments = parity.random_arguments(generator, parity.random_filters(generator), True)
        fresh = EmulatedDevice(emulation())
        fresh.processors = 1 + attempt % 3
        assert np.array_equal(
            predict(device, image, mask, arguments), predict(fresh, image, mask, arguments)
        )
        assert (device.plan(), device.report.seen) == (fresh.plan(), fresh.report.seen)


def test_measure_and_draw_can_be_repeated(device: EmulatedDevice) -> None:
    image, out = photograph(50, 333), np.empty((50, 333, 3), np.uint8)
    mask = parity.soft_mask(image)
    predicted, thumbnail = USUAL.array(), Thumbnail()
    frame = device.frame(image, mask, out, USUAL.filters, predicted, thumbnail=thumbnail)
    device.run(frame, MEASURE | DRAW)
    first = out.copy()
    for phases in (MEASURE, MEASURE, DRAW, DRAW):
        device.run(frame, phases)
    assert np.array_equal(out, first)


def test_histogram_of_a_flat_picture_does_not_overflow(
    device: EmulatedDevice, cpu: CpuRenderer
) -> None:
    """A block's 16-bit counters all count one value."""
    image = np.full((1501, 1501, 3), (3, 4, 255), np.uint8)
    image[-1, -1] = 9
    arguments = Arguments(("temperature",), (0.2,))
    device.put_arguments(arguments)
    device.run(device.frame(image, None, image, arguments.filters), MEASURE | PREPARE)
    (step,) = device.plan().steps
    (expected,) = cpu.measure(image, arguments).steps
    assert step.statistics == pytest.approx(expected.statistics, abs=1e-14)


BAD_FRAMES = (
    ("phase", "phase must be made of"),
    ("workspace", "workspace must be device memory aligned to 256"),
    ("composite", "composite and coverage must both be given"),
    ("type", "thumbnail_type must be HZ_F32 or HZ_F16; got 1"),
    ("count", "count must be 0 to 8 operations; got 9"),
    ("operation", f"operation 1 must be a code from 0 to {len(OPERATIONS) - 1}; got 99"),
    ("strength", r"strength must lie in \[0, 1.5\]; got nan"),
    ("scaled", "strength must be 1 where the workspace's program has the arguments"),
    ("overlap", "`out` must be the image itself or share no memory with it"),
    ("mask size", "mask must have the image's height and width"),
    ("misaligned", "image must have its data and its strides at multiples of 2 bytes"),
)


@pytest.mark.parametrize(("fault", "message"), BAD_FRAMES)
def test_frame_that_breaks_a_rule_is_refused(
    device: EmulatedDevice, fault: str, message: str
) -> None:
    image, out, phase = photograph(8, 40), np.empty((8, 40, 3), np.uint8), MEASURE | DRAW
    mask, thumbnail = np.zeros((8, 40), np.uint8), Thumbnail()
    frame = device.frame(image, mask, out, DEFAULT_FILTERS, thumbnail=thumbnail)
    device.run(frame, phase)
    if fault == "phase":
        phase = 8
    elif fault == "workspace":
        frame.workspace += 8
    elif fault == "composite":
        frame.composite = None
    elif fault == "type":
        frame.thumbnail_type = _native.U16
    elif fault == "count":
        frame.count = 9
    elif fault == "operation":
        frame.operations[1] = 99
    elif fault == "strength":
        frame.strength = np.nan
    elif fault == "scaled":
        frame.strength = 0.5
    elif fault == "overlap":
        frame.out.data = frame.image.data + 3
    elif fault == "mask size":
        frame.mask.width = 39
    else:
        frame.image.type = frame.out.type = _native.U16
        frame.image.data += 1
    with pytest.raises(ValueError, match=message):
        device.run(frame, phase)


def test_launches_fit_the_emulation_and_nothing_else() -> None:
    emulate = ctypes.CDLL(str(emulation())).hz_emulate
    launch = _native.Launch(kernel=b"hz_none", grid=(1, 1, 1), block=(512, 1, 1))
    assert emulate(ctypes.byref(launch)) == 1
    launch.kernel = b"hz_prepare"
    assert emulate(ctypes.byref(launch)) == 2


@pytest.mark.slow
def test_kernels_run_clean_under_sanitizers(tmp_path: Path) -> None:
    """The tests of layouts and sizes once more, with every access checked."""
    build_emulation(tmp_path, sanitized=True)
    asan = subprocess.run(
        ["c++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": asan,
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0",
        "PYTHONPATH": f"{ROOT / 'tests/helpers'}:{ROOT}",
    }
    script = ROOT / "tests" / "helpers" / "cuda_emulation" / "sanitized_frames.py"
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "libhz_emulated.so")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("clean\n")


def test_aligned_memory_is_aligned() -> None:
    assert aligned_zeros(100).ctypes.data % 256 == 0


def test_prepare_measures_without_drawing(device: EmulatedDevice, cpu: CpuRenderer) -> None:
    image = photograph(9, 40)
    out = np.full_like(image, 7)
    device.put_arguments(USUAL)
    device.run(device.frame(image, None, out, USUAL.filters), MEASURE | PREPARE)
    assert (out == 7).all()
    assert "hz_draw_rgb8" not in device.kernels
    for step, wanted in zip(device.plan().steps, cpu.measure(image, USUAL).steps, strict=True):
        assert step.statistics == pytest.approx(wanted.statistics, abs=1e-14)


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_result_depends_on_no_order_and_on_no_number_of_blocks(
    device: EmulatedDevice, dtype: str
) -> None:
    image = photograph(130, 517, dtype)
    mask = parity.soft_mask(image)
    drawn = predict(device, image, mask, ALL)
    report = bytes(device.report)
    try:
        for processors, backwards in itertools.product((0, 1, 7, 5000), (False, True)):
            device.processors = processors
            device.run_backwards(backwards)
            assert np.array_equal(predict(device, image, mask, ALL), drawn)
            assert bytes(device.report) == report
    finally:
        device.run_backwards(False)
