"""`python -m train check-data DIR`: what is wrong with a data set, before a training run finds out.

Of an iHarmony4 root, files are counted against the lists; of a folder of photographs, against its
manifest if there is one. Every file is decoded in full, masks must have their image's size and a
foreground. Exit code 0: sound; 1: problems were found; 2: the folder cannot be checked.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harmonizer.ops import DEFAULT_FILTERS
from harmonizer.storage import check_writable
from harmonizer.usage import tool_parser
from train.data.config import DataConfig
from train.data.iharmony4 import FOLDERS, PUBLISHED, SUBSETS, Pair, Subset
from train.data.packing import SHOWN, check_mask, decode, in_parallel
from train.data.photos import (
    Photo,
    absent_files,
    hidden_images,
    list_photos,
    other_files,
    read_photo,
)
from train.data.regions import random_region, superpixels
from train.data.synthesis import clipping_loss, draw_arguments

SAMPLES = 512
"""Composites that the invertibility is measured on."""

LOSS = 10.0
"""fMSE (0..255 scale) above which a composite counts as not invertible: 3.2 levels, root mean
square."""


@dataclass(frozen=True)
class Facts:
    """One decoded file: width and height, what is wrong with it as a mask, and why not decoded."""

    size: tuple[int, int] = (0, 0)
    complaint: str = ""
    error: str = ""


@dataclass
class Findings:
    """Problems by kind, and what is merely worth knowing: lines "file" or "file: detail"."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, lines: Iterable[str], note: bool = False) -> None:
        """Remember lines of one kind."""
        lines = list(lines)
        if lines:
            (self.notes if note else self.problems).setdefault(kind, []).extend(lines)

    def print(self) -> None:
        """One line a kind: its count and its first files; `write` names all."""
        for kinds in (self.problems, self.notes):
            for kind, lines in kinds.items():
                more = f", and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
                print(f"{kind}: {len(lines):,} ({', '.join(lines[:SHOWN])}{more})")

    def is_cut(self) -> bool:
        """Whether `print` leaves files out."""
        kinds = (*self.problems.values(), *self.notes.values())
        return any(len(lines) > SHOWN for lines in kinds)

    def write(self, path: Path) -> None:
        """All of them as CSV: kind, file and detail."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["kind", "problem", "file", "detail"])
            for kinds, problem in ((self.problems, "yes"), (self.notes, "no")):
                for kind, lines in kinds.items():
                    for line in lines:
                        name, _, detail = line.partition(": ")
                        writer.writerow([kind, problem, name, detail])


def check_iharmony4(root: Path, subsets: Iterable[str]) -> Findings:
    """Check lists and files, and print a table of counts.

    Args:
        root: Holds the subsets' folders.
        subsets: Those that should be there.
    """
    findings, pairs = Findings(), dict[Pair, None]()
    print(f"{'subset':<12}{'split':<7}{'listed':>9}{'published':>11}{'complete':>10}")
    for name in subsets:
        try:
            subset = Subset(root, name)
        except FileNotFoundError as error:
            findings.add("missing subset", [f"{name}: {error}"])
            continue
        composites: dict[str, set[str]] = {}
        for split in ("train", "test"):
            try:
                listed = subset.listed(split)
            except FileNotFoundError as error:
                findings.add("missing list", [f"{name}/{name}_{split}.txt: {error}"])
                continue
            print(
                f"{name:<12}{split:<7}{len(listed.composites):>9,}"
                f"{PUBLISHED[name][split]:>11,}{len(listed.pairs):>10,}"
            )
            if (count := len(listed.composites)) < (published := PUBLISHED[name][split]):
                short = f"{name}/{name}_{split}.txt: {count:,} of {published:,}"
                findings.add("list shorter than published", [short], note=True)
            findings.add("absent", listed.absent)
            findings.add("not named X_k_v", (f"{name}/{stem}" for stem in listed.misnamed))
            findings.add("listed twice", (f"{name}/{stem}" for stem in listed.repeated))
            composites[split] = set(listed.composites)
            pairs.update(dict.fromkeys(listed.pairs))
        both = composites.get("train", set()) & composites.get("test", set())
        findings.add("in both lists", (f"{name}/{stem}" for stem in sorted(both)))
        known = {path for p in pairs for path in (p.composite, p.mask, p.real)}
        present = (f"{name}/{f}/{file}" for f in FOLDERS for file in subset.files[f].values())
        findings.add("not listed", (path for path in present if path not in known), note=True)
    modes = {p.mask: True for p in pairs}
    modes.update({name: False for p in pairs for name in (p.composite, p.real)})
    facts = _inspect(root, modes, findings, upright=False)
    for pair in pairs:
        of_composite = facts[pair.composite]
        for name in (pair.mask, pair.real):
            _compare(name, facts[name], pair.composite, of_composite, findings)
    return findings


def check_photos(folder: Path) -> Findings:
    """Check photographs and masks, and print counts and the invertibility.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the manifest lacks columns or there is no photograph.
    """
    findings = Findings()
    photos = list_photos(folder)
    if not (folder / "MANIFEST.csv").is_file():
        findings.add("hidden, left out", hidden_images(folder), note=True)
        findings.add("not named as images are, left out", other_files(folder), note=True)
    absent = set(absent_files(folder, photos))
    findings.add("absent", sorted(absent))
    photos = [p for p in photos if p.file not in absent and p.mask not in absent]
    modes = {p.mask: True for p in photos if p.mask} | {p.file: False for p in photos}
    facts = _inspect(folder, modes, findings, upright=True)
    for photo in photos:
        if photo.mask:
            _compare(photo.mask, facts[photo.mask], photo.file, facts[photo.file], findings)
    masked = sum(photo.mask is not None for photo in photos)
    print(f"photographs: {len(photos):,}, {masked:,} of them with a mask")
    bad = {line.partition(": ")[0] for lines in findings.problems.values() for line in lines}
    sound = [p for p in photos if p.file not in bad and p.mask not in bad]
    if sound:
        losses = _clipping(folder, sound)
        print(
            f"invertibility: {np.mean(losses > LOSS):.1%} of {len(losses)} synthesised composites "
            f"lose more than {LOSS:g} fMSE to clipping (median {np.median(losses):.1f}, "
            f"mean {np.mean(losses):.1f})"
        )
    return findings


def _inspect(
    root: Path, masks: Mapping[str, bool], findings: Findings, upright: bool
) -> dict[str, Facts]:
    """Decode files; `masks` says of each whether it is one."""

    def inspect(item: tuple[str, bool]) -> Facts:
        name, mask = item
        try:
            pixels, size = decode(root / name, "L" if mask else "RGB", upright and not mask)
        except Exception as error:  # damaged files make decoders raise nearly anything
            return Facts(error=" ".join(str(error).split()) or type(error).__name__)
        try:
            if mask:
                check_mask(pixels, name)
        except ValueError as error:
            return Facts(size, complaint=str(error))
        return Facts(size)

    facts = dict(zip(masks, in_parallel(inspect, list(masks.items()), "checking"), strict=True))
    findings.add("unreadable", (f"{name}: {f.error}" for name, f in facts.items() if f.error))
    findings.add(
        "without foreground", (f"{name}: {f.complaint}" for name, f in facts.items() if f.complaint)
    )
    return facts


def _compare(name: str, facts: Facts, to: str, other: Facts, findings: Findings) -> None:
    if facts.size != other.size and not (facts.error or other.error):
        (width, height), (w, h) = facts.size, other.size
        findings.add("size mismatch", [f"{name}: {width}x{height}, {to} has {w}x{h}"])


def _clipping(folder: Path, photos: list[Photo]) -> NDArray[np.float64]:
    """fMSE lost to clipping in one composite of each photograph, or of `SAMPLES` of them."""
    random = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    chosen = random.permutation(len(photos))[:SAMPLES]

    def measure(index: int) -> float:
        pixels, mask = read_photo(folder, photos[index])
        if mask is None:
            place = np.random.default_rng(index)
            mask = random_region(pixels.transpose(2, 0, 1), superpixels(pixels), place)
        photo, region = (torch.from_numpy(a.astype(np.float32) / 255) for a in (pixels, mask))
        inputs = photo.permute(2, 0, 1)[None], region[None, None]
        return clipping_loss(*inputs, arguments[index : index + 1]).item()

    arguments = draw_arguments(len(photos), DEFAULT_FILTERS, generator)
    return np.array(list(in_parallel(measure, chosen.tolist(), "synthesising")))


def main(arguments: Sequence[str]) -> int:
    """Check a folder, print what was found; 0 when sound, 1 when not.

    Raises:
        UsageError: If the flags make no sense.
        ValueError: If the manifest or the folder's content make no sense.
        OSError: If there is no such folder.
        StorageError: If the report cannot be written.
    """
    parser = tool_parser("Check a data set.", "python -m train check-data")
    parser.add_argument("folder", type=Path, help="iHarmony4's root, or photographs")
    parser.add_argument("--report", type=Path, metavar="FILE", help="all findings, as CSV")
    parser.add_argument(
        "--subsets",
        type=lambda text: text.split(","),
        default=SUBSETS,
        metavar="A,B,...",
        help=f"of iHarmony4, those to check (default {','.join(SUBSETS)})",
    )
    options = parser.parse_args(arguments)
    DataConfig(subsets=options.subsets)  # refuses unknown ones
    if options.report:
        check_writable(options.report)
    folder: Path = options.folder
    if (folder / FOLDERS[0]).is_dir():
        raise ValueError(
            f"{folder} must be iHarmony4's root or a folder of photographs; it looks like one "
            f"subset. Name its parent, with --subsets {folder.resolve().name}."
        )
    if any((folder / name).is_dir() for name in SUBSETS):
        findings = check_iharmony4(folder, options.subsets)
    else:
        findings = check_photos(folder)
    findings.print()
    if options.report:
        findings.write(options.report)
    elif findings.is_cut():
        print("--report FILE names all of them")
    count = sum(map(len, findings.problems.values()))
    print(f"{count:,} problems: mend or remove these files" if count else "sound")
    return 1 if count else 0
