"""Colours that files state by code points or by PNG's cHRM and gAMA, without an ICC profile."""

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from colour_profiles import colours, scene
from numpy.typing import NDArray
from PIL import Image

from harmonizer.cli import main
from harmonizer.images.code_points import by_code, by_numbers
from harmonizer.images.colour import Colours
from harmonizer.images.files import load_photo, save_photo
from harmonizer.images.icc import is_srgb

Array = NDArray[Any]

LOOK = ["--set", "temperature=0.3", "--set", "contrast=0.4", "--set", "saturation=-0.2"]
P3_PLACES = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)

STATED = {
    "cICP P3": ("Display P3", ((b"cICP", b"\x0c\x0d\0\1"),)),
    "cICP linear": ("linear sRGB", ((b"cICP", b"\x01\x08\0\1"),)),
    "gAMA linear": ("linear sRGB", ((b"gAMA", struct.pack(">I", 100000)),)),
    "gAMA and cHRM": (
        "Display P3",
        ((b"gAMA", struct.pack(">I", 45455)), (b"cHRM", struct.pack(">8I", *P3_PLACES))),
    ),
}
"""The profile of the same colours, and PNG's chunks that state them."""


def with_chunks(pixels: Array, chunks: tuple[tuple[bytes, bytes], ...]) -> bytes:
    file = bytes(imagecodecs.png_encode(pixels))
    extra = b""
    for kind, content in chunks:
        body = kind + content
        extra += struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
    return file[:33] + extra + file[33:]


def chunk(file: bytes, kind: bytes) -> bytes:
    at = file.index(kind)
    return file[at + 4 : at + 4 + int.from_bytes(file[at - 4 : at])]


@pytest.fixture
def mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Array:
    monkeypatch.chdir(tmp_path)
    values = np.zeros((60, 90), np.uint8)
    values[15:45, 20:70] = 255
    Image.fromarray(values).save("m.png")
    return values


def harmonize(source: str, target: str) -> Array:
    assert main(["image", source, "m.png", "-o", target, *LOOK, "--strength", "0"]) == 0
    pixels: Array = load_photo(target).pixels
    return pixels


@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_result_is_that_of_the_same_picture_in_srgb_and_says_the_same(
    name: str, kind: Any, mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    same, chunks = STATED[name]
    own = colours(same).from_srgb(scene())
    own = own if kind == np.uint16 else ((own.astype(int) + 128) // 257).astype(np.uint8)
    Path("own.png").write_bytes(with_chunks(own, chunks))
    save_photo("srgb.png", scene())
    wanted = harmonize("srgb.png", "wanted.png").astype(int)
    got = harmonize("own.png", "got.png")
    said = capsys.readouterr().err
    assert f"({chunks[-1][0].decode()})" in said and "are converted to sRGB for the filters" in said
    there = colours(same).to_srgb(got).astype(int)
    # A step of 8 bits of linear light is a wide one in the dark.
    slack = 257 if kind == np.uint16 else 1500 if same == "linear sRGB" else 4 * 257
    assert np.abs(there - wanted)[there.min(axis=2) > 12000].max() <= slack
    assert np.array_equal(got[mask == 0], own[mask == 0])
    file = Path("got.png").read_bytes()
    assert all(chunk(file, kind) == content for kind, content in chunks)
    assert b"iCCP" not in file


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".webp", ".avif"])
def test_other_formats_get_a_profile_of_the_same_colours(suffix: str, mask: Array) -> None:
    own = (colours("Display P3").from_srgb(scene()) >> 8).astype(np.uint8)
    Path("own.png").write_bytes(with_chunks(own, STATED["cICP P3"][1]))
    harmonize("own.png", f"got{suffix}")
    photo = load_photo(f"got{suffix}", colour_management=True)
    assert photo.icc and not is_srgb(photo.icc) and photo.colours is not None
    there = Colours(photo.icc, "").to_srgb(own).astype(int)
    assert np.abs(there - colours("Display P3").to_srgb(own)).max() <= 100


@pytest.mark.parametrize(("code", "name"), [((12, 13), "Display P3 (nclx)"), ((1, 13), "")])
def test_code_points_of_avif_count(code: tuple[int, int], name: str, tmp_path: Path) -> None:
    own = (colours("Display P3").from_srgb(scene()) >> 8).astype(np.uint8)
    data = imagecodecs.avif_encode(own, level=100, primaries=code[0], transfer=code[1], matrix=0)
    (tmp_path / "a.avif").write_bytes(data)
    photo = load_photo(tmp_path / "a.avif", colour_management=True)
    assert (photo.colours.name if photo.colours else "") == name
    if photo.colours is not None:
        assert np.abs(photo.colours.to_srgb(photo.pixels) - scene().astype(int)).mean() < 400


def test_code_points_of_heic_count(tmp_path: Path) -> None:
    library = pytest.importorskip("pillow_heif", reason="harmonizer[heif] is not installed")
    own = (colours("Display P3").from_srgb(scene()) >> 8).astype(np.uint8)
    library.from_bytes(mode="RGB", size=(90, 60), data=own.tobytes()).save(
        tmp_path / "a.heic", quality=-1, chroma=444, color_primaries=12, transfer_characteristics=13
    )
    photo = load_photo(tmp_path / "a.heic", colour_management=True)
    assert photo.colours is not None and photo.colours.name == "Display P3 (nclx)"


@pytest.mark.parametrize(
    ("code", "said"),
    [(b"\x09\x10\0\1", "PQ (SMPTE ST 2084) (cICP)"), (b"\x09\x12\0\1", "HLG (ARIB STD-B67)")],
)
def test_hdr_is_said_and_kept_where_that_can_be(
    code: bytes, said: str, mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.png").write_bytes(with_chunks(scene(), ((b"cICP", code),)))
    harmonize("own.png", "got.png")
    noted = capsys.readouterr().err
    assert f"its colours are of {said}" in noted and "look at the result" in noted
    assert chunk(Path("got.png").read_bytes(), b"cICP") == code
    harmonize("own.png", "got.tif")
    assert f"TIFF is not told that its colours are of {said}" in capsys.readouterr().err


def test_numbers_near_srgbs_are_srgb_and_impossible_ones_are_named() -> None:
    assert by_code(1, 13, "x") is None and by_code(2, 2, "x") is None and by_code(1, 1, "x") is None
    assert by_numbers(None, 2.2) is None
    unknown = by_code(22, 13, "cICP")
    assert unknown is not None and unknown.name == "code points 22/13 (cICP)"
    assert unknown.profile == b""
    odd = by_numbers((0.6, 0.0, 0.3, 0.6, 0.15, 0.06, 0.31, 0.33), 40.0)
    assert odd is not None and odd.profile == b"" and "gamma 40.00" in odd.name


def test_look_of_a_picture_in_other_colours_is_said_to_be_of_its_values(
    mask: Array, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.png").write_bytes(with_chunks(scene(), STATED["cICP P3"][1]))
    assert main(["lut", "own.png", "m.png", "-o", "o.cube"]) == 0
    assert "its colours are of Display P3 (cICP), not sRGB's" in capsys.readouterr().err
