"""Which blocks may lose precision: each block's harm measured alone, then a greedy search.

The cheapest graph is the one with the most multiplications in reduced precision. Blocks are tried
from the least harm for what they save to the most; each is kept if the whole graph with it still
keeps the budget, measured and not added up: errors of several blocks neither add nor cancel
reliably.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from tqdm import tqdm

from calibration.errors import BudgetError
from calibration.graph import PredictorGraph
from calibration.images import ImageSet
from calibration.inputs import Feed, Image
from calibration.pictures import compare, contrast_steps, draw
from calibration.ranges import open_session
from export import tolerances
from harmonizer.renderer import CpuRenderer

MARGIN = 0.8
"""Share of a budget that the search uses up: it sees few images, the gate hundreds."""

Reduced = Literal["int8", "fp16"]
Rewrite = Callable[[Collection[str]], onnx.ModelProto]


@dataclass(frozen=True)
class Error:
    """What a graph's answers lost, over the images of the search.

    Attributes:
        arguments_max, arguments_mean: Absolute differences.
        levels_max: Of 8-bit foreground values.
        delta_e_mean, delta_e_max: CIEDE2000 of the foreground; the mean is over images.
        contrast_steps: Images whose contrast falls on another step.
    """

    arguments_max: float
    arguments_mean: float
    levels_max: int
    delta_e_mean: float
    delta_e_max: float
    contrast_steps: int

    def __str__(self) -> str:
        return (
            f"mean delta-E {self.delta_e_mean:.3f} (max {self.delta_e_max:.2f}), {self.levels_max} "
            f"levels, arguments max {self.arguments_max:.4f}"
        )


@dataclass(frozen=True)
class Budget:
    """What a graph may lose; None does not limit."""

    levels_max: float | None = None
    delta_e_mean: float | None = None

    def allows(self, error: Error) -> bool:
        """Whether an error keeps the budget; NaN does not."""
        return all(
            limit is None or value <= limit
            for limit, value in (
                (self.levels_max, error.levels_max),
                (self.delta_e_mean, error.delta_e_mean),
            )
        )

    def __str__(self) -> str:
        parts = []
        if self.levels_max is not None:
            parts.append(f"at most {self.levels_max:g} levels")
        if self.delta_e_mean is not None:
            parts.append(f"mean delta-E at most {self.delta_e_mean:g}")
        return ", ".join(parts)


BUDGETS: dict[Reduced, Budget] = {
    "fp16": Budget(levels_max=int(MARGIN * tolerances.GATE_FP16_LEVELS)),
    "int8": Budget(delta_e_mean=MARGIN * tolerances.GATE_INT8_DELTA_E),
}


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        model: The graph.
        blocks: Its blocks in reduced precision, in the order of execution.
        error: Of the graph.
        sensitivity: Error of each block alone, in the order of execution.
        tried: Graphs that were measured after the blocks.
    """

    model: onnx.ModelProto
    blocks: tuple[str, ...]
    error: Error
    sensitivity: dict[str, Error]
    tried: int

    def report(self, graph: PredictorGraph) -> dict[str, Any]:
        """As JSON holds it."""
        total = sum(graph.macs(block) for block in graph.blocks)
        return {
            "blocks": [
                {
                    "name": name,
                    "macs": graph.macs(name),
                    "reduced": name in self.blocks,
                    **asdict(error),
                }
                for name, error in self.sensitivity.items()
            ],
            "reduced_share": sum(graph.macs(name) for name in self.blocks) / total,
            "error": asdict(self.error),
            "graphs_tried": self.tried,
        }


class Judge:
    """Measures graphs against the float32 one on a fixed set of images."""

    def __init__(self, graph: PredictorGraph, images: ImageSet) -> None:
        self.graph, self.images = graph, images
        self._renderer = CpuRenderer(1)
        self._reference = self._predict(graph.model)
        self._drawn = [
            self._draw(scene, row)
            for scene, row in zip(images.scenes, self._reference, strict=True)
        ]

    def __call__(self, model: onnx.ModelProto) -> Error:
        """The error of a graph."""
        answers = self._predict(model)
        if not np.isfinite(answers).all():
            worst = float("inf")
            return Error(worst, worst, 255, worst, worst, len(answers))
        differences = [
            compare(drawn, self._draw(scene, row), scene["mask"])
            for scene, row, drawn in zip(self.images.scenes, answers, self._drawn, strict=True)
        ]
        apart = np.abs(answers - self._reference)
        return Error(
            arguments_max=float(apart.max()),
            arguments_mean=float(apart.mean()),
            levels_max=max(d.levels_max for d in differences),
            delta_e_mean=float(np.mean([d.delta_e_mean for d in differences])),
            delta_e_max=max(d.delta_e_max for d in differences),
            contrast_steps=contrast_steps(self.graph.contract, self._reference, answers),
        )

    def _predict(self, model: onnx.ModelProto) -> NDArray[np.float32]:
        session = open_session(model)
        return np.concatenate([session.run(["arguments"], feed)[0] for feed in self.images.feeds])

    def _draw(self, scene: Feed, arguments: NDArray[np.float32]) -> Image:
        contract = self.graph.contract
        return draw(self._renderer, contract, scene["composite"], scene["mask"], arguments)


def check_keep(graph: PredictorGraph, keep: Collection[str]) -> None:
    """Refuse names of blocks that there are not, and all of them.

    Raises:
        ValueError: As said.
    """
    unknown = sorted(set(keep) - set(graph.blocks))
    if unknown or set(keep) == set(graph.blocks):
        raise ValueError(
            f"the blocks to keep must be some, not all, of {', '.join(graph.blocks)}; got "
            f"{', '.join(unknown or sorted(keep))}. Leave out what is none of them, or one of all."
        )


def search(
    graph: PredictorGraph,
    rewrite: Rewrite,
    judge: Judge,
    budget: Budget,
    keep: Collection[str] = (),
) -> Found:
    """The cheapest graph within a budget.

    Args:
        graph: The float32 predictor.
        rewrite: Blocks to a model with these in reduced precision.
        judge: Measures.
        budget: What may be lost on the judge's images.
        keep: Blocks that stay in float32 whatever they would lose.

    Returns:
        The graph with the most multiplications in reduced precision that the search found.

    Raises:
        ValueError: If `keep` names an unknown block, or all of them.
        BudgetError: If no graph with any block reduced keeps the budget.
    """
    check_keep(graph, keep)
    candidates = [block for block in graph.blocks if block not in keep]
    sensitivity = {
        block: judge(rewrite([block]))
        for block in tqdm(candidates, "each block alone", disable=None, unit="block")
    }
    chosen: list[str] = candidates
    model = rewrite(candidates)
    error, tried = judge(model), 1
    if not budget.allows(error):
        chosen, closest = (
            [],
            min(sensitivity.items(), key=lambda item: (item[1].delta_e_mean, item[1].levels_max)),
        )
        for block in tqdm(
            _by_harm(graph, sensitivity), "greedy search", disable=None, unit="block"
        ):
            wider = rewrite([*chosen, block])
            attempt, tried = judge(wider), tried + 1
            if budget.allows(attempt):
                chosen, model, error = [*chosen, block], wider, attempt
        if not chosen:
            remedy = "Allow that, or use float32"
            if graph.contract.model == "harmonizer":
                remedy += ", or fine-tune the checkpoint: python -m calibration.finetune"
            raise BudgetError(
                f"no graph with a block in reduced precision keeps the budget ({budget}); the "
                f"closest reduces {closest[0]} alone: {closest[1]}. {remedy}."
            )
    ordered = tuple(block for block in graph.blocks if block in chosen)
    return Found(model, ordered, error, sensitivity, tried)


def _by_harm(graph: PredictorGraph, sensitivity: dict[str, Error]) -> Sequence[str]:
    """Blocks from the least harm for each multiplication saved to the most."""
    return sorted(
        sensitivity, key=lambda block: sensitivity[block].delta_e_mean / graph.macs(block)
    )
