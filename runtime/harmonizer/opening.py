"""How a network and a renderer are opened: words that can be sent to another machine."""

from dataclasses import dataclass, replace
from pathlib import Path

from harmonizer.backends import Backend, build_renderer
from harmonizer.harmonizer import Harmonizer
from harmonizer.recipes import Recipe, Tools


@dataclass(frozen=True, slots=True)
class Opening:
    """What `Harmonizer` is made with.

    Attributes:
        model: A file; None for the model that ships with the package.
        backend: "cpu", "cuda" or "auto".
        threads: Of the predictor and the renderer; None for their own choice.
        label: For a model that asks for one.
        allow_host_code: Run code for the host that an engine holds.
    """

    model: Path | None = None
    backend: Backend = "auto"
    threads: int | None = None
    label: str | None = None
    allow_host_code: bool = False

    def open(self, recipe: Recipe) -> Tools:
        """Load the model, unless the recipe has arguments, and the renderer.

        Raises:
            ModelError, NativeLibraryError: If they cannot be loaded.
            ArgumentsError: If the recipe overrides a filter that the model does not have.
            ValueError: If the label is unknown, or given to a model that asks for none.
        """
        if recipe.given is not None:
            return Tools(build_renderer(self.backend, self.threads))
        harmonizer = Harmonizer(
            self.model,
            self.backend,
            self.threads,
            label=self.label,
            allow_host_code=self.allow_host_code,
        )
        recipe.check(harmonizer.filters)
        return Tools(harmonizer.renderer, harmonizer)

    def absolute(self) -> "Opening":
        """The same, for a process that runs in another folder."""
        return self if self.model is None else replace(self, model=self.model.absolute())
