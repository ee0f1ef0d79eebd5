"""The plan between predictor and renderer: arguments plus image statistics, as plain data."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from harmonizer.checks import finite, is_number
from harmonizer.errors import ArgumentsError
from harmonizer.ops import OPERATIONS, Statistics, check_filters
from harmonizer.values import Value, check_value, check_within, nested, to_numbers

FORMAT = "harmonizer-plan"
FORMAT_VERSION = 1

_REMEDY = "Write it again with this version of harmonizer."

STATISTICS_COUNTS: dict[Statistics, int] = {"none": 0, "channel_means": 3, "mean": 1}
"""How many numbers a step holds for each kind of statistics."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, ready to be drawn.

    Attributes:
        operation: Name of a registered operation.
        argument: Within the operation's range; as many numbers as it takes, flat.
        statistics: What the operation reads of the whole image as the preceding steps leave it:
            () for "none", the means of R, G, B for "channel_means", one mean for "mean"; all in
            [0, 1]. Zeros where the argument is the identity, for nothing reads them then.

    Raises:
        FilterListError: If the operation is not registered.
        ArgumentsError: If a number is not finite or out of range, or the count of statistics is
            not the operation's.
    """

    operation: str
    argument: Value
    statistics: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_filters((self.operation,))
        object.__setattr__(self, "argument", check_value(self.operation, self.argument))
        numbers = tuple(number for number in map(finite, self.statistics) if number is not None)
        check_within(self.operation, self.argument)
        operation = OPERATIONS[self.operation]
        count = STATISTICS_COUNTS[operation.statistics]
        short = len(self.statistics) != count or len(numbers) != count
        if short or not all(0 <= value <= 1 for value in numbers):
            raise ArgumentsError(
                f"step `{self.operation}` needs {count} finite statistics in [0, 1] "
                f"({operation.statistics}); got {str(self.statistics)[:80]}. Measure them with "
                "prepare()."
            )
        object.__setattr__(self, "statistics", numbers)

    @property
    def is_identity(self) -> bool:
        """Whether the argument changes nothing."""
        return bool((to_numbers(self.argument) == OPERATIONS[self.operation].identity).all())


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps in drawing order; with them a renderer draws any image without measuring it.

    A video may keep one plan for several frames, and a saved plan draws the same colours again.

    Raises:
        FilterListError: If an operation appears twice, or there are none or too many.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        check_filters(step.operation for step in self.steps)

    @property
    def filters(self) -> tuple[str, ...]:
        """Operation names in drawing order."""
        return tuple(step.operation for step in self.steps)

    def document(self) -> dict[str, object]:
        """The JSON-ready form; `from_document` reads it back without loss."""
        return {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "steps": [
                {
                    "operation": step.operation,
                    "argument": nested(step.operation, step.argument),
                    "statistics": list(step.statistics),
                }
                for step in self.steps
            ],
        }

    @classmethod
    def from_document(cls, document: object, source: str = "the document") -> "Plan":
        """Take the parsed JSON that `document` gives.

        Args:
            document: ``{"format", "version", "steps": [{"operation", "argument", "statistics"}]}``
                with these keys and no others.
            source: What to call the document in messages.

        Raises:
            ArgumentsError: If the document has another form, or as in `Step`.
            FilterListError: As in `Step` and `Plan`.
        """
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArgumentsError(
                f'{source} must be an object with "format": "{FORMAT}"; got '
                f"{json.dumps(document, default=str)[:80]}. Write one with Plan.document()."
            )
        if document.get("version") != FORMAT_VERSION or document["version"] is True:
            raise ArgumentsError(
                f"{source} must have version {FORMAT_VERSION}; got {document.get('version')!r}. "
                f"{_REMEDY}"
            )
        _check_keys(document, ("format", "version", "steps"), source)
        steps = document["steps"]
        if not isinstance(steps, list):
            raise ArgumentsError(f'{source} must hold a list "steps"; got {steps!r}. {_REMEDY}')
        return cls(
            tuple(_step(entry, f"step {index} of {source}") for index, entry in enumerate(steps))
        )


def _step(entry: object, source: str) -> Step:
    if not isinstance(entry, dict):
        raise ArgumentsError(f"{source} must be an object; got {entry!r}. {_REMEDY}")
    _check_keys(entry, ("operation", "argument", "statistics"), source)
    operation, argument, statistics = entry["operation"], entry["argument"], entry["statistics"]
    if not isinstance(operation, str):
        raise ArgumentsError(f'{source} must name its "operation"; got {operation!r}. {_REMEDY}')
    if not isinstance(statistics, list) or not all(map(is_number, statistics)):
        raise ArgumentsError(
            f'"statistics" of {source} must be a list of numbers; got {statistics!r}. {_REMEDY}'
        )
    try:
        return Step(operation, argument, tuple(statistics))
    except ArgumentsError as error:
        raise ArgumentsError(f"{source}: {error}") from error


def _check_keys(entry: dict[str, object], keys: Sequence[str], source: str) -> None:
    if set(entry) != set(keys):
        raise ArgumentsError(
            f"{source} must have the keys {', '.join(keys)}; got {', '.join(map(repr, entry))}. "
            f"{_REMEDY}"
        )
