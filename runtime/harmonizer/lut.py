"""Save a plan's colour function as a .cube 3D LUT, with its measured interpolation error.

For fixed arguments and statistics the filters are one function RGB -> RGB, which DaVinci Resolve,
Premiere, OBS and ffmpeg apply from a lattice (Adobe Cube LUT Specification 1.0). Between lattice
points they interpolate, trilinearly or tetrahedrally; where the function bends hard, as it does
near black under a shadow argument near 1, that shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from harmonizer.backends import Renderer
    from harmonizer.plan import Plan

SIZES = (33, 65)
"""Lattice points along each axis: what colour tools agree on."""

TOLERABLE = 4.0
"""Levels of 255 by which an interpolated LUT may be off before a person is warned: a step that can
be seen in a smooth gradient."""

_CHUNK = 1 << 18

Floats = NDArray[np.float32]
Integers = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class InterpolationError:
    """How far an interpolated LUT is from the filters, in 8-bit levels over the foreground."""

    interpolation: str
    maximum: float
    mean: float
    p999: float

    def __str__(self) -> str:
        return (
            f"{self.interpolation}: maximum {self.maximum:.2f}, mean {self.mean:.4f}, "
            f"99.9 % below {self.p999:.2f} levels of 255"
        )


def build_lattice(renderer: "Renderer", plan: "Plan", size: int) -> Floats:
    """Draw the identity lattice.

    Args:
        renderer: Draws float32 images.
        plan: Arguments and statistics of one image.
        size: 33 or 65.

    Returns:
        (size, size, size, 3) float32 in [0, 1], indexed [blue, green, red].

    Raises:
        ValueError: If the size is neither.
    """
    if size not in SIZES:
        raise ValueError(f"`size` must be one of {', '.join(map(str, SIZES))}; got {size}.")
    axis = np.linspace(0, 1, size, dtype=np.float32)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    identity = np.stack([red, green, blue], axis=-1).reshape(size * size, size, 3)
    drawn: Floats = renderer.draw(identity, None, plan)
    return drawn.reshape(size, size, size, 3)


def format_cube(lattice: Floats, title: str, comments: tuple[str, ...] = ()) -> bytes:
    """The .cube text: red varies fastest, then green, then blue.

    Args:
        lattice: (size, size, size, 3), indexed [blue, green, red].
        title: Quotes and line breaks in it become spaces; what UTF-8 cannot hold, such as the
            odd bytes of a file name, becomes "?".
        comments: Lines put behind `#`.
    """
    return _cube(f"LUT_3D_SIZE {len(lattice)}", lattice, title, comments)


def format_curves(table: Floats, title: str, comments: tuple[str, ...] = ()) -> bytes:
    """The .cube text of a one-dimensional LUT, which holds curves without loss between channels.

    Args:
        table: (n, 3): what R, G and B become at n evenly spaced values from 0 to 1.
        title, comments: As in `format_cube`.
    """
    return _cube(f"LUT_1D_SIZE {len(table)}", table, title, comments)


def _cube(size: str, entries: Floats, title: str, comments: tuple[str, ...]) -> bytes:
    clean = " ".join(title.replace('"', " ").split())
    head = "".join(f"# {' '.join(line.split())}\n" for line in comments)
    head += f'TITLE "{clean}"\n{size}\n'
    head += "DOMAIN_MIN 0.0 0.0 0.0\nDOMAIN_MAX 1.0 1.0 1.0\n"
    numbers = tuple(entries.reshape(-1).tolist())
    body = "%.7f %.7f %.7f\n" * (len(numbers) // 3) % numbers
    return (head + body).encode("utf-8", "replace")


def interpolate_trilinear(lattice: Floats, colours: Floats) -> Floats:
    """Look (N, 3) colours in [0, 1] up by trilinear interpolation; returns (N, 3)."""
    corner, part = _cell(lattice, colours)
    result = np.zeros_like(colours)
    for red in (0, 1):
        for green in (0, 1):
            for blue in (0, 1):
                weight = np.prod(
                    np.where(np.array([red, green, blue], bool), part, 1 - part), axis=1
                )
                value = lattice[corner[:, 2] + blue, corner[:, 1] + green, corner[:, 0] + red]
                result += weight[:, None] * value
    return result


def interpolate_tetrahedral(lattice: Floats, colours: Floats) -> Floats:
    """Look (N, 3) colours in [0, 1] up by tetrahedral interpolation; returns (N, 3)."""
    corner, part = _cell(lattice, colours)
    result = np.empty_like(colours)
    order = np.argsort(-part, axis=1, kind="stable")
    for path in permutations(range(3)):
        chosen = (order == path).all(axis=1)
        at, fraction = corner[chosen].copy(), part[chosen][:, path]
        weights = -np.diff(fraction, axis=1, prepend=1, append=0)
        value = weights[:, :1] * lattice[at[:, 2], at[:, 1], at[:, 0]]
        for step, axis in enumerate(path):
            at[:, axis] += 1
            value += weights[:, step + 1 : step + 2] * lattice[at[:, 2], at[:, 1], at[:, 0]]
        result[chosen] = value
    return result


def _cell(lattice: Floats, colours: Floats) -> tuple[Integers, Floats]:
    """The lattice cell of each colour, and where in the cell it lies."""
    position = colours * np.float32(len(lattice) - 1)
    corner = np.minimum(position.astype(np.intp), len(lattice) - 2)
    return corner, (position - corner).astype(np.float32)


INTERPOLATIONS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "trilinear": interpolate_trilinear,
    "tetrahedral": interpolate_tetrahedral,
}


def measure_errors(
    renderer: "Renderer",
    plan: "Plan",
    lattice: Floats,
    image: NDArray[Any],
    mask: NDArray[Any],
) -> tuple[InterpolationError, ...]:
    """Compare interpolated LUTs with the filters themselves on an image's foreground.

    Both sides are float32; the differences are counted in 8-bit levels over all channels of the
    pixels whose mask is above 0.

    Args:
        renderer: Draws float32 images.
        plan: What the lattice was built from.
        lattice: From `build_lattice`.
        image: (H, W, 3) uint8, uint16 or float32.
        mask: (H, W), with at least one pixel above 0.

    Returns:
        One entry per interpolation.

    Raises:
        ValueError: If the mask is empty.
    """
    colours = image[mask > 0]
    if not len(colours):
        raise ValueError("`mask` must have a foreground to measure on; it is empty.")
    scale = np.float32(np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1)
    found: dict[str, list[Floats]] = {name: [] for name in INTERPOLATIONS}
    for start in range(0, len(colours), _CHUNK):
        chunk = colours[start : start + _CHUNK].astype(np.float32) / scale
        exact: Floats = renderer.draw(chunk[None], None, plan)[0]
        for name, interpolate in INTERPOLATIONS.items():
            found[name].append(np.abs(interpolate(lattice, chunk) - exact).ravel() * 255)
    errors = []
    for name, parts in found.items():
        levels = np.concatenate(parts)
        errors.append(
            InterpolationError(
                name,
                float(levels.max()),
                float(levels.mean(dtype=np.float64)),
                float(np.percentile(levels, 99.9)),
            )
        )
    return tuple(errors)
