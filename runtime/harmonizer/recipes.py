"""What a command asks for - arguments, strength, overrides - and what carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harmonizer.arguments import Arguments
from harmonizer.arrays import Array
from harmonizer.concerns import EMPTY_MASK
from harmonizer.errors import ArgumentsError

if TYPE_CHECKING:
    from harmonizer.backends import Renderer
    from harmonizer.frame import Frame, Network
    from harmonizer.harmonizer import Harmonizer


@dataclass(frozen=True, slots=True)
class Recipe:
    """Where the arguments come from: predicted or given, blended, then overridden one by one.

    Attributes:
        given: Arguments to use in place of a prediction, or None to predict.
        strength: Blend of either, 0 to 1.5; the overrides are not blended.
        overrides: Filter name -> argument, set last.
    """

    given: Arguments | None = None
    strength: float = 1.0
    overrides: Mapping[str, float] = field(default_factory=dict)

    def check(self, filters: tuple[str, ...]) -> None:
        """Refuse overrides of filters that are not drawn.

        Raises:
            ArgumentsError: If there are such.
        """
        strangers = [name for name in self.overrides if name not in filters]
        if strangers:
            raise ArgumentsError(
                f"`overrides` must name a filter that is drawn ({', '.join(filters)}); got "
                f"{', '.join(strangers)}. Leave it out, or use a model that has it."
            )

    def follow(self, frame: "Frame", mask: Array) -> tuple[Arguments, tuple[str, ...]]:
        """The arguments for a picture, and what a person should know.

        Raises:
            ArgumentsError, ModelError: If they cannot be had.
        """
        if self.given is not None:
            return self.finish(self.given), () if mask.any() else (EMPTY_MASK,)
        arguments = self.finish(frame.predict())
        return arguments, frame.concerns

    def finish(self, arguments: Arguments) -> Arguments:
        """Blend, then override.

        Raises:
            ArgumentsError: If strength or an override is out of range, or a name unknown.
        """
        self.check(arguments.filters)
        blended = arguments.scaled(self.strength)
        if not self.overrides:
            return blended
        return Arguments.from_mapping({**blended.clamped(), **self.overrides}, blended.filters)


@dataclass(frozen=True, slots=True)
class Tools:
    """A renderer, and the harmonizer that predicts for it unless arguments are given."""

    renderer: "Renderer"
    harmonizer: "Harmonizer | None" = None

    @property
    def network(self) -> "Network | None":
        """What predicts."""
        return None if self.harmonizer is None else self.harmonizer.network

    def open(self, image: Array, mask: Array, **how: Any) -> "Frame":
        """Open a picture, as `Renderer.open` does; it can predict where there is a harmonizer."""
        return self.renderer.open(image, mask, self.network, **how)
