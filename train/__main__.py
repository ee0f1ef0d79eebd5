"""`python -m train`: fit a network."""

import argparse
import os
import sys

from harmonizer.errors import HarmonizerError
from harmonizer.ops import DEFAULT_FILTERS
from train.fit import FitConfig, NotFiniteError, fit
from train.model import load_checkpoint
from train.network import NetworkConfig


def main() -> int:
    """Parse the flags, fit, print where the checkpoint is; 2 for bad input or a diverged run."""
    shared = os.environ.get("HARMONIZER_DATA", "../shared/data")
    parser = argparse.ArgumentParser(prog="python -m train", description="Fit HarmonizerNet.")
    add = parser.add_argument
    add("--data", default=f"{shared}/train", help="folder with MANIFEST.csv (%(default)s)")
    add("--output", required=True, help="folder for checkpoint, state, log and configuration")
    add("--cache", default=FitConfig.cache, help="folder for packed photographs (%(default)s)")
    add("--init", help="checkpoint to start from")
    add("--resume", action="store_true", help="continue the run in --output")
    add("--filters", default=",".join(DEFAULT_FILTERS), help="comma-separated (%(default)s)")
    add("--no-encoder", action="store_true", help="statistics alone, without EfficientNet-B0")
    add("--statistics", action="store_true", help="masked colour statistics as input")
    add("--region-pooling", action="store_true", help="pool foreground and background separately")
    add("--samples", type=int, default=FitConfig.samples, help="composites in all (%(default)s)")
    add("--size", type=int, default=FitConfig.size, help="thumbnail side (%(default)s)")
    add("--batch", type=int, default=FitConfig.batch, help="composites a step (%(default)s)")
    add("--learning-rate", type=float, default=FitConfig.learning_rate, help="(%(default)s)")
    add("--final-weight", type=float, default=FitConfig.final_weight, help="(%(default)s)")
    add("--no-amp", action="store_true", help="run the encoder in float32")
    add("--seed", type=int, default=FitConfig.seed, help="(%(default)s)")
    args = parser.parse_args()
    try:
        run(args)
    except (HarmonizerError, NotFiniteError, OSError, ValueError) as error:
        print(f"train: error: {error}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace) -> None:
    """Fit as the flags say."""
    network = NetworkConfig(
        filters=tuple(args.filters.split(",")),
        encoder=not args.no_encoder,
        region_pooling=args.region_pooling,
        statistics=args.statistics,
    )
    config = FitConfig(
        data=args.data,
        output=args.output,
        cache=args.cache,
        network=network,
        init=args.init,
        samples=args.samples,
        size=args.size,
        batch=args.batch,
        learning_rate=args.learning_rate,
        final_weight=args.final_weight,
        amp=not args.no_amp,
        seed=args.seed,
    )
    path = fit(config, resume=args.resume)
    parameters = sum(p.numel() for p in load_checkpoint(path).parameters())
    print(f"{path}: {parameters:,} parameters")


if __name__ == "__main__":
    sys.exit(main())
