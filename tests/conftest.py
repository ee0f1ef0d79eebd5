"""Fixtures that several test files share."""

import importlib.abc
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from repository import ROOT

TOOLCHAIN = (
    "hatchling",
    "matplotlib",
    "onnxscript",
    "polygraphy",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
)
"""What `make setup` installs and `make test-quick` does without."""


class SkipWithoutToolchain(importlib.abc.MetaPathFinder):
    """Asked last: a test that imports what is not installed is skipped, and says what it needs."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in TOOLCHAIN:
            pytest.skip(f"needs {name}, which `make setup` installs", allow_module_level=True)


sys.meta_path.append(SkipWithoutToolchain())

if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # `nohup make test`: programs that are told to end would rightly leave that signal alone.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


COMPILING = {"cpp_package", "cuda_driver.build", "cuda_emulation", "cuda_emulation.frames"}
"""Helpers that compile; the tests of a file that imports from them are `long`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        names = vars(item.module) if isinstance(item, pytest.Function) else {}
        if COMPILING & {getattr(value, "__module__", None) for value in names.values()}:
            item.add_marker("long")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """The number of torch's threads decides the last bits of what later tests compare."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch:
        assert torch.get_num_threads() == before, "a test must leave torch's threads as they were"


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """A real photograph, (400, 600, 3) uint8."""
    return skimage.data.coffee()


@pytest.fixture(scope="session")
def checkpoint() -> Path:
    """The shipped checkpoint."""
    return ROOT / "models" / "harmonizer.safetensors"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_predictor import write_predictor

    return write_predictor(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of colour statistics, two looks, random weights; its checkpoint lies beside it."""
    from calibration_data import small_predictor

    return small_predictor(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def encoder_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the published configuration, EfficientNet-B0, random weights."""
    from calibration_data import encoder_predictor

    return encoder_predictor(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def curves_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of S2CRNet, random weights; its checkpoint lies beside it."""
    from calibration_data import curves_predictor

    return curves_predictor(tmp_path_factory.mktemp("curves"))


@pytest.fixture(scope="module")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training_data import write_photos

    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def grey_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training_data import write_greys

    return write_greys(tmp_path_factory.mktemp("greys"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for packed images."""
    return str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with c.png, c.jpg, a soft mask m.png and rgba.png; also the working directory."""
    image = np.ascontiguousarray(skimage.data.coffee()[:90, :120])
    mask = np.zeros((90, 120), np.uint8)
    mask[20:70, 50:110] = 255
    mask[20:70, 45:50] = 128
    Image.fromarray(image).save(tmp_path / "c.png")
    Image.fromarray(image).save(tmp_path / "c.jpg")
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(np.dstack([image, mask])).save(tmp_path / "rgba.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
