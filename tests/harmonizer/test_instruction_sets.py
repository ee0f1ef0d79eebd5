"""Every instruction set draws the same picture in every layout, and no byte beside it."""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from parity import FULL_SCALE, random_arguments, random_filters

from export import tolerances
from harmonizer import _native
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

Array = NDArray[np.generic]
PICTURES = 40
XGETBV = b"\x0f\x01\xd0"
"""The instruction that reads which registers the system keeps for a thread (XCR0)."""


@pytest.fixture(autouse=True)
def best_afterwards() -> Iterator[None]:
    yield
    _native.set_isa(None)


def instruction_sets() -> list[str]:
    """Those that run here, the plainest first."""
    names = []
    for name in ("generic", "x86-64", "x86-64-v3", "x86-64-v4"):
        try:
            _native.set_isa(name)
        except ValueError:
            continue
        names.append(name)
    return names


def layout(storage: Array, kind: int, width: int) -> Array:
    """A picture within (H, W + 2, 4): RGB, BGR, of four or three bytes, with a gap after rows."""
    view = storage[:, :width]
    if kind % 2:
        view = storage.reshape(storage.shape[0], -1)[:, : 3 * width].reshape(-1, width, 3)
    return view[..., 2::-1] if kind // 2 else view[..., :3]


@pytest.mark.parametrize("dtype", FULL_SCALE)
def test_instruction_sets_agree_on_every_layout(dtype: str) -> None:
    generator = np.random.default_rng(3)
    sets = instruction_sets()
    if len(sets) < 2:
        pytest.skip(f"this processor runs {sets[0]} alone")
    least = {"uint8": 0, "uint16": 1, "float32": tolerances.RENDER_F32}[dtype]
    moved = 0
    for attempt in range(PICTURES):
        width, height = int(generator.integers(1, 600)), int(generator.integers(1, 20))
        values = generator.random((height, width + 2, 4)) ** (1, 4)[attempt % 2]
        values[generator.random(values.shape[:2]) < 0.1] = attempt % 2
        storage = (values * FULL_SCALE[dtype] + (0.5 if FULL_SCALE[dtype] > 1 else 0)).astype(dtype)
        mask = (generator.random((height, width)) * 3 - 1).clip(0, 1).astype(np.float32)
        mask[: height // 2] = mask[: height // 2] > 0.5
        filters = DEFAULT_FILTERS if attempt % 3 else random_filters(generator)
        arguments = random_arguments(generator, filters, attempt % 4 != 0)
        renderer, kind = CpuRenderer(), attempt % 4
        results = []
        for name in sets:
            _native.set_isa(name)
            image = layout(storage.copy(), kind, width)
            beside = storage.copy() if attempt % 5 else image.base
            while beside is not None and beside.base is not None:
                beside = beside.base
            assert beside is not None
            out = layout(beside.reshape(storage.shape), kind, width)
            plan = renderer.measure(image, arguments)
            renderer.draw(image, mask if attempt % 3 else None, plan, out)
            if attempt % 3:
                assert np.array_equal(out[mask == 0], layout(storage, kind, width)[mask == 0])
            results.append(beside.reshape(storage.shape))
        # What the picture does not hold, gaps and fourth values, is as it was.
        untouched = np.ones(storage.shape, bool)
        layout(untouched, kind, width)[...] = False
        for result in results:
            assert np.array_equal(result[untouched], storage[untouched])
            off = np.abs(result.astype(np.float64) - results[0].astype(np.float64)).max()
            assert off <= least, (attempt, sets, off)
        moved += not np.array_equal(results[0], storage)
    assert moved > PICTURES // 2


@pytest.mark.parametrize(
    ("kept", "best"),
    [
        (0xE7, "x86-64-v4"),  # x87, SSE, AVX, the three parts of AVX-512
        (0x67, "x86-64-v3"),  # without the upper sixteen registers
        (0x27, "x86-64-v3"),
        (0x07, "x86-64-v3"),  # a system that knows no AVX-512
        (0x03, "x86-64"),
    ],
)
def test_instruction_set_is_one_whose_registers_the_system_keeps(
    kept: int, best: str, tmp_path: Path
) -> None:
    """In a copy of the library `mov al, kept` and a NOP take the place of XGETBV."""
    sets = instruction_sets()
    if best not in sets:
        pytest.skip(f"this processor runs {sets[-1]} at best")
    code = Path(_native.load_library()._name).read_bytes()
    assert XGETBV in code
    changed = tmp_path / f"keeps{kept}.so"
    changed.write_bytes(code.replace(XGETBV, bytes((0xB0, kept, 0x90))))
    library = ctypes.CDLL(str(changed))
    library.hz_isa.restype = ctypes.c_char_p
    assert library.hz_isa().decode() == best
    better = sets[sets.index(best) + 1 :]
    assert [library.hz_set_isa(name.encode()) for name in better] == [1] * len(better)
