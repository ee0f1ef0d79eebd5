"""Random regions: connected, of an object's area, along the edges of the picture."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy import ndimage

from export.samples import sample_photos
from train.data.regions import LARGEST, SMALLEST, enlarge, random_region, superpixels


def test_random_region_is_connected_whole_and_of_a_plausible_area() -> None:
    random = np.random.default_rng(0)
    areas = []
    for photo in sample_photos():
        square = np.asarray(Image.fromarray(photo.pixels).resize((256, 256)))
        labels = superpixels(square)
        planes = np.ascontiguousarray(square.transpose(2, 0, 1))
        for _ in range(40):
            mask = random_region(planes, labels, random)
            assert mask.shape == (256, 256) and mask.dtype == np.uint8
            sizes = np.sort(np.bincount(ndimage.label(mask > 127)[0].ravel())[1:])
            assert sizes[-1] > 0.9 * sizes.sum()  # the blur may nip off a tip
            areas.append(mask.mean() / 255)
    assert min(areas) > SMALLEST / 2 and max(areas) < LARGEST + 0.1
    assert 0.12 < np.median(areas) < 0.3
    assert np.std(areas) > 0.08


def test_random_region_follows_the_edges_of_the_picture() -> None:
    square = np.full((256, 256, 3), 40, np.uint8)
    square[60:180, 50:200] = (200, 160, 60)
    labels = superpixels(square)
    planes = np.ascontiguousarray(square.transpose(2, 0, 1))
    inside = np.zeros((256, 256), bool)
    inside[60:180, 50:200] = True
    purity = []
    for seed in range(30):
        mask = random_region(planes, labels, np.random.default_rng(seed)) > 127
        share = (mask & inside).sum() / mask.sum()
        purity.append(max(share, 1 - share))
    assert np.median(purity) > 0.9


@pytest.mark.parametrize("level", [0, 255])
def test_random_region_of_a_featureless_photograph_is_still_one(level: int) -> None:
    square = np.full((256, 256, 3), level, np.uint8)
    region = random_region(square.transpose(2, 0, 1), superpixels(square), np.random.default_rng(3))
    assert SMALLEST / 2 < region.mean() / 255 < LARGEST + 0.1


def test_random_region_along_the_whole_edge_does_not_swallow_the_picture() -> None:
    square = np.full((256, 256, 3), 40, np.uint8)
    square[28:-28, 28:-28] = (200, 160, 60)
    labels, planes = superpixels(square), square.transpose(2, 0, 1)
    areas = [
        random_region(planes, labels, np.random.default_rng(seed)).mean() / 255
        for seed in range(300)
    ]
    assert max(areas) < LARGEST + 0.1


def test_enlarge_is_bilinear_to_the_nearest_level() -> None:
    masks = torch.randint(0, 256, (5, 12, 12), generator=torch.Generator().manual_seed(2))
    wanted = F.interpolate(masks.double()[:, None], scale_factor=2, mode="bilinear")[:, 0]
    enlarged = enlarge(masks.to(torch.uint8))
    assert enlarged.dtype == torch.uint8 and enlarged.shape == wanted.shape
    assert (enlarged.double() - wanted).abs().max() <= 0.5
    full = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    assert torch.equal(enlarge(full), torch.full((1, 8, 8), 255, dtype=torch.uint8))
