"""Decoder surfaces on a GPU, against a plain conversion and the float64 oracle."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from cuda_emulation.pictures import USUAL
from cuda_emulation.video import VideoPicture
from gpu_device import OnDevice, fetch
from surfaces import assert_drawn, mask_of, picture
from tiny_predictor import write_predictor

from harmonizer.cuda.surfaces import Surface
from harmonizer.errors import HarmonizerWarning
from harmonizer.harmonizer import Harmonizer

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]

NAMES = {1: "bt709", 6: "bt601", 9: "bt2020"}


@pytest.fixture
def harmonizer(device: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harmonizer]:
    model = write_predictor(tmp_path_factory.mktemp("model") / "tiny.onnx")
    with Harmonizer(model, "cuda", threads=1) as made, made.renderer.device.current():
        yield made


def surface(source: VideoPicture) -> Surface:
    matrix = NAMES[source.matrix]
    planes = (OnDevice(source.luma), OnDevice(source.chroma))
    return Surface(*planes, matrix, source.full_range, source.bits)


def fetched(image: Surface, like: VideoPicture) -> VideoPicture:
    planes = [
        plane.fetch() if isinstance(plane, OnDevice) else fetch(plane)
        for plane in (image.luma, image.chroma)
    ]
    return replace(like, luma=planes[0], chroma=planes[1])


@pytest.mark.parametrize(("bits", "matrix", "full"), [(8, 1, 0), (10, 9, 0), (8, 6, 1), (16, 1, 0)])
def test_render_equals_oracle(harmonizer: Harmonizer, bits: int, matrix: int, full: int) -> None:
    source, mask = picture(21, 302, bits, matrix, full), mask_of(21, 302)
    cover = OnDevice(mask)
    out = surface(source.copy(pitch=6))
    assert harmonizer.render(surface(source), cover, USUAL, out) is out
    assert_drawn(source, mask, USUAL, fetched(out, source))
    made = harmonizer.render(surface(source), cover, USUAL)
    assert_drawn(source, mask, USUAL, fetched(made, source))
    inside = surface(source)
    harmonizer.render(inside, cover, USUAL, inside)
    assert_drawn(source, mask, USUAL, fetched(inside, source))


def test_frames_are_predicted_and_drawn_as_graphs_on_a_stream(harmonizer: Harmonizer) -> None:
    source, mask = picture(90, 132), mask_of(90, 132)
    image, cover, out = surface(source), OnDevice(mask), surface(source.copy())
    rgb = OnDevice(source.rgb().astype(np.float32))
    expected = harmonizer.predict(rgb, cover)
    assert harmonizer.predict(image, cover).numbers == pytest.approx(expected.numbers, abs=1e-4)
    stream = harmonizer.renderer.device.pycuda.Stream()
    for _ in range(3):
        harmonizer(image, cover, out=out, stream=stream)
    stream.synchronize()
    assert_drawn(source, mask, expected, fetched(out, source))
    with pytest.warns(HarmonizerWarning):
        harmonizer(image, OnDevice(np.zeros_like(mask)), out=out)
    assert np.array_equal(fetched(out, source).luma, source.luma)


def test_odd_width_without_output_gets_rows_of_pairs(harmonizer: Harmonizer) -> None:
    source = picture(7, 33, 10)
    made = harmonizer.render(surface(source), None, USUAL)
    assert made.luma.__cuda_array_interface__["strides"] == (68, 2)
    assert made.chroma.shape == (4, 17, 2)
    again = harmonizer.render(made, None, USUAL, made)  # it is a picture like any other
    assert again is made


def test_chroma_as_two_dimensions_is_taken(harmonizer: Harmonizer) -> None:
    source = picture(20, 40)
    flat = Surface(OnDevice(source.luma), OnDevice(source.chroma.reshape(10, 40)))
    out = surface(source.copy())
    harmonizer.render(flat, None, USUAL, out)
    assert_drawn(source, None, USUAL, fetched(out, source))


def test_planes_that_do_not_fit_are_refused(harmonizer: Harmonizer) -> None:
    source = picture(20, 40)
    image = surface(source)
    luma, chroma = image.luma, image.chroma
    wide = OnDevice(np.zeros((20, 40), np.uint16))
    read_only = OnDevice(source.luma, read_only=True)
    for planes, error, message in (
        ((luma, OnDevice(source.chroma[:5])), ValueError, r"must have shape \(10, 20, 2\) or"),
        ((chroma, chroma), ValueError, r"luma` must have shape \(H, W\)"),
        ((OnDevice(source.luma[:, ::2]), chroma), ValueError, "no gaps between samples"),
        ((wide, chroma), TypeError, "chroma` must have luma's type; got u1 beside u2"),
        ((luma, chroma, "bt709", False, 10), ValueError, "bits` must be 8 for uint8"),
        ((OnDevice(source.luma.astype(np.float32)), chroma), TypeError, "one of uint8, uint16"),
        ((OnDevice(np.zeros((20, 39), np.uint8)), chroma), ValueError, "at multiples of 2"),
    ):
        with pytest.raises(error, match=message):
            harmonizer.render(Surface(*planes), None, USUAL)
    for out, kind, message in (
        (luma, TypeError, "`out` must be a Surface"),
        (replace(image, matrix="bt601"), ValueError, "got 20x40, 8 bits, bt601, limited range"),
        (replace(image, luma=read_only), ValueError, "read-only"),
        (replace(image, luma=OnDevice(source.luma)), ValueError, "overlaps in part"),
    ):
        with pytest.raises(kind, match=message):
            harmonizer.render(image, None, USUAL, out)
    with pytest.raises(ValueError, match="composite's height and width; got 10x40 for a 20x40"):
        harmonizer.render(image, OnDevice(np.zeros((10, 40), np.uint8)), USUAL)
    with pytest.raises(TypeError, match="`mask` must lie in GPU memory"):
        harmonizer.render(image, np.zeros((20, 40), np.uint8), USUAL)
    for planes in ((source.luma, chroma), (luma, source.chroma)):
        with pytest.raises(TypeError, match="must be an array in GPU memory; got ndarray"):
            Surface(*planes)
    with pytest.raises(ValueError, match="`matrix` must be one of"):
        Surface(luma, chroma, "rec709")
    with pytest.raises(ValueError, match="`bits` must be 8, 10, 12 or 16; got 9"):
        Surface(luma, chroma, bits=9)
    harmonizer.render(image, None, USUAL, image)
