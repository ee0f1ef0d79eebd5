"""Filter arguments: what the network predicts and a person may read, store and edit."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harmonizer.checks import is_number
from harmonizer.documents import read_document
from harmonizer.errors import ArgumentsError, FilterListError
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS, Operation, check_filters
from harmonizer.storage import write_atomically
from harmonizer.values import (
    Value,
    check_value,
    check_within,
    clamped,
    describe,
    nested,
    of_numbers,
    to_numbers,
)

FORMAT = "harmonizer-arguments"
FORMAT_VERSION = 1

MAX_STRENGTH = 1.5
"""Largest accepted blend of the arguments: 0 is the composite, 1 the prediction."""


@dataclass(frozen=True, eq=False)
class Arguments(Mapping[str, Value]):
    """An ordered mapping from filter name to argument.

    An argument is one float, or a flat tuple of them for an operation that takes many.

    The order is the order in which the filters are drawn. Values are what the network said or a
    person wrote: they may lie outside the operation's range, and are clamped to it when drawn and
    when saved. Equal to other arguments of the same order and numbers, and to any other mapping
    with the same names and numbers.

    Attributes:
        filters: Operation names in drawing order.
        numbers: One argument per filter, finite (`values()` is the mapping's own method).

    Raises:
        FilterListError: If the filter list is not valid.
        ArgumentsError: If the counts differ or a value is not a finite number.
    """

    filters: tuple[str, ...]
    numbers: tuple[Value, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", check_filters(self.filters))
        object.__setattr__(self, "numbers", tuple(self.numbers))
        if len(self.filters) != len(self.numbers):
            raise ArgumentsError(
                f"arguments need one value per filter; got {len(self.numbers)} values for "
                f"{len(self.filters)} filters ({', '.join(self.filters)})."
            )
        numbers = tuple(map(check_value, self.filters, self.numbers))
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def identity(
        cls, filters: tuple[str, ...] = DEFAULT_FILTERS, sizes: tuple[int, ...] | None = None
    ) -> "Arguments":
        """The arguments that leave the image as it is.

        Args:
            filters: In drawing order.
            sizes: How many numbers each argument has; None for the fewest.
        """
        operations = [OPERATIONS[name] for name in check_filters(filters)]
        sizes = sizes or tuple(operation.sizes[0] for operation in operations)
        identities = np.repeat([operation.identity for operation in operations], sizes)
        return cls.from_array(identities, filters, sizes)

    @classmethod
    def from_array(
        cls, array: NDArray[Any], filters: tuple[str, ...], sizes: tuple[int, ...]
    ) -> "Arguments":
        """Take (k,) numbers: the arguments one after the other, as `array` gives them.

        Args:
            array: As a predictor answers for one image.
            filters: In drawing order.
            sizes: How many numbers each argument has; together k.

        Raises:
            FilterListError, ArgumentsError: As the class does.
        """
        ends = np.cumsum(sizes)
        if array.shape != (ends[-1],) or len(sizes) != len(filters):
            raise ArgumentsError(
                f"arguments of {', '.join(filters)} with {', '.join(map(str, sizes))} numbers must "
                f"come as an array of shape ({ends[-1]},); got {array.shape}."
            )
        return cls(filters, tuple(map(of_numbers, np.split(array, ends[:-1]))))

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, Any], filters: tuple[str, ...] = DEFAULT_FILTERS
    ) -> "Arguments":
        """Take name -> value pairs in any order.

        Args:
            mapping: A value for every filter and for nothing else, within the operation's range.
                Where an operation takes many numbers, they may be nested lists or an array.
            filters: The filters, in drawing order.

        Raises:
            TypeError: If it is not a mapping, or a key is not a name.
            ArgumentsError: If a name is unknown or missing, or a value is not a finite number
                within the operation's range.
        """
        filters = check_filters(filters)
        if not isinstance(mapping, Mapping) or not all(isinstance(name, str) for name in mapping):
            came = repr(mapping)[:80] if isinstance(mapping, Mapping) else type(mapping).__name__
            raise TypeError(
                "`arguments` must be an Arguments or a mapping from filter name to number; got "
                f"{came}. The names are {', '.join(filters)}."
            )
        unknown = [name for name in mapping if name not in filters]
        missing = [name for name in filters if name not in mapping]
        if unknown or missing:
            complaints = [
                f"{word} {', '.join(names)}"
                for word, names in (("unknown", unknown), ("missing", missing))
                if names
            ]
            raise ArgumentsError(
                f"arguments must name each of {', '.join(filters)} once; "
                f"{'; '.join(complaints)}. Write 0 for a filter that should do nothing."
            )
        values = tuple(check_value(name, mapping[name]) for name in filters)
        for name, value in zip(filters, values, strict=True):
            check_within(name, value)
        return cls(filters, values)

    @classmethod
    def load(cls, path: str | Path) -> "Arguments":
        """Read the JSON that `save` writes; a person may have edited it.

        Raises:
            ArgumentsError: If the file cannot be read, is not such JSON, repeats a key, or its
                entries break the rules of `from_mapping`.
            FilterListError: If its filter list is not valid.
        """
        try:
            document = read_document(path)
        except OSError as error:
            raise ArgumentsError(
                f"{path} must be a readable file of arguments; {error.strerror or error}. Check "
                "the path, or write one with `Arguments.save`."
            ) from error
        except ValueError as error:
            raise ArgumentsError(
                f"{path} must be a JSON file of arguments; it cannot be parsed ({error}). "
                "Write one with `Arguments.save` and edit that."
            ) from error
        return cls.from_document(document, source=str(path))

    @classmethod
    def from_document(cls, document: object, source: str = "the document") -> "Arguments":
        """Take the parsed JSON: ``{"format", "version", "filters", "arguments"}``, no other keys.

        Or one written by hand, ``{"brightness": 0.5}``: the default filters, those that are not
        named doing nothing; with any other filter among them, the ones named in their order.

        Raises:
            ArgumentsError, FilterListError: As in `load`.
        """
        if isinstance(document, dict) and document and document.keys() <= OPERATIONS.keys():
            document = _written_out(document)
        if isinstance(document, dict) and document and all(map(is_number, document.values())):
            unknown = ", ".join(repr(name)[:40] for name in document if name not in OPERATIONS)
            raise ArgumentsError(
                f"{source} must name filters, of {', '.join(OPERATIONS)}; got {unknown[:200]}. "
                "Correct the name."
            )
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArgumentsError(
                f'{source} must be an object with "format": "{FORMAT}"; got '
                f"{json.dumps(document)[:80]}. Write one with `Arguments.save` and edit that."
            )
        if document.get("version") != FORMAT_VERSION or document["version"] is True:
            raise ArgumentsError(
                f"{source} must have version {FORMAT_VERSION}; got {document.get('version')!r}. "
                "Write it again with this version of harmonizer."
            )
        if set(document) != {"format", "version", "filters", "arguments"}:
            raise ArgumentsError(
                f"{source} must have the keys format, version, filters and arguments; got "
                f"{', '.join(map(repr, document))}. Remove or add what differs."
            )
        filters, arguments = document["filters"], document["arguments"]
        if not isinstance(filters, list) or not isinstance(arguments, dict):
            raise ArgumentsError(
                f'{source} must hold a list "filters" (drawing order) and an object "arguments" '
                f"(name -> number); got {json.dumps(filters)[:40]} and "
                f"{json.dumps(arguments)[:40]}. Write one with `Arguments.save` and edit that."
            )
        try:
            return cls.from_mapping(arguments, tuple(map(str, filters)))
        except (ArgumentsError, FilterListError) as error:
            raise type(error)(f"{source}: {error}") from error

    def document(self) -> dict[str, object]:
        """The JSON-ready form of `clamped()`, which `from_document` reads back.

        Values outside an operation's range are stored as the end of the range, which is what is
        drawn: a saved file draws the same picture, but blends otherwise than what it came from.
        """
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "filters": list(self.filters),
            "arguments": {name: nested(name, value) for name, value in self.clamped().items()},
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON of `document`, whose values are clamped as they are drawn, atomically.

        Raises:
            StorageError: If the file cannot be written.
        """
        text = json.dumps(self.document(), indent=2) + "\n"
        write_atomically(path, text.encode("utf-8"))

    def scaled(self, strength: float) -> "Arguments":
        """Blend from the identity (0) over these arguments (1) beyond them (up to 1.5).

        Raises:
            TypeError: If strength is not a number.
            ArgumentsError: If strength is not in [0, 1.5].
        """
        if not is_number(strength):
            raise TypeError(
                f"`strength` must be a number in [0, {MAX_STRENGTH:g}]; got {strength!r} "
                f"({type(strength).__name__})."
            )
        if not 0.0 <= strength <= MAX_STRENGTH:
            raise ArgumentsError(
                f"strength must lie in [0, {MAX_STRENGTH:g}]; got {strength:g}. 0 gives the "
                "composite, 1 what the network predicted."
            )
        return self._each(lambda value, op: op.identity + strength * (value - op.identity))

    def clamped(self) -> "Arguments":
        """The arguments as they are drawn: each clamped to its operation's range."""
        pairs = zip(self.filters, self.numbers, strict=True)
        return Arguments(self.filters, tuple(clamped(name, value) for name, value in pairs))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each argument has."""
        return tuple(to_numbers(value).size for value in self.numbers)

    def array(self) -> NDArray[np.float32]:
        """All numbers as float32 of shape (k,), in drawing order; `from_array` takes them."""
        return np.concatenate([to_numbers(value) for value in self.numbers]).astype(np.float32)

    def is_identity(self) -> bool:
        """Whether nothing is drawn."""
        return self.clamped() == Arguments.identity(self.filters, self.sizes)

    def _each(self, function: Callable[[NDArray[np.float64], Operation], Any]) -> "Arguments":
        """The arguments that a function makes of each one's numbers."""
        pairs = zip(self.filters, self.numbers, strict=True)
        return Arguments(
            self.filters,
            tuple(of_numbers(function(to_numbers(v), OPERATIONS[name])) for name, v in pairs),
        )

    def __getitem__(self, name: str) -> Value:
        try:
            return self.numbers[self.filters.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.filters)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Arguments):
            return (self.filters, self.numbers) == (other.filters, other.numbers)
        return super().__eq__(other)

    def __hash__(self) -> int:
        return hash((self.filters, self.numbers))

    def __len__(self) -> int:
        return len(self.filters)

    def __str__(self) -> str:
        return "  ".join(f"{name} {describe(name, value)}" for name, value in self.items())


def _written_out(given: dict[str, object]) -> dict[str, object]:
    """The document that a plain mapping from filters to arguments stands for."""
    plain = given.keys() <= set(DEFAULT_FILTERS)
    filters = DEFAULT_FILTERS if plain else tuple(given)
    arguments = {name: given.get(name, OPERATIONS[name].identity) for name in filters}
    return {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "filters": list(filters),
        "arguments": arguments,
    }
