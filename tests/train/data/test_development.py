"""Random developments, JPEG, and what the composer makes of them."""

import io

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from harmonizer.ops import DEFAULT_FILTERS
from train.data import inexact, reshaping
from train.data.batches import DICE as BATCH_DICE
from train.data.batches import Batch
from train.data.composites import Composer
from train.data.config import DataConfig
from train.data.development import DICE, develop, normal, to_linear, to_srgb, tone_curve
from train.data.jpeg import jpeg


@pytest.fixture(scope="module")
def photo() -> Tensor:
    picture = torch.from_numpy(skimage.data.astronaut()[:256, 128:384].copy())
    return picture.permute(2, 0, 1)[None].float() / 255


def test_srgb_both_ways_is_the_identity_and_knows_middle_grey() -> None:
    ramp = torch.linspace(0, 1, 4097)
    torch.testing.assert_close(to_srgb(to_linear(ramp)), ramp, atol=2e-6, rtol=0)
    assert to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404, abs=1e-5)


def test_normal_has_mean_0_deviation_1_and_finite_ends() -> None:
    z = normal(torch.rand(100_000, generator=torch.Generator().manual_seed(0)))
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    assert torch.isfinite(normal(torch.tensor([0.0, 1.0]))).all()


def test_develop_middle_numbers_change_nothing(photo: Tensor) -> None:
    torch.testing.assert_close(develop(photo, torch.full((1, DICE), 0.5)), photo, atol=1e-3, rtol=0)


def test_develop_exposure_of_one_stop_doubles_linear_light(photo: Tensor) -> None:
    dice = torch.full((1, DICE), 0.5)
    dice[0, 0] = 1.0  # full strength
    dice[0, 3] = 0.5 * (1 + torch.erf(torch.tensor(1 / 0.6 / 2**0.5)))  # exposure +1
    dark = photo * 0.5
    lit = to_linear(develop(dark, dice))
    torch.testing.assert_close(lit, (2 * to_linear(dark)).clamp(max=1), atol=3e-3, rtol=0)


def test_develop_grey_stays_grey_under_crosstalk_and_saturation() -> None:
    grey = torch.linspace(0, 1, 64).expand(1, 3, 8, 64).contiguous()
    dice = torch.full((1, DICE), 0.5)
    dice[0, 0], dice[0, 4:10], dice[0, 15] = 1.0, torch.rand(6), 0.95
    developed = develop(grey, dice)
    torch.testing.assert_close(developed[:, 0], developed[:, 2], atol=1e-5, rtol=0)


def test_develop_each_image_its_own_way_in_range(photo: Tensor) -> None:
    dice = torch.rand(16, DICE, generator=torch.Generator().manual_seed(3))
    developed = develop(photo.expand(16, -1, -1, -1), dice)
    assert developed.min() >= 0 and developed.max() <= 1
    change = (developed - photo).abs().mean(dim=(1, 2, 3))
    assert change.min() > 1e-3 and change.max() < 0.5 and change.std() > 0.01
    torch.testing.assert_close(develop(photo, dice[4:5])[0], developed[4], atol=1e-6, rtol=0)


def test_tone_curve_rises_whatever_the_moves() -> None:
    ramp = torch.linspace(0, 1, 257).expand(8, 3, 1, 257)
    moves = 4 * torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    curved = tone_curve(ramp, moves)
    assert (curved.diff(dim=3) >= -1e-6).all() and curved.min() >= 0 and curved.max() <= 1


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 98])
def test_jpeg_loses_what_a_codec_loses(photo: Tensor, quality: int) -> None:
    """Against Pillow's libjpeg, whose quality scale this is: the same error within 15 %."""
    levels = (photo[0].permute(1, 2, 0) * 255).byte().numpy()
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    coded = np.asarray(Image.open(file)).astype(np.float32) / 255
    theirs = torch.from_numpy(coded).permute(2, 0, 1)[None]
    ours = jpeg(photo, torch.tensor([float(quality)]))
    error, expected = ((x - photo).square().mean().sqrt() for x in (ours, theirs))
    assert error.item() == pytest.approx(expected.item(), rel=0.15)
    assert (ours - theirs).abs().mean() < 0.5 * expected


def make_batch(photo: Tensor, kinds: list[int]) -> Batch:
    n = len(kinds)
    generator = torch.Generator().manual_seed(11)
    mask = torch.zeros(n, 1, 64, 64)
    mask[:, :, 16:48, 8:40] = 1
    image = photo[..., ::4, ::4].expand(n, -1, -1, -1).contiguous()
    donor = torch.cat([1 - image, mask], dim=1)
    arguments = torch.rand(n, 6, generator=generator) * 0.6 - 0.3
    dice = torch.rand(n, BATCH_DICE, generator=generator)
    kind, label = torch.tensor(kinds), torch.zeros(n, dtype=torch.int64)
    jitter = torch.ones(n, 4)
    return Batch(image, mask, image.clone(), donor, kind, label, arguments, jitter, dice)


def test_composer_development_moves_target_and_background_together(photo: Tensor) -> None:
    config = DataConfig(transfer_share=0.3, retouch_share=0.3, develop_share=1.0)
    batch = make_batch(photo, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3])
    composite, _, targets = Composer(config, DEFAULT_FILTERS)(batch)
    target, outside = targets[-1], (batch.mask == 0).expand_as(composite)
    torch.testing.assert_close(composite[outside], target[outside], atol=1e-6, rtol=0)
    assert torch.equal(target[9], batch.photo[9]), "a pair's target is real"
    moved = (target - batch.photo)[:9].abs().mean(dim=(1, 2, 3))
    assert (moved > 1e-4).all()
    inside = ((composite - target) * batch.mask)[:9].abs().sum(dim=(1, 2, 3))
    assert (inside > 1).all()
    assert [len(t) for t in targets] == [3] * 5 + [10]


def test_composer_jpeg_goes_over_whole_composites_and_not_over_targets(photo: Tensor) -> None:
    batch = make_batch(photo, [0, 1, 2, 3])
    plain, _, targets = Composer(DataConfig(), DEFAULT_FILTERS)(batch)
    coded, _, same = Composer(DataConfig(jpeg_share=1.0), DEFAULT_FILTERS)(batch)
    assert all(torch.equal(a, b) for a, b in zip(targets, same, strict=True))
    assert torch.equal(coded[3], plain[3])
    outside = (batch.mask == 0).expand_as(coded)[:3]
    assert ((coded - plain)[:3].abs() * outside).mean() > 1e-4
    assert (coded - plain).abs().max() < 0.5


def test_composer_without_development_jitters_filtered_photographs_alone(photo: Tensor) -> None:
    batch = make_batch(photo, [0, 1, 2])
    _, _, targets = Composer(DataConfig(), DEFAULT_FILTERS)(batch)
    assert not torch.equal(targets[-1][0], batch.photo[0])
    assert torch.equal(targets[-1][1:], batch.photo[1:])


def test_composer_shows_inexact_masks_and_softens_composite_and_targets_alike(
    photo: Tensor,
) -> None:
    batch = make_batch(photo, [0, 0, 1, 2, 3])
    plain, exact, targets = Composer(DataConfig(), DEFAULT_FILTERS)(batch)
    config = DataConfig(soft_share=1.0, inexact_share=1.0)
    soft, shown, softer = Composer(config, DEFAULT_FILTERS)(batch)
    assert torch.equal(exact, batch.mask)
    assert (shown != batch.mask).flatten(1).any(dim=1).all()
    amount = batch.dice[:, -reshaping.DICE - inexact.DICE - 1]
    torch.testing.assert_close(soft[:4], inexact.soften(plain, amount)[:4])
    for before, after in zip(targets, softer, strict=True):
        count = min(len(before), 4)
        torch.testing.assert_close(
            after[:count], inexact.soften(before, amount[: len(before)])[:count]
        )
    assert torch.equal(soft[4], plain[4]) and torch.equal(softer[-1][4], targets[-1][4])
