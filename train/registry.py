"""The networks that can be trained, evaluated and exported, by the name that `--model` takes.

The loop, evaluation and export ask here, or the network itself: each has the methods `prepare`
(images of any size to what `forward` takes), `predict_arguments`, `render`, `fold`, `halve` and
``compile_parts`; each configuration says its `model`, `filters` and their `sizes`, whether it is
`labelled`, its `synthesis_filters` and whether it `autocasts`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harmonizer.contract import Contract
from train.network import HarmonizerNet, NetworkConfig
from train.s2crnet import S2CRNet, S2CRNetConfig

Config = NetworkConfig | S2CRNetConfig
Network = HarmonizerNet | S2CRNet


@dataclass(frozen=True)
class Model:
    """One kind of network.

    Attributes:
        config: The class of its configuration.
        network: Builds it from that.
        recipe: Where its published training differs from the defaults of a run.
    """

    config: type[NetworkConfig] | type[S2CRNetConfig]
    network: Callable[[Any], Network]
    recipe: Mapping[str, Any] = field(default_factory=dict)


DEFAULT_MODEL = "harmonizer"

MODELS: dict[str, Model] = {
    DEFAULT_MODEL: Model(NetworkConfig, HarmonizerNet),
    "s2crnet": Model(
        S2CRNetConfig,
        S2CRNet,
        {
            "epochs": 50,
            "batch": 8,
            "learning_rate": 2e-4,
            "schedule": "cosine",
            "weight_decay": 0.01,
            "loss": "sum",
            "pair_weight": 1.0,
        },
    ),
}
"""S2CRNet's recipe is AdamW, 2e-4, batches of 8, 50 epochs (arXiv 2109.05750, section 4); its
schedule is not known, the decay is AdamW's usual one."""


def build_network(config: Config) -> Network:
    """A network with fresh weights."""
    return MODELS[config.model].network(config)


def contract_of(config: Config) -> Contract:
    """What the exported predictor reads and answers with."""
    return Contract(config.model, config.filters, config.sizes, config.labelled)
