"""Wait for foreign code so that Ctrl-C and a deadline end the wait."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class DeadlineError(Exception):
    """The work took longer than it may; it was told to stop."""


def run_interruptibly(
    work: Callable[[], Result], stop: Callable[[], None], seconds: float
) -> Result:
    """Do the work in another thread, and wait for it.

    Args:
        work: Holds Python's lock for short times only.
        stop: Asks it to end; called after an interrupt, and at the deadline.
        seconds: How long it may take.

    Returns:
        What it returns; what it raises is raised here.

    Raises:
        DeadlineError: If it takes longer.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(work())
        except BaseException as error:  # handed over to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=call, name="hz-run", daemon=True)
    thread.start()
    try:
        thread.join(seconds)
    except BaseException:
        stop()
        raise
    if thread.is_alive():
        stop()
        raise DeadlineError(f"it took longer than {seconds:g} s")
    if errors:
        raise errors[0]
    return results[0]
