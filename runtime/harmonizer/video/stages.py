"""Stages of a pipeline: iterators, each of which may run ahead in a thread of its own."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

_POLL_S = 0.1
"""How often a stage that waits for room looks whether it is still wanted."""


class _End:
    """The last thing in a queue, with the error that ended the stage, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def close(source: object) -> None:
    """Close an iterator that can be closed, such as a generator or a `RunAhead`."""
    closer = getattr(source, "close", None)
    if closer is not None:
        closer()


class RunAhead(Generic[Item]):
    """An iterator that draws from another one in a thread, a bounded number of items ahead.

    The thread begins at once. It ends when the source does, when that raises, or when this object
    is closed; it closes the source. An error appears here, at its place in the order. Only one
    thread may use the object.

    Args:
        source: Drawn from in the thread alone.
        depth: Items that may wait, at least 1; this bounds the memory.
        name: Of the thread, for debuggers.
    """

    def __init__(self, source: Iterable[Item], depth: int, name: str) -> None:
        self._waiting: queue.Queue[Item | _End] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._done = False
        self._source = source
        self._thread = threading.Thread(target=self._work, name=f"hz-{name}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._done:
            raise StopIteration
        item = self._waiting.get()
        if not isinstance(item, _End):
            return item
        self._done = True
        self._thread.join()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop the thread, wait for it, and drop what it had ready."""
        self._done = True
        self._unwanted.set()
        self._thread.join()

    def __enter__(self) -> "RunAhead[Item]":
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(self._source)
            try:
                for item in iterator:
                    if not self._put(item):
                        break
                    # Kept until the next one comes, it would be one more than `depth` says.
                    del item
            finally:
                close(iterator)
        except BaseException as raised:
            error = raised
        self._put(_End(error))

    def _put(self, item: Item | _End) -> bool:
        while not self._unwanted.is_set():
            try:
                self._waiting.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False
