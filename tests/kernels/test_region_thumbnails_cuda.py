"""The kernels of region thumbnails, compiled by g++ and run on the CPU, against torch."""

import itertools

import numpy as np
import pytest
from cuda_emulation.frames import Array, EmulatedDevice, Regions, Thumbnail
from region_scenes import DTYPES, MASK_DTYPES, expected_regions, random_values, scene

from export import tolerances
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

USUAL = Arguments(DEFAULT_FILTERS, (0.12, -0.15, 0.2, 0.25, -0.1, 0.15))
MEASURE, DRAW = _native.PHASE_MEASURE, _native.PHASE_DRAW


def regions_of(
    device: EmulatedDevice, image: Array, mask: Array | None, dtype: type = np.float32
) -> Regions:
    regions = Regions(dtype)
    device.run(device.frame(image, mask, image, (), regions=regions), MEASURE)
    return regions


def assert_close(regions: Regions, image: Array, mask: Array, tolerance: float) -> None:
    expected = expected_regions(image, mask)
    for ours, theirs in zip((regions.foreground, regions.background), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_region_thumbnails_match_torch_and_the_cpu(device: EmulatedDevice, dtype: str) -> None:
    sizes = ((2, 2), (3, 1100), (301, 257), (700, 40))
    for (height, width), mask_dtype in zip(sizes, MASK_DTYPES, strict=True):
        image, mask = scene(height, width, dtype, mask_dtype)
        regions = regions_of(device, image, mask)
        assert_close(regions, image, mask, tolerances.REGION_THUMBNAIL)
        made = CpuRenderer().region_thumbnails(image, mask)
        for ours, theirs in zip((regions.foreground, regions.background), made, strict=True):
            assert np.abs(ours - theirs).max() <= tolerances.REGION_THUMBNAIL
        assert "hz_region_box" in device.kernels and f"hz_regions_{dtype[0]}" in "".join(
            device.kernels
        )


def test_region_thumbnails_of_any_layout_match_torch(device: EmulatedDevice) -> None:
    image, mask = scene(60, 90, "uint8", "uint8")
    memory = np.dstack([image[..., ::-1], mask])
    for shown, cover in ((memory[..., 2::-1], memory[..., 3]), (image[:, ::-1], mask[::-1])):
        regions = regions_of(device, shown, cover)
        assert_close(regions, shown.copy(), cover.copy(), tolerances.REGION_THUMBNAIL)


def test_region_thumbnails_in_half_precision(device: EmulatedDevice) -> None:
    image, mask = scene(90, 70, "uint8", "uint8")
    limit = tolerances.REGION_THUMBNAIL + tolerances.CUDA_THUMBNAIL_F16 / 2
    assert_close(regions_of(device, image, mask, np.float16), image, mask, limit)


def test_result_depends_on_no_order_and_on_no_number_of_blocks(device: EmulatedDevice) -> None:
    image, mask = scene(130, 517, "uint8", "uint16")
    wanted = regions_of(device, image, mask)
    try:
        for processors, backwards in itertools.product((1, 5000), (False, True)):
            device.processors = processors
            device.run_backwards(backwards)
            made = regions_of(device, image, mask)
            assert np.array_equal(made.foreground, wanted.foreground)
            assert np.array_equal(made.background, wanted.background)
    finally:
        device.run_backwards(False)


def test_frames_leave_the_workspace_ready_for_the_next(device: EmulatedDevice) -> None:
    image = random_values("uint8", (300, 200, 3), 3)
    for top, left in ((298, 198), (0, 0), (150, 77), (298, 0)):
        mask = np.zeros((300, 200), np.uint16)
        mask[top, left + 1] = mask[top + 1, left] = 1
        assert_close(regions_of(device, image, mask), image, mask, tolerances.REGION_THUMBNAIL)


@pytest.mark.parametrize(
    ("covered", "seen"),
    [
        (np.s_[0:0, 0:0], _native.SEEN_BACKGROUND),
        (np.s_[7:8, 9:10], _native.SEEN_BACKGROUND | _native.SEEN_FOREGROUND),
        (np.s_[7:20, 9:10], _native.SEEN_BACKGROUND | _native.SEEN_FOREGROUND),
        (np.s_[7:8, 9:30], _native.SEEN_BACKGROUND | _native.SEEN_FOREGROUND),
    ],
)
def test_mask_without_a_region_leaves_no_foreground_and_draws_identities(
    device: EmulatedDevice, covered: tuple[slice, slice], seen: int
) -> None:
    image, mask = random_values("uint8", (50, 70, 3), 1), np.zeros((50, 70), np.uint8)
    mask[covered] = 255
    regions, out, predicted = Regions(), np.empty_like(image), USUAL.array()
    frame = device.frame(image, mask, out, USUAL.filters, predicted, regions=regions)
    device.run(frame, MEASURE | DRAW)
    assert device.report.seen == seen
    assert (regions.foreground == 0).all()
    whole = mask.copy()
    whole[0, 0] = whole[-1, -1] = 1  # torch's background, for a box that is not empty
    np.testing.assert_allclose(
        regions.background, expected_regions(image, whole)[1], rtol=0, atol=1 / 255
    )
    assert np.array_equal(out, image)
    assert [step.argument for step in device.plan().steps] == [0] * len(USUAL)


def test_frame_with_region_thumbnails_draws_what_is_predicted(device: EmulatedDevice) -> None:
    image, mask = scene(60, 90, "uint8", "uint8")
    drawn, regions, thumbnail = np.empty_like(image), Regions(), Thumbnail()
    frame = device.frame(
        image, mask, drawn, USUAL.filters, USUAL.array(), thumbnail=thumbnail, regions=regions
    )
    device.run(frame, MEASURE | DRAW)
    expected, plain = np.empty_like(image), Thumbnail()
    frame = device.frame(image, mask, expected, USUAL.filters, USUAL.array(), thumbnail=plain)
    device.run(frame, MEASURE | DRAW)
    assert np.array_equal(drawn, expected)
    assert np.array_equal(thumbnail.composite, plain.composite)
    assert_close(regions, image, mask, tolerances.REGION_THUMBNAIL)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("half", "foreground and background must both be given"),
        ("no mask", "mask must be given for foreground and background"),
        ("type", "thumbnail_type must be HZ_F32 or HZ_F16; got 1"),
    ],
)
def test_frame_that_breaks_a_rule_is_refused(
    device: EmulatedDevice, fault: str, message: str
) -> None:
    image, mask = scene(40, 60, "uint8", "uint8")
    frame = device.frame(image, None if fault == "no mask" else mask, image, (), regions=Regions())
    if fault == "half":
        frame.background = None
    elif fault == "type":
        frame.thumbnail_type = _native.U16
    with pytest.raises(ValueError, match=message):
        device.run(frame, MEASURE)
