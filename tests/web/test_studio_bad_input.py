"""The studio and files that are broken, huge, of another kind: a sentence, and nothing lost."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from repository import ROOT
from studio_page import download, drop, write_huge

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    Image.fromarray(np.full((200, 400), 255, np.uint8)).save(folder / "mask-small.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    (folder / "foreign.onnx").write_bytes(b"\x08\x0a\x3a\x00")
    model = (ROOT / "models/s2crnet.onnx").read_bytes()
    (folder / "infinite.onnx").write_bytes(with_infinite_weight(model))
    (folder / "noise.onnx").write_bytes(b"\xff" * 500)
    (folder / "twice.json").write_text('{"brightness": 0.1, "brightness": 0.2}')
    (folder / "beyond.json").write_text('{"brightness": 3}')
    (folder / "empty.png").write_bytes(b"")
    write_huge(folder / "huge.png", 12_000, 9_000)
    write_huge(folder / "wide.png", 70_000, 10)
    return folder


def with_infinite_weight(model: bytes) -> bytes:
    """The model with one number of its largest tensor infinite."""
    weights = [
        found
        for tensor in onnx.load_model_from_string(model).graph.initializer
        if len(found := tensor.raw_data) > 4096
    ]
    at = model.index(max(weights, key=len)) + 400
    return model[:at] + np.float32(np.inf).tobytes() + model[at + 4 :]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["broken.jpg"], "broken.jpg must be a picture that this browser reads"),
        (["composite.png", "mask-small.png"], "must have the composite's width and height"),
        (["mask-small.png"], "must have the composite's width and height"),
        (["noise.onnx"], "noise.onnx must be a complete ONNX model"),
        (["foreign.onnx"], "foreign.onnx must say harmonizer.format"),
        (["infinite.onnx"], "are not finite"),
        (["twice.json"], "twice.json must have every key once"),
        (["beyond.json"], "argument `brightness` must lie in [-1, 1]; got 3"),
        (["composite.png", "background.png"], "One of two pictures must be a mask"),
        (["composite.png", "mask.png", "background.png"], "got 3. Choose two"),
        (["twice.json", "beyond.json"], "one at a time; got twice.json and beyond.json"),
        (["empty.png"], "empty.png must be a picture that this browser reads"),
        (["wide.png"], "The browser must have canvases of 70000x10 pixels; it does not"),
        (["huge.png"], "at most 100 megapixels to fit into a tab; it has 108"),
    ],
)
def test_bad_input_is_said_and_nothing_is_lost(
    studio: Any, bad: Path, names: list[str], said: str
) -> None:
    drop(studio, bad / "composite.png", bad / "mask.png")
    before = download(studio, "png")
    drop(studio, *(bad / name for name in names), drawn=False)
    studio.wait_for_selector("#message:visible")
    assert said in studio.inner_text("#message")
    assert download(studio, "png") == before


@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("nonsense=1", "it has 'nonsense'"),
        ("brightness=9", "argument `brightness` must lie in [-1, 1]; got 9"),
        ("brightness=", "argument `brightness`"),
        ("brightness=0.1&brightness=0.2", "each once; it has 'brightness'"),
    ],
)
def test_bad_link_is_said_and_nothing_is_lost(
    studio: Any, bad: Path, fragment: str, said: str
) -> None:
    drop(studio, bad / "composite.png", bad / "mask.png")
    before = download(studio, "png")
    studio.evaluate("(fragment) => { location.hash = fragment; }", fragment)
    studio.wait_for_selector("#message:visible")
    assert said in studio.inner_text("#message")
    assert download(studio, "png") == before
    studio.evaluate("history.replaceState(null, '', ' ')")
