"""Harmonize a folder of composites: pair with masks, run on threads, go on past bad files.

A record in the output folder (``harmonizer-batch.jsonl``, one line a finished file) says from what
each output was made; a file is skipped when its composite, its mask, the model and the settings are
what the record says and the output still is what was written.

The workers share the memory of one image of `FileOptions.max_pixels`: small images are worked on
side by side, of the largest one at a time.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from harmonizer.arguments import Arguments
from harmonizer.composites import FileOptions, harmonize_file
from harmonizer.documents import parse_document
from harmonizer.errors import ImageFileError, StorageError
from harmonizer.images.decoding import read_size
from harmonizer.images.files import FORMATS, READ_SUFFIXES
from harmonizer.limits import BYTES_PER_PIXEL, MemoryBudget, max_file_bytes
from harmonizer.reading import open_regular
from harmonizer.recipes import Recipe, Tools
from harmonizer.storage import make_folder
from harmonizer.systems import available_cores as available_cores

RECORD_NAME = "harmonizer-batch.jsonl"

_LONGEST_LINE = 1 << 16

_MASK_ENDINGS = ("_mask", "-mask", ".mask")
"""Of the stems of masks that lie beside their composites."""

LAYOUTS = (("composite", "mask"), ("composites", "masks"), ("composite_images", "masks"))
"""Pairs of folders, below one that is named alone, in which composites and masks are looked for."""


@dataclass(frozen=True, slots=True)
class Item:
    """One composite to do; `mask` None means its alpha channel.

    With a background it is a cut-out for it.
    """

    composite: Path
    mask: Path | None
    output: Path
    background: Path | None = None

    def inputs(self) -> list[Path]:
        """Its files."""
        return [path for path in (self.composite, self.mask, self.background) if path]

    def own(self, options: FileOptions) -> FileOptions:
        """A batch's options, with this item's background."""
        if options.placing is None or self.background is None:
            return options
        return replace(options, placing=replace(options.placing, background=self.background))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a composite: "done", "skipped" or "failed" with the reason."""

    composite: Path
    status: str
    notes: tuple[str, ...] = ()
    error: str = ""
    arguments: Arguments | None = None


def find_images(folder: Path, excluded: Iterable[Path] = ()) -> list[Path]:
    """Every image below a folder by suffix, sorted.

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
        if path.suffix.lower() in READ_SUFFIXES
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
) -> tuple[list[Item], list[Outcome]]:
    """Find the composites and the mask of each.

    A mask has the composite's place below its folder and the composite's stem, with any suffix;
    or that stem without a last ``_number``, as iHarmony4 names them (``a0002_1_4.jpg`` has the
    mask ``a0002_1.png``). Without a mask folder, ``photo_mask.png`` beside ``photo.jpg`` is its
    mask, and of the others the alpha channels are.

    Args:
        composites: Folder, searched with its subfolders.
        masks: Folder, or None.
        output: Folder; outputs have the composite's place below it.
        suffix: The outputs' suffix, or None for the composite's own, or .png where its format is
            not written.

    Returns:
        The pairs, and a failure for each composite without exactly one mask.

    Raises:
        ImageFileError: If a folder is not there, there are no composites, two of them would
            write one file, or an output would replace an input.
    """
    found = find_images(composites, [output] if masks is None else [output, masks])
    if not found:
        rest = [path.name for path in sorted(composites.rglob("*")) if path.is_file()]
        came = f", among {len(rest)} files such as {', '.join(rest[:3])}" if rest else ""
        raise ImageFileError(
            f"{composites} must contain images ({', '.join(READ_SUFFIXES)}); it has none{came}. "
            "Name a folder of composites."
        )
    places: dict[tuple[Path, str], list[Path]] = {}
    beside = _masks_beside(found) if masks is None else {}
    found = [path for path in found if path not in set(beside.values())]
    if masks is not None:
        for path in find_images(masks, [output]):
            places.setdefault((path.relative_to(masks).parent, path.stem), []).append(path)
    items, failures = [], []
    for path in found:
        place = path.relative_to(composites)
        kept = suffix or (place.suffix if place.suffix.lower() in FORMATS else ".png")
        target = output / place.with_suffix(kept)
        if masks is None:
            items.append(Item(path, beside.get(path), target))
            continue
        stems = (place.stem, re.sub(r"_\d+$", "", place.stem))
        choices = next((places[place.parent, s] for s in stems if (place.parent, s) in places), [])
        if len(choices) == 1:
            items.append(Item(path, choices[0], target))
            continue
        wanted = " or ".join(f"{place.parent / stem}.*" for stem in dict.fromkeys(stems))
        came = ", ".join(map(str, choices)) or "none"
        failures.append(
            Outcome(
                path, "failed", error=f"{path} must have one mask {wanted} in {masks}; found {came}"
            )
        )
    _check_targets(items)
    return items, failures


def _masks_beside(found: list[Path]) -> dict[Path, Path]:
    """Composite -> mask where the mask lies beside it, by its name."""
    names: dict[Path, list[Path]] = {}
    for path in found:
        names.setdefault(path.with_suffix(""), []).append(path)
    pairs = {}
    for path in found:
        for ending in _MASK_ENDINGS:
            owners = names.get(path.with_name(path.stem.removesuffix(ending)), [])
            if path.stem.endswith(ending) and len(owners) == 1:
                pairs[owners[0]] = path
    return pairs


def with_backgrounds(
    items: list[Item], composites: Path, background: Path
) -> tuple[list[Item], list[Outcome]]:
    """Give each cut-out its background.

    Args:
        items: From `pair_files`.
        composites: Folder that they lie below.
        background: An image for all, or a folder in which each has one of its name and place, with
            any suffix.

    Returns:
        The pairs, and a failure for each that has none, or several.

    Raises:
        ImageFileError: If an output would replace a background.
    """
    failures: list[Outcome] = []
    if not background.is_dir():
        placed = [replace(item, background=background) for item in items]
    else:
        places: dict[Path, list[Path]] = {}
        for path in find_images(background):
            places.setdefault(path.relative_to(background).with_suffix(""), []).append(path)
        placed = []
        for item in items:
            place = item.composite.relative_to(composites).with_suffix("")
            found = places.get(place, [])
            if len(found) == 1:
                placed.append(replace(item, background=found[0]))
                continue
            came = ", ".join(map(str, found)) or "none"
            wanted = f"{item.composite} must have one background {place}.* in {background}"
            failures.append(Outcome(item.composite, "failed", error=f"{wanted}; found {came}"))
    _check_targets(placed)
    return placed, failures


def _check_targets(items: list[Item]) -> None:
    inputs = {_real(path) for item in items for path in item.inputs()}
    targets: dict[Path, Path] = {}
    for item in items:
        target = _real(item.output)
        if target in inputs:
            raise ImageFileError(
                f"{item.output} must not replace an input of the batch; it would. Name another "
                "output folder."
            )
        if target in targets:
            raise ImageFileError(
                f"each composite must have its own output; {targets[target]} and {item.composite} "
                f"would both write {item.output}. Rename one, or leave `suffix` out."
            )
        targets[target] = item.composite


def run_batch(
    tools: Tools,
    items: list[Item],
    output: Path,
    recipe: Recipe,
    options: FileOptions,
    workers: int,
    force: bool = False,
) -> Iterator[Outcome]:
    """Do the items on threads; yield what became of each as it finishes.

    Reading and writing files overlap with prediction and drawing, all of which release Python's
    lock. When the iterator is closed early, the items that have begun are finished.

    Args:
        tools: What predicts and draws, shared by all workers.
        items: From `pair_files`.
        output: Folder of the record.
        recipe: Where the arguments come from.
        options: How files are read and written.
        workers: Files in work at a time.
        force: Do again what is done.

    Raises:
        StorageError: If the output folder cannot be created.
    """
    settings = _settings(tools, recipe, options)
    record = output / RECORD_NAME
    done = {} if force else _read_record(record)
    make_folder(output)
    budget = MemoryBudget(options.max_pixels * BYTES_PER_PIXEL)
    most, looking = max_file_bytes(options.max_pixels), Lock()

    def work(item: Item) -> tuple[Outcome, tuple[str, str]]:
        try:
            key = _key(item, settings, most)
            name = item.output.relative_to(output).as_posix()
            if name in done and done[name] == (key, _written(item.output)):
                return Outcome(item.composite, "skipped"), done[name]
            make_folder(item.output.parent)
            own = item.own(options)
            with looking:  # a file is in memory meanwhile, one beside those that are worked on
                costs = [read_size(path, options.max_pixels).cost for path in item.inputs()]
            with budget.of(max(costs)):
                result = harmonize_file(tools, item.composite, item.mask, item.output, recipe, own)
            proof = key, _written(item.output)
        except Exception as error:  # one bad file must not end the batch; the report names it
            known = isinstance(error, ValueError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            return Outcome(item.composite, "failed", error=reason), ("", "")
        done_now = Outcome(item.composite, "done", result.notes, arguments=result.arguments)
        return done_now, proof

    pool = ThreadPoolExecutor(workers)
    try:
        with _append(record) as file:
            futures = {pool.submit(work, item): item for item in items}
            for future in as_completed(futures):
                outcome, (key, written) = future.result()
                if outcome.status == "done":
                    name = futures[future].output.relative_to(output).as_posix()
                    entry = {"output": name, "key": key, "sha256": written}
                    file.write(json.dumps(entry).encode() + b"\n")
                    file.flush()
                yield outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _settings(tools: Tools, recipe: Recipe, options: FileOptions) -> str:
    """All that decides an output beside its input files."""
    from harmonizer import __version__

    model = tools.harmonizer.predictor.sha256() if tools.harmonizer is not None else None
    return repr((__version__, model, recipe, options))


def _key(item: Item, settings: str, most: int) -> str:
    """What an output follows from: settings, and the inputs by their times and contents."""
    inputs = [(path.stat().st_mtime_ns, _sha256(path, most)) for path in item.inputs()]
    return hashlib.sha256(repr((settings, inputs)).encode()).hexdigest()


def _sha256(path: Path, most: int | None = None) -> str:
    with open_regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _written(output: Path) -> str:
    """SHA-256 of what lies at an output's place; empty if nothing that can be read does."""
    try:
        return _sha256(output)
    except OSError:
        return ""


def _append(record: Path) -> BinaryIO:
    """Open the record to write at its end, past a line that an interruption has torn.

    Raises:
        StorageError: If it is no regular file, or cannot be written.
    """
    torn = False
    try:
        if record.exists():
            with open_regular(record) as before:
                size = before.seek(0, os.SEEK_END)
                before.seek(max(0, size - 1))
                torn = size > 0 and before.read() != b"\n"
        file = record.open("ab")
    except OSError as error:
        raise StorageError(
            f"{record} cannot be written: {error.strerror or error}. Remove it, or name another "
            "output folder."
        ) from error
    file.write(b"\n" * torn)
    return file


def _read_record(path: Path) -> dict[str, tuple[str, str]]:
    """Output name -> key and digest; a line torn by an interruption counts as not written."""
    done: dict[str, tuple[str, str]] = {}
    if not path.exists():
        return done
    try:
        with open_regular(path) as file:
            for line in iter(lambda: file.readline(_LONGEST_LINE), b""):
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    entry = parse_document(line)
                    done[str(entry["output"])] = str(entry["key"]), str(entry["sha256"])
    except OSError as error:
        raise ImageFileError(
            f"{path} cannot be read: {error.strerror or error}. Remove it, or name another output "
            "folder."
        ) from error
    return done
