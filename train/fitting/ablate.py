"""`python -m train ablate NAME`: the variants of one choice at equal budget, and their table.

All variants are judged on the same validation composites, synthesised with the six default filters.
A network with fewer filters cannot undo all of those, which is the point; one with more was also
trained on composites that they do not contain, so what it gains shows on real composites alone
(--iharmony4).
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harmonizer.ops import PHOTO_FILTERS
from harmonizer.storage import write_atomically
from train.checkpoints import load_checkpoint
from train.data.opening import data_folder
from train.evaluation.report import markdown
from train.evaluation.triplets import benchmark_composites, validation_composites
from train.fitting.config import (
    ConfigError,
    FitConfig,
    completed,
    differences,
    read_config,
    to_dict,
)
from train.fitting.fit import FinishedRunError, InterruptedFitError, default_device, fit
from train.fitting.flags import Parser, fit_config
from train.fitting.monitor import Validation
from train.fitting.state import CHECKPOINT, CONFIG, STATE

EMA: dict[str, dict[str, Any]] = {"on": {"ema": 0.999}, "off": {"ema": 0.0}}

ABLATIONS: dict[str, dict[str, dict[str, dict[str, Any]]]] = {
    "harmonizer": {
        "cascade": {"on": {"cascade": True}, "off": {"cascade": False}},
        "dynamic-loss": {name: {"loss": name} for name in ("dynamic", "plain", "final")},
        "filters": {str(count): {"filters": PHOTO_FILTERS[:count]} for count in (2, 4, 6, 8)},
        "ema": EMA,
    },
    "s2crnet": {
        "cascade": {str(count): {"stages": count} for count in (1, 2, 3)},
        "semantic": {"on": {"semantic": True}, "off": {"semantic": False}},
        "ema": EMA,
    },
}
"""By model and name, what each variant changes, of the run or of its network. The filters are the
paper's six and the two further ones, of which the first 2, 4, 6 and 8 are taken."""

RESULT = "result.json"


def variant(config: FitConfig, changes: Mapping[str, Any]) -> FitConfig:
    """The configuration with changes to fields of its own or of its network's."""
    of_network = {n: v for n, v in changes.items() if hasattr(config.network, n)}
    of_run = {n: v for n, v in changes.items() if n not in of_network}
    network = dataclasses.replace(config.network, **of_network)
    return dataclasses.replace(config, network=network, **of_run)


def fit_variant(config: FitConfig, folder: Path, sets: Mapping[str, Validation]) -> dict[str, Any]:
    """Fit one variant, or go on with it, and judge it; a finished one is not touched.

    Raises:
        ConfigError: If the folder holds a run of another configuration or budget.
    """
    if (folder / CONFIG).is_file():
        before, now = completed(read_config(folder / CONFIG)), to_dict(config)
        budgets = [(run["epochs"], run["samples"]) for run in (before, now)]
        if differences(before, now) or budgets[0] != budgets[1]:
            raise ConfigError(
                f"{folder} must hold a run of this configuration and budget; it holds another "
                "one's. Name another --output."
            )
    file = folder / RESULT
    if file.is_file():
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return result
    try:
        fit(config, folder, resume=(folder / STATE).exists())
    except InterruptedFitError as stopped:
        raise InterruptedFitError(
            f"interrupted in {folder}; the state is saved. Give the same command again to go on."
        ) from stopped
    except FinishedRunError:
        pass  # it was interrupted before it was judged
    network = load_checkpoint(folder / CHECKPOINT).to(default_device())
    result = {"parameters": sum(p.numel() for p in network.parameters())}
    for name, validation in sets.items():
        result |= {f"{name} {what}": value for what, value in validation(network).items()}
    write_atomically(file, json.dumps(result, indent=2).encode())
    return result


def check_flags(options: argparse.Namespace, variants: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse flags for what the ablation itself varies.

    Raises:
        ConfigError: If there is one.
    """
    varied = {field for changes in variants.values() for field in changes}
    for given in vars(options):
        field = given.rpartition(".")[2]
        if field in varied:
            raise ConfigError(
                f"`ablate {options.name}` sets {field} of each variant itself; got "
                f"--{field.replace('_', '-')} too. Leave that out."
            )


def table(name: str, config: FitConfig, rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The results in Markdown, with the budget that they hold for."""
    body = [
        [label, *(f"{v:,}" if isinstance(v, int) else f"{v:.4g}" for v in row.values())]
        for label, row in rows.items()
    ]
    budget = f"{config.epochs} epochs" if config.samples is None else f"{config.samples:,} images"
    return (
        f"{markdown([name, *next(iter(rows.values()))], body)}\n\nfMSE, mean over images, 256x256; "
        f"one run each of {budget} at {config.size}x{config.size}, batch {config.batch}, seed "
        f"{config.seed}.\n"
    )


def main(arguments: Sequence[str]) -> int:
    """Run an ablation as the flags say; print and write its table."""
    parser = Parser("python -m train ablate", "Variants of one choice at equal budget.")
    parser.add_argument(
        "name", choices=dict.fromkeys(n for names in ABLATIONS.values() for n in names)
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for runs and table")
    parser.add_argument("--iharmony4", type=Path, help="also judge on these triplets")
    options = parser.parse_args(arguments)
    config = fit_config(options)
    model = config.network.model
    if options.name not in ABLATIONS[model]:
        raise ConfigError(
            f"ablations of model {model} are {', '.join(ABLATIONS[model])}; got {options.name}. "
            "Choose one of them, or another --model."
        )
    variants = ABLATIONS[model][options.name]
    check_flags(options, variants)
    device = default_device()
    val = Path(config.val or data_folder() / "val")
    sets = {"val": Validation(validation_composites(val), device)}
    if options.iharmony4:
        sets["iHarmony4"] = Validation(benchmark_composites(options.iharmony4), device)
    runs = {label: variant(config, changes) for label, changes in variants.items()}
    rows = {}
    for label, run in runs.items():
        print(f"{options.name} {label}", flush=True)
        rows[label] = fit_variant(run, options.output / label, sets)
    text = table(options.name, config, rows)
    print(text, end="")
    write_atomically(options.output / "table.md", text.encode())
    write_atomically(options.output / "table.json", json.dumps(rows, indent=2).encode())
    return 0
