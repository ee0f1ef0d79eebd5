"""Two predictors on the evaluation sets: arguments, pictures, task metric, and the verdict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.inputs import Image, has_region
from calibration.models import Model
from calibration.pictures import (
    columns,
    compare,
    contrast_steps,
    draw,
    percentile_level,
    to_levels,
)
from export import tolerances
from harmonizer.contract import Contract
from harmonizer.renderer import CpuRenderer
from train.evaluation.metrics import foreground_mse
from train.evaluation.triplets import Triplet

SHARE = 0.999
"""Of the percentile of differences that is stated beside the maximum."""

LISTED = 16
"""Most arguments that the JSON lists one by one for each image."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a candidate may lose; None does not limit.

    Attributes:
        levels_max: Largest difference of an 8-bit foreground value.
        delta_e_mean: Mean CIEDE2000 of the foreground, mean over a set's images.
        fmse_change: Relative change, in either direction, of a set's mean fMSE.
    """

    levels_max: float | None = None
    delta_e_mean: float | None = None
    fmse_change: float | None = None


LIMITS: dict[str, Limits] = {
    "fp32": Limits(levels_max=tolerances.GATE_FP32_LEVELS, fmse_change=tolerances.GATE_FP32_FMSE),
    "fp16": Limits(levels_max=tolerances.GATE_FP16_LEVELS, fmse_change=tolerances.GATE_FP16_FMSE),
    "int8": Limits(
        delta_e_mean=tolerances.GATE_INT8_DELTA_E, fmse_change=tolerances.GATE_INT8_FMSE
    ),
}


@dataclass
class Case:
    """One image's comparison, with its pictures while it is among the worst."""

    set: str
    name: str
    reference: NDArray[np.float32]
    candidate: NDArray[np.float32]
    levels_max: int
    delta_e_mean: float
    delta_e_max: float
    fmse_reference: float
    fmse_candidate: float
    fmse_before: float
    pictures: tuple[NDArray[np.uint8], ...] = ()

    def row(self) -> Row:
        """As JSON holds it; of arguments without end, such as curves, only how far they differ."""
        facts = asdict(self)
        for name in ("pictures", "reference", "candidate"):
            del facts[name]
        apart = np.abs(self.reference.astype(np.float64) - self.candidate)
        facts |= {"arguments_max": float(apart.max()), "arguments_mean": float(apart.mean())}
        if len(apart) > LISTED:
            return facts
        return facts | {
            "reference": [float(value) for value in self.reference],
            "candidate": [float(value) for value in self.candidate],
        }


@dataclass
class Judgement:
    """Everything measured.

    Attributes:
        contract: Of both models.
        cases: Every image, in order.
        levels: By set, how many foreground values differ by 0, 1, ... 255 levels.
        squared: By set, the images' mean squared differences in levels.
        skipped: Images whose mask is empty, or too small for the network to look at.
    """

    contract: Contract
    cases: list[Case] = field(default_factory=list)
    levels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    squared: dict[str, list[float]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def worst(self) -> list[Case]:
        """The cases that kept their pictures, the worst first."""
        kept = (case for case in self.cases if case.pictures)
        return sorted(kept, key=lambda case: (case.delta_e_mean, case.delta_e_max), reverse=True)

    def arguments(self) -> Row:
        """Absolute differences of the arguments over all images, and per filter."""
        reference = np.stack([case.reference for case in self.cases])
        candidate = np.stack([case.candidate for case in self.cases])
        apart = np.abs(reference.astype(np.float64) - candidate)
        return {
            "max": float(apart.max()),
            "mean": float(apart.mean()),
            "contrast_steps": contrast_steps(self.contract, reference, candidate),
            "filters": {
                name: {
                    "numbers": apart[:, place].shape[1],
                    "max": float(apart[:, place].max()),
                    "mean": float(apart[:, place].mean()),
                }
                for name, place in columns(self.contract)
            },
        }

    def summary(self, name: str) -> Row:
        """The figures of one set."""
        cases = [case for case in self.cases if case.set == name]
        levels, squared = self.levels[name], float(np.mean(self.squared[name]))
        fmse = [
            float(np.mean([getattr(case, f"fmse_{which}") for case in cases]))
            for which in ("before", "reference", "candidate")
        ]
        return {
            "images": len(cases),
            "levels_max": int(np.flatnonzero(levels).max(initial=0)),
            "levels_p999": percentile_level(levels, SHARE),
            "values_equal": float(levels[0] / levels.sum()),
            "psnr": None if squared == 0 else 10 * math.log10(255**2 / squared),
            "delta_e_mean": float(np.mean([case.delta_e_mean for case in cases])),
            "delta_e_image_max": max(case.delta_e_mean for case in cases),
            "delta_e_max": max(case.delta_e_max for case in cases),
            "fmse_before": fmse[0],
            "fmse_reference": fmse[1],
            "fmse_candidate": fmse[2],
            "fmse_change": _relative(fmse[1], fmse[2]),
        }


def _relative(reference: float, candidate: float) -> float:
    if reference == candidate:
        return 0.0
    return candidate / reference - 1 if reference else math.inf


def judge(
    reference: Model,
    candidate: Model,
    sets: Iterable[tuple[str, Sequence[Triplet]]],
    worst: int = 6,
) -> Judgement:
    """Run both on every image of the sets, at 256x256.

    Args:
        reference, candidate: With the same operations of the same sizes.
        sets: Names and images.
        worst: How many cases keep their pictures.

    Raises:
        ValueError: If the operations differ, or no image has a foreground.
        ImageFileError, ModelError: If an image or a model is at fault.
    """
    own, other = (_operations(model.contract) for model in (reference, candidate))
    if own != other:
        raise ValueError(
            "both models must predict the same filters in the same order; the reference predicts "
            f"{own}, the candidate {other}. Compare models of one network."
        )
    renderer = CpuRenderer(1)
    result = Judgement(reference.contract)
    for name, triplets in sets:
        result.levels[name], result.squared[name] = np.zeros(256, np.int64), []
        for triplet in tqdm(triplets, f"comparing {name}", disable=None, unit="image"):
            tensors = [np.ascontiguousarray(t.numpy()) for t in triplet.thumbnails()]
            if not has_region(result.contract, tensors[1]):
                result.skipped.append(f"{name}: {triplet.name}")
                continue
            _judge_one(result, renderer, (reference, candidate), (name, triplet.name), tensors)
            for case in result.worst()[worst:]:
                case.pictures = ()
        if not result.squared[name]:
            raise ValueError(
                f"the set {name} must have images with a foreground; it has none. Check its masks."
            )
    return result


def _operations(contract: Contract) -> str:
    return ", ".join(
        name if size == 1 else f"{name} ({size} numbers)"
        for name, size in zip(contract.filters, contract.sizes, strict=True)
    )


def _judge_one(
    result: Judgement,
    renderer: CpuRenderer,
    models: tuple[Model, Model],
    identity: tuple[str, str],
    tensors: list[Image],
) -> None:
    composite, mask, real = tensors
    arguments = [model.predict(composite, mask) for model in models]
    drawn = [draw(renderer, result.contract, composite, mask, values) for values in arguments]
    difference = compare(drawn[0], drawn[1], mask)
    plain = np.ascontiguousarray(composite[0].transpose(1, 2, 0))
    target, weight = (torch.from_numpy(array).double() for array in (real, mask))
    pictures = (torch.from_numpy(image).permute(2, 0, 1)[None] for image in (*drawn, plain))
    fmse = [foreground_mse(picture.double(), target, weight).item() for picture in pictures]
    set_name, name = identity
    result.levels[set_name] += difference.levels
    result.squared[set_name].append(difference.squared)
    result.cases.append(
        Case(
            set_name,
            name,
            arguments[0],
            arguments[1],
            difference.levels_max,
            difference.delta_e_mean,
            difference.delta_e_max,
            fmse[0],
            fmse[1],
            fmse[2],
            tuple(to_levels(image) for image in (plain, *drawn)),
        )
    )


def verdict(judgement: Judgement, limits: Limits) -> list[Row]:
    """Each limit against what was measured, set by set.

    Returns:
        Rows with check, set, measured, limit and passed; NaN does not pass.
    """
    rows = []
    for name in judgement.levels:
        summary = judgement.summary(name)
        for check, limit in asdict(limits).items():
            if limit is not None:
                measured = summary[check]
                rows.append(
                    {
                        "check": check,
                        "set": name,
                        "measured": measured,
                        "limit": limit,
                        "passed": bool(abs(measured) <= limit),
                    }
                )
    return rows


def default_sets(data: Path) -> dict[str, Path]:
    """Where the two evaluation sets are in the shared data."""
    return {"val": data / "val", "iharmony4": data / "iharmony4"}
