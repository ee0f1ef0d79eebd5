"""Progress bars, and Ctrl-C as a request, for commands that run long."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDINGS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Signals that end a command; all are treated alike."""


@contextmanager
def interrupts(cancel: threading.Event) -> Iterator[None]:
    """The first Ctrl-C, or another of `ENDINGS`, asks the pipeline to end; a second breaks off."""

    def handle(number: int, frame: object) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        cancel.set()

    with _handled(handle):
        yield


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn each of `ENDINGS` into KeyboardInterrupt, so that what is unfinished is removed."""

    def handle(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    with _handled(handle):
        yield


@contextmanager
def _handled(handle: Callable[[int, object], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in ENDINGS:
        # nohup ignores SIGHUP for its command, which stays so.
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, handle)
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
