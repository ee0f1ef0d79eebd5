"""Batches that follow from seed and step alone, whatever reads them."""

import dataclasses
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from training_data import DARKER, make_batches, write_tree

from harmonizer.ops import DEFAULT_FILTERS
from train.data.batches import PAIRED, RECOLOURED, RETOUCHED, Batch, measure_loader
from train.data.composites import Composer
from train.data.config import DataConfig
from train.data.crops import crop_images
from train.data.packing import decode
from train.data.photos import open_photos

FIELDS = [field.name for field in dataclasses.fields(Batch)]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("iharmony4"))


@pytest.fixture
def both(photo_folder: Path, tree: Path, cache: str) -> DataConfig:
    return DataConfig(photos=(str(photo_folder),), pairs=str(tree), cache=cache)


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def test_batches_both_streams_hold_what_the_fields_say(both: DataConfig) -> None:
    batches = make_batches(both, batch=8, size=96)
    assert batches.images == 4 + 16 and batches.steps_per_epoch == 3 and batches.skipped == ()
    for batch in (batches[0], batches[5]):
        assert batch.photo.shape == batch.composite.shape == (8, 3, 96, 96)
        assert batch.mask.shape == (8, 1, 96, 96) and batch.arguments.shape == (8, 6)
        assert batch.synthetic.tolist() == [True] * 4 + [False] * 4
        assert torch.equal(batch.photo[:4], batch.composite[:4])
        assert (batch.arguments[:4] != 0).all() and (batch.arguments[4:] == 0).all()
        assert (batch.jitter[:4] != 0).all() and (batch.jitter[4:] == 0).all()
        assert batch.jitter.abs().max() <= 1
        for image in (batch.photo, batch.mask, batch.composite):
            assert image.dtype == torch.float32 and image.min() >= 0 and 0 < image.max() <= 1
        assert (batch.mask.mean(dim=(1, 2, 3)) > 0.003).all()


def test_batches_colour_transfer_changes_the_foreground_alone(both: DataConfig) -> None:
    config = dataclasses.replace(both, transfer_share=0.25, retouch_share=0.25)
    batches = make_batches(config, batch=8)
    batch = batches[3]
    assert batch.kind.tolist() == [0, 0, RECOLOURED, RETOUCHED, *[PAIRED] * 4]
    assert (batch.arguments[2:] == 0).all() and (batch.jitter[2:] == 0).all()
    assert (batch.donor[[0, 1, 3, 4, 5, 6, 7]] == 0).all() and batch.donor[2, :3].any()
    assert torch.equal(batch.photo[:4], batch.composite[:4])
    composite, shown, targets = Composer(config, DEFAULT_FILTERS)(batch)
    assert torch.equal(composite[4:], batch.composite[4:]) and torch.equal(shown, batch.mask)
    assert torch.equal(targets[-1][2:], batch.photo[2:])
    changed = (batch.photo[2:4] - composite[2:4]).abs()
    outside = batch.mask[2:4].expand_as(changed) == 0
    assert changed[outside].max() <= 1e-7 and changed.amax(dim=(1, 2, 3)).min() > 0.02
    assert same(batch, make_batches(config, batch=8)[3])
    assert not torch.equal(batches[4].dice, batch.dice)


def test_batches_pair_is_turned_and_cropped_together(both: DataConfig) -> None:
    for step in range(4):
        batch = make_batches(both, batch=8, size=256)[step]
        photo, mask, composite = batch.photo[4:], batch.mask[4:], batch.composite[4:]
        # The tree's composites are the photograph times DARKER or half of that, inside the mask.
        darkened = [photo * (1 - mask * (1 - DARKER / v)) for v in (1, 2)]
        error = torch.stack([(composite - d).abs().mean(dim=(1, 2, 3)) for d in darkened])
        assert error.amin(dim=0).max() < 0.004
        assert ((composite - photo).abs() * mask).mean() > 0.01


def test_batches_same_seed_same_batches_whatever_was_read_before(both: DataConfig) -> None:
    one, other = make_batches(both), make_batches(both)
    run = [one[step] for step in range(9)]
    assert same(other[7], run[7])
    assert same(other[2], run[2])
    assert not any(same(run[7], run[step]) for step in range(7))
    assert not same(make_batches(both, seed=8)[7], run[7])


def test_batches_loader_workers_change_nothing(both: DataConfig) -> None:
    batches = make_batches(both)
    loader = DataLoader(batches, batch_size=None, sampler=range(3, 7), num_workers=2)
    for step, batch in zip(range(3, 7), loader, strict=True):
        assert same(batch, batches[step])


def test_batches_pickle_leaves_the_pixels_in_their_file(both: DataConfig) -> None:
    batches = make_batches(both)
    data = pickle.dumps(batches)
    assert len(data) < 20_000
    assert same(pickle.loads(data)[3], batches[3])


@pytest.mark.parametrize(
    "changes",
    [{}, {"pair_share": 0.0, "transfer_share": 0.5}, {"pair_share": 0.4, "transfer_share": 0.4}],
)
@pytest.mark.parametrize("world", [2, 4])
def test_batches_ranks_together_make_the_batch_of_one_process(
    both: DataConfig, grey_folder: Path, world: int, changes: dict[str, Any]
) -> None:
    folders = (*both.photos, str(grey_folder))
    config = dataclasses.replace(both, photos=folders, region_share=0.5, **changes)
    whole = make_batches(config, batch=8)
    ranks = [make_batches(config, batch=8, rank=rank, world=world) for rank in range(world)]
    for step in range(4):
        parts, batch = [rank[step] for rank in ranks], whole[step]
        counts = [int(part.synthetic.sum()) for part in parts]
        assert max(counts) - min(counts) <= 1, "no process has much more to synthesise"
        for name in FIELDS:
            dealt = [getattr(part, name) for part in parts]
            assert torch.equal(torch.stack(dealt, dim=1).flatten(0, 1), getattr(batch, name))


def test_batches_each_pass_visits_every_image_once_in_a_new_order(
    grey_folder: Path, cache: str
) -> None:
    batches = make_batches(DataConfig(photos=(str(grey_folder),), cache=cache), batch=4)
    assert batches.images == 10 and batches.steps_per_epoch == 3
    seen = torch.cat([batches[step].photo.mean(dim=(1, 2, 3)) * 255 for step in range(10)])
    passes = seen.round().int().view(4, 10)
    assert (passes.sort(dim=1).values == torch.arange(0, 250, 25)).all()
    assert len({tuple(order) for order in passes.tolist()}) == 4


def test_batches_without_photographs_synthesise_from_the_real_images(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", subsets=("HCOCO",))
    for folder, level in (("real_images", 200), ("composite_images", 100)):
        for path in (tree / "HCOCO" / folder).iterdir():
            with Image.open(path) as image:
                Image.new("RGB", image.size, (level, level, level)).save(path)
    cache = str(tmp_path / "cache")
    config = DataConfig(pairs=str(tree), subsets=("HCOCO",), cache=cache)
    batches = make_batches(config, batch=8)
    assert batches.images == 8
    batch = batches[0]
    assert batch.synthetic.sum() == 4 and (batch.arguments[:4] != 0).all()
    for shown, level in (
        (batch.photo, 200),
        (batch.composite[:4], 200),
        (batch.composite[4:], 100),
    ):
        torch.testing.assert_close(shown, torch.full_like(shown, level / 255))
    assert ((batch.mask > 0.02) & (batch.mask < 0.98)).float().mean() < 0.2
    assert (batch.mask.amax(dim=(1, 2, 3)) > 0.98).all()
    alone = make_batches(dataclasses.replace(config, pair_share=0.0))
    assert alone[0].synthetic.all() and alone.images == 4
    paired = make_batches(dataclasses.replace(config, pair_share=1.0))
    assert not paired[0].synthetic.any() and paired.images == 4


def test_batches_region_share_replaces_own_masks(photo_folder: Path, cache: str) -> None:
    def masks(share: float) -> torch.Tensor:
        config = DataConfig(photos=(str(photo_folder),), region_share=share, cache=cache)
        return make_batches(config)[0].mask

    changed = (masks(0.0) != masks(1.0)).flatten(1).any(dim=1)
    assert changed.sum() == 3  # the fourth photograph has no mask and gets a region anyway


def test_batches_crop_1_shows_every_image_whole(photo_folder: Path, cache: str) -> None:
    def areas(crop: float) -> torch.Tensor:
        config = DataConfig(photos=(str(photo_folder),), crop=crop, cache=cache)
        batches = make_batches(config, size=256)
        # Each photograph has its mask's area back, however it is turned; the first has no mask.
        return torch.stack([batches[step].mask.mean(dim=(1, 2, 3)) for step in range(3)])

    packed = open_photos(photo_folder, cache).fractions[1:]
    whole, cropped = areas(1.0), areas(0.5)
    for area in packed:
        assert ((whole - area).abs() < 1e-4).any(dim=1).all()
    assert not ((cropped - packed[0]).abs() < 1e-4).any()


def test_batches_several_folders_are_drawn_from_together(
    photo_folder: Path, grey_folder: Path, cache: str
) -> None:
    config = DataConfig(photos=(str(photo_folder), str(grey_folder)), cache=cache)
    assert make_batches(config).images == 14


def test_batches_data_that_cannot_train_is_refused(both: DataConfig, tree: Path) -> None:
    for config, changes, message in (
        (DataConfig(), {}, "`photos` or `pairs`"),
        (both, {"batch": 10}, "more photographs than there are; it needs 5 of 4"),
        (both, {"batch": 6, "world": 4}, "multiple of the 4 processes; got 6. Give --batch 8"),
        (both, {"world": 2, "rank": 2}, r"rank` in \[0, world\)"),
        (both, {"batch": 0}, "at least 1"),
        (both, {"seed": -1}, "`seed` at least 0"),
        (dataclasses.replace(both, pair_share=1.0), {"batch": 17}, "needs 17 of 16"),
    ):
        with pytest.raises(ValueError, match=message):
            make_batches(config, **changes)
    with pytest.raises(IndexError, match="at least 0"):
        make_batches(both)[-1]


def test_data_config_values_out_of_range_are_refused() -> None:
    for name in ("pair_share", "transfer_share", "region_share", "max_corrupt"):
        for value in (-0.1, 1.5, float("nan")):
            changes: dict[str, Any] = {name: value}
            with pytest.raises(ValueError, match=rf"`{name}` must lie in \[0, 1\]"):
                DataConfig(**changes)
    for value in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"`crop` must lie in \(0, 1\]"):
            DataConfig(crop=value)
    with pytest.raises(ValueError, match=r"`region_share` replaces .*; got 0\.2 with"):
        DataConfig(pairs="iharmony4", region_share=0.2)
    with pytest.raises(ValueError, match="`distribution` must be one of uniform, gaussian, varied"):
        DataConfig(distribution="cauchy")
    with pytest.raises(ValueError, match="`subsets` must be some of HCOCO"):
        DataConfig(subsets=("HMars",))
    with pytest.raises(TypeError, match="got a string"):
        DataConfig(photos="photos")  # type: ignore[arg-type]


def test_batches_foreground_of_one_pixel_is_never_lost() -> None:
    stacked = torch.zeros(16, 4, 256, 256, dtype=torch.uint8)
    for index in range(16):
        stacked[index, 3, 16 * index + 3, 250 - 15 * index] = 255
    cropped = crop_images(stacked, np.random.default_rng(0).random((16, 7)), 32, 0.5)
    assert (cropped[:, 3].amax(dim=(1, 2)) > 0).all()


def test_crop_without_scaling_is_one_of_the_eight_turns_to_the_bit() -> None:
    image = torch.randint(0, 256, (1, 4, 64, 64), generator=torch.Generator().manual_seed(0))
    stacked = image.to(torch.uint8).expand(8, -1, -1, -1)
    draws = np.full((8, 7), 0.999_999_9)
    draws[:, :2] = 1.0
    draws[:, 4:] = [[(i >> b & 1) * 0.9 for b in range(3)] for i in range(8)]
    cropped = crop_images(stacked, draws, 64, 0.5)
    turns = [
        torch.rot90(base, k, (1, 2)) for base in (image[0], image[0].flip(1)) for k in range(4)
    ]
    matches = [[torch.allclose(one, turn / 255, atol=1e-4) for turn in turns] for one in cropped]
    assert np.array(matches).sum(axis=0).tolist() == [1] * 8


def test_whole_images_are_turned_alone_in_the_share_that_was_asked_for() -> None:
    image = torch.randint(0, 256, (1, 4, 64, 64), generator=torch.Generator().manual_seed(0))
    stacked = image.to(torch.uint8).expand(400, -1, -1, -1)
    draws = np.random.default_rng(1).random((400, 7))

    def whole(share: float) -> torch.Tensor:
        """Which have all values of the image, in whatever order."""
        cropped = (crop_images(stacked, draws, 64, 0.5, share) * 255).round()
        values = cropped.flatten(1).sort(dim=1).values
        return (values == image.flatten().sort().values).all(dim=1)

    assert not whole(0.0).any()
    assert 140 < int(whole(0.4).sum()) < 180
    assert whole(1.0).all()
    # It says nothing about how they are turned.
    transposed = torch.from_numpy(draws[:, 6] < 0.5)
    assert 0.4 < float(transposed[whole(0.4)].float().mean()) < 0.6


def test_measure_loader_counts_images(both: DataConfig) -> None:
    assert measure_loader(make_batches(both), workers=0, seconds=0.2) > 1


def test_devices_pipes_and_swollen_files_of_a_data_set_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    header = b"IHDR" + struct.pack(">II5B", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    for name in ("pipe.jpg", "zero.jpg", "bomb.png"):
        with pytest.raises((OSError, ValueError)):
            decode(tmp_path / name, "RGB")
