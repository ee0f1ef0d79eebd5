"""The training loop: configuration, loss, steps, checkpoints, processes, ablations."""
