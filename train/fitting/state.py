"""What a run leaves in its folder: the checkpoint, and everything needed to go on exactly.

Batches, schedule and the layers' random numbers follow from seed and step, so the state is the
weights, their average, the optimizer, the loss scaler and the step; and the data's fingerprints, to
notice other data.
"""

import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from harmonizer.errors import HarmonizerError
from harmonizer.reading import CHECKPOINT_LIMIT, read_regular
from harmonizer.storage import sweep, write_set
from train.checkpoints import CheckpointError, checkpoint_bytes, load_checkpoint
from train.efficientnet import DepthEncoder
from train.fitting.config import (
    ConfigError,
    FitConfig,
    completed,
    differences,
    read_config,
    to_dict,
    without_paths,
)
from train.pretrained import start_pretrained
from train.registry import Config, Network, build_network
from train.s2crnet import S2CRNetConfig

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"
STATE, CONFIG = "state.pt", "config.json"


class SaveError(HarmonizerError, RuntimeError):
    """Checkpoint or state could not be written; what was saved before is intact."""


def initial_network(config: FitConfig) -> Network:
    """A fresh network, with the tensors of `config.init`.

    It may have parts that the checkpoint lacks. The regressor's first layers read the concatenated
    features, so their columns are copied for the parts that both networks have. A checkpoint of
    the other model gives its encoder alone.

    Raises:
        CheckpointError: If the checkpoint is another model's, has another encoder or other
            filters, or tensors that find no place.
    """
    torch.manual_seed(config.seed)
    network = build_network(config.network)
    encoder, name = network.encoder, _encoder_of(config.network)
    if config.pretrained and encoder is not None:
        start_pretrained(encoder, name)
    if config.init is None:
        return network
    source = load_checkpoint(config.init)
    if source.config.model != config.network.model and isinstance(encoder, DepthEncoder):
        _take_encoder(encoder, source, config)
        return network
    for name in ("model", "backbone", "encoder"):
        its, wanted = (getattr(c, name, None) for c in (source.config, config.network))
        if its != wanted and not (name == "encoder" and its is None):
            raise CheckpointError(
                f"{config.init} must have this run's {name}, {wanted}; it has {its}. Give --{name} "
                f"{its}, or another checkpoint."
            )
    if source.config.filters != config.network.filters:
        raise CheckpointError(
            f"{config.init} must predict this run's filters {','.join(config.network.filters)}; it "
            f"predicts {','.join(source.config.filters)}. Give --filters accordingly, or start "
            "without --init."
        )
    state = network.state_dict()
    homeless = []
    for name, tensor in with_own_norms(source.state_dict(), state).items():
        if name in state and state[name].shape == tensor.shape:
            state[name] = tensor
        elif name in state and name in ("regressor.f.weight", "regressor.g.weight"):
            # The statistics' columns come last in both; new columns start at 0, so that the new
            # network begins where the old one ended.
            columns = min(tensor.shape[1], state[name].shape[1])
            state[name] = torch.zeros_like(state[name])
            state[name][:, -columns:] = tensor[:, -columns:]
        elif name in state and name.startswith(("statistics.normalize.", "statistics.hidden.")):
            # What the encoder sees stands between what is measured and the arguments.
            state[name] = _widened(tensor, state[name], len(config.network.filters))
        else:
            homeless.append(name)
    if homeless:
        more = f" and {len(homeless) - 3} more" if len(homeless) > 3 else ""
        raise CheckpointError(
            f"{config.init} must fit into this run's network, which may only add to it; there is "
            f"no place for {', '.join(homeless[:3])}{more}. Its own configuration is "
            f"{source.config}."
        )
    network.load_state_dict(state)
    return network


NORM = "statistics.normalize."


def with_own_norms(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state's tensors, with a norm for each look of a network that has one for each.

    Looks that the state has none for get its last one.

    Raises:
        CheckpointError: If the state has one for each look, and the network one for all.
    """
    its, own = (
        sorted({int(n.split(".")[2]) for n in names if n.startswith(NORM) and n.count(".") == 3})
        for names in (given, wanted)
    )
    result = dict(given)
    if its and not own:
        raise CheckpointError(
            "the checkpoint has averages of each look's own, and this run's network one for all. "
            "Give --own-norms."
        )
    last = f"{NORM}{its[-1]}." if its else NORM
    for name in [name for name in given if own and name.startswith(last)]:
        tensor = given[name] if its else result.pop(name)
        for look in own[len(its) :]:
            result[f"{NORM}{look}.{name.removeprefix(last)}"] = tensor
    return result


def _take_encoder(encoder: DepthEncoder, source: Network, config: FitConfig) -> None:
    """Give an encoder the weights of another model's, which may go deeper."""
    wanted, its = _encoder_of(config.network), _encoder_of(source.config)
    depths = source.config.depths
    if wanted != its or source.encoder is None or not depths or depths[-1] < encoder.depths[-1]:
        came = f"{its} up to stage {depths[-1]}" if depths else f"{its or 'none'} without depths"
        raise CheckpointError(
            f"{config.init} is of another model, {source.config.model}, and can give its encoder "
            f"alone, which must be {wanted} up to stage {encoder.depths[-1]}; it has {came}. Give "
            f"a checkpoint of {config.network.model}, or other depths."
        )
    given = source.encoder.state_dict()
    encoder.load_state_dict({name: given[name] for name in encoder.state_dict()})


def _encoder_of(config: Config) -> str | None:
    """timm's or the paper's name of a network's encoder."""
    return config.backbone if isinstance(config, S2CRNetConfig) else config.encoder


def _widened(old: Tensor, new: Tensor, arguments: int) -> Tensor:
    """The MLP's first tensors for more inputs: the new ones are not listened to at first."""
    if new.shape[-1] < old.shape[-1]:
        return old  # refused by its shape when it is loaded
    result = torch.zeros_like(new) if new.ndim == 2 else new.clone()
    result[..., : old.shape[-1] - arguments] = old[..., :-arguments]
    result[..., -arguments:] = old[..., -arguments:]
    return result


def stored_config(output: Path) -> dict[str, Any]:
    """The configuration of the run in a folder.

    Raises:
        FileNotFoundError: If there is no run in it.
    """
    sweep(output)  # a run that was killed may have left its last step to do
    for name in (STATE, CONFIG):
        if not (output / name).is_file():
            raise FileNotFoundError(
                f"{output} must hold a run to resume; there is no {name} in it. Start without "
                "--resume, or name the folder of a run."
            )
    return read_config(output / CONFIG)


def check_folder(output: Path, config: FitConfig, resume: bool) -> None:
    """Refuse to overwrite a run, or to continue one with another configuration.

    Raises:
        FileNotFoundError: With `resume`, if there is no run.
        FileExistsError: Without it, if there is one.
        ConfigError: If the run to resume has another configuration.
    """
    if not resume:
        if (output / STATE).exists():
            raise FileExistsError(
                f"{output} must be empty for a new run; it holds another one. Continue that with "
                "--resume, or name another folder."
            )
        return
    changed = differences(completed(stored_config(output)), to_dict(config))
    if changed:
        raise ConfigError(
            f"the run in {output} must be resumed with its own configuration; "
            f"{'; '.join(changed)}. Change that back, or start in another folder."
        )


@dataclass
class State:
    """A run at one step.

    Attributes:
        network: What is trained.
        average: Its moving average, or None.
        optimizers, scaler: Of the weights and of the loss.
        step: Steps done.
        seconds: Time that they took.
        data: Fingerprint of what was packed, by the folder that it came from.
    """

    network: Network
    average: Network | None
    optimizers: tuple[torch.optim.Optimizer, ...]
    scaler: torch.amp.GradScaler
    step: int = 0
    seconds: float = 0.0
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def best(self) -> Network:
        """What is saved for use: the average if there is one."""
        return self.average or self.network

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"network": self.network}
        parts |= zip(("optimizer", "matrix_optimizer"), self.optimizers, strict=False)
        if self.average is not None:
            parts["average"] = self.average
        return parts | {"scaler": self.scaler}

    def save(self, output: Path, config: FitConfig) -> Path:
        """Write checkpoint and state: both, or neither.

        Returns:
            The checkpoint's path.

        Raises:
            SaveError: If there is no room, or another fault; the files of before are intact.
        """
        path = output / CHECKPOINT
        notes: Mapping[str, object] = {
            "step": self.step,
            "samples": self.step * config.batch,
            "seconds": round(self.seconds),
            "fit": without_paths(to_dict(config)),
        }
        content = {name: part.state_dict() for name, part in self._parts().items()}
        buffer = io.BytesIO()
        facts = {"step": self.step, "seconds": self.seconds, "data": dict(self.data)}
        torch.save(content | facts, buffer)
        try:
            write_set({path: checkpoint_bytes(self.best, notes), output / STATE: buffer.getvalue()})
        except OSError as error:
            raise SaveError(
                f"step {self.step} could not be saved; what was saved before is intact. "
                f"{output} cannot be written: {error.strerror or error}. Make room there, then "
                "continue with --resume."
            ) from error
        return path

    def keep(self, output: Path) -> None:
        """Keep the checkpoint that was just saved as the best one so far.

        Raises:
            SaveError: If there is no room; the best one of before is intact.
        """
        try:
            content = read_regular(output / CHECKPOINT, CHECKPOINT_LIMIT)
            write_set({output / BEST: content})
        except OSError as error:
            raise SaveError(
                f"the best checkpoint could not be kept in {output}: {error.strerror or error}. "
                "Make room there, then continue with --resume."
            ) from error

    def load(self, output: Path) -> None:
        """Go back to the state in a folder.

        Raises:
            CheckpointError: If the state cannot be read.
            ConfigError: If it was reached with other data.
        """
        device = next(self.network.parameters()).device
        try:
            data = read_regular(output / STATE, CHECKPOINT_LIMIT)
            content = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
            for name, part in self._parts().items():
                part.load_state_dict(content[name])
            self.step, self.seconds, before = (
                content["step"],
                content["seconds"],
                content.get("data"),
            )
        except Exception as error:  # on foreign bytes the unpickler raises whatever they lead it to
            raise CheckpointError(
                f"{output / STATE} must be a run's state; it cannot be read. Start anew, with "
                f"--init {output / CHECKPOINT}."
            ) from error
        if before is None:
            print(
                f"{output / STATE} is of an earlier version and does not say what data it was "
                "reached with; that they are the same is not checked.",
                file=sys.stderr,
            )
            return
        changed = [place for place in self.data if self.data[place] != before.get(place)]
        if changed:
            raise ConfigError(
                f"the run in {output} must be resumed with its own data; files were added, removed "
                f"or changed since in {', '.join(changed)} (a copy must keep the files' times). "
                f"Change that back, or start another run with --init {output / CHECKPOINT}."
            )


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average of weights and buffers towards the network's."""
    now, moved = network.state_dict(), average.state_dict()
    numbers = [name for name, kept in moved.items() if kept.dtype.is_floating_point]
    # All at once: one by one they are 380 launches a step on a GPU.
    torch._foreach_lerp_([moved[name] for name in numbers], [now[n] for n in numbers], 1 - decay)
    for name in moved.keys() - set(numbers):
        moved[name].copy_(now[name])
