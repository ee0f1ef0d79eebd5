"""Which composite, mask, background and output belong together, by folders and names."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harmonizer.arguments import Arguments
from harmonizer.errors import ImageFileError
from harmonizer.images.files import FORMATS, READ_SUFFIXES
from harmonizer.picture import FileOptions

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
    """What became of a composite: "done", "skipped" or "failed" with the reason.

    `again`: the reason was the system's, not the file's, so that another try may do.
    """

    composite: Path
    status: str
    notes: tuple[str, ...] = ()
    error: str = ""
    arguments: Arguments | None = None
    again: bool = False


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
        raise no_composites(composites, rest)
    others = None if masks is None else find_images(masks, [output])
    return pair_found(found, composites, others, masks, output, suffix)


def no_composites(composites: object, rest: Sequence[str]) -> ImageFileError:
    """The refusal of a folder without images, with the names of what it has."""
    came = f", among {len(rest)} files such as {', '.join(rest[:3])}" if rest else ""
    return ImageFileError(
        f"{composites} must contain images ({', '.join(READ_SUFFIXES)}); it has none{came}. "
        "Name a folder of composites."
    )


def pair_found(
    found: list[Path],
    composites: Path,
    others: list[Path] | None,
    masks: Path | None,
    output: Path,
    suffix: str | None = None,
) -> tuple[list[Item], list[Outcome]]:
    """Pair what was found, wherever that is; no file is looked at.

    Args:
        found: Composites, below `composites`.
        composites: Folder.
        others: Masks, below `masks`; None without a mask folder.
        masks: Folder, or None.
        output: Folder.
        suffix: As `pair_files` has it.

    Raises:
        ImageFileError: If two would write one file, an output would replace an input, or results
            would lie among the masks.
    """
    if masks is not None and _real(output) == _real(masks):
        raise ImageFileError(
            f"{output} must not be the folder of the masks: its results would count as masks the "
            "next time. Name another output folder."
        )
    places: dict[tuple[Path, str], list[Path]] = {}
    beside = _masks_beside(found) if masks is None else {}
    found = [path for path in found if path not in set(beside.values())]
    if masks is not None:
        for path in others or []:
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
        failures.append(_unpaired(path, f"mask {wanted} in {masks}", choices))
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
            wanted = f"background {place}.* in {background}"
            failures.append(_unpaired(item.composite, wanted, found))
    _check_targets(placed)
    return placed, failures


def _unpaired(composite: Path, wanted: str, found: list[Path]) -> Outcome:
    """The failure of a composite without its one companion."""
    came = ", ".join(map(str, found)) or "none"
    remedy = "Leave one of them." if found else "Add it, or take the composite out."
    error = f"{composite} must have one {wanted}; found {came}. {remedy}"
    return Outcome(composite, "failed", error=error)


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
