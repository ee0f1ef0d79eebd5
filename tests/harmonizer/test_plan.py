"""The plan: strict on what it holds, JSON without loss."""

import json
import math
from typing import Any

import pytest

from harmonizer.errors import ArgumentsError, FilterListError
from harmonizer.ops import OPERATIONS
from harmonizer.plan import STATISTICS_COUNTS, Plan, Step


def step_for(name: str, argument: float = 0.25) -> Step:
    operation = OPERATIONS[name]
    value = argument if operation.sizes == (1,) else (argument,) * operation.sizes[-1]
    return Step(name, value, (0.5,) * STATISTICS_COUNTS[operation.statistics])


def document() -> dict[str, Any]:
    plan = Plan((step_for("temperature"), step_for("hue", -0.1), step_for("contrast")))
    return json.loads(json.dumps(plan.document()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_plan_document_is_read_back_without_loss(name: str) -> None:
    plan = Plan((step_for(name, 0.1 + 0.2),))
    assert Plan.from_document(json.loads(json.dumps(plan.document()))) == plan
    assert plan.filters == (name,)


@pytest.mark.parametrize("argument", [1.0000001, -2.0, math.nan, math.inf])
def test_step_argument_out_of_range_is_refused(argument: float) -> None:
    with pytest.raises(
        ArgumentsError, match=r"argument `shadow` must (lie in \[-1, 1\]|be a finite number); got"
    ):
        Step("shadow", argument)


@pytest.mark.parametrize(
    "statistics",
    [(), (0.5,), (0.5, 0.5, math.nan), (0.5, 1.01, 0.5), (0.5, 0.5, -0.01), (0.1,) * 4],
)
def test_step_wrong_statistics_are_refused(statistics: tuple[float, ...]) -> None:
    with pytest.raises(
        ArgumentsError, match=r"`temperature` needs 3 finite statistics in \[0, 1\]"
    ):
        Step("temperature", 0.1, statistics)


def test_step_unknown_operation_is_refused() -> None:
    with pytest.raises(FilterListError, match="got 'sepia'"):
        Step("sepia", 0.1)


def test_plan_operation_twice_is_refused() -> None:
    with pytest.raises(FilterListError, match="each filter may appear once"):
        Plan((step_for("hue"), step_for("hue")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "harmonizer-arguments"}, r'must be an object with "format": "harmonizer-plan"'),
        ({"version": 2}, r"must have version 1; got 2\. Write it again"),
        ({"version": True}, r"must have version 1; got True"),
        ({"comment": ""}, r"keys format, version, steps; got .*'comment'"),
        ({"steps": {}}, r'must hold a list "steps"; got {}\. Write it'),
        ({"steps": []}, r"1 to 8 entries; got 0"),
        ({"steps": ["hue"]}, r"step 0 of the document must be an object; got 'hue'"),
        ({"steps": [{"operation": "hue"}]}, r"keys operation, argument, statistics"),
    ],
)
def test_plan_from_bad_document_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ArgumentsError, FilterListError), match=message):
        Plan.from_document(document() | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operation": 7}, r'step 1 of the document must name its "operation"; got 7'),
        (
            {"argument": "0.1"},
            r"step 1 of the document: argument `hue` must be a number; got '0.1'",
        ),
        ({"argument": True}, r"must be a number; got True"),
        ({"statistics": 0.5}, r'"statistics" of step 1 .* must be a list of numbers; got 0.5\. W'),
        ({"statistics": [0.5]}, r"`hue` needs 0 finite statistics"),
    ],
)
def test_plan_from_bad_step_is_refused(changes: dict[str, Any], message: str) -> None:
    broken = document()
    broken["steps"][1] |= changes
    with pytest.raises(ArgumentsError, match=message):
        Plan.from_document(broken)


@pytest.mark.parametrize("value", [None, [], "plan"])
def test_plan_from_other_json_is_refused(value: object) -> None:
    with pytest.raises(ArgumentsError, match="must be an object with"):
        Plan.from_document(value)
