"""The training loop: synthesize, predict, draw every stage, weigh the stages, step."""

import copy
import dataclasses
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from harmonizer.files import write_atomically
from train.data import PackedPhotos, batches
from train.losses import dynamic_loss, image_loss
from train.model import load_checkpoint, save_checkpoint
from train.network import HarmonizerNet, NetworkConfig
from train.synthesis import draw_arguments, jitter, synthesize


@dataclass(frozen=True)
class FitConfig:
    """One run of the loop.

    Attributes:
        data: Folder with MANIFEST.csv.
        output: Folder for checkpoint, log and configuration.
        cache: Folder for the packed photographs.
        network: The network's configuration.
        init: Checkpoint to start from; tensors of parts that it lacks start at random.
        samples: Composites to train on in all.
        size: Side of the thumbnails in pixels, a multiple of 32.
        batch: Composites a step.
        learning_rate: Peak of the schedule: linear warm-up, then a cosine down to 1 %.
        final_weight: Weight of the last stage's loss beside the dynamic loss.
        ema: Decay of the weights' exponential moving average, which is what is saved.
        clip: Largest gradient norm.
        amp: Run the encoder in bfloat16.
        seed: Of synthesis, crops and initial weights.
        save_every: Steps between checkpoints.
    """

    data: str
    output: str
    cache: str = "build/cache"
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    init: str | None = None
    samples: int = 100_000
    size: int = 128
    batch: int = 16
    learning_rate: float = 3e-4
    final_weight: float = 10.0
    ema: float = 0.999
    clip: float = 1.0
    amp: bool = True
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.batch < 1 or self.samples < self.batch or self.save_every < 1:
            raise ValueError(
                "a run needs batch >= 1, samples >= batch and save_every >= 1; got batch "
                f"{self.batch}, samples {self.samples}, save_every {self.save_every}."
            )
        if self.size < 32 or self.size % 32:
            raise ValueError(f"`size` must be a multiple of 32; got {self.size}.")
        if not (0 < self.learning_rate < 1 and self.final_weight >= 0 and 0 <= self.ema < 1):
            raise ValueError(
                "learning_rate must lie in (0, 1), final_weight be at least 0 and ema in [0, 1); "
                f"got {self.learning_rate}, {self.final_weight}, {self.ema}."
            )


class NotFiniteError(RuntimeError):
    """The loss or a gradient was not finite; the batch is saved beside the checkpoint."""


def initial_network(config: FitConfig) -> HarmonizerNet:
    """A fresh network, with the tensors of `config.init` where names and shapes agree.

    The regressor's first layers read the concatenated features, so their columns are copied for
    the parts that both networks have.
    """
    torch.manual_seed(config.seed)
    network = HarmonizerNet(config.network)
    if config.init is None:
        return network
    source = load_checkpoint(config.init)
    state = network.state_dict()
    for name, tensor in source.state_dict().items():
        if name in state and state[name].shape == tensor.shape:
            state[name] = tensor
        elif name in ("regressor.f.weight", "regressor.g.weight"):
            # The statistics' columns come last in both; new columns start at 0, so that the new
            # network begins where the old one ended.
            columns = min(tensor.shape[1], state[name].shape[1])
            state[name] = torch.zeros_like(state[name])
            state[name][:, -columns:] = tensor[:, -columns:]
    network.load_state_dict(state)
    return network


def step_loss(
    network: HarmonizerNet,
    photo: Tensor,
    mask: Tensor,
    arguments: Tensor,
    config: FitConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of one batch of photographs.

    Returns:
        The scalar to minimise; per image the last stage's loss; per image that of the composite.
    """
    filters = network.config.filters
    composite, targets = synthesize(photo, mask, arguments, filters)
    amp = torch.bfloat16 if config.amp else None
    stages = network.render(composite, mask, network(composite, mask, amp))
    losses = [image_loss(s, t, mask) for s, t in zip(stages, targets, strict=True)]
    untouched = image_loss(composite, photo, mask)
    loss = dynamic_loss(losses) + config.final_weight * losses[-1].mean()
    return loss, losses[-1].detach(), untouched


def _rate(step: int, steps: int) -> float:
    warm = min(200, max(1, steps // 20))
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _check_resumable(output: Path, settings: dict[str, object]) -> None:
    if not (output / "state.pt").is_file():
        raise FileNotFoundError(f"{output} must hold a run to resume; there is no state.pt in it.")
    before = json.loads((output / "config.json").read_text(encoding="utf-8"))
    changed = [
        f"{name} {before.get(name)!r} then, {value!r} now"
        for name, value in settings.items()
        if name not in ("samples", "save_every") and before.get(name) != value
    ]
    if changed:
        raise ValueError(
            f"the run in {output} must be resumed with its own configuration; "
            f"{'; '.join(changed)}. Change that back, or start in another folder."
        )


def fit(config: FitConfig, resume: bool = False) -> Path:
    """Train and write `checkpoint.safetensors`, `log.jsonl` and `config.json` to the output folder.

    Args:
        config: The run.
        resume: Continue from the output folder's `state.pt`; data order and random numbers start
            anew from the step reached. Only `samples` and `save_every` may differ from before.

    Returns:
        The checkpoint's path.

    Raises:
        NotFiniteError: If a loss is not finite.
        FileNotFoundError: If the data or, with `resume`, the state is absent.
        FileExistsError: Without `resume`, if the output folder holds a run.
        ValueError: If the run to resume has another configuration or is finished.
    """
    output = Path(config.output)
    state_file, config_file = output / "state.pt", output / "config.json"
    settings = json.loads(json.dumps(dataclasses.asdict(config)))
    if resume:
        _check_resumable(output, settings)
    elif state_file.exists():
        raise FileExistsError(
            f"{output} must be empty for a new run; it holds another one. Continue that with "
            "--resume, or name another folder."
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    photos = PackedPhotos.open(config.data, config.cache)
    network = initial_network(config).to(device).to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    steps = config.samples // config.batch
    first, seconds = 0, 0.0
    if resume:
        state = torch.load(state_file, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
        if first >= steps:
            raise ValueError(
                f"the run in {output} must have steps left; it has done {first} of {steps}. Give "
                "more --samples to go on."
            )

    def save(step: int) -> Path:
        path = output / "checkpoint.safetensors"
        facts = {"samples": step * config.batch, "seconds": round(seconds), "size": config.size}
        save_checkpoint(average, path, facts)
        unfinished = output / "state.pt.partial"
        torch.save(
            {
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
                "step": step,
                "seconds": seconds,
            },
            unfinished,
        )
        unfinished.replace(state_file)
        return path

    output.mkdir(parents=True, exist_ok=True)
    write_atomically(config_file, json.dumps(settings, indent=2).encode())
    stream = batches(photos, config.batch, config.size, config.seed + first)
    generator = torch.Generator().manual_seed(config.seed + first)
    after = before = 0.0
    progress = tqdm(range(first, steps), initial=first, total=steps, unit="step", mininterval=5)
    for step in progress:
        began = time.monotonic()
        photo, mask = (tensor.to(device) for tensor in next(stream))
        photo = jitter(photo, generator)
        arguments = draw_arguments(len(photo), network.config.filters, generator).to(device)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _rate(step, steps)
        loss, restored, untouched = step_loss(network, photo, mask, arguments, config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            bad = output / "not-finite.pt"
            torch.save({"photo": photo, "mask": mask, "arguments": arguments}, bad)
            raise NotFiniteError(
                f"loss {loss.item():g}, gradient norm {norm.item():g} at step {step}: both must be "
                f"finite. The batch is in {bad}; lower the learning rate or look at that batch."
            )
        optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, current in zip(
                average.state_dict().values(), network.state_dict().values(), strict=True
            ):
                if kept.dtype.is_floating_point:
                    kept.lerp_(current, 1 - decay)
                else:
                    kept.copy_(current)
        seconds += time.monotonic() - began
        after = 0.99 * after + 0.01 * restored.mean().item()
        before = 0.99 * before + 0.01 * untouched.mean().item()
        if (step + 1) % 50 == 0:
            progress.set_postfix(ratio=f"{after / before:.3f}", refresh=False)
            with (output / "log.jsonl").open("a", encoding="utf-8") as log:
                line = {"step": step + 1, "loss": loss.item(), "ratio": after / before}
                log.write(json.dumps(line | {"seconds": round(seconds, 1)}) + "\n")
        if (step + 1) % config.save_every == 0:
            save(step + 1)
    return save(steps)
