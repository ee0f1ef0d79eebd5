"""Cut-outs on backgrounds: values kept, no rims, light averaged as light, anchors where asked."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import harmonizer
from harmonizer import PlacementError, place
from harmonizer.errors import MaskError
from harmonizer.placement import ANCHORS

Array = NDArray[Any]
RED = (200, 30, 40)


def disc(side: int = 64, colour: tuple[int, int, int] = RED, behind: int = 0) -> Array:
    """A soft disc of one colour; where nothing covers, other colours lie behind the alpha."""
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    alpha = np.clip(side * 0.4 - np.hypot(x, y) + 0.5, 0, 1)
    rgba = np.empty((side, side, 4), np.uint8)
    rgba[..., :3] = np.where((alpha > 0)[..., None], colour, behind)
    rgba[..., 3] = np.round(alpha * 255)
    return rgba


def grain(height: int, width: int, dtype: str = "uint8") -> Array:
    rng = np.random.default_rng(5)
    if dtype == "float32":
        return rng.random((height, width, 3), np.float32)
    return rng.integers(0, np.iinfo(dtype).max, (height, width, 3), dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("own", ["uint8", "uint16", "float32"])
def test_unscaled_foreground_keeps_its_values_and_the_background_its_own(
    dtype: str, own: str
) -> None:
    full = {"uint8": 255, "uint16": 65535, "float32": 1}
    cut = disc(20).astype(np.float64) / 255 * full[own]
    cut = (np.round(cut) if own != "float32" else cut).astype(own)
    background = grain(40, 50, dtype)
    placed = place(cut, background, at=(30, 20))
    assert placed.composite.dtype == placed.mask.dtype == background.dtype
    box = np.s_[10:30, 20:40]
    alpha = np.zeros((40, 50))
    alpha[box] = cut[..., 3] / full[own]
    assert np.abs(placed.mask / full[dtype] - alpha).max() <= 0.5 / full[dtype] + 1e-7
    assert np.array_equal(placed.composite[placed.mask == 0], background[placed.mask == 0])
    truth = background / full[dtype]
    share = (placed.mask / full[dtype])[..., None]
    truth[box] = (
        share * np.pad(cut[..., :3] / full[own], ((10, 10), (20, 10), (0, 0))) + (1 - share) * truth
    )[box]
    assert np.abs(placed.composite / full[dtype] - truth).max() <= 0.51 / full[dtype] + 1e-6
    if own == dtype:
        inside = placed.mask[box] == full[dtype]
        assert inside.any()
        assert np.array_equal(placed.composite[box][inside], cut[..., :3][inside])


@pytest.mark.parametrize("behind", [0, 255])
@pytest.mark.parametrize(("scale", "rotation"), [(0.37, 0), (1.9, 0), (1, 33), (0.61, 301), (2, 7)])
def test_no_rim_of_what_lies_behind_the_alpha(behind: int, scale: float, rotation: float) -> None:
    """Of one colour on the same colour nothing can be seen, whatever lies behind the alpha."""
    background = np.empty((150, 150, 3), np.uint8)
    background[:] = RED
    placed = place(disc(behind=behind), background, scale=scale, rotation=rotation)
    assert placed.mask.max() == 255
    assert 0 < (placed.mask == 0).mean() < 1
    difference = placed.composite.astype(int) - RED
    assert np.abs(difference).max() <= 1
    area = np.pi * (0.4 * round(64 * scale)) ** 2
    assert placed.mask.sum() / 255 == pytest.approx(area, rel=0.02)


def test_light_is_averaged_as_light() -> None:
    board = np.zeros((64, 64, 4), np.uint8)
    board[..., 3] = 255
    board[(np.indices((64, 64)).sum(0) % 2) == 0, :3] = 255
    placed = place(board, np.zeros((40, 40, 3), np.uint8), scale=0.25)
    middle = placed.composite[16:24, 16:24]
    assert np.abs(middle.astype(int) - 188).max() <= 1  # half of the light, not 128


@pytest.mark.parametrize("anchor", sorted(ANCHORS))
@pytest.mark.parametrize("rotation", [0, 90, 180, 270, 30, 117.5])
def test_anchor_lands_where_it_was_asked(anchor: str, rotation: float) -> None:
    """A dot at the anchor is found at the place, however the foreground is turned."""
    height, width = 41, 81
    cut = np.zeros((height, width, 4), np.uint8)
    x, y = ANCHORS[anchor]
    row, column = min(int(y * height), height - 3), min(int(x * width), width - 3)
    cut[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = 255
    placed = place(
        cut, np.zeros((300, 400, 3), np.uint8), at=(200, "50%"), anchor=anchor, rotation=rotation
    )
    rows, columns = np.indices(placed.mask.shape) + 0.5
    total = placed.mask.sum()
    found = ((columns * placed.mask).sum() / total, (rows * placed.mask).sum() / total)
    assert np.hypot(found[0] - 200, found[1] - 150) < 4.5


def test_quarter_turns_move_pixels_and_change_none() -> None:
    cut = np.dstack([grain(20, 30), np.full((20, 30), 255, np.uint8)])
    background = np.zeros((40, 40, 3), np.uint8)
    placed = place(cut, background, rotation=90)
    assert np.array_equal(placed.composite[5:35, 10:30], np.rot90(cut[..., :3]))
    assert "rectangle" in " ".join(placed.notes)
    assert np.array_equal(place(cut, background, rotation=-270).composite, placed.composite)


def test_turned_picture_agrees_with_its_turned_function() -> None:
    """A smooth picture, turned counter-clockwise about its middle, is the function turned."""
    side = 121
    y, x = np.mgrid[:side, :side] + 0.5 - side / 2
    value = 0.5 + 0.3 * np.sin(x / 12) * np.cos(y / 17 + 0.4)
    cut = np.dstack([value] * 3 + [np.ones_like(value)]).astype(np.float32)
    placed = place(cut, np.zeros((side, side, 3), np.float32), rotation=25)
    angle = np.radians(25)
    # What lies at (x, y) came from where a clockwise turn leads.
    u, v = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y
    truth = 0.5 + 0.3 * np.sin(u / 12) * np.cos(v / 17 + 0.4)
    inside = np.hypot(x, y) < side * 0.45
    assert np.abs(placed.composite[..., 0] - truth)[inside].max() < 0.01


@pytest.mark.parametrize("rotation", [0, 90, 40])
def test_fit_fills_the_background_and_no_more(rotation: float) -> None:
    cut = np.full((50, 200, 4), 255, np.uint8)
    placed = place(cut, np.zeros((90, 120, 3), np.uint8), fit=True, rotation=rotation)
    rows, columns = np.nonzero(placed.mask > 100)
    assert rows.max() - rows.min() >= 85 or columns.max() - columns.min() >= 115
    assert not any("cut off" in note for note in placed.notes)


def test_associated_colours_are_taken_apart() -> None:
    straight = disc(40)
    associated = straight.copy()
    associated[..., :3] = np.round(straight[..., :3] * (straight[..., 3:] / 255))
    background = grain(50, 50)
    wanted = place(straight, background)
    got = place(associated, background, associated=True)
    assert np.array_equal(got.mask, wanted.mask)
    assert np.abs(got.composite.astype(int) - wanted.composite).max() <= 1
    wrong = place(associated, background)
    assert np.abs(wrong.composite.astype(int) - wanted.composite).max() > 10


@pytest.mark.slow  # compiles for half a minute
def test_clean_edges_finds_the_foregrounds_own_colours() -> None:
    """A photograph of a soft red disc before green, whose colours are known."""
    pytest.importorskip("pymatting", reason="harmonizer[matting] is not installed")
    truth = disc(80)
    alpha = truth[..., 3]
    share = alpha[..., None] / 255
    photo = np.round(share * RED + (1 - share) * (20, 220, 60)).astype(np.uint8)
    blue = np.empty((100, 100, 3), np.uint8)
    blue[:] = (30, 40, 230)
    wanted = place(truth, blue).composite.astype(int)
    plain = place(photo, blue, alpha).composite.astype(int)
    clean = place(photo, blue, alpha, clean_edges=True).composite.astype(int)
    assert np.abs(plain - wanted).max() > 30
    assert np.abs(clean - wanted).max() <= 6


def test_clean_edges_without_its_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pymatting", None)
    with pytest.raises(PlacementError, match=r"harmonizer\[matting\]"):
        place(disc(), grain(80, 80), clean_edges=True)


def test_foreground_beyond_the_border_is_cut_off_and_said() -> None:
    placed = place(disc(40), grain(60, 60), at=(0, 30))
    assert "50.0% of the foreground" in placed.notes[0]
    assert placed.mask[:, 20:].sum() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"at": (500, 10)}, "lies outside of 80x60"),
        ({"at": ("x%", 1)}, 'like "25%"'),
        ({"at": (1,)}, "two positions"),
        ({"at": (1, 2, 3)}, "two positions"),
        ({"at": {"x": 1, "y": 2}}, "two positions"),
        ({"at": "ab"}, "two positions"),
        ({"at": ("10", 1)}, "finite number"),
        ({"scale": 0}, "above 0"),
        ({"scale": float("nan")}, "finite number"),
        ({"scale": 1e9}, "scaled foreground must have at most"),
        ({"scale": 1e-9}, "must be at least 1 pixel wide and high; .* has 0x0"),
        ({"rotation": float("inf")}, "finite number"),
        ({"anchor": "centre"}, "top-left"),
        ({"anchor": ["top"]}, "top-left"),
    ],
)
def test_placement_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PlacementError, match=said):
        place(disc(30), grain(60, 80), **options)


def test_foregrounds_without_coverage_are_refused() -> None:
    with pytest.raises(PlacementError, match="alpha channel"):
        place(grain(10, 10), grain(20, 20))
    nothing = np.zeros((10, 10, 4), np.uint8)
    with pytest.raises(PlacementError, match="visible somewhere"):
        place(nothing, grain(20, 20))
    with pytest.raises(ValueError, match="`mask` must have the composite's"):
        place(grain(10, 10), grain(20, 20), np.zeros((3, 3), np.uint8))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
def test_labels_cover_nothing_without_a_scale_and_all_with_one(kind: Any) -> None:
    """A mask of 0 and 1 would place one part in 255 of the foreground."""
    foreground, background = disc(30), grain(60, 80)
    foreground[..., 3] = (foreground[..., 3] > 127) * 255
    wanted = place(foreground, background)
    labels = (foreground[..., 3] > 127).astype(kind)
    with pytest.raises((MaskError, TypeError), match=r"mask_levels=\(0, 1\).*`place`"):
        place(foreground[..., :3], background, labels)
    placed = place(foreground[..., :3], background, labels, mask_levels=(0, 1))
    assert np.array_equal(placed.composite, wanted.composite)
    assert np.array_equal(placed.mask, wanted.mask)


def test_faint_coverage_is_refused_unless_it_is_meant() -> None:
    foreground, background = disc(30), grain(60, 80)
    foreground[..., 3] = foreground[..., 3] // 3
    with pytest.raises(MaskError, match="reach half of it somewhere; its largest value is 85"):
        place(foreground, background)
    assert place(foreground, background, mask_levels=(0, 255)).mask.max() == 85
    assert place(foreground, background, mask_levels=(0, 85)).mask.max() == 255


@pytest.mark.parametrize("levels", [5, (1,), (1, 2, 3), "ab"])
def test_mask_levels_that_are_no_pair_are_refused(levels: Any) -> None:
    with pytest.raises(TypeError, match="`mask_levels` must be two numbers"):
        place(disc(30), grain(60, 80), mask_levels=levels)
    with pytest.raises(TypeError, match="`mask_levels` must be two numbers"):
        harmonizer.Harmonizer(mask_levels=levels)


def test_place_is_public() -> None:
    assert harmonizer.place is place
    assert "place" in harmonizer.__all__
