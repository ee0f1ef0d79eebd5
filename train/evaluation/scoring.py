"""Scoring a model on evaluation images: one at a time, in one process or several, resumable.

Scores are written to a CSV file as they are made, in the order of the tasks whatever the number of
processes, so that an interrupted file is the beginning of the whole one.
"""

import csv
import io
import math
import multiprocessing
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from harmonizer.errors import HarmonizerError
from harmonizer.storage import write_atomically
from train.data.inexact import move_edge
from train.evaluation.metrics import Array, Protocol, image_metrics, one_bit
from train.evaluation.predictors import Harmonize, Method
from train.evaluation.triplets import Triplet, planes

Size = Literal["256", "original"]
Identity = tuple[str, str, str, str, str, str, str, str, str]


class ScoringError(HarmonizerError):
    """A run cannot be continued, or its processes died."""


@dataclass(frozen=True)
class Task:
    """One image of a set, to be scored at one size."""

    set: str
    size: Size
    triplet: Triplet


@dataclass(frozen=True)
class Score:
    """One image's figures, and what they were made with: a line of the CSV file.

    Attributes:
        set, size, protocol, kind, model, sha256, name, subset: What was scored on what.
        data: `Triplet.digest`, which tells apart data sets whose names are the same.
        width, height: Of the pixels that were compared.
        fraction: Foreground share of the image, by the protocol's mask.
        mse_before ... ssim_after: `train.evaluation.metrics.Metrics` of composite and
            harmonized image against the photograph; NaN where the mask is empty.
    """

    set: str
    size: str
    protocol: str
    kind: str
    model: str
    sha256: str
    name: str
    subset: str
    data: str
    width: int
    height: int
    fraction: float
    mse_before: float
    mse_after: float
    fmse_before: float
    fmse_after: float
    psnr_before: float
    psnr_after: float
    ssim_before: float
    ssim_after: float

    @property
    def empty(self) -> bool:
        """Whether the mask has no foreground, so that nothing was measured."""
        return math.isnan(self.fmse_after)


COLUMNS = [field.name for field in fields(Score)]
IDENTITY = COLUMNS[: COLUMNS.index("width")]
"""The columns that say what a line is about."""

FIGURES = COLUMNS[COLUMNS.index("mse_before") :]
DIGITS = 6
"""Decimals that a score keeps, in memory as in the file: a resumed run gives the same tables."""


_scorer: "Scorer"
"""The worker process's own."""


class Scorer:
    """A model opened once, and the protocol by which its images are judged."""

    def __init__(self, method: Method, protocol: Protocol) -> None:
        self.method, self.protocol = method, protocol
        self._harmonize: Harmonize = method.open()
        kind = method.kind + (f" {method.upsample}" if method.upsample else "")
        self.described = (protocol, kind, method.path.name, method.sha256())

    def identity(self, task: Task) -> Identity:
        """The `IDENTITY` columns of a task's score."""
        triplet = task.triplet
        words = (triplet.name, triplet.subset, triplet.digest())
        return (task.set, task.size, *self.described, *words)

    def images(self, task: Task) -> tuple[Array, Array, Array, Array | None]:
        """Composite, mask, photograph and harmonized image, None if the mask is empty.

        Original size is uint8, 256x256 thumbnails are float32 in [0, 1]. The mask is the
        protocol's, and is what the model is shown too. Of a thumbnail with a mask error, the model
        is shown the inexact one; what is judged lies inside both.
        """
        if task.size == "256":
            tensors = [t[0].permute(1, 2, 0).numpy() for t in task.triplet.thumbnails()]
            composite, mask, real = (np.ascontiguousarray(t) for t in tensors)
            mask = mask[:, :, 0]
        else:
            composite, mask, real = task.triplet.pixels()
        if self.protocol == "paper":
            mask = one_bit(mask)
        shown = mask
        if error := task.triplet.mask_error:
            shown = move_edge(planes(mask), error)[0, 0].numpy()
            mask = np.minimum(mask, shown)
        return composite, mask, real, self._harmonize(composite, shown) if mask.any() else None

    def score(self, task: Task) -> Score:
        """Harmonize and judge one image."""
        composite, mask, real, output = self.images(task)
        figures = [float("nan")] * len(FIGURES)
        if output is not None:
            before = astuple(image_metrics(composite, real, mask, self.protocol))
            after = astuple(image_metrics(output, real, mask, self.protocol))
            figures = [
                round(value, DIGITS) for pair in zip(before, after, strict=True) for value in pair
            ]
        full = 255 if mask.dtype == np.uint8 else 1
        fraction = round(mask.mean(dtype=np.float64).item() / full, DIGITS)
        height, width = mask.shape
        return Score(*self.identity(task), width, height, fraction, *figures)


def score_all(
    tasks: Sequence[Task],
    scorer: Scorer,
    jobs: int = 1,
    path: Path | None = None,
    resume: bool = False,
) -> list[Score]:
    """Score every task, with a progress bar on a terminal.

    Args:
        tasks: What to score, in this order.
        scorer: The model, and how its images are judged; other processes open it for themselves.
        jobs: Processes; the figures do not depend on it.
        path: CSV file, written line by line.
        resume: Keep the lines that the file has already.

    Raises:
        ScoringError: If the file is another run's, or there already and not to be resumed; or if a
            process died.
        ModelError, ImageFileError: If the model or an image is at fault.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scores = _resumed(path, resume, tasks, scorer)
        rest = tasks[len(scores) :]
        made = map(scorer.score, rest) if jobs == 1 else _in_parallel(rest, scorer, jobs)
        progress = tqdm(
            made, "scoring", len(tasks), initial=len(scores), disable=None, unit="image"
        )
        if path is None:
            return scores + list(progress)
        write_atomically(path, (_lines([COLUMNS]) + _lines(map(astuple, scores))).encode())
        with path.open("a", encoding="utf-8", newline="") as file:
            for score in progress:
                file.write(_lines([astuple(score)]))
                file.flush()
                scores.append(score)
        return scores
    finally:
        torch.set_num_threads(threads)


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _resumed(path: Path | None, resume: bool, tasks: Sequence[Task], scorer: Scorer) -> list[Score]:
    """The scores that a file has already; they must be those of the first tasks."""
    if path is None or not path.exists():
        return []
    if not resume:
        raise ScoringError(
            f"{path} is there already. Pass --resume to continue it, name another file, or delete "
            "it."
        )
    text = path.read_text(encoding="utf-8")
    complete = text[: text.rfind("\n") + 1]  # a run that was killed leaves half a line
    header, *rows = list(csv.reader(complete.splitlines())) or [[]]
    if header != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise ScoringError(
            f"{path} must have been written by this version's evaluation; its columns are "
            f"{', '.join(header)[:100] or 'none'}. Name another file."
        )
    if len(rows) > len(tasks):
        raise ScoringError(
            f"{path} has {len(rows)} images and this run {len(tasks)}: it is another run's. "
            "Repeat that run's settings, or name another file."
        )
    scores = []
    for number, (row, task) in enumerate(zip(rows, tasks, strict=False), start=2):
        identity = scorer.identity(task)
        for column, was, now in zip(IDENTITY, row, identity, strict=False):
            if was != now:
                raise ScoringError(
                    f"{path} must be continued by the run that began it; in line {number} its "
                    f"{column} is {was!r}, this run's is {now!r}. Repeat that run's settings, or "
                    "name another file."
                )
        width, height, *figures = row[len(IDENTITY) :]
        scores.append(Score(*identity, int(width), int(height), *map(float, figures)))
    return scores


def _in_parallel(tasks: Sequence[Task], scorer: Scorer, jobs: int) -> Iterator[Score]:
    """Scores in the order of the tasks, made by spawned processes."""
    context = multiprocessing.get_context("spawn")
    how = (scorer.method, scorer.protocol)
    with ProcessPoolExecutor(jobs, context, _start_worker, how) as pool:
        try:
            yield from pool.map(_score_in_worker, tasks)
        except BrokenProcessPool as error:
            raise ScoringError(
                "a process died, most likely for want of memory. Use fewer --jobs; with --csv, "
                "--resume continues."
            ) from error


def _start_worker(method: Method, protocol: Protocol) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process stops the others in order
    torch.set_num_threads(1)
    _scorer = Scorer(method, protocol)


def _score_in_worker(task: Task) -> Score:
    return _scorer.score(task)
