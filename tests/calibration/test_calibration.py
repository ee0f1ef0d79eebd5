"""Calibration images, ranges of activations, and the cache that keeps them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from calibration_data import CONTRACT, feeds, write_photographs
from onnx import TensorProto, helper
from PIL import Image
from training_data import truncate, write_tree

from calibration import ranges
from calibration.errors import CacheError, CalibrationError
from calibration.graph import PredictorGraph, load_graph
from calibration.images import ImageSet, check_likeness, load_images
from calibration.ranges import METHODS, RULES, calibrate, collect_ranges, mse_threshold
from export.tolerances import CALIBRATION_IMAGES
from harmonizer.errors import ImageFileError


@pytest.fixture(scope="module")
def graph(small_model: Path) -> PredictorGraph:
    return load_graph(small_model)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"), CALIBRATION_IMAGES + 4)


# Images.


def test_load_images_choice_is_seeded_and_composites_are_perturbed(photographs: Path) -> None:
    first = load_images(photographs, CALIBRATION_IMAGES, CONTRACT)
    again = load_images(photographs, CALIBRATION_IMAGES, CONTRACT)
    assert first.names == again.names and first.sha256 == again.sha256
    assert len(first.names) == CALIBRATION_IMAGES < CALIBRATION_IMAGES + 4
    everything = load_images(photographs, 1000, CONTRACT)
    assert len(everything.names) == CALIBRATION_IMAGES + 4 and everything.sha256 != first.sha256
    one, rest = first.split(1)
    assert one.names + rest.names == first.names


def test_load_images_reads_iharmony4s_train_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree")
    monkeypatch.setattr("calibration.images.CALIBRATION_IMAGES", 4)
    images = load_images(tree, 100, CONTRACT)
    assert len(images.names) == 4 * 2 * 2  # subsets, photographs in the train list, versions
    assert all("2_1_" not in name for name in images.names)  # the third photograph is for testing


def test_load_images_evaluation_sets_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "val").mkdir()
    monkeypatch.setenv("HARMONIZER_DATA", str(tmp_path))
    (tmp_path / "val" / "images").mkdir()
    for folder in (tmp_path / "val", tmp_path / "val" / "images", tmp_path):
        with pytest.raises(CalibrationError, match="must not be those that the gate judges by"):
            load_images(folder, 100, CONTRACT)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "index.csv").write_text("composite,mask,real,subset\n")
    with pytest.raises(CalibrationError, match="is an evaluation set"):
        load_images(tmp_path / "samples", 100, CONTRACT)


def test_load_images_too_few_says_how_many_and_why(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path, 5)
    with pytest.raises(CalibrationError, match=r"wants 32 images or more: .* because .* gives 5\."):
        load_images(folder, 100, CONTRACT)


def test_load_images_unreadable_file_is_named(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path, CALIBRATION_IMAGES)
    truncate(folder / "004.png")
    with pytest.raises(ImageFileError, match=r"004\.png must be a readable photograph"):
        load_images(folder, 100, CONTRACT)


@pytest.mark.parametrize(
    ("colour", "words"), [((90, 90, 90), "is of one colour"), (None, "is grey")]
)
def test_load_images_unlike_photographs_are_refused(
    tmp_path: Path, colour: tuple[int, int, int] | None, words: str
) -> None:
    random = np.random.default_rng(5)
    for index in range(CALIBRATION_IMAGES):
        if colour is None:
            noise = random.integers(0, 255, (40, 40), np.uint8)
            picture = Image.fromarray(noise)
        else:
            picture = Image.new("RGB", (40, 40), colour)
        picture.save(tmp_path / f"{index}.png")
    with pytest.raises(CalibrationError, match=words):
        load_images(tmp_path, 100, CONTRACT)


def test_check_likeness_other_forms_are_refused() -> None:
    good = feeds(1)
    check_likeness(good)
    composite, mask = good.feeds[0]["composite"], good.feeds[0]["mask"]
    bad = {
        "runs from 0 to 255": composite * 255,
        "not normalised": (composite - np.float32(0.45)) / np.float32(0.22),
        r"got \(1, 256, 256, 3\)": np.ascontiguousarray(composite.transpose(0, 2, 3, 1)),
        "got .* float64": composite.astype(np.float64),
        "runs from nan": composite * np.float32("nan"),
    }
    for words, array in bad.items():
        with pytest.raises(CalibrationError, match=words):
            check_likeness(ImageSet(("a",), ({"composite": array, "mask": mask},), CONTRACT))
    empty = ImageSet(("a",), ({"composite": composite, "mask": mask * 0},), CONTRACT)
    with pytest.raises(CalibrationError, match="has no foreground"):
        check_likeness(empty)


# Ranges.


def test_collect_ranges_minmax_is_the_largest_magnitude_seen(graph: PredictorGraph) -> None:
    images = feeds(3)
    names = ["composite", *sorted({layer.activation for layer in graph.layers})]
    found = collect_ranges(graph.model, names, images.feeds, "minmax")
    assert found["composite"] == max(float(f["composite"].max()) for f in images.feeds)
    assert set(found) == set(names) and all(value > 0 for value in found.values())


def test_collect_ranges_other_methods_stay_at_or_below_minmax(graph: PredictorGraph) -> None:
    images = feeds(3)
    names = sorted({layer.activation for layer in graph.layers})
    whole = collect_ranges(graph.model, names, images.feeds, "minmax")
    for method in METHODS[1:]:
        found = collect_ranges(graph.model, names, images.feeds, method)
        assert all(0 < found[name] <= whole[name] * 1.001 for name in names), method


def test_rules_ignore_a_lone_outlier_and_keep_an_even_spread() -> None:
    random = np.random.default_rng(2)
    tail = np.histogram(
        np.append(np.abs(random.normal(0, 0.05, 200_000)), 1.0), ranges.BINS, (0, 1)
    )[0].astype(float)
    even = np.ones(ranges.BINS)
    for method, rule in RULES.items():
        assert 0.1 < rule(tail) < 0.6, method
        assert rule(even) > 0.95, method


def test_mse_threshold_is_the_best_of_all_by_brute_force() -> None:
    values = np.abs(np.random.default_rng(3).standard_t(3, 50_000))
    values /= values.max()
    histogram = np.histogram(values, ranges.BINS, (0, 1))[0].astype(float)

    def error(threshold: float) -> float:
        step = threshold / 127
        return float(((values - np.minimum(np.rint(values / step), 127) * step) ** 2).mean())

    best = min(error(t) for t in np.linspace(0.05, 1, 400))
    assert error(mse_threshold(histogram)) < best * 1.05


@pytest.mark.parametrize(("factor", "peak"), [(0.0, "0.0"), (float("inf"), "nan|inf")])
def test_collect_ranges_dead_or_overflowing_activation_is_named(factor: float, peak: str) -> None:
    nodes = [helper.make_node("Mul", ["composite", "factor"], ["scaled"])]
    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "scaled",
            [value("composite", TensorProto.FLOAT, ["N", 3, 256, 256])],
            [value("scaled", TensorProto.FLOAT, ["N", 3, 256, 256])],
            [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    images = [{"composite": feed["composite"]} for feed in feeds(2).feeds]
    with pytest.raises(CalibrationError, match=rf"activation scaled .* is ({peak})\."):
        collect_ranges(model, ["scaled"], images, "minmax")


# The cache.


def test_calibrate_reuses_the_cache_and_measures_nothing_anew(
    graph: PredictorGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, path = feeds(2), tmp_path / "deep" / "cache.json"
    measured = calibrate(graph, images, "mse", path)

    def never(*_: object) -> dict[str, float]:
        raise AssertionError("measured again")

    monkeypatch.setattr("calibration.ranges.collect_ranges", never)
    assert calibrate(graph, images, "mse", path) == measured
    with pytest.raises(AssertionError):
        calibrate(graph, images, "mse")


def test_calibrate_foreign_cache_is_refused_with_what_differs(
    graph: PredictorGraph, tmp_path: Path
) -> None:
    images, path = feeds(2), tmp_path / "cache.json"
    calibrate(graph, images, "minmax", path)
    with pytest.raises(CacheError, match=r"its method \(minmax\) is not this run's \(mse\)"):
        calibrate(graph, images, "mse", path)
    with pytest.raises(CacheError, match=r"its images .* its number of images \(2\)"):
        calibrate(graph, feeds(3), "minmax", path)
    other = onnx.ModelProto()
    other.CopyFrom(graph.model)
    other.doc_string = "another model"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(CacheError, match=r"its model .* Delete it, or name another --cache"):
        calibrate(load_graph(tmp_path / "other.onnx"), images, "minmax", path)


def test_calibrate_changed_or_damaged_cache_is_refused(
    graph: PredictorGraph, tmp_path: Path
) -> None:
    images, path = feeds(2), tmp_path / "cache.json"
    calibrate(graph, images, "minmax", path)
    document = json.loads(path.read_text())
    document["ranges"][next(iter(document["ranges"]))] *= 2
    path.write_text(json.dumps(document))
    with pytest.raises(CacheError, match="it was changed"):
        calibrate(graph, images, "minmax", path)
    for text in ("{", "[]", "{}", '{"format": "other"}', '{"key": 1, "ranges": {}}'):
        path.write_text(text)
        with pytest.raises(CacheError, match="it cannot be read"):
            calibrate(graph, images, "minmax", path)
    path.write_bytes(b"\xff" * 100_000)
    with pytest.raises(
        CacheError, match=r"\(UnicodeDecodeError: .* Name another --cache"
    ) as caught:
        calibrate(graph, images, "minmax", path)
    assert len(str(caught.value)) < 600 and "Delete" not in str(caught.value)
