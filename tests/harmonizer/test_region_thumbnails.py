"""Thumbnails of foreground and background: the C++ renderer against torch, its refusals."""

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from region_scenes import DTYPES, MASK_DTYPES, expected_regions, random_values, scene

from export import tolerances
from harmonizer import _native
from harmonizer.renderer import CpuRenderer

SIZES = ((2, 2), (3, 5), (100, 90), (256, 256), (317, 413), (1080, 1920), (2001, 11), (7, 3000))
LAYOUTS = ("BGR", "RGBA", "BGRA", "planar", "mirrored", "upside down", "cropped")


@pytest.fixture(params=("x86-64", "x86-64-v3", "x86-64-v4"))
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    try:
        _native.set_isa(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield request.param
    _native.set_isa(None)


def assert_equals_torch(image: np.ndarray, mask: np.ndarray) -> None:
    made = CpuRenderer(2).region_thumbnails(image, mask)
    for ours, theirs in zip(made, expected_regions(image, mask), strict=True):
        assert ours.shape == (1, 3, 256, 256) and ours.dtype == np.float32
        assert ours.min() >= 0 and ours.max() <= 1
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.REGION_THUMBNAIL)


@pytest.mark.parametrize("size", SIZES)
def test_region_thumbnails_match_torch(size: tuple[int, int]) -> None:
    for dtype, mask_dtype in zip((*DTYPES, "uint8"), MASK_DTYPES, strict=True):
        assert_equals_torch(*scene(*size, dtype, mask_dtype))


def test_region_thumbnails_of_a_large_picture_match_torch() -> None:
    assert_equals_torch(*scene(2048, 2048, "uint8", "uint8"))


def test_region_thumbnails_with_every_instruction_set_match_torch(isa: str) -> None:
    for dtype in DTYPES:
        assert_equals_torch(*scene(301, 530, dtype, "uint8"))


@pytest.mark.parametrize("mask_dtype", MASK_DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_region_thumbnails_take_every_pair_of_types(dtype: str, mask_dtype: str) -> None:
    assert_equals_torch(*scene(70, 600, dtype, mask_dtype))


def laid_out(image: np.ndarray, layout: str) -> np.ndarray:
    """The same picture, elsewhere in memory."""
    height, width, _ = image.shape
    if layout == "BGR":
        return np.ascontiguousarray(image[..., ::-1])[..., ::-1]
    if layout in ("RGBA", "BGRA"):
        memory = np.full((height, width, 4), 7, image.dtype)
        view = memory[..., :3] if layout == "RGBA" else memory[..., 2::-1]
    elif layout == "planar":
        view = np.empty((3, height, width), image.dtype).transpose(1, 2, 0)
    elif layout == "mirrored":
        view = np.empty_like(image)[:, ::-1]
    elif layout == "upside down":
        view = np.empty_like(image)[::-1]
    else:
        view = np.full((height + 3, width + 9, 3), 7, image.dtype)[2:-1, 4:-5]
    view[...] = image
    return view


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_layout_in_memory_does_not_show(dtype: str, layout: str) -> None:
    image, mask = scene(90, 700, dtype, dtype)
    wanted = CpuRenderer(1).region_thumbnails(image, mask)
    view = laid_out(image, layout)
    shown = np.dstack([mask, mask * 0, mask * 0])[..., 0] if layout == "RGBA" else mask
    if layout == "mirrored":
        shown = np.ascontiguousarray(mask[:, ::-1])[:, ::-1]
    made = CpuRenderer(1).region_thumbnails(view, shown)
    for ours, theirs in zip(made, wanted, strict=True):
        assert ours.tobytes() == theirs.tobytes()


def test_any_bool_that_is_not_zero_covers() -> None:
    image, mask = scene(40, 60, "uint8", "bool")
    wanted = CpuRenderer().region_thumbnails(image, mask)
    stored = (mask.astype(np.uint8) * 173).view(np.bool_)
    for ours, theirs in zip(CpuRenderer().region_thumbnails(image, stored), wanted, strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_number_of_threads_does_not_show(dtype: str) -> None:
    image, mask = scene(613, 901, dtype, "uint16")
    results = [
        b"".join(made.tobytes() for made in CpuRenderer(n).region_thumbnails(image, mask))
        for n in (1, 2, 7, None)
    ]
    assert results[1:] == results[:-1]


def test_white_stays_white_and_a_full_mask_leaves_no_background() -> None:
    image = np.full((777, 1033, 3), 255, np.uint8)
    foreground, background = CpuRenderer().region_thumbnails(image, image[..., 0])
    assert foreground.min() >= 1 - 1e-6 and foreground.max() <= 1
    assert background.max() <= 1e-6


@pytest.mark.parametrize("corner", [(0, 0), (0, -2), (-2, 0), (-2, -2), (150, 77)])
def test_bounding_box_is_found_to_the_pixel(corner: tuple[int, int]) -> None:
    """The faintest coverage counts, wherever it is; what is beside it does not show."""
    image = random_values("uint8", (300, 200, 3), 3)
    mask = np.zeros((300, 200), np.uint16)
    top, left = corner[0] % 300, corner[1] % 200
    mask[top, left + 1] = mask[top + 1, left] = 1
    foreground, _ = CpuRenderer(2).region_thumbnails(image, mask)
    assert foreground.max() > 0
    np.testing.assert_allclose(
        foreground, expected_regions(image, mask)[0], rtol=0, atol=tolerances.REGION_THUMBNAIL
    )
    around = image.copy()
    around[mask == 0] = 0
    around[top : top + 2, left : left + 2] = image[top : top + 2, left : left + 2]
    assert np.array_equal(CpuRenderer(2).region_thumbnails(around, mask)[0], foreground)


@pytest.mark.parametrize("dtype", MASK_DTYPES)
def test_mask_without_a_region_is_refused(dtype: str) -> None:
    image = random_values("uint8", (50, 70, 3), 1)
    mask = np.zeros((50, 70), dtype)
    with pytest.raises(ValueError, match=r"`mask` must cover.*empty mask\. Select the fore"):
        CpuRenderer().region_thumbnails(image, mask)
    mask[7, 9] = 1
    for rows, columns, size in ((1, 1, "1x1"), (20, 1, "20x1"), (1, 30, "1x30")):
        mask[7 : 7 + rows, 9 : 9 + columns] = 1
        with pytest.raises(ValueError, match=rf"2 pixels high.* got one of {size}\. Select"):
            CpuRenderer().region_thumbnails(image, mask)
        mask[8:] = 0
        mask[7, 10:] = 0


def test_arrays_that_break_the_rules_are_refused() -> None:
    image, mask = scene(40, 60, "uint8", "uint8")
    for wrong, error in (
        ((image, mask[:-1]), ValueError),
        ((image[..., 0], mask), ValueError),
        ((image.astype(np.int32), mask), TypeError),
        ((image, None), TypeError),
        ((image, np.full(mask.shape, np.nan, np.float32)), ValueError),
    ):
        with pytest.raises(error):
            CpuRenderer().region_thumbnails(*wrong)


def test_c_interface_without_mask_or_memory_is_refused() -> None:
    image, mask = scene(40, 60, "uint8", "uint8")
    at = _native.Image(image.ctypes.data, 60, 40, *image.strides, _native.U8)
    cover = _native.Mask(mask.ctypes.data, 60, 40, *mask.strides, _native.U8)
    made = np.empty((3, 256, 256), np.float32)
    floats = made.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    with pytest.raises(ValueError, match="mask must not be null"):
        _native.call("hz_region_thumbnails", ctypes.byref(at), None, floats, floats, 1)
    with pytest.raises(ValueError, match="foreground and background must not be null"):
        _native.call("hz_region_thumbnails", ctypes.byref(at), ctypes.byref(cover), floats, None, 1)


def test_values_that_are_no_colours_become_zero() -> None:
    """What Python refuses may still come through the C interface."""
    image = np.full((8, 8, 3), np.nan, np.float32)
    mask = np.ones((8, 8), np.float32)
    at = _native.Image(image.ctypes.data, 8, 8, *image.strides, _native.F32)
    cover = _native.Mask(mask.ctypes.data, 8, 8, *mask.strides, _native.F32)
    made = np.ones((2, 3, 256, 256), np.float32)
    pointers = [part.ctypes.data_as(ctypes.POINTER(ctypes.c_float)) for part in made]
    _native.call("hz_region_thumbnails", ctypes.byref(at), ctypes.byref(cover), *pointers, 1)
    assert (made == 0).all()


def test_torch_at_eight_bits_is_another_function() -> None:
    """Why the tests compare with floats: torch rounds between the passes and after them."""
    image, _ = scene(300, 400, "uint8", "uint8")
    mask = np.ones(image.shape[:2], np.bool_)
    foreground, _ = CpuRenderer().region_thumbnails(image, mask)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    rounded = torch.nn.functional.interpolate(planes, (256, 256), mode="bilinear", antialias=True)
    difference = np.abs(foreground - rounded.numpy() / 255).max()
    assert tolerances.REGION_THUMBNAIL < difference < 1.5 / 255
