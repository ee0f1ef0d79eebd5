"""Filter arguments: what the network predicts and a person may read, store and edit."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harmonizer.errors import ArgumentsError
from harmonizer.files import write_atomically
from harmonizer.ops import DEFAULT_FILTERS, OPERATIONS, check_filters

FORMAT = "harmonizer-arguments"
FORMAT_VERSION = 1

MAX_STRENGTH = 1.5
"""Largest accepted blend of the arguments: 0 is the composite, 1 the prediction."""


@dataclass(frozen=True)
class Arguments(Mapping[str, float]):
    """An ordered mapping from filter name to argument.

    The order is the order in which the filters are drawn. Values are what the network said or a
    person wrote: they may lie outside the operation's range, and are clamped to it only when drawn.

    Attributes:
        filters: Operation names in drawing order.
        numbers: One finite argument per filter (`values()` is the mapping's own method).

    Raises:
        FilterListError: If the filter list is not valid.
        ArgumentsError: If the counts differ or a value is not finite.
    """

    filters: tuple[str, ...]
    numbers: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", check_filters(self.filters))
        object.__setattr__(self, "numbers", tuple(float(value) for value in self.numbers))
        if len(self.filters) != len(self.numbers):
            raise ArgumentsError(
                f"arguments need one value per filter; got {len(self.numbers)} values for "
                f"{len(self.filters)} filters ({', '.join(self.filters)})."
            )
        for name, value in zip(self.filters, self.numbers, strict=True):
            if not math.isfinite(value):
                raise ArgumentsError(
                    f"argument `{name}` must be a finite number; got {value}. Write a number "
                    f"between {OPERATIONS[name].minimum:g} and {OPERATIONS[name].maximum:g}."
                )

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
            ArgumentsError: If a name is unknown or missing, or a value is not a finite number
                within the operation's range.
        """
        filters = check_filters(filters)
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
            value, operation = mapping[name], OPERATIONS[name]
            if isinstance(value, bool) or not isinstance(
                value, int | float | np.integer | np.floating
            ):
                raise ArgumentsError(
                    f"argument `{name}` must be a number; got {value!r} "
                    f"({type(value).__name__}). Write a number between "
                    f"{operation.minimum:g} and {operation.maximum:g}."
                )
            endless = isinstance(value, float | np.floating) and not math.isfinite(value)
            if not endless and not operation.minimum <= value <= operation.maximum:
                raise ArgumentsError(
                    f"argument `{name}` must lie in [{operation.minimum:g}, "
                    f"{operation.maximum:g}]; got {str(value)[:20]}. Write a value in that range."
                )
        return cls(filters, tuple(mapping[name] for name in filters))

    @classmethod
    def load(cls, path: str | Path) -> "Arguments":
        """Read the JSON that `save` writes; a person may have edited it.

        Raises:
            ArgumentsError: If the file cannot be read, is not such JSON, or its entries break the
                rules of `from_mapping`.
            FilterListError: If its filter list is not valid.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
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
        """Take the parsed JSON: ``{"format", "version", "filters", "arguments"}``.

        Raises:
            ArgumentsError, FilterListError: As in `load`.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArgumentsError(
                f'{source} must be an object with "format": "{FORMAT}"; got '
                f"{json.dumps(document)[:80]}. Write one with --save-arguments and edit that."
            )
        if document.get("version") != FORMAT_VERSION:
            raise ArgumentsError(
                f"{source} must have version {FORMAT_VERSION}; got {document.get('version')!r}. "
                "Write it again with this version of harmonizer."
            )
        filters, arguments = document.get("filters"), document.get("arguments")
        if not isinstance(filters, list) or not isinstance(arguments, dict):
            raise ArgumentsError(
                f'{source} must hold a list "filters" (drawing order) and an object "arguments" '
                f"(name -> number); got keys {', '.join(map(repr, document))}."
            )
        return cls.from_mapping(arguments, tuple(map(str, filters)))

    def document(self) -> dict[str, object]:
        """The JSON-ready form; `from_document` reads it back without loss."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "filters": list(self.filters),
            "arguments": {name: self.clamped()[name] for name in self.filters},
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON of `document` atomically; values are clamped to their range, as drawn.

        Raises:
            ImageFileError: If the file cannot be written.
        """
        text = json.dumps(self.document(), indent=2) + "\n"
        write_atomically(path, text.encode("utf-8"))

    def scaled(self, strength: float) -> "Arguments":
        """Blend from the identity (0) over these arguments (1) beyond them (up to 1.5).

        Raises:
            ArgumentsError: If strength is not in [0, 1.5].
        """
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

    def __len__(self) -> int:
        return len(self.filters)

    def __str__(self) -> str:
        return "  ".join(f"{name} {value:+.3f}" for name, value in self.items())
