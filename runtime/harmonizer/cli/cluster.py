"""`harmonizer batch --ray`: the same batch on a cluster, and in object storage."""

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from harmonizer.batch import Record, Worker
from harmonizer.cli import FAILURE, SUCCESS
from harmonizer.cli.following import follow, report
from harmonizer.cli.options import number, read_file_options, read_opening
from harmonizer.pairing import Item, Outcome
from harmonizer.picture import FileOptions
from harmonizer.recipes import Recipe
from harmonizer.usage import UsageError, without_secrets


def place(text: str) -> Path | str:
    """argparse type: a path, or an address with `://`."""
    return text if "://" in text else Path(text)


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """--ray, --gpus-per-worker."""
    group = parser.add_argument_group("more than one machine (docs/clusters.md)")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="a Ray cluster, host:port, or `local` for processes of this machine; folders may then "
        "be addresses such as s3://bucket/folder; --jobs counts processes, --threads their CPUs",
    )
    group.add_argument(
        "--gpus-per-worker",
        type=_share,
        metavar="N",
        help="with --ray: GPUs of each process, such as 0.5 where two share one",
    )


def has_addresses(options: argparse.Namespace) -> bool:
    """Whether a folder lies in object storage."""
    places = (options.composites, options.masks, options.output)
    return any(isinstance(place, str) for place in places)


def check_cluster(options: argparse.Namespace) -> None:
    """Refuse what does not go together, before any work.

    Raises:
        UsageError: If an address or a share of a GPU is given without --ray, or Ray is missing; or
            an address goes with an option that needs folders.
    """
    for place in (options.composites, options.masks, options.output):
        if isinstance(place, str) and options.ray is None:
            raise UsageError(
                f"{without_secrets(place)} is an address, which needs --ray: `--ray local` for "
                "this machine. Pass it, or name a folder."
            )
    if options.gpus_per_worker is not None and options.ray is None:
        raise UsageError("--gpus-per-worker goes with --ray. Leave it out, or pass --ray.")
    if has_addresses(options):
        for flag, value in (("--background", options.background), ("--report", options.report)):
            if value is not None:
                raise UsageError(f"{flag} goes with folders; an address was given. Leave it out.")
    if options.ray is None:
        return
    try:
        import pyarrow  # noqa: F401 - looked for
        import ray.data  # noqa: F401 - looked for
    except ImportError as error:
        raise UsageError(
            f"--ray needs {error.name}, which is not installed. Run: "
            'pip install "harmonizer[ray]", on every node.'
        ) from error


@contextlib.contextmanager
def on_ray(
    options: argparse.Namespace, items: list[Item], recipe: Recipe, how: FileOptions
) -> Iterator[Iterator[Outcome]]:
    """What becomes of items whose folders every node sees.

    Raises:
        ClusterError: If there is no cluster, or no room on it.
        StorageError: If the record cannot be written.
    """
    from harmonizer.ray.crew import joined

    output = options.output.absolute()
    own = [_absolute(item) for item in items]
    names = {item.composite: seen.composite for item, seen in zip(own, items, strict=True)}
    build = partial(Worker, output=output, recipe=recipe, options=how)
    with Record(output, options.force) as record, joined(options.ray, _cores(options)):
        results = _results(options, own, recipe, build, record)
        with contextlib.closing(results):
            yield (replace(out, composite=names[out.composite]) for out in results)


def run_objects(options: argparse.Namespace, recipe: Recipe) -> int:
    """The command where a folder lies in object storage.

    Raises:
        ImageFileError: If there is nothing to do, or no such storage.
        ClusterError: If there is no cluster, or no room on it.
    """
    from harmonizer.ray.crew import joined
    from harmonizer.ray.objects import Folder, ObjectRecord, ObjectWorker, pair_objects

    composites, output = Folder(options.composites), Folder(options.output)
    masks = None if options.masks is None else Folder(options.masks)
    items, failures = pair_objects(composites, masks, output, options.format)
    how = read_file_options(options, None)
    folders = (composites, masks, output)
    build = partial(ObjectWorker, folders=folders, recipe=recipe, options=how)
    with ObjectRecord(output, options.force) as record, joined(options.ray, _cores(options)):
        results = _results(options, items, recipe, build, record)
        with contextlib.closing(results):
            outcomes = follow(results, len(items), failures)
    print(report(outcomes, failures))
    return FAILURE if failures else SUCCESS


def _cores(options: argparse.Namespace) -> int | None:
    """Of a cluster of this machine alone: as many as --jobs asks for."""
    return None if options.jobs is None else options.jobs * (options.threads or 1)


def _results(
    options: argparse.Namespace, items: list[Item], recipe: Recipe, build: Any, record: Any
) -> Any:
    from harmonizer.ray.crew import Crew, room, run_crew

    threads = options.threads or 1
    gpus = options.gpus_per_worker or 0.0
    most = room(threads, gpus)
    if options.jobs is not None and options.jobs > most:
        raise UsageError(
            f"--jobs must be at most {most}, which the cluster has room for; got {options.jobs}. "
            "Give fewer, or leave it out."
        )
    crew = Crew(options.jobs or most, threads, gpus)
    opening = read_opening(options, threads)
    return run_crew(opening, items, recipe, build, record, crew)


def _absolute(item: Item) -> Item:
    mask, background = item.mask, item.background
    return Item(
        item.composite.absolute(),
        mask and mask.absolute(),
        item.output.absolute(),
        background and background.absolute(),
    )


def _share(text: str) -> float:
    value = number(text)
    if not 0 < value <= 64 or (value > 1 and value != int(value)):
        raise argparse.ArgumentTypeError(
            f"must be a whole number, or lie above 0 and below 1; got {text[:40]!r}"
        )
    return value
