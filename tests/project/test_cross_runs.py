"""Libraries for other systems, run here: by emulation, or under wine. Of macOS nothing runs."""

import ctypes
import platform
from pathlib import Path

import numpy as np
import pytest
from cpp_package import CONSUMER, CPP
from cross_wheels import folder_of, program_for, succeed_for
from numpy.typing import NDArray

from cross_targets import TARGETS
from harmonizer import _native
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer

pytestmark = pytest.mark.slow
MINIMAL = CPP / "samples/minimal.cpp"
"""A program that draws a look on a PPM."""

PROCESSORS = {"Nehalem": "x86-64", "Haswell": "x86-64-v3", "Skylake-Server": "x86-64-v3"}
"""Emulated ones, and what they draw with; QEMU has no AVX-512, and says so to programs."""


@pytest.fixture(params=list(TARGETS))
def name(request: pytest.FixtureRequest) -> str:
    """A target's."""
    return str(request.param)


def write_netpbm(path: Path, pixels: NDArray[np.uint8]) -> None:
    magic = b"P6" if pixels.ndim == 3 else b"P5"
    head = b"%s\n%d %d\n255\n" % (magic, pixels.shape[1], pixels.shape[0])
    path.write_bytes(head + pixels.tobytes())


def check_drawing(name: str, processor: str | None = None) -> None:
    """Compare what a target's program draws with what the installed library draws."""
    program = program_for(name, MINIMAL)
    random = np.random.default_rng(5)
    composite = random.integers(0, 256, (97, 131, 3), np.uint8)
    mask = np.linspace(0, 255, 131).astype(np.uint8)[None].repeat(97, axis=0)
    write_netpbm(program.parent / "c.ppm", composite)
    write_netpbm(program.parent / "m.pgm", mask)
    (program.parent / "o.ppm").unlink(missing_ok=True)
    succeed_for(name, program, "c.ppm", "m.pgm", "o.ppm", processor=processor)
    drawn = (program.parent / "o.ppm").read_bytes()[-composite.size :]
    renderer = CpuRenderer()
    none = dict.fromkeys(DEFAULT_FILTERS, 0.0)
    look = Arguments.from_mapping(none | {"temperature": 0.2, "contrast": -0.3})
    expected = renderer.draw(composite, mask, renderer.measure(composite, look))
    assert not np.array_equal(expected, composite)
    difference = np.abs(expected.reshape(-1).astype(int) - np.frombuffer(drawn, np.uint8))
    assert difference.max() <= 1, "another compiler contracts multiply and add elsewhere"
    assert (difference > 0).mean() < 1e-3


def test_library_draws_what_the_installed_one_draws(name: str) -> None:
    check_drawing(name)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_library_draws_the_same_on_an_older_processor(processor: str) -> None:
    name = "linux-x86_64"
    program = program_for(name, CONSUMER / "consume.c")
    said = succeed_for(name, program, "create", "cpu", processor=processor)
    assert said.split()[-1] == PROCESSORS[processor], said
    check_drawing(name, processor)


def test_consumer_in_c_runs(name: str) -> None:
    succeed_for(name, program_for(name, CONSUMER / "consume.c"), "errors")


@pytest.mark.parametrize("part", ["views", "regions", "threads", "predict"])
def test_consumer_in_cpp_runs(name: str, part: str) -> None:
    succeed_for(name, program_for(name, CONSUMER / "consume.cpp"), part)


def test_library_finds_the_instruction_set_that_the_installed_one_finds(name: str) -> None:
    target = TARGETS[name]
    if target.system != platform.system() or target.processor != platform.machine():
        pytest.skip("a library for another system")
    library = ctypes.CDLL(str(folder_of(name) / target.library))
    library.hz_isa.restype = ctypes.c_char_p
    assert library.hz_isa().decode() == _native.isa()
