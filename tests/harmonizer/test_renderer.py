"""The C++ renderer's contract: memory, masks, layouts, threads, thumbnails, refusals."""

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from repository import ROOT

from export import tolerances
from harmonizer import __version__, _native
from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.errors import NativeLibraryError
from harmonizer.ops import DEFAULT_FILTERS, MAX_FILTERS, OPERATIONS
from harmonizer.plan import Plan
from harmonizer.renderer import CpuRenderer

DTYPES = ("uint8", "uint16", "float32")
VALUES = (0.12, -0.15, 0.2, 0.25, -0.1, 0.15)
ARGUMENTS = Arguments(DEFAULT_FILTERS, VALUES)
SCALE = {"bool": 1, "uint8": 255, "uint16": 65535, "float32": 1}


def random_image(dtype: str, height: int = 37, width: int = 301) -> Array:
    unit = np.random.default_rng(0).random((height, width, 3))
    return (unit * SCALE[dtype]).astype(dtype)


def random_mask(dtype: str, height: int = 37, width: int = 301) -> Array:
    """A third 0, a third full, the rest between (bool: full)."""
    unit = np.random.default_rng(1).uniform(-1, 2, (height, width)).clip(0, 1)
    return (unit * SCALE[dtype]).astype(dtype)


def prepared(image: Array, arguments: Arguments = ARGUMENTS) -> Plan:
    return CpuRenderer(1).measure(image, arguments)


def drawn(image: Array, mask: Array | None = None) -> Array:
    return CpuRenderer(1).draw(image, mask, prepared(image))


def test_library_is_of_this_version() -> None:
    assert _native.version() == __version__
    assert _native.isa() in ("x86-64-v4", "x86-64-v3", "x86-64", "generic")


@pytest.mark.skipif(sys.platform != "linux", reason="reads an ELF symbol table")
def test_library_exports_its_interface_alone() -> None:
    """The C++ library inside it must not mix with that of torch in the same process."""
    if shutil.which("nm") is None:
        pytest.skip("no nm on this system")
    command = ["nm", "-D", "--defined-only", "--format=just-symbols", str(_native.LIBRARY)]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    include = ROOT / "runtime" / "cpp" / "include"
    header = "".join(path.read_text() for path in sorted(include.glob("*.h")))
    declared = re.findall(r"^HZ_API \S+ \*?(hz_\w+)|^HZ_API const char\* (hz_\w+)", header, re.M)
    assert sorted(names) == sorted(first or second for first, second in declared)


def test_library_missing_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_native, "LIBRARY", tmp_path / "libharmonizer.so")
    _native.load_library.cache_clear()
    with pytest.raises(NativeLibraryError, match=r"is missing\. Run `pip install -e \.`"):
        CpuRenderer()
    (tmp_path / "libharmonizer.so").write_text("no library")
    with pytest.raises(NativeLibraryError, match="must be loadable on this system"):
        CpuRenderer()
    _native.load_library.cache_clear()


def test_prepare_clamps_arguments_and_measures_the_current_image() -> None:
    image = random_image("uint8")
    plan = prepared(image, Arguments(("brightness", "temperature", "contrast"), (-0.5, 1.5, 0.1)))
    means = image.reshape(-1, 3).mean(axis=0) / 255 / 2
    assert plan.filters == ("brightness", "temperature", "contrast")
    assert [step.argument for step in plan.steps] == [-0.5, 1.0, 0.1]
    np.testing.assert_allclose(plan.steps[1].statistics, means, rtol=1e-12)
    assert Plan.from_document(plan.document()) == plan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_identity_argument_leaves_every_bit(name: str, dtype: str) -> None:
    image = random_image(dtype)
    plan = prepared(image, Arguments.identity((name,)))
    assert not any(plan.steps[0].statistics)
    np.testing.assert_array_equal(CpuRenderer().draw(image, random_mask("uint8"), plan), image)


@pytest.mark.parametrize("mask_dtype", SCALE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_background_is_copied_bit_for_bit(dtype: str, mask_dtype: str) -> None:
    image, mask = random_image(dtype), random_mask(mask_dtype)
    mask[:20] = 0
    result = drawn(image, mask)
    background = mask == 0
    assert result[background].tobytes() == image[background].tobytes()
    assert (result[~background] != image[~background]).mean() > 0.9


@pytest.mark.parametrize("dtype", DTYPES)
def test_masks_of_every_dtype_cover_alike(dtype: str) -> None:
    image = random_image(dtype)
    hard = random_mask("bool")
    expected = np.where(hard[..., None], drawn(image), image)
    for mask_dtype in SCALE:
        mask = hard.astype(mask_dtype) * np.asarray(SCALE[mask_dtype], mask_dtype)
        np.testing.assert_array_equal(drawn(image, mask), expected)
    soft = random_mask("uint8")
    as_float = (soft / np.float32(255)).astype(np.float32)
    as_word = soft.astype(np.uint16) * np.uint16(257)
    for other in (as_float, as_word):
        difference = drawn(image, soft).astype(float) - drawn(image, other).astype(float)
        assert np.abs(difference).max() <= (1e-6 if dtype == "float32" else 1)


@pytest.mark.parametrize("mask_dtype", [None, *SCALE])
@pytest.mark.parametrize("dtype", DTYPES)
def test_drawing_in_place_gives_the_same(dtype: str, mask_dtype: str | None) -> None:
    image = random_image(dtype)
    mask = None if mask_dtype is None else random_mask(mask_dtype)
    plan, expected = prepared(image), drawn(image, mask)
    result = CpuRenderer().draw(image, mask, plan, out=image)
    assert result is image
    np.testing.assert_array_equal(image, expected)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "flipped": lambda pixels: pixels[::-1],
    "mirrored": lambda pixels: pixels[:, ::-1],
    "BGR": lambda pixels: pixels[..., ::-1],
    "crop": lambda pixels: pixels[3:-3, 5:-7],
    "subsampled": lambda pixels: pixels[::2, ::3],
    "transposed": lambda pixels: pixels.transpose(1, 0, 2),
    "planar": lambda pixels: pixels.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "planar, every third": lambda pixels: LAYOUTS["planar"](pixels)[:, ::3],
    "RGBA": lambda pixels: np.dstack([pixels, pixels[..., :1]])[..., :3],
    "ABGR": lambda pixels: np.dstack([pixels[..., :1], pixels])[..., :0:-1],
    "one row for all": lambda pixels: np.broadcast_to(pixels[:1], pixels.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_image_of_any_layout_gives_the_same(dtype: str, layout: str) -> None:
    image = LAYOUTS[layout](random_image(dtype))
    mask = random_mask("uint8", *image.shape[:2])[::-1, ::-1]
    contiguous = np.ascontiguousarray(image)
    assert prepared(image) == prepared(contiguous)
    np.testing.assert_array_equal(drawn(image, mask), drawn(contiguous, mask.copy()))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "one row for all"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_of_any_layout_touches_nothing_else(dtype: str, layout: str) -> None:
    memory = np.full((60, 400, 4), 77, dtype)
    out = LAYOUTS[layout](memory[10:40, 20:320, :3])
    twin = LAYOUTS[layout](np.dstack([random_image(dtype, 60, 400)] * 2)[10:40, 20:320, :3])
    image = np.ascontiguousarray(twin)
    mask = random_mask("uint8", *out.shape[:2])
    whole = memory if out.base is memory else out.base
    assert whole is not None
    inside = np.zeros_like(whole, dtype=bool)
    offset = out.ctypes.data - whole.ctypes.data
    window = np.ndarray(
        out.shape,
        bool,
        inside,
        offset // out.itemsize,
        tuple(stride // out.itemsize for stride in out.strides),
    )
    window[...] = True
    before = whole[~inside].tobytes()
    for source, coverage in ((image, None), (image, mask), (twin, mask), (twin, 0 * mask)):
        CpuRenderer().draw(source, coverage, prepared(image), out=out)
        np.testing.assert_array_equal(out, drawn(image, coverage))
        assert whole[~inside].tobytes() == before


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 3), (1, 257), (300, 1), (2, 511), (3, 15)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_small_and_narrow_images_keep_their_borders(dtype: str, shape: tuple[int, int]) -> None:
    height, width = shape
    memory = np.full(height * width * 3 + 64, 77, dtype)
    out = memory[32:-32].reshape(height, width, 3)
    image, mask = random_image(dtype, height, width), random_mask("uint8", height, width)
    for coverage in (None, mask):
        for row in range(height):
            line = None if coverage is None else coverage[row : row + 1]
            CpuRenderer().draw(image[row : row + 1], line, prepared(image), out=out[row : row + 1])
        whole = CpuRenderer().draw(image, coverage, prepared(image))
        np.testing.assert_array_equal(out, whole)
        assert (memory[:32] == 77).all()
        assert (memory[-32:] == 77).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_number_of_threads_does_not_show(dtype: str) -> None:
    image, mask = random_image(dtype, 700, 900), random_mask("uint8", 700, 900)
    arguments = Arguments(("saturation", "temperature", "shadow", "contrast"), (0.3, 0.2, 0.3, 0.1))
    for case in (ARGUMENTS, arguments):
        plans = [CpuRenderer(threads).prepare(image, case) for threads in (1, 2, 7, None)]
        assert plans[1:] == plans[:-1]
        results = [CpuRenderer(n).apply(image, mask, plans[0]).tobytes() for n in (1, 2, 7, None)]
        assert results[1:] == results[:-1]


@pytest.mark.parametrize("shape", [(256, 256), (1080, 1920), (317, 413), (100, 90), (3001, 11)])
def test_thumbnail_matches_torch(shape: tuple[int, int]) -> None:
    renderer = CpuRenderer()
    for dtype in DTYPES:
        image, mask = random_image(dtype, *shape), random_mask(dtype, *shape)
        composite, coverage = renderer.thumbnail(image, mask)
        assert composite.shape == (1, 3, 256, 256)
        assert coverage.shape == (1, 1, 256, 256)
        planes = image.transpose(2, 0, 1)[None]
        for ours, source in ((composite, planes), (coverage, mask[None, None])):
            unit = torch.from_numpy((source / np.float32(SCALE[dtype])).astype(np.float32))
            theirs = torch.nn.functional.interpolate(
                unit, (256, 256), mode="bilinear", align_corners=False, antialias=False
            )
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=tolerances.THUMBNAIL)


def test_thumbnail_without_mask_covers_everything() -> None:
    image = random_image("uint8")
    composite, coverage = CpuRenderer().thumbnail(image[:, ::-1], None, size=32)
    assert composite.shape == (1, 3, 32, 32)
    assert (coverage == 1).all()
    booleans, _ = CpuRenderer().thumbnail(image, random_mask("bool"), size=32)
    assert 0 <= booleans.min() <= booleans.max() <= 1


def test_values_that_are_no_colours_do_not_crash() -> None:
    """What Python refuses may still come through the C interface."""
    image = random_image("float32")
    image[::3, ::5] = np.nan
    image[::4, 1::7] = np.inf
    image[1::4, ::7] = -1e30
    mask = np.full(image.shape[:2], 1e30, np.float32)
    mask[::2] = np.nan
    at = ctypes.byref(_native.Image(image.ctypes.data, 301, 37, *image.strides, _native.F32))
    covered = _native.Mask(mask.ctypes.data, 301, 37, *mask.strides, _native.F32)
    codes = [operation.code for operation in OPERATIONS.values()]
    for part in (codes[:MAX_FILTERS], codes[-MAX_FILTERS:]):
        program = _native.Program(len(part))
        program.curves.stages = 3
        program.curves.slopes[:] = (1.5,) * len(program.curves.slopes)
        for step, code in zip(program.steps, part, strict=False):
            step.operation, step.argument = code, 0.3
            step.statistics[:] = (0.5, 0.5, 0.5)
        _native.call("hz_render", at, ctypes.byref(covered), ctypes.byref(program), at, 1)
        _native.call("hz_measure", at, ctypes.byref(program), 1)


def test_render_needs_no_memory_beyond_the_images() -> None:
    script = """
import resource
import numpy as np
from harmonizer.arguments import Arguments
from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.renderer import CpuRenderer
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
arguments = Arguments(DEFAULT_FILTERS, (0.12, -0.15, 0.2, 0.25, -0.1, 0.15))
for dtype in (np.uint8, np.uint16, np.float32):
    image = np.full((7000, 7150, 3), 1, dtype)
    mask = np.full((7000, 7150), 200, np.uint8)
    renderer = CpuRenderer()
    before = peak()
    renderer.draw(image, mask, renderer.measure(image, arguments), out=image)
    renderer.thumbnail(image, mask)
    print(peak() - before)
    del image, mask
"""
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    megabytes = [int(line) / 1024 for line in output.split()]
    assert len(megabytes) == 3
    assert max(megabytes) < 16, f"{megabytes} MB for 50 megapixels"


def test_out_shifted_within_the_image_is_refused() -> None:
    memory = random_image("uint8", 9, 8)
    with pytest.raises(ValueError, match="share no memory with it"):
        CpuRenderer().draw(memory[:8], None, prepared(memory[:8]), out=memory[1:])


def test_mask_in_the_alpha_of_the_image_is_no_overlap() -> None:
    rgba = np.dstack([random_image("uint8"), random_mask("uint8")])
    expected = drawn(rgba[..., :3].copy(), rgba[..., 3].copy())
    alpha = rgba[..., 3].copy()
    CpuRenderer().draw(rgba[..., :3], rgba[..., 3], prepared(rgba[..., :3]), out=rgba[..., :3])
    np.testing.assert_array_equal(rgba[..., :3], expected)
    np.testing.assert_array_equal(rgba[..., 3], alpha)


def test_mask_in_the_red_of_the_image_is_refused_in_place() -> None:
    image = random_image("uint8")
    with pytest.raises(ValueError, match="`out` must share no memory with the mask"):
        CpuRenderer().draw(image, image[..., 0], prepared(image), out=image)


def test_the_passes_still_have_their_old_names() -> None:
    assert CpuRenderer.prepare is CpuRenderer.measure
    assert CpuRenderer.apply is CpuRenderer.draw
