"""A batch on Ray Data: a pool of actors that hold a network each."""

import contextlib
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import ray
import ray.data
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from harmonizer.batch import Entry
from harmonizer.errors import HarmonizerError
from harmonizer.opening import Opening
from harmonizer.pairing import Item, Outcome
from harmonizer.recipes import Recipe, Tools
from harmonizer.systems import available_cores, return_large_blocks

_BLOCK = 16
"""Items that an actor is handed at a time; what it made of them comes back together."""


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


class _Actor:
    """One worker's process."""

    def __init__(self, opening: Opening, recipe: Recipe, build: Callable[[Tools], Doer]) -> None:
        return_large_blocks()
        self._doer = build(opening.open(recipe))

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        item, before = pickle.loads(row["task"])  # of this batch's own driver
        return {"index": row["index"], "result": pickle.dumps(self._doer.do(item, before))}


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
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
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

    A worker is handed 16 items at a time, and entries are recorded as they come back: a driver that
    is killed has up to that many for each worker done again. Items whose worker died with them,
    and those that failed by an error of the system, are tried again, alone.

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
    left = dict(enumerate(items))
    last: dict[int, Outcome] = {}
    for turn in range(crew.tries):
        block = max(1, min(_BLOCK, len(left) // (4 * crew.workers))) if turn == 0 else 1
        tasks = [(index, item, record.before(item)) for index, item in left.items()]
        for index, outcome, entry in _stream(opening, recipe, build, tasks, crew, block):
            outcome = replace(outcome, composite=items[index].composite)
            last[index] = outcome
            if outcome.again and turn + 1 < crew.tries:
                continue
            del left[index]
            if entry is not None:
                record.add(entry)
            yield outcome
        if not left:
            return
    for index, item in left.items():
        said = f"its worker was killed, each of {crew.tries} times. Look at the cluster's log."
        yield last.get(index) or Outcome(item.composite, "failed", error=said)


def _stream(
    opening: Opening,
    recipe: Recipe,
    build: Callable[[Tools], Doer],
    tasks: Iterable[tuple[int, Item, Entry | None]],
    crew: Crew,
    block: int,
) -> Iterator[tuple[int, Outcome, Entry | None]]:
    """One pass; what was lost with a worker does not come."""
    rows = [{"index": i, "task": pickle.dumps((item, before))} for i, item, before in tasks]
    with _context():
        dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // block)).map(
            _Actor,
            fn_constructor_args=(opening.absolute(), recipe, build),
            compute=ray.data.ActorPoolStrategy(size=min(crew.workers, len(rows))),
            num_cpus=crew.cpus,
            num_gpus=crew.gpus or None,
            max_task_retries=0,  # or a picture that kills its worker would do so for ever
        )
        try:
            for row in dataset.iter_rows():
                outcome, entry = pickle.loads(row["result"])
                yield row["index"], outcome, entry
        except RayError as error:
            raise ClusterError(
                f"a worker must begin on each node; one did not: {_cause(error)}. Its model and "
                "harmonizer[ray] must be there."
            ) from error


@contextlib.contextmanager
def _context() -> Iterator[None]:
    """Ray Data's settings, put back afterwards: quiet, and going on past lost blocks."""
    wanted = {
        "max_errored_blocks": -1,
        "enable_progress_bars": False,
        "print_on_execution_start": False,
    }
    context = ray.data.DataContext.get_current()
    before = {name: getattr(context, name) for name in wanted if hasattr(context, name)}
    log = logging.getLogger("ray.data")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        for name in before:
            setattr(context, name, wanted[name])
        with warnings.catch_warnings():  # of `max_task_retries`, which 2.64 may call otherwise
            warnings.simplefilter("ignore", RayDeprecationWarning)
            yield
    finally:
        for name, value in before.items():
            setattr(context, name, value)
        log.setLevel(level)


def _cause(error: BaseException) -> str:
    """The last line of what Ray reports, which names the error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
