"""What a renderer refuses: images, masks and outputs that cannot be, programs, settings."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.plan import Plan
from harmonizer.renderer import CpuRenderer

ARGUMENTS = Arguments(DEFAULT_FILTERS, (0.12, -0.15, 0.2, 0.25, -0.1, 0.15))


def prepared(image: Array, arguments: Arguments = ARGUMENTS) -> Plan:
    return CpuRenderer(1).prepare(image, arguments)


def f32(value: float) -> NDArray[np.float32]:
    image = np.full((4, 5, 3), 0.5, np.float32)
    image[2, 3, 1] = value
    return image


U8 = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([[[1, 2, 3]]], TypeError, r"`image` must be a numpy array; got list"),
        ("photo.jpg", TypeError, r"got str\. Files, .* `Harmonizer\.harmonize_file`"),
        (Path("photo.jpg"), TypeError, r"got \w+Path\. Files"),
        (b"\xff\xd8", TypeError, r"got bytes\. Files"),
        (
            U8.astype(np.float64),
            TypeError,
            r"uint8, uint16, float32 .*got dtype\('float64'\)",
        ),
        (U8.astype(">u2"), TypeError, r"native byte order; got dtype\('>u2'\)"),
        (U8[..., 0], ValueError, r"got \(4, 5\)\. Repeat grey, as np\.dstack"),
        (U8[..., :1], ValueError, r"got \(4, 5, 1\)\. Repeat grey"),
        (U8.transpose(2, 0, 1), ValueError, r"\(3, 4, 5\)\. Pass a planar one .*\(1, 2, 0\)"),
        (U8[None], ValueError, r"\(1, 4, 5, 3\)\. Pass one picture, or .*`Harmonizer.batch`"),
        (torch.from_numpy(U8), TypeError, r"got Tensor\. Pass np\.asarray\(array\), .*permute"),
        (Image.fromarray(U8), TypeError, r"got Image\. Pass np\.asarray\(image\), or"),
        (np.zeros((4, 5, 4), np.uint8), ValueError, r"got \(4, 5, 4\)\. Take the three colour"),
        (U8[:0], ValueError, r"at least one pixel; got 0x5"),
        (f32(np.nan), ValueError, r"in \[0, 1\] without NaN; got nan at position \(2, 3, 1\)"),
        (f32(1.5), ValueError, r"got 1\.5 at position \(2, 3, 1\)\. Scale or clip it"),
        (f32(-0.25), ValueError, r"got -0\.25 at position \(2, 3, 1\)"),
    ],
)
def test_bad_image_is_refused(image: Array, error: type[Exception], message: str) -> None:
    renderer, plan = CpuRenderer(), prepared(U8)
    with pytest.raises(error, match=message):
        renderer.measure(image, ARGUMENTS)
    with pytest.raises(error, match=message):
        renderer.draw(image, None, plan)
    with pytest.raises(error, match=message):
        renderer.thumbnail(image, None)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (np.zeros((4, 5), np.int64), TypeError, r"`mask` must have dtype bool, uint8, .*'int64'"),
        (torch.zeros(4, 5), TypeError, r"`mask` must be .*got Tensor\. Pass np\.asarray\(array\)"),
        (np.zeros((4, 5), np.int64), TypeError, r"mask == 1; or name .*mask_levels=\(0, 1\)"),
        (np.zeros((4, 5, 1), np.uint8), ValueError, r"\(4, 5, 1\)\. Take .*mask\[\.\.\., 0\]"),
        (np.zeros((1, 4, 5), np.uint8), ValueError, r"\(1, 4, 5\)\. Take .*mask\[0\]"),
        (
            np.zeros((480, 640), np.uint8),
            ValueError,
            r"`mask` must have the composite's height and width; got 480x640 for a 4x5 composite\. "
            r"Resize it\.",
        ),
        (f32(np.nan)[..., 1], ValueError, r"`mask` must .* got nan at position \(2, 3\)"),
        (f32(2.0)[..., 1], ValueError, r"got 2 at position \(2, 3\)"),
    ],
)
def test_bad_mask_is_refused(mask: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CpuRenderer().apply(U8, mask, prepared(U8))
    with pytest.raises(error, match=message):
        CpuRenderer().thumbnail(U8, mask)


def read_only(image: Array) -> Array:
    image.flags.writeable = False
    return image


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (U8[:3], ValueError, r"`out` must have the image's shape and dtype; got \(3, 5, 3\) uint8"),
        (U8.astype(np.uint16), ValueError, r"uint16 for an image of \(4, 5, 3\) uint8"),
        (read_only(U8.copy()), ValueError, r"`out` must be writable; it is read-only"),
        (U8[::-1], ValueError, r"`out` must be the image itself or share no memory with it"),
        (U8[..., ::-1], ValueError, r"it overlaps it in part\. Pass the image, or memory"),
    ],
)
def test_bad_out_is_refused(out: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        CpuRenderer().apply(U8, None, prepared(U8), out=out)


@pytest.mark.parametrize("size", [0, 16385])
def test_thumbnail_of_bad_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"`size` must be 1 to 16384; got {size}"):
        CpuRenderer().thumbnail(U8, None, size)


def test_no_threads_are_refused() -> None:
    with pytest.raises(ValueError, match="`threads` must be at least 1, or None for all; got 0"):
        CpuRenderer(0)


def test_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks the instruction set mmx"):
        _native.set_isa("mmx")


@pytest.mark.parametrize(
    ("count", "operation", "argument", "message"),
    [
        (9, 0, 0.1, "0 to 8 steps; got 9"),
        (1, 99, 0.1, "step 0 must be an operation code from 0 to"),
        (1, 0, np.nan, r"step 0 \(temperature\) must have a finite argument"),
    ],
)
def test_bad_program_is_refused_in_c(
    count: int, operation: int, argument: float, message: str
) -> None:
    program = _native.Program(count)
    program.steps[0].operation, program.steps[0].argument = operation, argument
    image = ctypes.byref(_native.Image(U8.ctypes.data, 5, 4, *U8.strides, _native.U8))
    with pytest.raises(ValueError, match=message):
        _native.call("hz_measure", image, ctypes.byref(program), 1)
