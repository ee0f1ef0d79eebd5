"""Draw many frames with the sanitized emulation; run by test_cuda_frames in a process of its own.

Each array lies in memory of its own of just its size, so that the address sanitizer sees an access
beyond it. Prints "clean" at the end; the sanitizers end the process before that otherwise.
"""

import ctypes
import itertools
import sys
from pathlib import Path

import numpy as np

from cuda_emulation.frames import Array, EmulatedDevice, Regions, Thumbnail
from cuda_emulation.video import VideoPicture, frame_of
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, PHOTO_FILTERS

SIZES = ((1, 1), (3, 17), (2, 511), (2, 530))
ALL = _native.PHASE_MEASURE | _native.PHASE_DRAW
LIBC = ctypes.CDLL(None)
LIBC.malloc.restype = ctypes.c_void_p
LIBC.malloc.argtypes = (ctypes.c_size_t,)


def exact_memory(values: Array) -> Array:
    """A copy in memory from malloc, which the sanitizer guards; numpy's own may be part of more."""
    address = LIBC.malloc(values.nbytes)
    memory = np.frombuffer((ctypes.c_char * values.nbytes).from_address(address), values.dtype)
    copy = memory.reshape(values.shape)
    copy[...] = values
    return copy


def draw_all(device: EmulatedDevice, dtype: str, height: int, width: int, reverse: bool) -> None:
    """Every kind of mask, in place and out of place, mild and steep arguments."""
    generator = np.random.default_rng(width)
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    unit = generator.random((height, width, 3))
    image = exact_memory((unit * full).astype(dtype))
    shown = image[..., ::-1] if reverse else image
    out = exact_memory(image)
    coverage = (generator.random((height, width)) * 3 - 1).clip(0, 1)
    thumbnail, regions = Thumbnail(), Regions()
    mild = Arguments(DEFAULT_FILTERS, (0.1, 0.1, 0.2, 0.3, -0.1, 0.2))
    steep = Arguments(PHOTO_FILTERS[:MAX_FILTERS], (0.1, 0.1, 0.2, 0.9999, -0.1, 0.97, 0.1, 0.1))
    for mask_type, arguments in itertools.product(
        (None, np.bool_, np.uint8, np.uint16, np.float32), (mild, steep)
    ):
        mask = None
        if mask_type is not None:
            highest = np.iinfo(mask_type).max if np.dtype(mask_type).kind == "u" else 1
            mask = exact_memory((coverage * highest).astype(mask_type))
        predicted = exact_memory(arguments.array())
        resized = thumbnail if mask_type is np.uint8 and arguments is mild else None
        for target in (out[..., ::-1] if reverse else out, shown):
            frame = device.frame(
                shown, mask, target, arguments.filters, predicted, thumbnail=resized
            )
            device.run(frame, ALL)
        if dtype != "float32" and arguments is mild:
            draw_video(device, dtype, mask, height, width)
        if mask is not None and arguments is mild:
            frame = device.frame(shown, mask, out, (), regions=regions)
            device.run(frame, _native.PHASE_MEASURE)


def draw_four_bytes(device: EmulatedDevice, height: int, width: int, reverse: bool) -> None:
    """Pixels of 4 bytes whose memory ends with the last channel; the mask lies between them."""
    random = np.random.default_rng(height)
    size = 4 * height * width - 1
    memories = [exact_memory(random.integers(0, 256, size, np.uint8)) for _ in range(2)]
    image, out = (
        np.ndarray(
            (height, width, 3), np.uint8, memory, 2 * reverse, (4 * width, 4, 1 - 2 * reverse)
        )
        for memory in memories
    )
    own = exact_memory(random.integers(0, 256, (height, width), np.uint8))
    mask = exact_memory(random.integers(0, 256, 4 * height * width, np.uint8)).reshape(
        height, width, 4
    )
    within = mask[..., 2::-1] if reverse else mask[..., :3]
    arguments = exact_memory(np.full(2, 0.3, np.float32))
    for source, target, cover in (
        (image, out, own),
        (image, image, own),
        (within, out, mask[..., 3]),
        (within, within, mask[..., 3]),
    ):
        frame = device.frame(source, cover, target, ("temperature", "shadow"), arguments)
        device.run(frame, ALL)
        assert "a8" in device.kernels[-1]


def draw_video(
    device: EmulatedDevice, dtype: str, mask: Array | None, height: int, width: int
) -> None:
    """A surface of a decoder, in place and out of place."""
    random = np.random.default_rng(height)
    even, rows, columns = width + width % 2, (height + 1) // 2, (width + 1) // 2
    highest, bits = np.iinfo(dtype).max, 8 if dtype == "uint8" else 10
    planes = [
        exact_memory(random.integers(0, highest, shape, dtype))
        for shape in ((height, even), (rows, columns, 2)) * 2
    ]
    source, out = (VideoPicture(planes[i][:, :width], planes[i + 1], bits) for i in (0, 2))
    arguments = exact_memory(np.full(2, 0.3, np.float32))
    for target in (out, source):
        frame = frame_of(device, source, target, mask, ("temperature", "shadow"), arguments)
        device.run(frame, ALL)


def main() -> None:
    """Draw every size, type and order of channels."""
    device = EmulatedDevice(Path(sys.argv[1]))
    for (height, width), dtype, reverse in itertools.product(
        SIZES, ("uint8", "uint16", "float32"), (False, True)
    ):
        draw_all(device, dtype, height, width, reverse)
        if dtype == "uint8":
            draw_four_bytes(device, height, width, reverse)
    print("clean")


if __name__ == "__main__":
    main()
