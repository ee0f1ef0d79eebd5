"""Progress bars for commands that run long."""

from typing import Any


class Bars:
    """A progress bar for each pass, with rate and remaining time, where stderr is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._name = ""

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def step(self, name: str, done: int, total: int | None) -> None:
        """Show that so many frames of a pass are done."""
        from tqdm import tqdm

        if name != self._name:
            self.__exit__()
            self._bar = tqdm(total=total, unit="frame", desc=name, disable=None)
            self._name = name
        self._bar.update(done - self._bar.n if not self._bar.disable else 0)
