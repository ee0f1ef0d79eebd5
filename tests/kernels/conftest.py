"""What the tests of kernels share."""

import pytest
from cuda_emulation import emulation
from cuda_emulation.frames import EmulatedDevice

from harmonizer.renderer import CpuRenderer


@pytest.fixture
def device() -> EmulatedDevice:
    return EmulatedDevice(emulation())


@pytest.fixture(scope="session")
def cpu() -> CpuRenderer:
    return CpuRenderer(1)
