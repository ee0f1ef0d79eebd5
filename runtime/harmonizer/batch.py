"""Harmonize a folder of composites: pair with masks, run on threads, go on past bad files.

A record in the output folder (``harmonizer-batch.jsonl``, one line a finished file) says from what
each output was made; a file is skipped when its composite, its mask, the model and the settings are
what the record says and the output is still there.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from harmonizer.errors import ImageFileError
from harmonizer.files import FORMATS, make_folder
from harmonizer.jobs import FileOptions, Recipe, Tools, harmonize_file

RECORD_NAME = "harmonizer-batch.jsonl"

LAYOUTS = (("composite", "mask"), ("composites", "masks"), ("composite_images", "masks"))
"""Pairs of folders, below one that is named alone, in which composites and masks are looked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """One composite to do; `mask` None means its alpha channel."""

    composite: Path
    mask: Path | None
    output: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a composite: "done", "skipped" or "failed" with the reason."""

    composite: Path
    status: str
    notes: tuple[str, ...] = ()
    error: str = ""


def find_images(folder: Path, excluded: Iterable[Path] = ()) -> list[Path]:
    """Every JPEG, PNG, TIFF and WebP below a folder by suffix, sorted.

    Hidden files are left out, and so is what lies below an `excluded` folder (unless `folder`
    itself does).

    Raises:
        ImageFileError: If it is not a folder.
    """
    if not folder.is_dir():
        raise ImageFileError(f"{folder} must be a folder; it is not. Name one of image files.")
    root = _real(folder)
    others = [_real(path) for path in excluded]
    others = [path for path in others if not root.is_relative_to(path)]
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in FORMATS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not any(_real(path).is_relative_to(other) for other in others)
    )


def _real(path: Path) -> Path:
    """The path without symbolic links; unlike Path.resolve it survives links in a circle."""
    return Path(os.path.realpath(path))


def split_layout(folder: Path) -> tuple[Path, Path | None]:
    """The composite and mask folders below `folder`, or itself and None if it has no such."""
    for composites, masks in LAYOUTS:
        if (folder / composites).is_dir() and (folder / masks).is_dir():
            return folder / composites, folder / masks
    return folder, None


def pair_files(
    composites: Path, masks: Path | None, output: Path, suffix: str | None = None
) -> tuple[list[Job], list[Outcome]]:
    """Find the composites and the mask of each.

    A mask has the composite's place below its folder and the composite's stem, with any suffix;
    or that stem without a last ``_number``, as iHarmony4 names them (``a0002_1_4.jpg`` has the
    mask ``a0002_1.png``). Without a mask folder the alpha channels are the masks.

    Args:
        composites: Folder, searched with its subfolders.
        masks: Folder, or None.
        output: Folder; outputs have the composite's place below it.
        suffix: The outputs' suffix, or None for the composite's own.

    Returns:
        The jobs, and a failure for each composite without exactly one mask.

    Raises:
        ImageFileError: If a folder is not there, there are no composites, two of them would
            write one file, or an output would replace an input.
    """
    found = find_images(composites, [output] if masks is None else [output, masks])
    if not found:
        rest = [path.name for path in sorted(composites.rglob("*")) if path.is_file()]
        came = f", among {len(rest)} files such as {', '.join(rest[:3])}" if rest else ""
        raise ImageFileError(
            f"{composites} must contain images ({', '.join(FORMATS)}); it has none{came}. Name a "
            "folder of composites."
        )
    places: dict[tuple[Path, str], list[Path]] = {}
    if masks is not None:
        for path in find_images(masks, [output]):
            places.setdefault((path.relative_to(masks).parent, path.stem), []).append(path)
    jobs, failures = [], []
    for path in found:
        place = path.relative_to(composites)
        target = output / (place.with_suffix(suffix) if suffix else place)
        if masks is None:
            jobs.append(Job(path, None, target))
            continue
        stems = (place.stem, re.sub(r"_\d+$", "", place.stem))
        choices = next((places[place.parent, s] for s in stems if (place.parent, s) in places), [])
        if len(choices) == 1:
            jobs.append(Job(path, choices[0], target))
            continue
        wanted = " or ".join(f"{place.parent / stem}.*" for stem in dict.fromkeys(stems))
        came = ", ".join(map(str, choices)) or "none"
        failures.append(
            Outcome(
                path, "failed", error=f"{path} must have one mask {wanted} in {masks}; found {came}"
            )
        )
    _check_targets(jobs)
    return jobs, failures


def _check_targets(jobs: list[Job]) -> None:
    inputs = {_real(path) for job in jobs for path in (job.composite, job.mask) if path}
    targets: dict[Path, Path] = {}
    for job in jobs:
        target = _real(job.output)
        if target in inputs:
            raise ImageFileError(
                f"{job.output} must not replace an input of the batch; it would. Name another "
                "output folder."
            )
        if target in targets:
            raise ImageFileError(
                f"each composite must have its own output; {targets[target]} and {job.composite} "
                f"would both write {job.output}. Rename one, or leave --format out."
            )
        targets[target] = job.composite


def run_batch(
    tools: Tools,
    jobs: list[Job],
    output: Path,
    recipe: Recipe,
    options: FileOptions,
    workers: int,
    force: bool = False,
) -> Iterator[Outcome]:
    """Do the jobs on threads; yield what became of each as it finishes.

    Reading and writing files overlap with prediction and drawing, all of which release Python's
    lock. When the iterator is closed early, the jobs that have begun are finished.

    Args:
        tools: What predicts and draws, shared by all workers.
        jobs: From `pair_files`.
        output: Folder of the record.
        recipe: Where the arguments come from.
        options: How files are read and written.
        workers: Files in work at a time.
        force: Do again what is done.

    Raises:
        ImageFileError: If the output folder cannot be created.
    """
    settings = _settings(tools, recipe, options)
    record = output / RECORD_NAME
    done = {} if force else _read_record(record)
    make_folder(output)

    def work(job: Job) -> tuple[Outcome, str]:
        try:
            key = _key(job, settings)
            if done.get(job.output.relative_to(output).as_posix()) == key and job.output.is_file():
                return Outcome(job.composite, "skipped"), key
            make_folder(job.output.parent)
            result = harmonize_file(tools, job.composite, job.mask, job.output, recipe, options)
        except Exception as error:  # one bad file must not end the batch; the report names it
            known = isinstance(error, ValueError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            return Outcome(job.composite, "failed", error=reason), ""
        return Outcome(job.composite, "done", result.notes), key

    pool = ThreadPoolExecutor(workers)
    try:
        torn = record.is_file() and not record.read_bytes().endswith(b"\n")
        with record.open("a", encoding="utf-8") as file:
            file.write("\n" * torn)
            futures = {pool.submit(work, job): job for job in jobs}
            for future in as_completed(futures):
                outcome, key = future.result()
                if outcome.status == "done":
                    name = futures[future].output.relative_to(output).as_posix()
                    file.write(json.dumps({"output": name, "key": key}) + "\n")
                    file.flush()
                yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _settings(tools: Tools, recipe: Recipe, options: FileOptions) -> str:
    """All that decides an output beside its input files."""
    from harmonizer import __version__

    model = tools.harmonizer.predictor.sha256() if tools.harmonizer is not None else None
    return repr((__version__, model, recipe, options))


def _key(job: Job, settings: str) -> str:
    stamps = []
    for path in (job.composite, job.mask):
        status = path.stat() if path is not None else None
        stamps.append(None if status is None else (status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr((settings, stamps)).encode()).hexdigest()


def _read_record(path: Path) -> dict[str, str]:
    """Output name -> key; a line torn by an interruption counts as not written."""
    done: dict[str, str] = {}
    if not path.is_file():
        return done
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            done[entry["output"]] = entry["key"]
        except (ValueError, KeyError, TypeError):
            continue
    return done


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
