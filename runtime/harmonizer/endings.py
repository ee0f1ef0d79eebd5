"""Signals that end a command: all are treated alike, in this package and in the toolchain."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

INTERRUPTED = 130

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


def ending_well(main: Callable[[], int]) -> int:
    """Run a program: each of `ENDINGS` ends it as Ctrl-C does, and what is unfinished is removed.

    Returns:
        What `main` returns, or 130.
    """
    with ended_by_signals():
        try:
            return main()
        except KeyboardInterrupt:
            print("interrupted; nothing unfinished is left", file=sys.stderr)
            return INTERRUPTED
