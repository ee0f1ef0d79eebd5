"""The search for the cheapest graph: what it measures, takes, keeps and gives up on."""

import json
from collections.abc import Collection

import numpy as np
import onnx
import pytest
from calibration_data import feeds
from onnx import numpy_helper

from calibration import quantize
from calibration.errors import BudgetError, CalibrationError
from calibration.graph import PredictorGraph
from calibration.images import ImageSet
from calibration.quantize import reduce_precision
from calibration.ranges import METHODS
from calibration.search import Budget, Error, Judge, search

PROBES = 4


@pytest.fixture(autouse=True)
def few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images to judge by than a real search has."""
    monkeypatch.setattr(quantize, "PROBES", PROBES)


class CountedJudge:
    """Answers with made-up errors: each block adds its own, and the pair (0, 1) adds more."""

    def __init__(self, harm: dict[str, float], pair: float) -> None:
        self.harm, self.pair, self.calls = harm, pair, 0

    def __call__(self, model: onnx.ModelProto) -> Error:
        self.calls += 1
        blocks = json.loads(model.doc_string)
        total = sum(self.harm[name] for name in blocks)
        if set(list(self.harm)[:2]) <= set(blocks):
            total += self.pair
        return Error(total, total, int(total * 10), total, total, 0)


def named(blocks: Collection[str]) -> onnx.ModelProto:
    return onnx.ModelProto(doc_string=json.dumps(list(blocks)))


def test_search_takes_the_cheapest_graph_that_is_measured_to_fit(
    statistics: PredictorGraph,
) -> None:
    harm = dict(zip(statistics.blocks, (0.2, 0.1, 0.01, 0.02, 0.03, 0.01, 0.01, 0.9), strict=True))
    judge = CountedJudge(harm, pair=1.0)
    found = search(statistics, named, judge, Budget(delta_e_mean=0.4))  # type: ignore[arg-type]
    # The two first fit alone but not together; the last one does not fit at all.
    assert found.blocks == tuple(b for b in statistics.blocks[:7] if b != statistics.blocks[1])
    assert found.error.delta_e_mean == pytest.approx(0.28)
    assert judge.calls == 8 + 1 + 8 and found.tried == 9
    report = found.report(statistics)
    assert [row["reduced"] for row in report["blocks"]].count(True) == 6
    assert 0.5 < report["reduced_share"] < 1


def test_search_everything_fits_stops_at_once_and_keeps_what_is_kept(
    statistics: PredictorGraph,
) -> None:
    harm = dict.fromkeys(statistics.blocks, 0.01)
    judge = CountedJudge(harm, pair=0)
    keep = [statistics.blocks[3]]
    found = search(
        statistics,
        named,
        judge,  # type: ignore[arg-type]
        Budget(levels_max=2),
        keep,
    )
    assert len(found.blocks) == 7 and keep[0] not in found.blocks and judge.calls == 8
    with pytest.raises(ValueError, match=r"some, not all, of .*; got nonsense"):
        search(statistics, named, judge, Budget(), ["nonsense"])  # type: ignore[arg-type]


def test_search_hopeless_budget_names_the_closest(statistics: PredictorGraph) -> None:
    harm = dict.fromkeys(statistics.blocks, 0.7) | {statistics.blocks[4]: 0.5}
    with pytest.raises(BudgetError, match=r"closest reduces statistics.hidden@look2 alone: mean"):
        search(
            statistics,
            named,
            CountedJudge(harm, 0),  # type: ignore[arg-type]
            Budget(delta_e_mean=0.4),
        )


def test_judge_measures_nothing_for_the_same_graph_and_all_for_a_broken_one(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    judge = Judge(statistics, images)
    assert judge(statistics.model) == Error(0.0, 0.0, 0, 0.0, 0.0, 0)
    broken = onnx.ModelProto()
    broken.CopyFrom(statistics.model)
    for tensor in broken.graph.initializer:
        if tensor.name == "regressor.bias":
            tensor.CopyFrom(numpy_helper.from_array(np.full(2, np.nan, np.float32), tensor.name))
    error = judge(broken)
    assert error.delta_e_mean == float("inf")
    assert not Budget(delta_e_mean=1e9).allows(error)


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_reduce_precision_result_is_valid_and_says_what_was_done(
    statistics: PredictorGraph, precision: str
) -> None:
    images = feeds(PROBES + 4)
    found, report = reduce_precision(  # "auto": every method is tried
        statistics,
        images,
        precision,  # type: ignore[arg-type]
        budget=Budget(delta_e_mean=50),
    )
    onnx.checker.check_model(found.model, full_check=True)
    facts = {p.key: p.value for p in found.model.metadata_props}
    assert facts["harmonizer.precision"] == precision
    reduction = json.loads(facts["harmonizer.reduction"])
    assert reduction["source_sha256"] == statistics.sha256
    assert reduction["blocks"] == list(found.blocks)
    if precision == "int8":
        assert report["methods"][report["method"]] == min(report["methods"].values())
        assert set(report["methods"]) == set(METHODS)
    floats = {"regressor@look1", "regressor@look2"} if precision == "fp16" else set()
    assert set(report["kept"]) == floats
    assert set(found.blocks) == set(statistics.blocks) - floats


def test_reduce_precision_no_images_left_for_the_ranges_is_refused(
    statistics: PredictorGraph, images: ImageSet
) -> None:
    with pytest.raises(CalibrationError, match=r"more images than the 4 .* got 4\."):
        reduce_precision(statistics, images, "int8")
