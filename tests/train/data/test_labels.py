"""What foregrounds show, as training tells it to S2CRNet."""

from pathlib import Path

import pytest
import skimage.data
import torch
from training_data import make_batches

from harmonizer.contract import DEFAULT_LABEL, LABELS
from train.data import labels
from train.data.config import DataConfig
from train.data.neighbours import open_neighbours
from train.data.photos import open_photos
from train.fitting.config import FitConfig
from train.fitting.objective import build_objective
from train.pretrained import Embedder
from train.s2crnet import S2CRNet, S2CRNetConfig

OTHER = LABELS.index(DEFAULT_LABEL)


def one_class(number: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([number]), 1000) * 20.0


@pytest.mark.parametrize(
    ("number", "label"),
    [(285, "animal"), (963, "food"), (817, "vehicle"), (834, "person"), (532, "other")],
    ids=["cat", "pizza", "sports car", "suit", "dining table"],
)
def test_labels_of_a_class_is_its_label(number: int, label: str) -> None:
    assert LABELS[labels.labels_of(one_class(number)).item()] == label


def test_labels_of_what_no_label_is_likely_for_is_other() -> None:
    logits = torch.zeros(1, 1000)
    logits[0, [285, 530, 531, 532]] = 20.0  # a cat, as likely as a clock, a watch and a table
    assert labels.labels_of(logits).item() == OTHER


def test_label_classes_do_not_overlap() -> None:
    groups = [set(g) for g in (labels.PEOPLE, labels.ANIMALS, labels.FOOD, labels.VEHICLES)]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert max(set.union(*groups)) < 1000


def test_embedder_and_labels_see_a_cat() -> None:
    cat = torch.from_numpy(skimage.data.chelsea()).permute(2, 0, 1)[None].float() / 255
    cat = torch.nn.functional.interpolate(cat, (128, 128), mode="area")
    with torch.inference_mode():
        _, logits = Embedder()(cat)
    assert LABELS[labels.labels_of(logits).item()] == "animal"


@pytest.fixture(scope="module")
def config(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    cache = str(tmp_path_factory.mktemp("cache"))
    return DataConfig(photos=(str(photo_folder),), donors="kind", transfer_share=0.5, cache=cache)


def test_batches_carry_the_tables_labels_and_keep_some_back(config: DataConfig) -> None:
    batches = make_batches(config, batch=4, size=64)
    table = batches.neighbours
    assert table is not None
    table.labels[:] = LABELS.index("animal")  # whatever four pictures of a test show
    told = torch.cat([batches.labels(batches.draw(step)) for step in range(100)])
    assert set(told.tolist()) == {LABELS.index("animal"), OTHER}
    assert 0.2 < (told == OTHER).float().mean() < 0.4


def test_batches_without_a_table_are_labelled_other(config: DataConfig) -> None:
    plain = DataConfig(photos=config.photos, cache=config.cache)
    assert set(make_batches(plain, batch=4, size=64)[0].label.tolist()) == {OTHER}


def test_table_labels_are_kept_with_it(config: DataConfig) -> None:
    table = open_neighbours([open_photos(config.photos[0], config.cache)], config.cache)
    assert len(table.labels) == len(table.entries) and table.labels.max() < len(LABELS)


def test_objective_tells_the_network_what_the_batch_says(config: DataConfig) -> None:
    """Gradients reach the weights of the labels that occur, and no others."""
    network = S2CRNet(S2CRNetConfig(statistics=True, semantic=True))
    run = FitConfig(data=config, network=network.config, size=64, batch=4, loss="sum")
    batches = make_batches(config, batch=4, size=64)
    assert batches.neighbours is not None
    batches.neighbours.labels[:] = LABELS.index("food")
    batch = next(b for b in map(batches.__getitem__, range(20)) if len(set(b.label.tolist())) == 2)
    build_objective(run)(network, batch, 2, torch.tensor([2, 2])).loss.backward()
    weights = [p for n, p in network.named_parameters() if n.endswith("label.0.weight")]
    moved = {
        column for w in weights for column in w.grad.abs().sum(dim=0).nonzero().flatten().tolist()
    }
    assert moved == {LABELS.index("food"), OTHER}
