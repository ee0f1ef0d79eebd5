"""Filter arguments: what the network predicts and a person may read, store and edit."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonizer.checks import is_number
from harmonizer.errors import ArgumentsError, FilterListError
from harmonizer.files import write_atomically
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS, check_filters

FORMAT = "harmonizer-arguments"
FORMAT_VERSION = 1

MAX_STRENGTH = 1.5
"""Largest accepted blend of the arguments: 0 is the composite, 1 the prediction."""


@dataclass(frozen=True, eq=False)
class Arguments(Mapping[str, float]):
    """An ordered mapping from filter name to argument.

    The order is the order in which the filters are drawn. Values are what the network said or a
    person wrote: they may lie outside the operation's range, and are clamped to it when drawn and
    when saved. Equal to other arguments of the same order and numbers, and to any other mapping
    with the same names and numbers.

    Attributes:
        filters: Operation names in drawing order.
        numbers: One finite argument per filter (`values()` is the mapping's own method).

    Raises:
        FilterListError: If the filter list is not valid.
        ArgumentsError: If the counts differ or a value is not a finite number.
    """

    filters: tuple[str, ...]
    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", check_filters(self.filters))
        object.__setattr__(self, "numbers", tuple(self.numbers))
        if len(self.filters) != len(self.numbers):
            raise ArgumentsError(
                f"arguments need one value per filter; got {len(self.numbers)} values for "
                f"{len(self.filters)} filters ({', '.join(self.filters)})."
            )
        numbers = tuple(map(_finite, self.filters, self.numbers))
        object.__setattr__(self, "numbers", numbers)

    @classmethod
    def identity(cls, filters: tuple[str, ...] = DEFAULT_FILTERS) -> "Arguments":
        """The arguments that leave the image as it is."""
        return cls(filters, tuple(OPERATIONS[name].identity for name in check_filters(filters)))

    @classmethod
    def from_mapping(
        cls, mapping: Mapping[str, float], filters: tuple[str, ...] = DEFAULT_FILTERS
    ) -> "Arguments":
        """Take name -> value pairs in any order.

        Args:
            mapping: A value for every filter and for nothing else, within the operation's range.
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
        for name in filters:
            value, operation = _finite(name, mapping[name]), OPERATIONS[name]
            if not operation.minimum <= value <= operation.maximum:
                raise ArgumentsError(
                    f"argument `{name}` must lie in [{operation.minimum:g}, "
                    f"{operation.maximum:g}]; got {value:.6g}. Write a value in that range."
                )
        return cls(filters, tuple(mapping[name] for name in filters))

    @classmethod
    def load(cls, path: str | Path) -> "Arguments":
        """Read the JSON that `save` writes; a person may have edited it.

        Raises:
            ArgumentsError: If the file cannot be read, is not such JSON, repeats a key, or its
                entries break the rules of `from_mapping`.
            FilterListError: If its filter list is not valid.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            document = json.loads(text, object_pairs_hook=_unrepeated)
        except OSError as error:
            raise ArgumentsError(
                f"{path} must be a readable file of arguments; {error.strerror or error}. Check "
                "the path, or write one with --save-arguments."
            ) from error
        except (ValueError, RecursionError) as error:
            raise ArgumentsError(
                f"{path} must be a JSON file of arguments; it cannot be parsed ({error}). "
                "Write one with --save-arguments and edit that."
            ) from error
        return cls.from_document(document, source=str(path))

    @classmethod
    def from_document(cls, document: object, source: str = "the document") -> "Arguments":
        """Take the parsed JSON: ``{"format", "version", "filters", "arguments"}``, no other keys.

        Raises:
            ArgumentsError, FilterListError: As in `load`.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArgumentsError(
                f'{source} must be an object with "format": "{FORMAT}"; got '
                f"{json.dumps(document)[:80]}. Write one with --save-arguments and edit that."
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
                f"{json.dumps(arguments)[:40]}. Write one with --save-arguments and edit that."
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
            "arguments": dict(self.clamped()),
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON of `document`, whose values are clamped as they are drawn, atomically.

        Raises:
            ImageFileError: If the file cannot be written.
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
        identities = (OPERATIONS[name].identity for name in self.filters)
        return Arguments(
            self.filters,
            tuple(i + strength * (v - i) for i, v in zip(identities, self.numbers, strict=True)),
        )

    def clamped(self) -> "Arguments":
        """The arguments as they are drawn: each clamped to its operation's range."""
        operations = (OPERATIONS[name] for name in self.filters)
        return Arguments(
            self.filters,
            tuple(
                min(max(value, operation.minimum), operation.maximum)
                for operation, value in zip(operations, self.numbers, strict=True)
            ),
        )

    def array(self) -> NDArray[np.float32]:
        """The values as float32 of shape (k,), in drawing order."""
        return np.asarray(self.numbers, np.float32)

    def __getitem__(self, name: str) -> float:
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
        return "  ".join(f"{name} {value:+.3f}" for name, value in self.items())


def _finite(name: str, value: object) -> float:
    """A filter's argument as a finite float, or ArgumentsError."""
    operation = OPERATIONS[name]
    remedy = f"Write a number between {operation.minimum:g} and {operation.maximum:g}."
    if not is_number(value):
        raise ArgumentsError(
            f"argument `{name}` must be a number; got {value!r} ({type(value).__name__}). {remedy}"
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ArgumentsError(
            f"argument `{name}` must be a finite number; got {str(value)[:20]}. {remedy}"
        )
    return number


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object's entries, or ValueError where a key comes twice."""
    entries = dict(pairs)
    if len(entries) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {repeated!r} comes twice")
    return entries
