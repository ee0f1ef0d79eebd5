"""What a training run is: one typed record, from flags or a JSON file, stored beside its result."""

import dataclasses
import difflib
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harmonizer.documents import read_document
from harmonizer.errors import HarmonizerError
from train.colour_statistics import CELLS, GRID
from train.data.config import DataConfig
from train.efficientnet import STAGES
from train.network import THUMBNAIL, NetworkConfig
from train.registry import DEFAULT_MODEL, MODELS, Config

T = TypeVar("T")


class ConfigError(HarmonizerError, ValueError):
    """A configuration file or a flag names something unknown or has a value of the wrong type."""


@dataclass(frozen=True)
class FitConfig:
    """One run of the loop; the defaults are Harmonizer's recipe (arXiv 2207.01322, section 4.1).

    Attributes:
        data: Where images come from.
        network: What is trained; its class says which model.
        init: Checkpoint to start from; parts that it lacks start at random.
        epochs: Passes over the data.
        samples: Images to train on in all, instead of epochs.
        size: Side of the thumbnails in pixels, a multiple of 32.
        batch: Images a step, over all processes and micro-batches.
        accumulate: Micro-batches that one step's images are computed in, to save memory.
        learning_rate: Peak of the schedule.
        schedule: step: times 0.1 after 25/60 and after 50/60 of the run; cosine: a linear warm-up,
            then a cosine down to 1 %.
        weight_decay: Decoupled weight decay; 0 is plain Adam.
        clip: Largest gradient norm; 0 does not clip.
        ema: Decay of the weights' moving average, which is then what is saved; 0 is off.
        loss: dynamic: each stage is blamed for what it adds; plain: mean over the stages; sum:
            over the stages; final: last stage alone.
        final_weight: Weight of the last stage's loss beside that, on synthesised composites.
        pair_weight: Weight of the last stage's loss on composites without arguments: real ones,
            recoloured and retouched ones.
        log_weight: Weight of the logarithm of the last stage's loss, on all composites: halving a
            small error then counts as much as halving a large one.
        loss_size: Side in pixels of what is drawn and compared, every n-th pixel; 0 for all.
        pretrained: Start the encoder with the weights of an ImageNet classifier.
        tune_from: The encoder's first stage that is trained, counted from 0; what lies before it
            keeps its weights, and 7 keeps all.
        tune: all: of those stages, all but batch norm; pointwise: the 1x1 convolutions alone, which
            is several times as fast on a CPU.
        frozen: What computes the stages before in training: torch, or onnxruntime, several times as
            fast on a CPU; changes rounding.
        encoder_rate: The encoder's learning rate as a multiple of the others'.
        optimizer: adamw, or muon: AdamW with Muon for the matrices outside the encoder.
        matrix_rate: Muon's learning rate as a multiple of AdamW's.
        amp: What the encoder computes in.
        compile: Compile synthesis, statistics, drawing and loss; changes rounding.
        channels_last: Keep the encoder's tensors in channels-last order; changes rounding.
        seed: Of initial weights and of everything drawn.
        workers: Processes that load images, for each training process; where images are resident,
            they only draw random numbers.
        log_every: Steps between lines of the log.
        save_every: Steps between checkpoints, pictures and validations.
        save_minutes: Also save when so many minutes have passed since the last time; 0 does not.
        pieces: Folder that gets whatever is saved in files of at most 14 MiB too.
        val: Folder like val/: measure the sets made of it, and `real_pairs` beside it, whenever a
            checkpoint is saved, and keep the best one.
        tensorboard: Write scalars, histograms and pictures for TensorBoard.
    """

    data: DataConfig = field(default_factory=DataConfig)
    network: Config = field(default_factory=NetworkConfig)
    init: str | None = None
    epochs: int = 60
    samples: int | None = None
    size: int = 256
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 3e-4
    schedule: Literal["step", "cosine"] = "step"
    weight_decay: float = 0.0
    clip: float = 1.0
    ema: float = 0.0
    loss: Literal["dynamic", "plain", "sum", "final"] = "dynamic"
    final_weight: float = 0.0
    pair_weight: float = 10.0
    log_weight: float = 0.0
    loss_size: int = 0
    pretrained: bool = False
    tune_from: int = 0
    tune: Literal["all", "pointwise"] = "all"
    frozen: Literal["torch", "onnxruntime"] = "torch"
    encoder_rate: float = 1.0
    optimizer: Literal["adamw", "muon"] = "adamw"
    matrix_rate: float = 1.0
    amp: Literal["off", "bf16", "fp16"] = "off"
    compile: bool = False
    channels_last: bool = True
    seed: int = 0
    workers: int = 2
    log_every: int = 50
    save_every: int = 1000
    save_minutes: float = 0.0
    pieces: str | None = None
    val: str | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if not (self.data.photos or self.data.pairs):
            raise ConfigError("a run needs images; got neither photographs nor pairs. Give --data.")
        for name in ("epochs", "batch", "accumulate", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"{name} must be at least 1; got {getattr(self, name)}. Give 1 or more."
                )
        weights = ("final_weight", "pair_weight", "log_weight", "encoder_rate", "matrix_rate")
        for name in ("weight_decay", "clip", "workers", "save_minutes", "seed", *weights):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    f"{name} must be at least 0; got {getattr(self, name)}. Give 0 or more."
                )
        if self.samples is not None and self.samples < self.batch:
            raise ConfigError(
                f"samples must be at least one batch; got {self.samples} for a batch of "
                f"{self.batch}. Give more --samples, or a smaller --batch."
            )
        if self.size < 32 or self.size % 32:
            raise ConfigError(
                f"size must be a multiple of 32; got {self.size}. Give --size "
                f"{max(32, self.size // 32 * 32)}."
            )
        self._check_statistics()
        if not 0 < self.learning_rate < 1:
            raise ConfigError(
                f"learning_rate must lie in (0, 1); got {self.learning_rate}. Give one such as "
                "3e-4."
            )
        if not 0 <= self.ema < 1:
            raise ConfigError(
                f"ema must lie in [0, 1); got {self.ema}. Give a decay such as 0.999, or 0 for off."
            )
        if self.batch % self.accumulate:
            raise ConfigError(
                f"batch must be a multiple of accumulate; got {self.batch} and {self.accumulate}. "
                "Change one of the two."
            )
        if self.loss_size < 0 or (self.loss_size and self.size % self.loss_size):
            raise ConfigError(
                f"loss_size must divide size {self.size}, or be 0 for all pixels; got "
                f"{self.loss_size}. Give another, or leave it out."
            )
        apart = self.pretrained or self.tune_from or self.encoder_rate != 1
        if apart and not self.network.depths:
            raise ConfigError(
                "pretrained, tune_from and encoder_rate are for encoders that are looked at in "
                "several depths; this network has none. Give --encoder tf_efficientnet_lite0 (of "
                "s2crnet --backbone) and --depths 1,2,4,6, or leave them out."
            )
        if not 0 <= self.tune_from <= STAGES:
            raise ConfigError(
                f"tune_from must lie in 0..{STAGES}; got {self.tune_from}. Give 0 to train every "
                f"stage, {STAGES} to keep all."
            )
        if self.tune_from == 0 and (self.tune, self.frozen) != ("all", "torch"):
            raise ConfigError(
                "tune pointwise and frozen onnxruntime are for encoders whose first stages keep "
                "their weights; got tune_from 0. Give --tune-from 3, or leave them out."
            )
        if self.matrix_rate != 1 and self.optimizer != "muon":
            raise ConfigError(
                f"matrix_rate is Muon's; got {self.matrix_rate} with optimizer {self.optimizer}. "
                "Give --optimizer muon, or leave it out."
            )
        if self.amp != "off" and not self.network.autocasts:
            raise ConfigError(
                f"amp {self.amp} is for the encoder, the rest always computes in float32; this "
                "network has none. Give --amp off."
            )

    def _check_statistics(self) -> None:
        """Statistics are taken on every n-th pixel, in blocks that must fit."""
        network = self.network
        if not network.statistics:
            return
        wanted = network.statistics_size if isinstance(network, NetworkConfig) else GRID
        step = max(1, self.size // wanted)
        side = len(range(step // 2, self.size, step))
        if side % CELLS or (wanted > GRID and side != wanted):
            raise ConfigError(
                f"size must be a multiple of statistics_size, {wanted}, for statistics of every "
                f"n-th pixel; got {self.size}. Give --size {THUMBNAIL}, or another "
                "--statistics-size."
            )


FREE = frozenset(
    {"epochs", "samples", "workers", "log_every", "save_every", "save_minutes", "val"}
    | {"pieces", "tensorboard", "data.cache", "data.resident"}
)
"""What may differ when a run is resumed: it moves the end, or does not touch the weights."""


def to_json(config: FitConfig) -> str:
    """The text of a configuration file."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def to_dict(config: FitConfig) -> dict[str, Any]:
    """The configuration as JSON holds it: lists instead of tuples."""
    result: dict[str, Any] = json.loads(to_json(config))
    return result


def completed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration with defaults for the fields that were added since."""
    return to_dict(from_dict(FitConfig, stored))


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a file that is passed on: of each path, the last part alone."""
    data = dict(settings["data"])
    data["photos"] = [Path(folder).name for folder in data["photos"]]
    data["pairs"] = data["pairs"] and Path(data["pairs"]).name
    del data["cache"]
    shortened = {
        name: settings[name] and Path(settings[name]).name for name in ("init", "val", "pieces")
    }
    return {**settings, **shortened, "data": data}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What two configurations disagree on, apart from what a resumed run may change."""
    found = []
    for name in [*now, *(name for name in before if name not in now)]:
        full, old, new = prefix + name, before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{full}.")
        elif old != new and full not in FREE:
            found.append(f"{full} {old!r} then, {new!r} now")
    return found


def read_config(path: str | Path) -> dict[str, Any]:
    """The fields that a JSON file states.

    Raises:
        ConfigError: If it is not a JSON object.
        FileNotFoundError: If there is no such file.
    """
    try:
        content = read_document(path)
    except ValueError as error:
        raise ConfigError(
            f"{path} must be JSON in UTF-8; it is not ({error}). Name the config.json of a run, or "
            "one of recipes/."
        ) from error
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} must hold a JSON object; got {type(content).__name__}. Put the fields between "
            "braces."
        )
    return content


def from_dict(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Build a configuration from JSON-like fields, every one of them known and of its type.

    Raises:
        ConfigError: If a field is unknown, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    parsed = {}
    for name, value in values.items():
        if name not in hints:
            nearest = difflib.get_close_matches(name, hints, 1)
            remedy = (
                f"the nearest is `{prefix}{nearest[0]}`"
                if nearest
                else "`python -m train --help` lists them as flags"
            )
            raise ConfigError(f"a configuration has no field `{prefix}{name}`; {remedy}.")
        if hints[name] == Config or is_dataclass(hints[name]):
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"`{prefix}{name}` must be an object; got {value!r}. Put its fields between "
                    "braces."
                )
            inner = _network_class(value) if hints[name] == Config else hints[name]
            parsed[name] = from_dict(inner, value, f"{prefix}{name}.")
        else:
            parsed[name] = _checked(value, hints[name], prefix + name)
    return kind(**parsed)


def model_name(network: Mapping[str, Any]) -> str:
    """Which model a network's fields are of.

    Raises:
        ConfigError: If there is no such model.
    """
    name = network.get("model", DEFAULT_MODEL)
    if name not in MODELS:
        raise ConfigError(
            f"`network.model` must be one of {', '.join(MODELS)}; got {name!r}. Choose one of them."
        )
    return str(name)


def _network_class(network: Mapping[str, Any]) -> Any:
    """The class for a network's fields, all of which are the model's own."""
    name = model_name(network)
    for field_name in network:
        owners = [n for n, m in MODELS.items() if field_name in m.config.__dataclass_fields__]
        if owners and name not in owners:
            raise ConfigError(
                f"`network.{field_name}` is for model {' and '.join(owners)}; got it with model "
                f"{name}. Leave it out."
            )
    return MODELS[name].config


def _checked(value: Any, hint: Any, name: str) -> Any:
    """The value, if it is of the type; whole numbers pass for float, lists for tuples."""
    inner = without_none(hint)
    if inner is not hint:
        return None if value is None else _checked(value, inner, name)
    if get_origin(hint) is Literal:
        right = value in get_args(hint)
    elif get_origin(hint) is tuple:
        right = isinstance(value, list | tuple) and all(
            isinstance(item, get_args(hint)[0]) and not isinstance(item, bool) for item in value
        )
        value = tuple(value) if right else value
    elif hint is float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if right else value
    else:
        right = isinstance(value, hint) and isinstance(value, bool) == (hint is bool)
    if not right:
        raise ConfigError(
            f"`{name}` must be {_words(hint)}; got {value!r}. Give one, or leave the field out."
        )
    return value


def without_none(hint: Any) -> Any:
    """X of `X | None`; other types come back unchanged."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(arm for arm in get_args(hint) if arm is not type(None))
    return hint


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {'texts' if get_args(hint)[0] is str else 'whole numbers'}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[hint]
