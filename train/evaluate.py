"""How close predictions come to the photograph: fMSE after and before.

fMSE is the squared error inside the foreground, on the 0..255 scale: sum M d^2 / (3 sum M), with
the soft mask M. On 256x256 thumbnails, arguments are predicted by the network and drawn in float32
by the torch filters. At original size, an exported model and the fused renderer do what a user's
call does: 8-bit files in, 8-bit pixels out.
"""

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from harmonizer import Harmonizer
from harmonizer.errors import HarmonizerError
from train.filters import apply_filters, blend
from train.model import load_checkpoint
from train.network import thumbnail
from train.synthesis import draw_arguments, synthesize

RATIO_BOUNDS = ((0.0, 0.05), (0.05, 0.15), (0.15, 1.0))
"""Foreground shares by which the literature splits its tables."""

VAL_SEED = 2207


@dataclass(frozen=True)
class Score:
    """One image: its foreground share and fMSE before and after."""

    name: str
    fraction: float
    before: float
    after: float


def foreground_mse(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """fMSE of each image, (N,): inputs (N, 3, H, W) and (N, 1, H, W) in [0, 1]."""
    squared = ((image - target) * 255) ** 2 * mask
    return squared.sum(dim=(1, 2, 3)) / (3 * mask.sum(dim=(1, 2, 3)))


def _pixels(path: Path, mode: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.array(image.convert(mode))


def _read(path: Path, mode: str) -> Tensor:
    tensor = torch.from_numpy(_pixels(path, mode).astype(np.float32) / 255)
    return (tensor.permute(2, 0, 1) if mode == "RGB" else tensor[None])[None]


def validation_composites(
    folder: Path, filters: tuple[str, ...]
) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """Photographs of a folder with a manifest, with composites synthesised from a fixed seed.

    Yields:
        Name, composite (1, 3, 256, 256), mask (1, 1, 256, 256), photograph.
    """
    generator = torch.Generator().manual_seed(VAL_SEED)
    rows = csv.DictReader((folder / "MANIFEST.csv").read_text(encoding="utf-8").splitlines())
    for row in rows:
        if not row["mask"]:
            continue
        photo = thumbnail(_read(folder / row["file"], "RGB"))
        mask = thumbnail(_read(folder / row["mask"], "L"))
        arguments = draw_arguments(1, filters, generator)
        composite, _ = synthesize(photo, mask, arguments, filters)
        yield Path(row["file"]).stem, composite, mask, photo


def benchmark_composites(folder: Path) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
    """The triplets that `index.csv` of an iHarmony4-style folder lists, as thumbnails.

    Yields:
        Name, composite (1, 3, 256, 256), mask (1, 1, 256, 256), real photograph.
    """
    rows = csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines())
    for row in rows:
        composite = thumbnail(_read(folder / row["composite"], "RGB"))
        mask = thumbnail(_read(folder / row["mask"], "L"))
        real = thumbnail(_read(folder / row["real"], "RGB"))
        yield Path(row["composite"]).stem, composite, mask, real


def score_full_resolution(folder: Path, model: Path) -> list[Score]:
    """Harmonize the triplets of an iHarmony4-style folder at original size, as a user would.

    Args:
        folder: Holds `index.csv`.
        model: A predictor ONNX file.
    """
    rows = csv.DictReader((folder / "index.csv").read_text(encoding="utf-8").splitlines())
    scores = []
    with Harmonizer(model) as harmonizer:
        for row in rows:
            composite, real = (_pixels(folder / row[name], "RGB") for name in ("composite", "real"))
            mask = _pixels(folder / row["mask"], "L")
            output = harmonizer(composite, mask)
            scores.append(
                Score(
                    Path(row["composite"]).stem,
                    mask.mean().item() / 255,
                    pixel_fmse(composite, real, mask),
                    pixel_fmse(output, real, mask),
                )
            )
    return scores


def pixel_fmse(
    image: NDArray[np.uint8], target: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> float:
    """fMSE of (H, W, 3) uint8 images under an (H, W) uint8 mask, in constant memory."""
    error = weight = 0.0
    for top in range(0, len(image), 64):
        rows = slice(top, top + 64)
        coverage = mask[rows].astype(np.float64) / 255
        difference = image[rows].astype(np.float64) - target[rows]
        error += float((difference**2 * coverage[:, :, None]).sum())
        weight += 3 * float(coverage.sum())
    return error / weight


def score(
    composites: Iterable[tuple[str, Tensor, Tensor, Tensor]],
    predict: Callable[[Tensor, Tensor], Tensor],
    filters: tuple[str, ...],
) -> list[Score]:
    """Predict, draw and measure each composite.

    Args:
        composites: Name, composite, mask and target, as the generators above yield them.
        predict: Composite (1, 3, 256, 256) and mask (1, 1, 256, 256) to arguments (1, k).
        filters: The k operations.
    """
    scores = []
    for name, composite, mask, target in composites:
        if mask.sum() == 0:
            continue
        stages = apply_filters(composite, predict(composite, mask), filters)
        output = blend(stages[-1], composite, mask)
        scores.append(
            Score(
                name,
                mask.mean().item(),
                foreground_mse(composite, target, mask).item(),
                foreground_mse(output, target, mask).item(),
            )
        )
    return scores


def summary(scores: list[Score]) -> list[dict[str, object]]:
    """Means and medians, over all images and by foreground share."""
    rows: list[dict[str, object]] = []
    for low, high in ((0.0, 1.0), *RATIO_BOUNDS):
        chosen = [s for s in scores if low < s.fraction <= high]
        if not chosen:
            continue
        before = np.array([s.before for s in chosen])
        after = np.array([s.after for s in chosen])
        rows.append(
            {
                "foreground": "all" if (low, high) == (0.0, 1.0) else f"{low:.0%}-{high:.0%}",
                "images": len(chosen),
                "before": round(before.mean().item(), 1),
                "after": round(after.mean().item(), 1),
                "ratio": round((after.mean() / before.mean()).item(), 3),
                "median_before": round(np.median(before).item(), 1),
                "median_after": round(np.median(after).item(), 1),
                "improved": round((after < before).mean().item(), 3),
            }
        )
    return rows


def main() -> int:
    """Print the tables of a checkpoint, optionally write them as JSON; 2 for bad input."""
    shared = Path(os.environ.get("HARMONIZER_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(description="fMSE of a checkpoint, after and before.")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--val", type=Path, default=shared / "val", help="(%(default)s)")
    parser.add_argument("--iharmony4", type=Path, default=shared / "iharmony4")
    parser.add_argument("--model", type=Path, help="its ONNX export: adds the original size")
    parser.add_argument("--json", type=Path, help="also write tables and per-image scores here")
    args = parser.parse_args()
    try:
        run(args)
    except (HarmonizerError, OSError, ValueError) as error:
        print(f"evaluate: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> None:
    """Evaluate as the flags say."""
    network = load_checkpoint(args.checkpoint)
    filters = network.config.filters
    sets = {
        "val, synthesised (256x256)": validation_composites(args.val, filters),
        "iHarmony4 samples (256x256)": benchmark_composites(args.iharmony4),
    }
    results = {
        title: score(composites, network.predict_arguments, filters)
        for title, composites in sets.items()
    }
    if args.model:
        title = "iHarmony4 samples (original size, ONNX and fused renderer)"
        results[title] = score_full_resolution(args.iharmony4, args.model)
    document = {}
    for title, scores in results.items():
        rows = summary(scores)
        document[title] = {"summary": rows, "images": [asdict(s) for s in scores]}
        print(title)
        print("  ".join(f"{key:>13}" for key in rows[0]))
        for row in rows:
            print("  ".join(f"{value!s:>13}" for value in row.values()))
    if args.json:
        args.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
