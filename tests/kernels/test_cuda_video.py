"""Video pictures on the emulated kernels, against a plain conversion and the float64 oracle."""

from collections.abc import Callable

import numpy as np
import parity
import pytest
import torch
from cuda_emulation.frames import Array, EmulatedDevice, Thumbnail
from cuda_emulation.pictures import USUAL
from cuda_emulation.video import MATRICES, VideoPicture, frame_of
from surfaces import assert_drawn, mask_of, picture

from export import tolerances
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS
from harmonizer.values import stages_of

MEASURE, DRAW, PREPARE = _native.PHASE_MEASURE, _native.PHASE_DRAW, _native.PHASE_PREPARE
STEEP = Arguments(("saturation", "contrast", "shadow"), (0.9999, 0.5, 0.97))
CODINGS = [(bits, matrix, full) for bits in (8, 10) for matrix in MATRICES for full in (0, 1)]


def draw(
    device: EmulatedDevice,
    source: VideoPicture,
    mask: Array | None,
    arguments: Arguments,
    out: VideoPicture,
) -> None:
    device.put_arguments(arguments)
    stages = stages_of(arguments.values())
    frame = frame_of(device, source, out, mask, arguments.filters, stages=stages)
    device.run(frame, MEASURE | DRAW)


@pytest.mark.parametrize(("bits", "matrix", "full"), CODINGS)
def test_drawing_equals_plain_conversion(
    device: EmulatedDevice, bits: int, matrix: int, full: int
) -> None:
    source = picture(21, 301, bits, matrix, full)
    for arguments in (USUAL, STEEP):
        for mask in (None, mask_of(21, 301)):
            out = source.copy(pitch=12)
            out.luma[...], out.chroma[...] = 1, 2
            draw(device, source, mask, arguments, out)
            assert_drawn(source, mask, arguments, out)
            assert device.report.in_double == int(arguments is STEEP)
            assert (out.around() == 7).all(), "nothing but the pixels is written"
            inside = source.copy()
            draw(device, inside, mask, arguments, inside)
            assert np.array_equal(inside.luma, out.luma)
            assert np.array_equal(inside.chroma, out.chroma)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("name", OPERATIONS)
def test_single_operation_equals_oracle(device: EmulatedDevice, name: str, bits: int) -> None:
    source = picture(6, 40, bits)
    for argument in parity.sides(name):
        arguments = Arguments((name,), (argument,))
        if arguments == Arguments.identity((name,)):
            continue  # copies, codes beyond [0, 1] too
        out = source.copy()
        draw(device, source, mask_of(6, 40), arguments, out)
        assert_drawn(source, mask_of(6, 40), arguments, out)


@pytest.mark.parametrize("bits", [8, 10])
def test_odd_sizes_have_chroma_of_their_own(device: EmulatedDevice, bits: int) -> None:
    for height, width in ((1, 1), (1, 2), (2, 1), (3, 3), (1, 257), (2, 513), (5, 255)):
        source = picture(height, width, bits)
        for mask in (None, mask_of(height, width), np.full((height, width), 255, np.uint8)):
            out = source.copy(pitch=4)
            draw(device, source, mask, USUAL, out)
            assert_drawn(source, mask, USUAL, out)


def test_low_bits_of_uncovered_samples_stay(device: EmulatedDevice) -> None:
    source = picture(8, 64, 10)
    source.luma |= 5
    source.chroma |= 9
    mask = np.zeros((8, 64), np.uint8)
    mask[2:5, 10:21] = 255
    out = source.copy()
    draw(device, source, mask, USUAL, out)
    assert np.array_equal(out.luma[mask == 0], source.luma[mask == 0])
    assert np.array_equal(out.chroma[3:], source.chroma[3:])


def test_identity_and_empty_mask_copy(device: EmulatedDevice) -> None:
    for bits in (8, 10):
        source = picture(9, 130, bits)
        for mask, arguments in (
            (None, Arguments.identity(DEFAULT_FILTERS)),
            (np.zeros((9, 130), np.uint8), USUAL),
        ):
            out = source.copy()
            out.luma[...] = out.chroma[...] = 0
            draw(device, source, mask, arguments, out)
            assert np.array_equal(out.luma, source.luma)
            assert np.array_equal(out.chroma, source.chroma)


@pytest.mark.parametrize(("bits", "matrix", "full"), CODINGS)
def test_thumbnail_and_statistics_are_those_of_the_converted_picture(
    device: EmulatedDevice, bits: int, matrix: int, full: int
) -> None:
    source = picture(37, 301, bits, matrix, full)
    mask, predicted, thumbnail = mask_of(37, 301), USUAL.array(), Thumbnail()
    out = source.copy()
    frame = frame_of(device, source, out, mask, USUAL.filters, predicted, 1, thumbnail)
    device.run(frame, MEASURE | DRAW)
    tensor = torch.from_numpy(source.rgb()).permute(2, 0, 1)[None]
    size = {"size": (256, 256), "mode": "bilinear", "align_corners": False, "antialias": False}
    wanted = torch.nn.functional.interpolate(tensor, **size).numpy()  # type: ignore[arg-type]
    assert np.abs(thumbnail.composite - wanted).max() <= tolerances.CUDA_VIDEO_THUMBNAIL
    assert_drawn(source, mask, Arguments(USUAL.filters, tuple(map(float, USUAL.array()))), out)
    (step,) = (s for s in device.plan().steps if s.operation == "temperature")
    means = source.rgb().mean(axis=(0, 1))
    assert step.statistics == pytest.approx(means, abs=tolerances.CUDA_STATISTICS)


def test_result_depends_on_no_order(device: EmulatedDevice) -> None:
    source, mask = picture(33, 1030, 10), mask_of(33, 1030)
    results = []
    for processors, backwards in ((1, False), (1, True), (3, False)):
        device.processors = processors
        device.run_backwards(backwards)
        try:
            out = source.copy()
            draw(device, source, mask, USUAL, out)
        finally:
            device.run_backwards(False)
        results.append((out.luma.tobytes(), out.chroma.tobytes()))
    assert len(set(results)) == 1


Fault = Callable[[_native.Surface, _native.Surface], None]


def set_on(which: int, **values: int) -> Fault:
    def change(*surfaces: _native.Surface) -> None:
        for name, value in values.items():
            setattr(surfaces[which], name, value)

    return change


def overlap_planes(source: _native.Surface, out: _native.Surface) -> None:
    out.luma = source.luma + 64


def share_a_plane(source: _native.Surface, out: _native.Surface) -> None:
    out.chroma = source.chroma


def joined_planes(source: _native.Surface, out: _native.Surface) -> None:
    out.chroma = out.luma


BAD = (
    (set_on(0, luma=0), "surface must have two planes; got null"),
    (set_on(0, bits=9), "surface must have 8, 10, 12 or 16 bits; got 9"),
    (set_on(0, matrix=0), r"matrix HZ_BT709 \(1\), HZ_BT601 \(6\) or HZ_BT2020 \(9\); got 0"),
    (set_on(0, luma_stride=65), "planes and rows at multiples of 2 bytes"),
    (set_on(1, matrix=6), "out must have the image's size, bits, matrix and range"),
    (set_on(1, full_range=1), "out must have the image's size, bits, matrix and range"),
    (set_on(1, width=62), "out must have the image's size, bits, matrix and range; got 8x62"),
    (overlap_planes, "overlaps in part"),
    (share_a_plane, "overlaps in part"),
    (joined_planes, "overlaps in part"),
)


@pytest.mark.parametrize(("fault", "message"), BAD)
def test_picture_that_breaks_a_rule_is_refused(
    device: EmulatedDevice, fault: Fault, message: str
) -> None:
    source, out = picture(8, 64), picture(8, 64)
    frame = frame_of(device, source, out, None, ())
    device.run(frame, MEASURE | DRAW)
    fault(frame.surface.contents, frame.surface_out.contents)
    with pytest.raises(ValueError, match=message):
        device.run(frame, MEASURE | DRAW)


def test_mask_of_another_size_and_missing_output_are_refused(device: EmulatedDevice) -> None:
    source = picture(8, 64)
    frame = frame_of(device, source, source, np.zeros((8, 64), np.uint8), ())
    frame.mask.width = 62
    with pytest.raises(ValueError, match="mask must have the image's height and width; got 8x62"):
        device.run(frame, MEASURE | DRAW)
    with pytest.raises(ValueError, match="surface_out must have two planes"):
        device.run(frame_of(device, source, None, None, ()), MEASURE | DRAW)
    device.run(frame_of(device, source, None, None, ()), MEASURE | PREPARE)
