"""Progress bars, and Ctrl-C as a request, for commands that run long."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts(cancel: threading.Event) -> Iterator[None]:
    """The first Ctrl-C asks the pipeline to end; a second one breaks off."""

    def handle(number: int, frame: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
