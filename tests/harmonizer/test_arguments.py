"""Arguments: order, files, blending, and what is refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harmonizer.arguments import FORMAT, Arguments
from harmonizer.errors import ArgumentsError, FilterListError
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS

NUMBERS = (0.1, -0.25, 0.5, -1.0, 1.0, 0.0)
GIVEN = Arguments(DEFAULT_FILTERS, NUMBERS)


def changed(tmp_path: Path, **entries: object) -> Path:
    """A saved file with some of its top-level entries replaced."""
    path = tmp_path / "arguments.json"
    path.write_text(json.dumps({**GIVEN.document(), **entries}))
    return path


def test_mapping_behaves_as_one() -> None:
    assert dict(GIVEN) == dict(zip(DEFAULT_FILTERS, NUMBERS, strict=True))
    assert tuple(GIVEN.values()) == NUMBERS
    assert tuple(GIVEN.keys()) == DEFAULT_FILTERS
    assert GIVEN["contrast"] == 0.5
    assert "hue" not in GIVEN
    with pytest.raises(KeyError):
        GIVEN["hue"]
    np.testing.assert_array_equal(GIVEN.array(), np.asarray(NUMBERS, np.float32))
    assert str(GIVEN).startswith("temperature +0.100  brightness -0.250")


def test_identity_is_every_operations_identity() -> None:
    for name, operation in OPERATIONS.items():
        for size in operation.sizes:
            identity = Arguments.identity((name,), (size,))
            np.testing.assert_array_equal(identity.array(), np.full(size, operation.identity))
            assert identity.is_identity()


def test_save_then_load_returns_the_same(tmp_path: Path) -> None:
    GIVEN.save(tmp_path / "a.json")
    assert Arguments.load(tmp_path / "a.json") == GIVEN
    reordered = Arguments(("shadow", "hue"), (0.1, 1 / 3))
    reordered.save(tmp_path / "b.json")
    assert Arguments.load(tmp_path / "b.json") == reordered


def test_save_outside_the_range_stores_what_is_drawn(tmp_path: Path) -> None:
    Arguments(("shadow",), (1.7,)).save(tmp_path / "a.json")
    assert Arguments.load(tmp_path / "a.json") == Arguments(("shadow",), (1.0,))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"hue": 0.1}, r"unknown hue\. Write 0"),
        ({"shadow": None}, r"`shadow` must be a number; got None.*between -1 and 1"),
        ({"shadow": "0.1"}, r"`shadow` must be a number; got '0.1' \(str\)"),
        ({"shadow": True}, r"`shadow` must be a number; got True"),
        ({"shadow": 1.01}, r"`shadow` must lie in \[-1, 1\]; got 1.01\. Write a value"),
        ({"shadow": math.nan}, r"`shadow` must be a finite number; got nan"),
        ({"shadow": math.inf}, r"`shadow` must be a finite number; got inf"),
        ({"shadow": 10**400}, r"`shadow` must be a finite number; got 1000"),
    ],
)
def test_load_bad_entry_is_refused(
    tmp_path: Path, entries: dict[str, object], message: str
) -> None:
    path = changed(tmp_path, arguments={**GIVEN, **entries})
    with pytest.raises(ArgumentsError, match=message):
        Arguments.load(path)


def test_load_missing_entry_is_refused(tmp_path: Path) -> None:
    entries = {name: value for name, value in GIVEN.items() if name != "shadow"}
    with pytest.raises(ArgumentsError, match=r"each of temperature.*missing shadow.*Write 0"):
        Arguments.load(changed(tmp_path, arguments=entries))


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ({"format": "other"}, ArgumentsError, rf'"format": "{FORMAT}".*`Arguments.save`'),
        ({"version": 2}, ArgumentsError, r"arguments.json must have version 1; got 2"),
        ({"version": True}, ArgumentsError, r"must have version 1; got True"),
        ({"comment": ""}, ArgumentsError, r"keys format, version, .*; got .*'comment'. Remove"),
        ({"filters": "shadow"}, ArgumentsError, r'must hold a list "filters"'),
        ({"arguments": [1]}, ArgumentsError, r'an object "arguments"'),
        (
            {"filters": ["sepia"]},
            FilterListError,
            r"arguments.json: filters .* registered operations; got 'sepia'.*Choose",
        ),
        ({"filters": ["hue", "hue"]}, FilterListError, r"may appear once"),
        ({"filters": []}, FilterListError, r"1 to 8 entries; got 0"),
    ],
)
def test_load_bad_document_is_refused(
    tmp_path: Path, entries: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Arguments.load(changed(tmp_path, **entries))


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2", b"\xff\xfe\x00", b"1" * 5000])
def test_load_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ArgumentsError, match=r"cannot be parsed.*`Arguments.save`"):
        Arguments.load(tmp_path / "a.json")


def test_load_repeated_key_is_refused(tmp_path: Path) -> None:
    text = json.dumps(GIVEN.document()).replace('"hue"', '"shadow"')
    text = text.replace('"shadow": 0.0', '"shadow": 0.0, "shadow": 0.5')
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArgumentsError, match=r"a\.json .*the key 'shadow' comes twice"):
        Arguments.load(tmp_path / "a.json")


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null", "{}"])
def test_load_other_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ArgumentsError, match="must be an object"):
        Arguments.load(tmp_path / "a.json")


def test_load_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentsError, match=r"readable file.*No such file.*Check the path"):
        Arguments.load(tmp_path / "absent.json")


def test_scaled_blends_from_the_identity() -> None:
    assert GIVEN.scaled(0) == Arguments.identity()
    assert GIVEN.scaled(1) == GIVEN
    assert GIVEN.scaled(1.5)["brightness"] == -0.375
    assert GIVEN.scaled(1.5)["highlight"] == 1.5
    assert GIVEN.scaled(1.5).clamped()["highlight"] == 1.0


@pytest.mark.parametrize("strength", [-0.1, 1.51, math.nan, math.inf])
def test_scaled_out_of_range_is_refused(strength: float) -> None:
    with pytest.raises(ArgumentsError, match=r"strength must lie in \[0, 1.5\]; got"):
        GIVEN.scaled(strength)


@pytest.mark.parametrize("strength", [None, "1", True, np.ones(2)])
def test_scaled_by_no_number_is_refused(strength: Any) -> None:
    with pytest.raises(TypeError, match=r"`strength` must be a number in \[0, 1.5\]; got"):
        GIVEN.scaled(strength)


@pytest.mark.parametrize("value", ["0.5", True, None, [0.5]])
def test_constructor_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentsError, match=r"`hue` must be a number; got .*between -1 and 1"):
        Arguments(("hue",), (value,))


@pytest.mark.parametrize("mapping", [None, [0.0] * 6, np.zeros(6), {0: 0.0}])
def test_from_mapping_no_mapping_is_refused(mapping: Any) -> None:
    with pytest.raises(TypeError, match=r"Arguments or a mapping from filter name.*names are temp"):
        Arguments.from_mapping(mapping)


def test_equality_is_that_of_mappings_but_minds_the_order_of_arguments() -> None:
    other = Arguments(("hue", "shadow"), (0.1, 0.2))
    same = Arguments(("hue", "shadow"), (np.float64(0.1), 0.2))
    assert other == same and hash(other) == hash(same)
    mapping = {"shadow": 0.2, "hue": 0.1}
    assert other == mapping and mapping == other
    assert other != {"shadow": 0.2} and other != (0.1, 0.2)
    assert other != Arguments(("shadow", "hue"), (0.2, 0.1))


def test_constructor_counts_and_finiteness() -> None:
    with pytest.raises(ArgumentsError, match=r"got 1 values for 2 filters"):
        Arguments(("shadow", "hue"), (0.0,))
    with pytest.raises(ArgumentsError, match=r"`hue` must be a finite number; got nan"):
        Arguments(("hue",), (math.nan,))
    assert Arguments(("hue",), (3.0,)).clamped()["hue"] == 1.0


def test_from_mapping_takes_numpy_numbers_in_any_order() -> None:
    mapping = {name: np.float32(0.5) for name in reversed(DEFAULT_FILTERS)}
    assert Arguments.from_mapping(mapping) == Arguments(DEFAULT_FILTERS, (0.5,) * 6)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_arguments_written_by_hand_are_read(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes('{"contrast": -0.25, "brightness": 0.5}'.encode(encoding))
    wanted = Arguments.from_mapping(
        {**Arguments.identity(DEFAULT_FILTERS), "contrast": -0.25, "brightness": 0.5}
    )
    assert Arguments.load(path) == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"brightnes": 0.5}', "must name filters, of temperature, .*got 'brightnes'"),
        ('{"brightness": 0.5, "version": 1}', "must name filters.*got 'version'"),
        ("{}", "must be an object with"),
        ('{"look": "warm"}', "must be an object with"),
    ],
)
def test_other_mappings_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ArgumentsError, match=said):
        Arguments.load(tmp_path / "a.json")
