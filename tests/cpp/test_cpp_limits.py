"""The C interface and numbers at the end of their ranges; files that are none."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harmonizer import _native

FAR = (2**63 - 1, -(2**63), 2**62, -(2**62), 2**57)


def image_of(array: NDArray[np.uint8], **changed: int) -> _native.Image:
    height, width, _ = array.shape
    facts = {
        **{"data": array.ctypes.data, "width": width, "height": height},
        **{"row_stride": 3 * width, "pixel_stride": 3, "channel_stride": 1, "type": _native.U8},
    }
    return _native.Image(**{**facts, **changed})


def mask_of(array: NDArray[np.uint8], **changed: int) -> _native.Mask:
    height, width = array.shape
    facts = {
        **{"data": array.ctypes.data, "width": width, "height": height},
        **{"row_stride": width, "pixel_stride": 1, "type": _native.U8},
    }
    return _native.Mask(**{**facts, **changed})


@pytest.mark.parametrize("far", FAR)
@pytest.mark.parametrize("stride", ["row_stride", "pixel_stride", "channel_stride"])
def test_render_of_strides_beyond_memory_is_refused(stride: str, far: int) -> None:
    pixels, cover = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    program = _native.Program()
    sound = image_of(pixels)
    for image, out, mask in (
        (image_of(pixels, **{stride: far}), sound, mask_of(cover)),
        (sound, image_of(pixels, **{stride: far}), mask_of(cover)),
        *([(sound, sound, mask_of(cover, **{stride: far}))] if stride != "channel_stride" else []),
    ):
        given = ctypes.byref(image), ctypes.byref(mask), ctypes.byref(program), ctypes.byref(out), 1
        with pytest.raises(ValueError, match=rf"must lie in the memory of one machine; a {stride}"):
            _native.call("hz_render", *given)


@pytest.mark.parametrize("far", FAR)
def test_one_row_of_a_stride_beyond_memory_is_refused(far: int) -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    image = image_of(pixels, row_stride=far, pixel_stride=far)
    with pytest.raises(ValueError, match="memory of one machine"):
        _native.call("hz_measure", ctypes.byref(image), ctypes.byref(_native.Program()), 1)


def test_measure_of_a_size_beyond_numbers_is_refused() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    for width, height in ((2**63 - 1, 2**63 - 1), (2**32, 1), (0, 5), (-1, 5), (2**62, 4)):
        image = image_of(pixels, width=width, height=height)
        with pytest.raises(ValueError, match="must have 1 to"):
            _native.call("hz_measure", ctypes.byref(image), ctypes.byref(_native.Program()), 1)


@pytest.mark.long
def test_sample_refuses_what_is_no_file(tmp_path: Path) -> None:
    from cpp_package import run, sample

    (tmp_path / "a.ppm").write_bytes(b"P6\n2 1\n255\n" + bytes(6))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "fifo.json").symlink_to(tmp_path / "fifo")
    for words in (
        [tmp_path / "fifo", "--arguments", "shadow=0.1"],
        ["/dev/zero", "--arguments", "shadow=0.1"],
        [tmp_path / "a.ppm", "--arguments", tmp_path / "fifo.json"],
    ):
        result = run(sample(), *words, "-o", tmp_path / "o.ppm", timeout=20)
        assert result.returncode != 0 and "must be a regular file" in result.stderr
    (tmp_path / "m.pgm").write_bytes(b"P5\n2 1\n255\n\xff\xff")
    words = [tmp_path / "a.ppm", tmp_path / "m.pgm", "--arguments", "shadow=0.1"]
    (tmp_path / "null.ppm").symlink_to("/dev/null")
    result = run(sample(), *words, "-o", tmp_path / "null.ppm", timeout=20)
    assert result.returncode != 0 and "another thing of that name" in result.stderr
