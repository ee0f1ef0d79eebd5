"""`python -m train curves`: a run's log as a picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")  # pictures go to files; no display is needed

from matplotlib import pyplot as plt

from harmonizer.usage import tool_parser
from train.fitting.log import LOG, LogError, read_log

SMOOTHING = 0.9
"""Share of the curve so far in the running mean of the training figures."""

HEADROOM = 1.05
"""Upper end of the picture over the highest value, where that is above 1."""


def main(arguments: Sequence[str]) -> int:
    """Draw the curves of a run."""
    parser = tool_parser(__doc__, "python -m train curves")
    parser.add_argument("run", type=Path, help="folder of a run, with log.jsonl")
    parser.add_argument("--output", type=Path, required=True, help="picture to write (.png, .svg)")
    options = parser.parse_args(arguments)
    draw_curves(options.run, options.output)
    return 0


def draw_curves(run: Path, output: Path) -> None:
    """Final loss relative to the composites', and fMSE on val, over the steps.

    Raises:
        FileNotFoundError: If the folder holds no log.
        LogError: If the log is empty or not one.
    """
    log = run / LOG
    if not log.is_file():
        raise FileNotFoundError(
            f"{run} must be the folder of a run; there is no {LOG} in it. Name the --output of one."
        )
    lines = read_log(log)
    training = [line for line in lines if "ratio" in line]
    validation = [line for line in lines if "val_ratio" in line]
    if not training:
        raise LogError(f"{log} must hold training figures; it holds none yet. Train on.")
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    for name, label in (("ratio", "by filters"), ("pairs_ratio", "by colour transfer, pairs")):
        points = [(line["step"], line[name]) for line in training if line.get(name) is not None]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, _smooth(values), label=f"loss of training composites {label}")
    if validation:
        steps, values = zip(
            *((line["step"], line["val_ratio"]) for line in validation), strict=True
        )
        axes.plot(steps, values, "ko-", label="fMSE on val")
    highest = axes.dataLim.y1
    axes.set(xlabel="step", ylabel="after / before", title=run.resolve().name)
    axes.set_ylim(0, HEADROOM * highest if highest > 1 else 1)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output, dpi=120)
    plt.close(figure)


def _smooth(values: Sequence[float]) -> list[float]:
    smoothed = [values[0]]
    for value in values[1:]:
        smoothed.append(SMOOTHING * smoothed[-1] + (1 - SMOOTHING) * value)
    return smoothed
