"""Mask files: channels, labels, sizes, and the pair with their composite."""

import re
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from photographs import camera_exif, picture, picture16
from PIL import Image

from harmonizer.errors import ImageFileError
from harmonizer.images.files import (
    load_mask,
    load_pair,
)


def test_load_mask_channels_and_notes(tmp_path: Path) -> None:
    soft = picture()[..., 1]
    Image.fromarray(soft).save(tmp_path / "l.png")
    mask, notes = load_mask(tmp_path / "l.png")
    np.testing.assert_array_equal(mask, soft)
    assert notes == ()
    Image.fromarray(np.dstack([soft] * 3)).save(tmp_path / "rgb.tif")
    mask, notes = load_mask(tmp_path / "rgb.tif")
    np.testing.assert_array_equal(mask, soft)
    assert notes == ()
    Image.fromarray(picture()).save(tmp_path / "colour.png")
    mask, notes = load_mask(tmp_path / "colour.png")
    np.testing.assert_array_equal(mask, picture().max(axis=2))
    assert re.search("largest of red, green and blue: were .* swapped", notes[0])
    Image.fromarray(np.dstack([picture(), soft])).save(tmp_path / "rgba.webp", lossless=True)
    mask, notes = load_mask(tmp_path / "rgba.webp")
    np.testing.assert_array_equal(mask, soft)
    assert notes == ("the mask is its alpha channel",)
    Image.fromarray(np.dstack([soft, np.full_like(soft, 255)]), "LA").save(tmp_path / "la.png")
    mask, notes = load_mask(tmp_path / "la.png")
    np.testing.assert_array_equal(mask, soft)
    assert "opaque everywhere" in notes[0]
    Image.fromarray(soft > 99).save(tmp_path / "bit.png")
    mask, notes = load_mask(tmp_path / "bit.png")
    np.testing.assert_array_equal(mask, np.where(soft > 99, 255, 0))
    Image.fromarray(soft > 99).save(tmp_path / "bit.tif")
    mask, _ = load_mask(tmp_path / "bit.tif")
    np.testing.assert_array_equal(mask, np.where(soft > 99, 255, 0))
    deep = picture16(1)[..., 0]
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    mask, _ = load_mask(tmp_path / "deep.png")
    np.testing.assert_array_equal(mask, deep)


def test_load_mask_of_labels_is_refused(tmp_path: Path) -> None:
    labels = (picture()[..., 1] > 99).astype(np.uint8)
    Image.fromarray(labels).save(tmp_path / "labels.png")
    with pytest.raises(ImageFileError, match=r"must have 255 where.*is 1.*Multiply it by 255"):
        load_mask(tmp_path / "labels.png")
    Image.fromarray(np.dstack([picture(), labels])).save(tmp_path / "rgba.png")
    with pytest.raises(ImageFileError, match=r"Multiply it by 255"):
        load_pair(tmp_path / "rgba.png", None)
    palette = Image.fromarray(labels, "P")
    for colours, refused in (((128, 0, 0), True), ((255, 0, 0), False), ((200,) * 3, False)):
        palette.putpalette([0, 0, 0, *colours])
        for suffix in (".png", ".tif"):
            path = tmp_path / f"palette{suffix}"
            palette.save(path)
            if refused:
                with pytest.raises(ImageFileError, match=r"stand for labels.*128 of 255.*as 255"):
                    load_mask(path)
            else:
                np.testing.assert_array_equal(load_mask(path)[0], labels * max(colours))


def test_load_mask_applies_orientation(tmp_path: Path) -> None:
    soft = picture()[..., 1]
    Image.fromarray(soft).save(tmp_path / "a.png", exif=b"Exif\0\0" + camera_exif(6))
    mask, _ = load_mask(tmp_path / "a.png")
    np.testing.assert_array_equal(mask, np.rot90(soft, -1))


def test_load_pair_sizes_alpha_and_fit(tmp_path: Path) -> None:
    rgb, soft = picture(), picture()[..., 1]
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(np.dstack([rgb, soft])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([rgb, np.full_like(soft, 255)])).save(tmp_path / "opaque.png")
    Image.fromarray(soft[:20, :28]).save(tmp_path / "small.png")
    photo, mask, notes = load_pair(tmp_path / "rgba.png", None)
    np.testing.assert_array_equal(mask, soft)
    np.testing.assert_array_equal(photo.pixels, rgb)
    assert "its alpha channel is the mask" in notes[-1]
    with pytest.raises(ImageFileError, match=r"must have an alpha channel.*Name a mask file"):
        load_pair(tmp_path / "rgb.png", None)
    with pytest.raises(ImageFileError, match="opaque everywhere"):
        load_pair(tmp_path / "opaque.png", None)
    with pytest.raises(ImageFileError, match=r"28x20 for a 56x40 composite.*`fit_mask=True`"):
        load_pair(tmp_path / "rgb.png", tmp_path / "small.png")
    _, mask, notes = load_pair(tmp_path / "rgb.png", tmp_path / "small.png", fit_mask=True)
    assert mask.shape == (40, 56) and mask.dtype == np.uint8
    assert "scaled to fit" in notes[-1]


def test_load_pair_mask_of_unturned_composite_gets_a_hint(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + camera_exif(6))
    Image.fromarray(picture()[..., 0]).save(tmp_path / "m.png")
    with pytest.raises(ImageFileError, match="before its EXIF orientation"):
        load_pair(tmp_path / "a.jpg", tmp_path / "m.png")
