"""Put a cut-out on a background: the composite and the mask that everything else starts from.

The cut-out is scaled and turned in linear light, its colours weighted by its coverage, so that no
rim of the colours behind its alpha comes in. Soft edges are blended in sRGB-encoded values, as
editors and mattes do, and as the renderer's mask does. What is not scaled or turned keeps its
values, and where nothing covers it the background keeps its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.arrays import check_image
from harmonizer.checks import finite
from harmonizer.errors import PlacementError
from harmonizer.images.light import to_encoded, to_linear
from harmonizer.limits import MAX_PIXELS
from harmonizer.masks import check_mask, full_value, levels_of, settled

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[Any]
Position = float | str
"""Pixels, or a share of the background's side such as "25%"."""

ANCHORS = {
    f"{vertical}-{horizontal}".replace("middle-", "").replace("-center", "").strip("-"): (x, y)
    for vertical, y in (("top", 0.0), ("middle", 0.5), ("bottom", 1.0))
    for horizontal, x in (("left", 0.0), ("center", 0.5), ("right", 1.0))
}
"""Names of points of the foreground, and where they lie in it, (x, y) in [0, 1]."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A composite made of a foreground and a background.

    Attributes:
        composite: (H, W, 3), of the background's size and type.
        mask: (H, W) of the same type: how much of each pixel the foreground covers.
        notes: What a person should know.
    """

    composite: Array
    mask: Array
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Laid:
    """A foreground as it lies on a background, and nothing of that.

    Attributes:
        colours: (h, w, 3) float32 in [0, 1], straight and sRGB-encoded.
        coverage: (h, w) float32 in [0, 1].
        part: Where on the background: slices of rows and of columns.
        notes: What a person should know.
    """

    colours: NDArray[np.float32]
    coverage: NDArray[np.float32]
    part: tuple[slice, slice]
    notes: tuple[str, ...] = ()


def place(
    foreground: Array,
    background: Array,
    mask: Array | None = None,
    *,
    at: tuple[Position, Position] = ("50%", "50%"),
    anchor: str = "center",
    scale: float = 1.0,
    fit: bool = False,
    rotation: float = 0.0,
    associated: bool = False,
    clean_edges: bool = False,
    mask_levels: tuple[float, float] | None = None,
) -> Placed:
    """Put a foreground on a background at full resolution.

    Args:
        foreground: (h, w, 4) sRGB-encoded colours and coverage, or (h, w, 3) with a mask; uint8,
            uint16 or float32 in [0, 1].
        background: (H, W, 3) of one of these types.
        mask: (h, w) coverage in place of the foreground's own; its largest value covers.
        at: Where the anchor goes on the background, x to the right and y down: pixels, or a share
            such as "25%".
        anchor: The point of the foreground that goes there, one of `ANCHORS`.
        scale: Factor of the foreground's size.
        fit: Make it as large as fits into the background first; `scale` then applies to that.
        rotation: Degrees, counter-clockwise, about the anchor.
        associated: The colours are multiplied by the coverage already ("premultiplied").
        clean_edges: Estimate the foreground's own colours on soft edges, where a photograph's
            pixels hold some of its old background (Germer et al., Fast Multi-Level Foreground
            Estimation, 2020, by pymatting).
        mask_levels: (black, white): the values of the mask, or of the foreground's own coverage,
            that count as no and as full coverage, as `Harmonizer` has them; None for 0 and the
            largest value of its type.

    Returns:
        The composite, its mask, and notes. A foreground that reaches beyond the background is cut
        off, which is noted.

    Raises:
        TypeError, ValueError: If an array is none of these.
        MaskError: If the coverage nowhere reaches half of its type's largest value and there are no
            mask levels, as in labels.
        PlacementError: If a number is out of range, an anchor is unknown, the foreground has no
            coverage, covers everything it has, or lies outside of the background, or if pymatting
            is asked for and is not there.
    """
    check_image(background, "background")
    size = (background.shape[0], background.shape[1])
    if isinstance(foreground, np.ndarray) and foreground.shape[2:] == (4,):
        mask = foreground[..., 3] if mask is None else mask
        foreground = foreground[..., :3]
    check_image(foreground, "foreground")
    if mask is None:
        raise PlacementError(
            "the foreground must have an alpha channel, (h, w, 4), or a mask; got shape "
            f"{foreground.shape}. Cut it out, or pass `mask`."
        )
    mask = settled(mask, levels_of(mask_levels))
    how = (anchor, scale, fit, rotation, associated, clean_edges)
    return put(lay(foreground, size, mask, at, *how), background)


def put(laid: Laid, background: Array) -> Placed:
    """A foreground that lies on a background of its size, blended with it."""
    composite = background.copy()
    covered = np.zeros(background.shape[:2], background.dtype)
    composite[laid.part], covered[laid.part] = _blended(laid, background[laid.part])
    return Placed(composite, covered, laid.notes)


def lay(
    foreground: Array,
    size: tuple[int, int],
    mask: Array,
    at: tuple[Position, Position],
    anchor: str,
    scale: float,
    fit: bool,
    rotation: float,
    associated: bool,
    clean_edges: bool,
) -> Laid:
    """Scale, turn and move a foreground for backgrounds of a size, (height, width).

    The foreground is (h, w, 3), and the mask its coverage, with its levels applied. The other
    arguments and the errors are those of `place`.

    Raises:
        TypeError, ValueError, PlacementError: As `place` does.
    """
    colours, coverage, notes = _taken_apart(foreground, mask, associated, clean_edges)
    factor = _positive("scale", scale)
    turn = _number("rotation", rotation) % 360
    if not isinstance(anchor, str) or anchor not in ANCHORS:
        names = ", ".join(ANCHORS)
        raise PlacementError(f"`anchor` must be one of {names}; got {anchor!r}.")
    height, width = size
    point = (_position(at, 0, width), _position(at, 1, height))
    if fit:
        factor *= min(_fitting(coverage.shape, turn, (height, width)))
    layer, corner = _moved(colours, coverage, point, ANCHORS[anchor], factor, turn, (height, width))
    part, kept = _overlap(layer.shape[:2], corner, (height, width))
    if kept is None or not layer[kept][..., 3].any():
        raise PlacementError(
            f"the foreground must touch the background; placed with its {anchor} at "
            f"{point[0]:g},{point[1]:g} it lies outside of {width}x{height} pixels. Move it by "
            "`at`, or make it smaller by `scale` or `fit`."
        )
    lost = 1 - layer[kept][..., 3].sum(dtype=np.float64) / layer[..., 3].sum(dtype=np.float64)
    if lost > 0.001:
        notes.append(
            f"{lost:.1%} of the foreground lie outside of the background and are cut off; `fit` "
            "makes all of it fit"
        )
    return Laid(layer[kept][..., :3], layer[kept][..., 3], part, tuple(notes))


def _taken_apart(
    colours: Array, mask: Array, associated: bool, clean_edges: bool
) -> tuple[Array, Array, list[str]]:
    """Straight colours (h, w, 3) as they came, coverage (h, w) float32 in [0, 1], and notes."""
    check_image(colours, "foreground")
    check_mask(mask, colours)
    coverage = (
        mask.astype(np.float32)
        if mask.dtype == np.bool_
        else (mask / np.float32(full_value(mask.dtype))).astype(np.float32)
    )
    if not coverage.any():
        raise PlacementError("the foreground must be visible somewhere; its coverage is 0.")
    notes = []
    if coverage.min() == 1:
        notes.append("the foreground is opaque everywhere: it is placed as a rectangle")
    if associated:
        colours = _divided(colours, coverage)
    if clean_edges:
        colours = _cleaned(colours, coverage)
    return colours, coverage, notes


def _divided(colours: Array, coverage: Array) -> Array:
    """Straight colours from such that were multiplied by their coverage."""
    full = full_value(colours.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        straight = np.nan_to_num(colours / coverage[..., None], posinf=full)
    return as_type(np.minimum(straight, full) / full, colours.dtype)


def _cleaned(colours: Array, coverage: Array) -> Array:
    try:
        from pymatting import estimate_foreground_ml
    except ImportError as error:
        raise PlacementError(
            f"`clean_edges` needs pymatting, which cannot be imported ({error}). "
            'Install it: pip install "harmonizer[matting]".'
        ) from error
    unit = colours / full_value(colours.dtype)
    estimate = estimate_foreground_ml(unit, coverage.astype(np.float64))
    soft = (coverage > 0) & (coverage < 1)
    result: Array = colours.copy()
    result[soft] = as_type(np.clip(estimate[soft], 0, 1), colours.dtype)
    return result


def _fitting(shape: tuple[int, ...], turn: float, room: tuple[int, int]) -> tuple[float, float]:
    """The factors by which a foreground, turned, fills a background's height and width."""
    cosine, sine = abs(np.cos(np.radians(turn))), abs(np.sin(np.radians(turn)))
    height, width = shape
    return (
        room[0] / (height * cosine + width * sine),
        room[1] / (width * cosine + height * sine),
    )


def _moved(
    colours: Array,
    coverage: Array,
    point: tuple[float, float],
    anchor: tuple[float, float],
    factor: float,
    turn: float,
    room: tuple[int, int],
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """The foreground as it lies on the background.

    Returns:
        (h, w, 4) float32 in [0, 1], straight encoded colours and coverage; and where its first
        pixel lies on the background, (y, x).
    """
    quarters, rest = divmod(turn, 90)
    if quarters:
        colours, coverage = (np.rot90(array, int(quarters)) for array in (colours, coverage))
        for _ in range(int(quarters)):
            anchor = (anchor[1], 1 - anchor[0])
    height, width = coverage.shape
    size = (round(width * factor), round(height * factor))
    if 0 in size:
        raise PlacementError(
            f"the scaled foreground must be at least 1 pixel wide and high; {width}x{height} "
            f"scaled by {factor:g} has {size[0]}x{size[1]}. Use a larger `scale`."
        )
    most = max(4 * room[0] * room[1], height * width)
    if size[0] * size[1] > min(most, MAX_PIXELS):
        raise PlacementError(
            f"the scaled foreground must have at most {min(most, MAX_PIXELS):,} pixels here; "
            f"scaled by {factor:g} it would have {size[0]}x{size[1]}. Use a smaller `scale`, or "
            "crop it first."
        )
    if size == (width, height) and not rest:
        unit = (colours / np.float32(full_value(colours.dtype))).astype(np.float32)
        layer = np.dstack([unit, coverage])
    else:
        from PIL import Image

        planes = _weighted(colours, coverage)
        planes = [p.resize(size, Image.Resampling.BICUBIC) for p in planes]
        if rest:
            planes, anchor = _turned(planes, rest, anchor)
        layer = _straight(planes)
    rows, columns = layer.shape[:2]
    corner = (round(point[1] - anchor[1] * rows), round(point[0] - anchor[0] * columns))
    return layer, corner


def _weighted(colours: Array, coverage: Array) -> "list[Image.Image]":
    """Linear-light colours times coverage, and the coverage: four planes."""
    from PIL import Image

    linear = _to_linear(colours) * coverage[..., None]
    return [
        Image.fromarray(np.ascontiguousarray(p)) for p in (*np.moveaxis(linear, 2, 0), coverage)
    ]


def _turned(
    planes: "list[Image.Image]", degrees: float, anchor: tuple[float, float]
) -> "tuple[list[Image.Image], tuple[float, float]]":
    """Turn planes by less than a quarter, on a larger canvas, and where the anchor goes on it."""
    from PIL import Image

    width, height = planes[0].size
    angle = np.radians(degrees)
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    columns = int(np.ceil(width * cosine + height * sine)) + 2
    rows = int(np.ceil(height * cosine + width * sine)) + 2
    # A margin of two: bicubic interpolation gives nothing where it would look beyond an edge.
    wide = []
    for plane in planes:
        canvas = Image.new("F", (width + 4, height + 4))
        canvas.paste(plane, (2, 2))
        wide.append(canvas)
    # From the canvas back to the plane, about both centres; y points down.
    middle = (width / 2 + 2, height / 2 + 2)
    back = (
        cosine,
        -sine,
        middle[0] - cosine * columns / 2 + sine * rows / 2,
        sine,
        cosine,
        middle[1] - sine * columns / 2 - cosine * rows / 2,
    )
    turned = [
        p.transform((columns, rows), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
        for p in wide
    ]
    x, y = (anchor[0] - 0.5) * width, (anchor[1] - 0.5) * height
    return turned, (
        (cosine * x + sine * y) / columns + 0.5,
        (-sine * x + cosine * y) / rows + 0.5,
    )


def _straight(planes: "list[Image.Image]") -> NDArray[np.float32]:
    """Encoded straight colours and coverage from four weighted planes, (h, w, 4)."""
    *linear, coverage = (np.asarray(plane, np.float32) for plane in planes)
    covered = np.clip(coverage, 0, 1)
    covered[covered < 1 / 2048] = 0  # less than rounding shows, and no colour can be had from it
    # Interpolation overshoots in colours and coverage alike, which their ratio takes out again.
    weights = np.where(covered > 0, coverage, np.inf)
    colours = np.dstack(linear) / weights[..., None]
    return np.dstack([to_encoded(np.clip(colours, 0, 1)), covered]).astype(np.float32)


def _overlap(
    shape: tuple[int, ...], corner: tuple[int, int], room: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice] | None]:
    """Slices of what two rectangles share: of the room, and of the other (None if nothing)."""
    first = [max(c, 0) for c in corner]
    last = [min(c + n, r) for c, n, r in zip(corner, shape, room, strict=True)]
    if first[0] >= last[0] or first[1] >= last[1]:
        return (slice(0), slice(0)), None
    inside = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    own = tuple(slice(a - c, b - c) for a, b, c in zip(first, last, corner, strict=True))
    return (inside[0], inside[1]), (own[0], own[1])


def _blended(laid: Laid, background: Array) -> tuple[Array, Array]:
    """Composite and mask where a foreground covers a background, in the background's type."""
    full = full_value(background.dtype)
    mask = as_type(laid.coverage, background.dtype)
    share = (mask / full)[..., None]
    mixed = share * laid.colours + (1 - share) * (background / full)
    composite = np.where(mask[..., None] == 0, background, as_type(mixed, background.dtype))
    return composite, mask


def as_type(unit: Array, dtype: np.dtype[Any]) -> Array:
    """Values in [0, 1] as a type has them, rounded."""
    if dtype.kind == "f":
        return unit.astype(dtype)
    return np.floor(unit * full_value(dtype) + 0.5).astype(dtype)


def _to_linear(colours: Array) -> NDArray[np.float32]:
    """Linear-light values of sRGB-encoded ones (IEC 61966-2-1)."""
    if colours.dtype.kind == "f":
        return to_linear(colours)
    codes = np.arange(int(full_value(colours.dtype)) + 1) / full_value(colours.dtype)
    table: NDArray[np.float32] = to_linear(codes)[colours]
    return table


def _position(at: tuple[Position, Position], axis: int, side: int) -> float:
    if not isinstance(at, Sequence) or isinstance(at, str) or len(at) != 2:
        raise PlacementError(f'`at` must be two positions, such as (640, "80%"); got {at!r}.')
    value = at[axis]
    if isinstance(value, str) and value.endswith("%"):
        try:
            value = float(value[:-1]) / 100 * side
        except ValueError as error:
            raise PlacementError(f'a share must be like "25%"; got {value!r}.') from error
    return _number("at", value)


def _number(name: str, value: object) -> float:
    number = finite(value)
    if number is None:
        raise PlacementError(f"`{name}` must be a finite number; got {value!r}.")
    return number


def _positive(name: str, value: object) -> float:
    number = _number(name, value)
    if number <= 0:
        raise PlacementError(f"`{name}` must be above 0; got {value!r}.")
    return number
