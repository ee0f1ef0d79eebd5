"""Fine-tune a checkpoint so that it bears INT8: the training loop, with rounding in the network.

python -m calibration.finetune CKPT --images DIR --output NEW.safetensors [--samples N]

For when no graph of calibration/quantize.py keeps the budget. The network learns to draw, with its
layers rounded to 8 bits, what the checkpoint draws in float32: the gate compares with that, so the
photographs are not the target. Export the result and quantize it like any other checkpoint.

Batch norm is frozen: what export folds into a convolution scales its channels, which leaves 8-bit
values per channel the same.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from calibration.equalize import equalize
from calibration.graph import PredictorGraph, load_graph
from calibration.images import load_images
from calibration.outputs import prepare_outputs
from calibration.ranges import METHODS, calibrate
from calibration.rounding import insert_rounding
from calibration.rows import scale_rows
from export.to_onnx import export
from export.tolerances import CALIBRATION_IMAGES
from harmonizer.endings import ending_well
from harmonizer.usage import says_errors, tool_parser
from train.checkpoints import load_harmonizer, save_checkpoint
from train.data.batches import Batch
from train.data.config import DataConfig
from train.fitting.config import FitConfig
from train.fitting.distributed import Processes
from train.fitting.fit import (
    StopRequests,
    count_steps,
    default_device,
    load,
    open_batches,
    prepare,
)
from train.fitting.losses import image_loss
from train.fitting.objective import Objective, Outcome
from train.fitting.step import Stepper
from train.network import HarmonizerNet


class Imitation(Objective):
    """What the rounded network draws, look by look, against what the checkpoint draws."""

    def __init__(self, config: FitConfig, teacher: HarmonizerNet) -> None:
        super().__init__(config)
        self.teacher = teacher

    def __call__(
        self, predict: Callable[..., Tensor], batch: Batch, synthetic: int, totals: Tensor
    ) -> Outcome:
        """As `Objective`, which the loop calls; `totals` are the images that means divide by."""
        mask = batch.mask
        composite, shown, _ = self.make(batch)
        with torch.no_grad():
            wanted = self.teacher(composite, shown, None, True)
        predicted = predict(composite, shown, None, True)
        images = totals.sum().clamp(min=1)
        loss = composite.new_zeros(())
        for mine, theirs in zip(predicted.unbind(), wanted.unbind(), strict=True):
            target = self.teacher.render(composite, mask, theirs)[-1]
            output = self.teacher.render(composite, mask, mine)[-1]
            after = image_loss(output, target, mask)
            loss = loss + after.sum() / images
        return Outcome(
            loss,
            before=image_loss(composite, target, mask).detach(),
            after=after.detach(),
            arguments=batch.arguments[:synthetic],
            predicted=predicted[-1].detach(),
            composite=composite,
            output=output.detach(),
            target=target,
            mask=mask,
        )


def finetune(
    config: FitConfig,
    output: Path,
    graph: PredictorGraph,
    ranges: Mapping[str, float],
    keep: Collection[str] = (),
) -> list[float]:
    """Train with rounding and save the float32 weights; what SIGINT or SIGTERM cuts short, too.

    Args:
        config: The run; `init` is the checkpoint to imitate.
        output: A ``.safetensors`` file.
        graph, ranges, keep: See `insert_rounding`.

    Returns:
        The loss of every step; of fewer than the run has, if it was asked to stop.

    Raises:
        ValueError: If `config` averages weights, which the rounding does not follow, or has no
            checkpoint to start from.
        NotFiniteError: If a loss or a gradient is not finite.
    """
    if config.ema or config.init is None:
        raise ValueError("fine-tuning needs `init` and no `ema`; give a checkpoint and ema 0.")
    processes = Processes(default_device())
    state, predict = prepare(config, processes)
    data = open_batches(config, processes)
    steps = count_steps(config, data)
    teacher = load_harmonizer(config.init).to(processes.device)
    if not isinstance(state.network, HarmonizerNet):
        raise ValueError(
            f"fine-tuning imitates Harmonizer; {config.init} is {state.network.config.model}. "
            "Its INT8 graph has to do without."
        )
    remove = insert_rounding(state.network, graph, ranges, keep)
    state.network.eval()  # batch norm frozen, no dropout: it is to imitate, not to generalise
    stepper = Stepper(config, output.parent, processes, state, predict, Imitation(config, teacher))
    losses = []
    batches = load(data, config, state.step, steps, processes.device)
    with StopRequests() as asked:
        for batch in tqdm(batches, "fine-tuning", steps, disable=None, unit="step"):
            sums, _ = stepper(batch, steps, False)
            losses.append(sums[0].item())
            if asked.stop:
                break
    remove()
    notes: dict[str, Any] = {
        "fine_tuned_for": "int8",
        "source_sha256": graph.metadata.get("harmonizer.checkpoint_sha256"),
        "samples": state.step * config.batch,
        "learning_rate": config.learning_rate,
        "kept": sorted(keep),
        "network": asdict(config.network),
    }
    save_checkpoint(state.network, output, notes)
    return losses


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; exits with 2 where it contradicts itself."""
    parser = tool_parser(__doc__, "python -m calibration.finetune")
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CKPT")
    add("--images", type=Path, required=True, metavar="DIR", help="photographs to train on")
    add("--output", type=Path, required=True, metavar="NEW.safetensors")
    add("--samples", type=int, default=20_000, help="composites to train on (%(default)s)")
    add("--batch", type=int, default=16)
    add("--size", type=int, default=256, help="of the thumbnails, a multiple of 32 (%(default)s)")
    add("--learning-rate", type=float, default=1e-5)
    add("--keep", nargs="+", default=(), metavar="BLOCK", help="stays in float32")
    add("--method", choices=METHODS, default="mse", help="of the ranges (%(default)s)")
    add("--count", type=int, default=128, help="images for the ranges (%(default)s)")
    add("--cache", default="build/cache", metavar="DIR", help="packed images (%(default)s)")
    args = parser.parse_args(words)
    if args.output.suffix != ".safetensors":
        parser.error(f"--output must end in .safetensors; got {args.output.name}. Rename it.")
    if args.count < CALIBRATION_IMAGES:
        parser.error(
            f"--count must be at least {CALIBRATION_IMAGES}; got {args.count}. Give more, or leave "
            "it out."
        )
    return args


@says_errors("finetune")
def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 on success, 2 for bad input or a diverged run, 130 if interrupted."""
    args = parse(words)
    prepare_outputs({"--output": args.output}, [args.checkpoint])
    network = load_harmonizer(args.checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "model.onnx"
        export(args.checkpoint, exported)
        graph = load_graph(exported)
        images = load_images(args.images, args.count, graph.contract)
        graph = equalize(graph, images.feeds)
        graph = scale_rows(graph, graph.blocks)
        ranges = calibrate(graph, images, args.method)
    config = FitConfig(
        data=DataConfig(photos=(str(args.images),), distribution="varied", cache=args.cache),
        network=network.config,
        init=str(args.checkpoint),
        samples=args.samples,
        size=args.size,
        batch=args.batch,
        learning_rate=args.learning_rate,
        schedule="cosine",
        channels_last=False,
        tensorboard=False,
    )
    losses = finetune(config, args.output, graph, ranges, args.keep)
    tenth = max(1, len(losses) // 10)
    print(
        f"{args.output}: loss {sum(losses[:tenth]) / tenth:.5f} in the first tenth of "
        f"{len(losses)} steps, {sum(losses[-tenth:]) / tenth:.5f} in the last. Export it, quantize "
        "that, and let the gate compare it with the checkpoint that it imitates."
    )
    planned = args.samples // args.batch
    if len(losses) < planned:
        print(f"finetune: interrupted after {len(losses)} of {planned} steps", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(ending_well(main))
