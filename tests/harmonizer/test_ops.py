"""The registry: well-formed entries, checked filter lists, a header that says the same."""

import re
from dataclasses import fields

import pytest

from harmonizer.c_header import c_header
from harmonizer.errors import FilterListError
from harmonizer.ops import (
    DEFAULT_FILTERS,
    MAX_FILTERS,
    OPERATIONS,
    PHOTO_FILTERS,
    check_filters,
)


def test_registry_codes_count_from_zero() -> None:
    assert [operation.code for operation in OPERATIONS.values()] == list(range(len(OPERATIONS)))
    assert len(OPERATIONS) >= MAX_FILTERS


@pytest.mark.parametrize("name", OPERATIONS)
def test_registry_entry_is_complete(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.name == name
    assert re.fullmatch(r"[a-z_]+", name)
    assert operation.minimum <= operation.identity <= operation.maximum
    assert (operation.synthesis_range > 0) == (name in PHOTO_FILTERS)
    assert operation.synthesis_range <= operation.maximum - operation.identity
    assert operation.synthesis_range <= operation.identity - operation.minimum
    for field in fields(operation):
        assert getattr(operation, field.name) not in (None, "")


def test_default_filters_are_the_papers() -> None:
    assert check_filters(DEFAULT_FILTERS) == DEFAULT_FILTERS
    ranges = [OPERATIONS[name].synthesis_range for name in DEFAULT_FILTERS]
    assert ranges == [0.3, 0.5, 0.5, 0.6, 0.4, 0.4]


def test_check_filters_any_ordered_subset_is_valid() -> None:
    for count in (2, 4, 6, 8):
        names = tuple(reversed(tuple(OPERATIONS)))[:count]
        assert check_filters(iter(names)) == names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("sepia",), r"registered operations; got 'sepia'\. Choose among temperature"),
        (("hue", "hue"), r"each filter may appear once; got hue, hue"),
        ((), r"1 to 8 entries; got 0"),
    ],
)
def test_check_filters_bad_list_is_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(FilterListError, match=message):
        check_filters(names)


def test_c_header_says_what_the_registry_says() -> None:
    text = c_header()
    for name, operation in OPERATIONS.items():
        assert f"#define HZ_OP_{name.upper()} {operation.code}\n" in text
    for macro in ("SCOPES", "STATISTICS", "MINIMA", "MAXIMA", "IDENTITIES", "NAMES"):
        (row,) = re.findall(rf"#define HZ_OP_{macro} {{(.*)}}", text)
        assert len(row.split(",")) == len(OPERATIONS)
    assert f"#define HZ_MAX_STEPS {MAX_FILTERS}\n" in text
