"""What a predictor reads of a composite and its mask, whichever network it is."""

import numpy as np
import torch
from numpy.typing import NDArray

from harmonizer.contract import DEFAULT_LABEL, LABELS, Contract
from harmonizer.ops import DEFAULT_FILTERS
from train.regions import bounding_box, region_thumbnails
from train.s2crnet import one_hot

Image = NDArray[np.float32]
Feed = dict[str, Image]


def model_inputs(
    contract: Contract, composite: Image, mask: Image, turn: int | None = None
) -> Feed:
    """The inputs of one image, by name, in the contract's order.

    Args:
        contract: The predictor's.
        composite: (1, 3, 256, 256) in [0, 1].
        mask: (1, 1, 256, 256) in [0, 1]; see `has_region`.
        turn: The label, for networks that read one, is the turn-th, over and over, so that ranges
            hold for all of them; None for the default label.

    Returns:
        Float32 arrays with a batch of 1.
    """
    if contract.model == "harmonizer":
        return {"composite": composite, "mask": mask}
    regions = region_thumbnails(torch.from_numpy(composite), torch.from_numpy(mask))
    inputs = list(regions)
    if contract.labelled:
        inputs.append(one_hot([DEFAULT_LABEL if turn is None else LABELS[turn % len(LABELS)]]))
    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in inputs]
    return dict(zip(contract.inputs, arrays, strict=True))


def has_region(contract: Contract, mask: Image) -> bool:
    """Whether there is a foreground to look at: for S2CRNet, 2 pixels wide and high at least."""
    box = bounding_box(torch.from_numpy(mask[0]))
    if box is None:
        return False
    return contract.model == "harmonizer" or min(box[1] - box[0], box[3] - box[2]) > 1


def perturbing_filters(contract: Contract) -> tuple[str, ...]:
    """What composites are made with: curves are to undo the photo filters, filters themselves."""
    return contract.filters if contract.model == "harmonizer" else DEFAULT_FILTERS
