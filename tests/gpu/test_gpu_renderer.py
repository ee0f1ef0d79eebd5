"""The CUDA renderer against the CPU renderer, for every type, layout and kind of array."""

from collections.abc import Iterator

import numpy as np
import pytest
from gpu_device import EMULATED, OnDevice, counts, fetch, require
from parity import (
    IMAGES,
    as_dtype,
    assert_equal_within_tolerance,
    filtered_by_oracle,
    to_tensor,
)

from export import tolerances
from harmonizer.arguments import Arguments
from harmonizer.latency import TYPICAL, picture, rectangle
from harmonizer.ops import PHOTO_FILTERS
from harmonizer.plan import Plan
from harmonizer.renderer import CpuRenderer

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("device")]

DTYPES = ("uint8", "uint16", "float32")
LAYOUTS = ("packed", "bgr", "rgba", "flipped", "planar", "pitched", "odd crop")

LEVELS = {"uint8": 1, "uint16": 3, "float32": 5e-5}
"""Largest difference from the CPU renderer, in levels: both are within half of that of the oracle
where they compute in float; on uint8, rounding to another neighbour."""

CPU = CpuRenderer(1)


@pytest.fixture
def renderer(device: None) -> Iterator[object]:
    from harmonizer.cuda.renderer import CudaRenderer

    with CudaRenderer() as made, made.device.current():
        yield made


def scene(dtype: str = "uint8", layout: str = "packed") -> tuple[np.ndarray, np.ndarray]:
    image, mask = picture(151, 97, dtype), rectangle(151, 97, 0.4)
    mask[10:14, 70:90] = 100
    if layout == "bgr":
        image = image[..., ::-1]
    elif layout == "rgba":
        image = np.dstack([image, image[..., :1]])[..., :3]
    elif layout == "flipped":
        image, mask = image[::-1, ::-1], mask[::-1]
    elif layout == "planar":
        image = np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0)
    elif layout == "pitched":
        wide = np.zeros((97, 160, 3), image.dtype)
        wide[:, :151] = image
        image = wide[:, :151]
    elif layout == "odd crop":
        image, mask = image[3:-2, 5:-1], mask[3:-2, 5:-1]
    return image, mask


def assert_close(drawn: np.ndarray, expected: np.ndarray) -> None:
    assert drawn.shape == expected.shape and drawn.dtype == expected.dtype
    difference = np.abs(drawn.astype(np.float64) - expected)
    worst = np.unravel_index(difference.argmax(), difference.shape)
    assert difference.max() <= LEVELS[str(drawn.dtype)], (
        f"at {worst}: GPU {drawn[worst]}, CPU {expected[worst]}"
    )
    assert (difference > 0.5).mean() < 1e-3 or drawn.dtype != np.uint8


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_host_array_equals_cpu(renderer, dtype: str, layout: str) -> None:
    image, mask = scene(dtype, layout)
    plan = CPU.measure(image, TYPICAL)
    drawn = renderer.draw(image, mask, plan)
    assert_close(drawn, CPU.draw(image, mask, plan))
    assert np.array_equal(drawn[mask == 0], image[mask == 0])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_draw_device_array_equals_cpu(renderer, dtype: str, layout: str) -> None:
    image, mask = scene(dtype, layout)
    plan = CPU.measure(image, TYPICAL)
    source, cover, out = OnDevice(image), OnDevice(mask), OnDevice(image.copy(order="C"))
    assert renderer.draw(source, cover, plan, out) is out
    expected = CPU.draw(image, mask, plan)
    assert_close(out.fetch(), expected)
    assert np.array_equal(source.fetch(), image)
    renderer.draw(source, cover, plan, source)
    assert_close(source.fetch(), expected)


@pytest.mark.parametrize("name", PHOTO_FILTERS)
def test_render_every_operation_equals_cpu(renderer, name: str) -> None:
    image, mask = scene()
    arguments = Arguments((name,), (0.37,))
    expected = CPU.draw(image, mask, CPU.measure(image, arguments))
    assert_close(renderer.render(image, mask, arguments), expected)


@pytest.mark.parametrize("name", PHOTO_FILTERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_render_every_operation_equals_the_oracle(renderer, dtype: str, name: str) -> None:
    image = as_dtype(IMAGES["coffee"], dtype)
    for value in (-0.61, 0.37):
        arguments = Arguments((name,), (value,))
        expected = filtered_by_oracle(to_tensor(image), arguments)[0].permute(1, 2, 0).numpy()
        drawn = renderer.render(image, None, arguments)
        assert_equal_within_tolerance(image, drawn, expected, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_prepare_measures_what_cpu_measures(renderer, dtype: str) -> None:
    image, _ = scene(dtype)
    measured, expected = renderer.measure(image, TYPICAL), CPU.measure(image, TYPICAL)
    assert measured.filters == expected.filters
    for ours, theirs in zip(measured.steps, expected.steps, strict=True):
        assert ours.argument == theirs.argument
        assert ours.statistics == pytest.approx(theirs.statistics, abs=1e-6)
    again = renderer.measure(OnDevice(image), TYPICAL)
    assert again == measured


def test_prepare_arguments_out_of_range_clamps(renderer) -> None:
    arguments = Arguments(("brightness", "shadow"), (3.0, -7.0))
    plan = renderer.measure(scene()[0], arguments)
    assert [step.argument for step in plan.steps] == [1.0, -1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_thumbnail_equals_cpu(renderer, dtype: str) -> None:
    image, mask = scene(dtype)
    for ours, theirs in zip(
        renderer.thumbnail(image, mask), CPU.thumbnail(image, mask), strict=True
    ):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-6
    assert (renderer.thumbnail(OnDevice(image), None)[1] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_region_thumbnails_equal_cpu(renderer, dtype: str) -> None:
    image, mask = scene(dtype)
    expected = CPU.region_thumbnails(image, mask)
    renderer.thumbnail(image, mask)  # of the same frame: the one is not taken for the other
    for arrays in ((image, mask), (OnDevice(image[:, ::-1]), OnDevice(mask[:, ::-1]))):
        for ours, theirs in zip(renderer.region_thumbnails(*arrays), expected, strict=True):
            shown = ours if arrays[0] is image else ours[..., ::-1]
            assert shown.shape == theirs.shape
            assert np.abs(shown - theirs).max() <= tolerances.REGION_THUMBNAIL


def test_region_thumbnails_of_mask_without_region_are_refused(renderer) -> None:
    image, mask = scene()
    thin = np.zeros_like(mask)
    with pytest.raises(ValueError, match=r"empty mask\. Select the foreground"):
        renderer.region_thumbnails(image, thin)
    thin[4, 4:30] = 1
    with pytest.raises(ValueError, match=r"2 pixels high and wide or more.*1 pixel high or wide"):
        renderer.region_thumbnails(image, thin)
    assert renderer.region_thumbnails(image, mask)[0].any()


def test_draw_whole_image_without_mask(renderer) -> None:
    image, _ = scene()
    plan = CPU.measure(image, TYPICAL)
    assert_close(renderer.draw(image, None, plan), CPU.draw(image, None, plan))


@pytest.mark.parametrize("dtype", ("bool", "uint8", "uint16", "float32"))
def test_apply_every_mask_type_equals_cpu(renderer, dtype: str) -> None:
    image, mask = scene()
    scale = {"bool": 1 / 255, "uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    other = (mask * np.float64(scale)).astype(dtype)
    plan = CPU.measure(image, TYPICAL)
    expected = CPU.draw(image, other, plan)
    assert_close(renderer.draw(image, other, plan), expected)
    assert_close(fetch(renderer.draw(OnDevice(image), OnDevice(other), plan)), expected)


def test_apply_host_in_place_and_strided_out(renderer) -> None:
    image, mask = scene()
    plan = CPU.measure(image, TYPICAL)
    expected = CPU.draw(image, mask, plan)
    out = np.zeros((97, 151, 4), np.uint8)
    assert renderer.draw(image, mask, plan, out[..., 2::-1]) is not None
    assert_close(out[..., 2::-1], expected)
    assert (out[..., 3] == 0).all()
    copy = image.copy()
    assert renderer.draw(copy, mask, plan, copy) is copy
    assert_close(copy, expected)


def test_apply_again_with_graph_gives_the_same(renderer) -> None:
    image, mask = scene()
    source, cover, out = OnDevice(image), OnDevice(mask), OnDevice(image.copy())
    results = []
    for value in (0.1, 0.1, -0.3, 0.2, 0.2):
        arguments = Arguments(TYPICAL.filters, (value, *TYPICAL.numbers[1:]))
        renderer.render(source, cover, arguments, out)
        results.append((out.fetch(), CPU.draw(image, mask, CPU.measure(image, arguments))))
    for drawn, expected in results:
        assert_close(drawn, expected)
    require(
        renderer.graph_status == "on",
        f"CUDA graphs are {renderer.graph_status}",
    )
    if EMULATED:
        assert counts().graph_launches > 0


def test_apply_without_graphs_equals_cpu(device: None) -> None:
    from harmonizer.cuda.renderer import CudaRenderer

    image, mask = scene()
    plan = CPU.measure(image, TYPICAL)
    with CudaRenderer(graphs=False) as plain:
        assert plain.graph_status == "off: as asked"
        for _ in range(3):
            assert_close(plain.draw(image, mask, plan), CPU.draw(image, mask, plan))


def test_apply_larger_then_smaller_frame(renderer) -> None:
    for width, height in ((40, 30), (301, 203), (64, 48)):
        image, mask = picture(width, height), rectangle(width, height, 0.5)
        plan = CPU.measure(image, TYPICAL)
        assert_close(renderer.draw(image, mask, plan), CPU.draw(image, mask, plan))


def test_out_none_on_device_gives_array_that_frees_itself(renderer) -> None:
    image, mask = scene("uint16")
    plan = CPU.measure(image, TYPICAL)
    drawn = renderer.draw(OnDevice(image), OnDevice(mask), plan)
    assert drawn.shape == image.shape
    assert_close(fetch(drawn), CPU.draw(image, mask, plan))


def test_bad_arrays_are_refused_and_renderer_stays_usable(renderer) -> None:
    image, mask = scene()
    plan = CPU.measure(image, TYPICAL)
    source, cover = OnDevice(image), OnDevice(mask)
    with pytest.raises(TypeError, match="`mask` must lie in GPU memory"):
        renderer.draw(source, mask, plan)
    with pytest.raises(TypeError, match="`mask` must be a numpy array"):
        renderer.draw(image, cover, plan)
    with pytest.raises(TypeError, match="must be one of uint8, uint16, float32; got f8"):
        renderer.draw(OnDevice(image.astype(np.float64)), cover, plan)
    with pytest.raises(ValueError, match=r"shape \(H, W, 3\); got \(3, 97, 151\)"):
        renderer.draw(OnDevice(np.ascontiguousarray(image.transpose(2, 0, 1))), cover, plan)
    with pytest.raises(ValueError, match="composite's height and width"):
        renderer.draw(source, OnDevice(mask[:-1]), plan)
    with pytest.raises(ValueError, match="`out` must have the image's shape"):
        renderer.draw(source, cover, plan, OnDevice(image[:-1]))
    with pytest.raises(ValueError, match="`out` must be writable"):
        renderer.draw(source, cover, plan, OnDevice(image, read_only=True))
    with pytest.raises(ValueError, match="must name the stream"):
        renderer.draw(OnDevice(image, stream=0), cover, plan)
    with pytest.raises(ValueError, match="`stream` orders work on device arrays"):
        renderer.draw(image, mask, plan, stream=1)
    with pytest.raises(ValueError, match="0 leaves open"):
        renderer.draw(source, cover, plan, stream=0)
    with pytest.raises(TypeError, match="`stream` must be a stream of torch"):
        renderer.draw(source, cover, plan, stream="main")
    with pytest.raises(ValueError, match="must be 256 on the GPU"):
        renderer.thumbnail(image, mask, 128)
    with pytest.raises(TypeError, match="must be an Arguments"):
        renderer.render(image, mask, {"brightness": 0.1})
    assert_close(fetch(renderer.draw(source, cover, plan)), CPU.draw(image, mask, plan))


def test_host_pointer_in_interface_is_refused(renderer) -> None:
    class Liar:
        def __init__(self, array: np.ndarray) -> None:
            self._array = array
            self.__cuda_array_interface__ = {
                **array.__array_interface__,
                "stream": None,
            }

    image, _ = scene()
    with pytest.raises(ValueError, match="must lie in GPU memory; its address"):
        renderer.draw(Liar(image), None, CPU.measure(image, TYPICAL))


def test_out_overlapping_the_image_is_refused(renderer) -> None:
    image, _ = scene()
    plan = CPU.measure(image, TYPICAL)
    source = OnDevice(image)

    class Part:
        def __init__(self, offset: int) -> None:
            self.__cuda_array_interface__ = {
                **source.__cuda_array_interface__,
                "data": (source.pointer + offset, False),
                "shape": (96, 151, 3),
            }

    with pytest.raises(ValueError, match="overlap"):
        renderer.draw(Part(0), None, plan, Part(3))


def test_plan_document_draws_the_same(renderer) -> None:
    image, mask = scene()
    plan = renderer.measure(image, TYPICAL)
    again = Plan.from_document(plan.document())
    assert np.array_equal(renderer.draw(image, mask, plan), renderer.draw(image, mask, again))
