"""A batch on Ray Data: a pool of actors that hold a network each."""

import contextlib
import logging
import os
import pickle
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import ray
import ray.data
from ray.exceptions import RayError

from harmonizer.batch import Entry
from harmonizer.errors import HarmonizerError
from harmonizer.opening import Opening
from harmonizer.pairing import Item, Outcome
from harmonizer.recipes import Recipe, Tools
from harmonizer.systems import available_cores, return_large_blocks

_BLOCK = 16
"""Items that an actor is handed at a time; what it made of them comes back together."""


_ANSWER_SECONDS = 10.0


class ClusterError(HarmonizerError, RuntimeError):
    """The cluster cannot be reached, has no room for a worker, or its workers cannot begin."""


class Doer(Protocol):
    """What does an item, such as `harmonizer.batch.Worker`."""

    def do(self, item: Item, before: Entry | None) -> tuple[Outcome, Entry | None]:
        """Do it, unless its output is what the record's entry says."""


class Book(Protocol):
    """A record, such as `harmonizer.batch.Record`."""

    def before(self, item: Item) -> Entry | None:
        """The entry of an item; None if it has none."""

    def add(self, entry: Entry) -> None:
        """Write a line."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Who works.

    Attributes:
        workers: Actors.
        cpus: Of each.
        gpus: Of each; a fraction where several share one.
        tries: How often a file is tried whose failure was not its own: its worker was killed, or
            the system refused something.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    tries: int = 3


class _Tally:
    """Counts how often an item was begun and not ended: its worker was killed meanwhile."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, index: int, ended: int) -> int:
        """Count an item, and forget another; how often it was begun before."""
        del self._begun[ended]
        self._begun[index] += 1
        return self._begun[index] - 1


class _Actor:
    """One worker's process."""

    def __init__(
        self,
        opening: Opening,
        recipe: Recipe,
        build: Callable[[Tools], Doer],
        tries: int,
        tally: Any,
    ) -> None:
        return_large_blocks()
        self._doer = build(opening.open(recipe))
        self._tries = tries
        self._tally = tally
        self._ended = -1

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        index = int(row["index"])
        item, before = pickle.loads(row["task"])  # of this batch's own driver
        killed = ray.get(self._tally.begin.remote(index, self._ended))
        done: tuple[Outcome, Entry | None]
        if killed >= self._tries:
            said = f"its worker was killed, each of {killed} times. Look at the cluster's log."
            done = Outcome(item.composite, "failed", error=said), None
        else:
            for turn in range(self._tries):
                time.sleep(turn)
                done = self._doer.do(item, before)
                if not done[0].again:
                    break
        self._ended = index
        return {"index": index, "result": pickle.dumps(done)}


@contextlib.contextmanager
def joined(address: str, cores: int | None = None) -> Iterator[None]:
    """Join a cluster, or begin one of this machine alone, and leave it.

    Args:
        address: "local", "auto", or host:port as `ray.init` takes it.
        cores: Of a local one; None for those that this process may use.

    Raises:
        ClusterError: If it cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # here nothing else waits for them
        how |= {"num_cpus": cores or available_cores(), "include_dashboard": False}
    try:
        ray.init(address, **how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"{address} must be a Ray cluster that answers; {error}. Name its host and port, or "
            "local for this machine alone."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """Refuse an address that does not answer: Ray itself tries for minutes.

    Raises:
        ClusterError: If it is none, or nobody listens there.
    """
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    rule = f"the cluster must be local, auto, HOST:PORT or ray://HOST:PORT; got {address[:80]!r}"
    remedy = "Name its host and port, or local for this machine alone."
    if not host or not port.isdecimal():
        raise ClusterError(f"{rule}. {remedy}")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"{rule}, which does not answer: {error}. {remedy}") from error


def room(cpus: float, gpus: float) -> int:
    """How many workers the cluster has room for.

    Raises:
        ClusterError: If it has none.
    """
    has = ray.cluster_resources()
    places = [has.get("CPU", 0) // cpus] if cpus else []
    places += [int(has.get("GPU", 0) / gpus + 1e-9)] if gpus else []
    if not places or min(places) < 1:
        raise ClusterError(
            f"the cluster must have room for a worker of {cpus:g} CPUs and {gpus:g} GPUs; it has "
            f"{has.get('CPU', 0):g} and {has.get('GPU', 0):g}. Ask for less."
        )
    return int(min(places))


def run_crew(
    opening: Opening,
    items: list[Item],
    recipe: Recipe,
    build: Callable[[Tools], Doer],
    record: Book,
    crew: Crew,
) -> Iterator[Outcome]:
    """Do the items on the cluster that was joined; yield what became of each as it is known.

    A worker is handed up to 16 items at a time, and entries are recorded as they come back: a
    driver that is killed has that many for each worker done again. Ray hands the items of a worker
    that died to another; which of them it died of, a tally knows.

    Args:
        opening: How each worker opens its network.
        items: With paths that every node can read.
        recipe: Where the arguments come from.
        build: Makes what does an item, in the worker.
        record: Says what is done, and is told of more.
        crew: Who works.

    Raises:
        ClusterError: If the workers cannot begin.
    """
    if not items:
        return
    tasks = [(item, record.before(item)) for item in items]
    rows = [{"index": i, "task": pickle.dumps(task)} for i, task in enumerate(tasks)]
    block = max(1, min(_BLOCK, len(items) // (4 * crew.workers)))
    tally = ray.remote(num_cpus=0)(_Tally).remote()
    with _context():
        dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block)).map(
            _Actor,
            fn_constructor_args=(opening.absolute(), recipe, build, crew.tries, tally),
            compute=ray.data.ActorPoolStrategy(size=min(crew.workers, len(rows))),
            num_cpus=crew.cpus,
            num_gpus=crew.gpus or None,
        )
        try:
            for row in dataset.iter_rows():
                outcome, entry = pickle.loads(row["result"])
                if entry is not None:
                    record.add(entry)
                yield replace(outcome, composite=items[row["index"]].composite)
        except RayError as error:
            raise ClusterError(
                f"a worker must begin on each node; one did not: {_cause(error)}. Its model and "
                "harmonizer[ray] must be there."
            ) from error
        finally:
            ray.kill(tally)


@contextlib.contextmanager
def _context() -> Iterator[None]:
    """Ray Data's settings, put back afterwards: quiet."""
    wanted = {"enable_progress_bars": False, "print_on_execution_start": False}
    context = ray.data.DataContext.get_current()
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        for name in before:
            setattr(context, name, wanted[name])
        yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        log.setLevel(level)


def _cause(error: BaseException) -> str:
    """The last line of what Ray reports, which names the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
