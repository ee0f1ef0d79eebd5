"""Emulated kernels for 8-bit pixels of four bytes: what is drawn, and what keeps its bytes."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import parity
import pytest
from cuda_emulation import emulation
from cuda_emulation.frames import DRAW_GIVEN, Array, EmulatedDevice, aligned_zeros
from cuda_emulation.pictures import USUAL, assert_close, expected_by_cpu, masks, photograph
from repository import ROOT

from export import tolerances
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

ORDERS = ("rgba", "bgra")
STEEP = Arguments(DEFAULT_FILTERS, (0.2, 0.1, 0.5, 0.9999, 0.1, 0.97))


class Placed:
    """A picture in pixels of four bytes: the first row begins `shift` bytes after a multiple of 16,
    `gap` bytes lie between rows, and the memory around and between its channels is noise."""

    def __init__(self, image: Array, order: str, shift: int, gap: int = 0) -> None:
        height, width, _ = image.shape
        self._pitch, self._first = 4 * width + gap, 16 + shift
        self.memory = aligned_zeros(self._first + height * self._pitch + 32)
        self.memory[:] = np.random.default_rng(shift).integers(0, 256, self.memory.size, np.uint8)
        bytes_ = self._bytes(height, width)
        self.image = bytes_[..., :3] if order == "rgba" else bytes_[..., 2::-1]
        self.fourth, self.zeroth = bytes_[..., 3], self._bytes(height, width, -1)[..., 0]
        self.image[...] = image

    def _bytes(self, height: int, width: int, offset: int = 0) -> Array:
        return np.ndarray(
            (height, width, 4),
            np.uint8,
            self.memory.data,
            self._first + offset,
            (self._pitch, 4, 1),
        )

    def around(self) -> Array:
        """The memory without the picture's channels."""
        memory, shown = self.memory.copy(), self.image.copy()
        self.image[...] = 0
        around = self.memory.copy()
        self.memory[:] = memory
        assert np.array_equal(self.image, shown)
        return around


def draw_both_ways(
    device: EmulatedDevice, source: Placed, mask: Array | None, target: Placed
) -> tuple[Array, Array]:
    """Out of place and then in place, with nothing but the channels of `out` written."""
    return _drawn(device, source, mask, target), _drawn(device, source, mask, source)


def _drawn(device: EmulatedDevice, source: Placed, mask: Array | None, out: Placed) -> Array:
    around, before = out.around(), source.memory.copy()
    device.draw(source.image, mask, USUAL, out.image)
    assert np.array_equal(out.around(), around)
    if out is not source:
        assert np.array_equal(source.memory, before)
    return out.image.copy()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shift", range(16))
def test_every_alignment_draws_as_the_cpu_and_keeps_the_fourth_bytes(
    device: EmulatedDevice, cpu: CpuRenderer, order: str, shift: int
) -> None:
    for height, width, gap in ((1, 1, 5), (2, 3, 0), (3, 5, 7), (2, 129, 4), (2, 517, 12)):
        image = photograph(height, width)
        mask = parity.soft_mask(image)
        source, target = (Placed(pixels, order, shift, gap) for pixels in (image, image * 0))
        aligned = shift % 4 == 0 and (gap % 4 == 0 or height == 1)
        expected = expected_by_cpu(cpu, image, mask, USUAL)
        for drawn in draw_both_ways(device, source, mask, target):
            assert_close(drawn, expected, image, mask, f"{order} {height}x{width} {shift} {gap}")
        assert device.kernels[-1] == (f"hz_draw_{order}8" if aligned else "hz_draw_u8")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("gap", (0, 4))
def test_every_mask_draws_as_the_cpu(
    device: EmulatedDevice, cpu: CpuRenderer, order: str, gap: int
) -> None:
    image = photograph(5, 571)
    for kind, mask in masks(5, 571):
        source, target = Placed(image, order, 0, gap), Placed(image * 0, order, 0, gap)
        expected = expected_by_cpu(cpu, image, mask, USUAL)
        for drawn in draw_both_ways(device, source, mask, target):
            assert_close(drawn, expected, image, mask, kind)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("where", ("fourth", "zeroth"))
@pytest.mark.parametrize("backwards", (False, True))
def test_mask_between_the_pixels_channels_is_read_and_kept(
    device: EmulatedDevice, cpu: CpuRenderer, order: str, where: str, backwards: bool
) -> None:
    image = photograph(4, 1043)
    coverages = {kind: mask for kind, mask in masks(4, 1043) if mask is not None}
    device.run_backwards(backwards)
    for kind, shift, owner in itertools.product(
        ("empty", "full", "soft", "hard", "bool"), (0, 8), ("image", "out")
    ):
        source, target = (Placed(pixels, order, shift, 4) for pixels in (image, image * 0))
        mask = getattr(source if owner == "image" else target, where)
        if kind == "bool":
            mask = mask.view(np.bool_)
        mask[...] = coverages[kind]
        expected = expected_by_cpu(cpu, image, coverages[kind], USUAL)
        for drawn in draw_both_ways(device, source, mask, target):
            assert_close(drawn, expected, image, coverages[kind], f"{kind} in {owner}")
            assert device.kernels[-1] == f"hz_draw_{order}8"
        assert np.array_equal(mask, coverages[kind])
    device.run_backwards(False)


@pytest.mark.parametrize("order", ORDERS)
def test_steep_arguments_are_drawn_in_double(
    device: EmulatedDevice, cpu: CpuRenderer, order: str
) -> None:
    image = photograph(3, 530)
    for (kind, mask), shift in itertools.product(masks(3, 530), (0, 4)):
        source, target = Placed(image, order, shift), Placed(image * 0, order, shift)
        expected = expected_by_cpu(cpu, image, mask, STEEP)
        for out in (target, source):
            around = out.around()
            device.draw(source.image, mask, STEEP, out.image)
            assert device.report.in_double == 1
            assert device.kernels[-1] == f"hz_draw_{order}8"
            assert_close(out.image, expected, image, mask, kind)
            assert np.array_equal(out.around(), around)


@pytest.mark.parametrize("order", ORDERS)
def test_identities_copy_the_channels_alone(device: EmulatedDevice, order: str) -> None:
    image = photograph(3, 700)
    source, target = Placed(image, order, 12), Placed(image * 0, order, 12)
    around = target.around()
    device.draw(source.image, None, Arguments.identity(DEFAULT_FILTERS), target.image)
    assert np.array_equal(target.image, image)
    assert np.array_equal(target.around(), around)


def test_picture_in_place_that_the_mask_leaves_out_is_not_written(tmp_path: Path) -> None:
    """A process of its own draws into pages that may not be written."""
    code = """
import sys
from pathlib import Path
import numpy as np
from cuda_emulation.frames import EmulatedDevice
from cuda_emulation.pictures import USUAL
file = Path(sys.argv[1])
file.write_bytes(bytes(range(200)) * 96)
device = EmulatedDevice(Path(sys.argv[2]))
for order in ("rgb", "bgr", "rgba", "bgra"):
    size = len(order)
    memory = np.memmap(file, np.uint8, "r", shape=(3, 6400 // size, size))
    image = memory[..., 2::-1] if order.startswith("b") else memory[..., :3]
    device.draw(image, np.zeros(image.shape[:2], np.uint8), USUAL, image)
    assert device.kernels[-1] == f"hz_draw_{order}8"
print("done")
"""
    command = [sys.executable, "-c", code, str(tmp_path / "picture"), str(emulation())]
    result = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests/helpers'}:{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "done\n", result.stderr


def test_other_alignment_or_order_of_out_is_drawn_by_the_general_kernel(
    device: EmulatedDevice, cpu: CpuRenderer
) -> None:
    image = photograph(3, 133)
    mask = parity.soft_mask(image)
    expected = expected_by_cpu(cpu, image, mask, USUAL)
    source = Placed(image, "rgba", 0)
    for target in (
        Placed(image * 0, "rgba", 4),
        Placed(image * 0, "rgba", 0, 4),
        Placed(image * 0, "bgra", 0),
    ):
        around = target.around()
        device.draw(source.image, mask, USUAL, target.image)
        assert device.kernels[-1] == "hz_draw_u8"
        assert_close(target.image, expected, image, mask, "general")
        assert np.array_equal(target.around(), around)


@pytest.mark.parametrize("order", ORDERS)
def test_statistics_are_the_cpus(device: EmulatedDevice, cpu: CpuRenderer, order: str) -> None:
    for (height, width), shift, gap in itertools.product(
        ((1, 1), (7, 33), (4, 1043)), (0, 4, 5), (0, 4)
    ):
        image = photograph(height, width)
        placed = Placed(image, order, shift, gap)
        device.put_arguments(USUAL)
        frame = device.frame(placed.image, None, placed.image, USUAL.filters)
        device.run(frame, DRAW_GIVEN)
        steps = zip(device.plan().steps, cpu.measure(image, USUAL).steps, strict=True)
        for step, wanted in steps:
            assert step.statistics == pytest.approx(
                wanted.statistics, abs=tolerances.CUDA_STATISTICS
            )
