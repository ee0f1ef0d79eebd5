"""`train.model.load_checkpoint`, the name that programs of others use; see `train.checkpoints`."""

from train.checkpoints import load_checkpoint

__all__ = ["load_checkpoint"]
