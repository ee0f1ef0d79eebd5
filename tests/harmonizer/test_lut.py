"""The .cube writer: format, lattice, and interpolation against slow references."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from scipy.interpolate import RegularGridInterpolator

from harmonizer.arguments import Arguments
from harmonizer.lut import (
    SIZES,
    build_lattice,
    format_cube,
    interpolate_tetrahedral,
    interpolate_trilinear,
    measure_errors,
)
from harmonizer.plan import Plan
from harmonizer.renderer import CpuRenderer

MILD = Arguments.from_mapping(
    {
        "temperature": 0.1,
        "brightness": 0.2,
        "contrast": -0.2,
        "saturation": 0.3,
        "highlight": -0.1,
        "shadow": 0.1,
    }
)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.coffee()[:200, :300])


def plan_for(image: np.ndarray, arguments: Arguments) -> tuple[CpuRenderer, Plan]:
    renderer = CpuRenderer(1)
    return renderer, renderer.measure(image, arguments)


def test_build_lattice_identity_is_the_ramp(image: np.ndarray) -> None:
    renderer, plan = plan_for(image, Arguments.identity())
    lattice = build_lattice(renderer, plan, 33)
    axis = np.linspace(0, 1, 33)
    np.testing.assert_allclose(lattice[3, 5, :, 0], axis, atol=2e-6)
    np.testing.assert_allclose(lattice[3, :, 5, 1], axis, atol=2e-6)
    np.testing.assert_allclose(lattice[:, 3, 5, 2], axis, atol=2e-6)


def test_build_lattice_point_is_the_filters_of_that_colour(image: np.ndarray) -> None:
    renderer, plan = plan_for(image, MILD)
    lattice = build_lattice(renderer, plan, 33)
    colour = np.array([[[4 / 32, 20 / 32, 31 / 32]]], np.float32)
    np.testing.assert_allclose(lattice[31, 20, 4], renderer.draw(colour, None, plan)[0, 0])


def test_build_lattice_other_size_is_refused(image: np.ndarray) -> None:
    renderer, plan = plan_for(image, MILD)
    with pytest.raises(ValueError, match=r"`size` must be one of 33, 65; got 17"):
        build_lattice(renderer, plan, 17)


@pytest.mark.parametrize("size", SIZES)
def test_format_cube_parses_and_red_varies_fastest(
    tmp_path: Path, image: np.ndarray, size: int
) -> None:
    renderer, plan = plan_for(image, MILD)
    lattice = build_lattice(renderer, plan, size)
    text = format_cube(lattice, 'a "title"\nof two lines', ("a remark",)).decode()
    lines = text.splitlines()
    assert lines[0] == "# a remark"
    assert lines[1] == 'TITLE "a title of two lines"'
    assert lines[2] == f"LUT_3D_SIZE {size}"
    body = lines[5:]
    assert len(body) == size**3
    assert all(re.fullmatch(r"\d\.\d{6,} \d\.\d{6,} \d\.\d{6,}", line) for line in body[::97])
    path = tmp_path / "a.cube"
    path.write_text(text)
    table = np.loadtxt(path, skiprows=5).reshape(size, size, size, 3)
    np.testing.assert_allclose(table, lattice, atol=6e-8)


def test_format_cube_odd_bytes_of_a_name_become_question_marks() -> None:
    title = b"a\xff".decode("utf-8", "surrogateescape")
    assert b'TITLE "a?"' in format_cube(np.zeros((33, 33, 33, 3), np.float32), title)


@pytest.mark.parametrize("interpolate", [interpolate_trilinear, interpolate_tetrahedral])
def test_interpolate_a_linear_function_is_exact(interpolate) -> None:
    axis = np.linspace(0, 1, 33, dtype=np.float32)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    lattice = np.stack([red, 0.5 * green + 0.25 * blue, 1 - blue], axis=-1).astype(np.float32)
    colours = np.random.default_rng(3).random((5000, 3), dtype=np.float32)
    colours[:8] = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, 8).T
    expected = np.stack(
        [colours[:, 0], 0.5 * colours[:, 1] + 0.25 * colours[:, 2], 1 - colours[:, 2]], axis=1
    )
    np.testing.assert_allclose(interpolate(lattice, colours), expected, atol=3e-6)


def test_interpolate_trilinear_is_scipys() -> None:
    generator = np.random.default_rng(4)
    lattice = generator.random((33, 33, 33, 3), dtype=np.float32)
    colours = generator.random((4000, 3), dtype=np.float32)
    axis = np.linspace(0, 1, 33)
    expected = RegularGridInterpolator((axis, axis, axis), lattice)(colours[:, ::-1])
    np.testing.assert_allclose(interpolate_trilinear(lattice, colours), expected, atol=2e-5)


def test_interpolate_tetrahedral_is_the_definition() -> None:
    """Walk from the cell's black corner to its white one, largest fraction first."""
    generator = np.random.default_rng(4)
    lattice = generator.random((33, 33, 33, 3), dtype=np.float32)
    colours = generator.random((300, 3), dtype=np.float32)
    colours[:4, 1] = colours[:4, 0]  # equal fractions: two walks meet
    found = interpolate_tetrahedral(lattice, colours)
    for colour, value in zip(colours, found, strict=True):
        position = colour.astype(np.float64) * 32
        corner = np.minimum(position.astype(int), 31)
        part = position - corner
        at, expected = list(corner), lattice[corner[2], corner[1], corner[0]].astype(np.float64)
        for axis in np.argsort(-part, kind="stable"):
            before = lattice[at[2], at[1], at[0]].astype(np.float64)
            at[axis] += 1
            expected = expected + part[axis] * (lattice[at[2], at[1], at[0]] - before)
        np.testing.assert_allclose(value, expected, atol=2e-5)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_measure_errors_identity_is_zero_for_every_type(image: np.ndarray, kind: type) -> None:
    scaled = {
        np.uint8: image,
        np.uint16: image.astype(np.uint16) * 257,
        np.float32: (image / 255).astype(np.float32),
    }[kind]
    renderer, plan = plan_for(scaled, Arguments.identity())
    lattice = build_lattice(renderer, plan, 33)
    for error in measure_errors(renderer, plan, lattice, scaled, np.ones(image.shape[:2], bool)):
        assert error.maximum < 1e-3


def test_measure_errors_falls_with_the_size_and_grows_with_the_arguments(
    image: np.ndarray,
) -> None:
    mask = np.ones(image.shape[:2], np.uint8)

    def worst(arguments: Arguments, size: int) -> float:
        renderer, plan = plan_for(image, arguments)
        lattice = build_lattice(renderer, plan, size)
        errors = measure_errors(renderer, plan, lattice, image, mask)
        assert [error.interpolation for error in errors] == ["trilinear", "tetrahedral"]
        assert all(error.mean <= error.p999 <= error.maximum for error in errors)
        assert "levels of 255" in str(errors[0])
        return errors[0].mean

    assert worst(MILD, 65) < worst(MILD, 33) < 0.5
    assert worst(Arguments.from_mapping({**MILD, "shadow": 0.95}), 33) > worst(MILD, 33)


def test_measure_errors_empty_mask_is_refused(image: np.ndarray) -> None:
    renderer, plan = plan_for(image, MILD)
    lattice = build_lattice(renderer, plan, 33)
    with pytest.raises(ValueError, match=r"must have a foreground.*empty"):
        measure_errors(renderer, plan, lattice, image, np.zeros(image.shape[:2], np.uint8))
