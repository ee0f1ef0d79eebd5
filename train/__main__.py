"""`python -m train`: fit a network, or one of the commands beside it."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harmonizer.errors import HarmonizerError
from harmonizer.pipes import leave_pipe
from harmonizer.usage import UsageError, said
from train.checkpoints import load_checkpoint
from train.fitting.config import ConfigError
from train.fitting.distributed import join_processes
from train.fitting.fit import InterruptedFitError, fit
from train.fitting.flags import Parser, fit_config
from train.fitting.state import stored_config

COMMANDS = {
    "ablate": "train.fitting.ablate",
    "check-data": "train.data.check",
    "curves": "train.research.curves",
    "norms": "train.fitting.norms",
    "pieces": "train.fitting.pieces",
    "speed": "train.research.speed",
}
"""The module whose `main(arguments)` is each further command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 or the command's own code; 2 for bad input or a diverged run, 130 for an interrupted one,
        141 if the reader of the output has gone.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    command: Callable[[Sequence[str]], int] = run_fit
    if arguments and arguments[0] in COMMANDS:
        command = importlib.import_module(COMMANDS[arguments[0]]).main
        arguments = arguments[1:]
    try:
        if command is run_fit and arguments and not arguments[0].startswith("-"):
            raise ConfigError(
                f"the first word must be a flag, or one of {', '.join(COMMANDS)}; got "
                f"{arguments[0]!r}. Name one of these, or give flags alone to fit."
            )
        if command is not run_fit and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("only fitting takes several processes; run this without torchrun.")
        code = command(arguments)
        sys.stdout.flush()  # here, not when Python ends: the reader may be gone
        return code
    except BrokenPipeError:
        leave_pipe()
        return 141
    except (InterruptedFitError, KeyboardInterrupt) as stopped:
        print(f"train: {stopped or 'interrupted'}", file=sys.stderr)
        return 130
    except (HarmonizerError, UsageError, OSError, ValueError) as error:
        rank = os.environ.get("RANK", "0")
        where = "" if rank == "0" else f"process {rank}: "
        print(f"train: error: {where}{said(error)}", file=sys.stderr)
        return 2


def run_fit(arguments: Sequence[str]) -> int:
    """Fit as the flags say and print where the checkpoint is."""
    parser = Parser(
        "python -m train",
        f"Fit a network. Further commands: {', '.join(COMMANDS)}; each has its own --help.",
    )
    parser.add_argument("--output", required=True, help="folder for all that is written")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run in --output; its flags hold"
    )
    options = parser.parse_args(arguments)
    if options.config and options.resume:
        raise ConfigError("--resume takes the run's own configuration; leave out --config.")
    output = Path(options.output)
    config = fit_config(options, stored_config(output) if options.resume else None)
    with join_processes() as processes:
        path = fit(config, output, options.resume, processes)
        if processes.rank == 0:
            parameters = sum(p.numel() for p in load_checkpoint(path).parameters())
            print(f"{path}: {parameters:,} parameters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
