"""What an evaluation shows: tables, a JSON document and a contact sheet of the worst cases."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.data.iharmony4 import SUBSETS
from train.evaluation.metrics import Array, geometric_ratio
from train.evaluation.scoring import Score
from train.evaluation.triplets import UNKNOWN

RATIO_BOUNDS = ((0.0, 0.05), (0.05, 0.15), (0.15, 1.0))
"""Foreground shares by which the literature splits its tables: above the first, to the second."""

METRICS = ("mse", "fmse", "psnr", "ssim")
PUBLISHED_SUFFIX = "_fMSE"

Row = dict[str, object]

PICTURE_HEIGHT = 220
GAP = 6
CAPTION = 24


def _groups(scores: Sequence[Score]) -> Iterator[tuple[str, list[Score]]]:
    yield "all", list(scores)
    for subset in (*SUBSETS, UNKNOWN):
        yield subset, [s for s in scores if s.subset == subset]
    for low, high in RATIO_BOUNDS:
        name = f"{low * 100:.0f}-{high * 100:.0f} %"
        yield name, [s for s in scores if low < s.fraction <= high]


def summarise(scores: Sequence[Score]) -> list[Row]:
    """Means and medians over images: all, by subset and by foreground share.

    Args:
        scores: Of one set at one size. Those with an empty mask are left out.

    Returns:
        A row for every group that has images: its name, how many, mean and median of each metric
        before and after, the geometric mean of the ratio, and the share of images whose fMSE fell.
    """
    rows: list[Row] = []
    for name, chosen in _groups([s for s in scores if not s.empty]):
        if not chosen:
            continue
        row: Row = {"group": name, "images": len(chosen)}
        for metric in METRICS:
            for word in ("before", "after"):
                values = [getattr(score, f"{metric}_{word}") for score in chosen]
                row[f"{metric}_{word}"] = float(np.mean(values))
                row[f"{metric}_median_{word}"] = float(np.median(values))
        row["geometric"] = geometric_ratio(
            [s.fmse_before for s in chosen], [s.fmse_after for s in chosen]
        )
        row["improved"] = float(np.mean([s.fmse_after < s.fmse_before for s in chosen]))
        rows.append(row)
    return rows


def summary_table(rows: Sequence[Row]) -> str:
    """The rows of `summarise` as a Markdown table, composite -> harmonized."""
    columns = [
        ("MSE", "mse", ".1f"),
        ("fMSE", "fmse", ".1f"),
        ("median fMSE", "fmse_median", ".1f"),
        ("PSNR", "psnr", ".2f"),
        ("SSIM", "ssim", ".4f"),
    ]
    header = ["", "images", *(title for title, _, _ in columns), "ratio", "improved"]
    body = [
        [
            str(row["group"]),
            str(row["images"]),
            *(
                f"{row[f'{name}_before']:{form}} -> {row[f'{name}_after']:{form}}"
                for _, name, form in columns
            ),
            f"{row['geometric']:.3f}",
            f"{row['improved']:.0%}",
        ]
        for row in rows
    ]
    return markdown(header, body)


def compare_published(scores: Sequence[Score], path: Path, ours: str) -> list[Row]:
    """Mean and median fMSE beside published models, on the images that have figures of all.

    Args:
        scores: At original size.
        path: CSV file with a column `name` and one column `MODEL_fMSE` for each model.
        ours: What to call the model evaluated.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it lacks the columns, or shares no image with the scores.
    """
    reader = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    columns = [c for c in reader.fieldnames or [] if c.endswith(PUBLISHED_SUFFIX)]
    if not columns or "name" not in (reader.fieldnames or []):
        raise ValueError(
            f"{path} must have a column `name` and columns MODEL{PUBLISHED_SUFFIX}; it has "
            f"{', '.join(reader.fieldnames or []) or 'none'}. Name them in its first line."
        )
    listed = {row["name"]: row for row in reader if all(row[c] for c in columns)}
    common = [s for s in scores if s.name in listed and not s.empty]
    if not common:
        raise ValueError(
            f"{path} must list images of the set; none of its {len(listed)} names with figures is "
            "among the images evaluated at original size. Check the names, or evaluate more."
        )
    figures: Mapping[str, list[float]] = {
        "composite": [s.fmse_before for s in common],
        ours: [s.fmse_after for s in common],
        **{
            f"{c.removesuffix(PUBLISHED_SUFFIX)} (published)": [
                float(listed[s.name][c]) for s in common
            ]
            for c in columns
        },
    }
    return [
        {
            "model": name,
            "images": len(values),
            "fmse": float(np.mean(values)),
            "fmse_median": float(np.median(values)),
        }
        for name, values in figures.items()
    ]


def published_table(rows: Sequence[Row]) -> str:
    """The rows of `compare_published` as a Markdown table."""
    body = [
        [str(r["model"]), str(r["images"]), f"{r['fmse']:.1f}", f"{r['fmse_median']:.1f}"]
        for r in rows
    ]
    return markdown(["", "images", "fMSE", "median fMSE"], body)


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A table that reads well on screen and pastes into a document."""
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    rule = ["-" * max(3, width) for width in widths]
    lines = [header, rule, *body]
    return "\n".join(
        "| " + " | ".join(t.ljust(max(3, w)) for t, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def jsonable(value: Any) -> Any:
    """Without infinities and NaN, which JSON does not have: they become None."""
    if isinstance(value, dict):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def picture_bytes(picture: Image.Image, path: Path) -> bytes:
    """A picture in the format that a file name's suffix asks for."""
    buffer = io.BytesIO()
    form = Image.registered_extensions()[path.suffix.lower()]
    picture.save(buffer, form, quality=92)
    return buffer.getvalue()


def contact_sheet(
    cases: Sequence[tuple[Sequence[str], Sequence[Array]]], height: int = PICTURE_HEIGHT
) -> Image.Image:
    """Rows of pictures at one height, under their captions.

    Args:
        cases: A caption for each picture, or one for all, and the pictures, (H, W, 3) or (H, W),
            uint8 or float32 in [0, 1].
        height: Of a picture.
    """
    rows = [(captions, [_scaled(p, height) for p in pictures]) for captions, pictures in cases]
    width = max(sum(p.width + GAP for p in pictures) for _, pictures in rows) - GAP
    sheet = Image.new("RGB", (width, len(rows) * (CAPTION + height + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for index, (captions, pictures) in enumerate(rows):
        left, top = 0, index * (CAPTION + height + GAP)
        for caption, picture in zip_longest(captions, pictures, fillvalue=""):
            draw.text((left + 4, top + 2), str(caption), "black", font)
            if isinstance(picture, Image.Image):
                sheet.paste(picture, (left, top + CAPTION))
                left += picture.width + GAP
    return sheet


def _scaled(picture: Array, height: int) -> Image.Image:
    if picture.dtype != np.uint8:
        picture = (picture * 255 + 0.5).astype(np.uint8)
    image = Image.fromarray(picture)
    return image.resize((max(1, round(image.width * height / image.height)), height))
