"""What a foreground shows, out of S2CRNet's labels, told from ImageNet's classes.

ImageNet has classes of animals, food and vehicles; people it knows by what they wear and do. The
classes are counted as timm lists them, which is their usual order.
"""

import torch
from torch import Tensor

from harmonizer.contract import DEFAULT_LABEL, LABELS

ANIMALS = range(398)
FOOD = (*range(924, 958), *range(959, 970), 987, 988)
VEHICLES = (
    *(403, 404, 405, 407, 408, 436, 444, 450, 466, 468, 472, 484, 510, 511, 537, 547, 554, 555),
    *(561, 565, 569, 573, 575, 576, 586, 595, 603, 609, 612, 625, 627, 628, 654, 656, 661, 665),
    *(670, 671, 675, 690, 705, 717, 724, 734, 751, 757, 779, 780, 802, 803, 812, 814, 817, 820),
    *(829, 833, 847, 856, 864, 866, 867, 870, 871, 874, 880, 895, 914),
)
PEOPLE = (
    *(399, 400, 411, 433, 439, 445, 451, 452, 457, 459, 465, 474, 490, 501, 515, 518, 524, 560),
    *(568, 570, 578, 601, 608, 610, 614, 617, 638, 639, 652, 655, 667, 678, 689, 691, 697, 715),
    *(735, 768, 775, 793, 796, 801, 808, 819, 823, 824, 834, 837, 841, 842, 869, 887, 903),
    *(906, 981, 982, 983),
)

LEAST = 0.35
"""Probability that a label's classes must have together; below it, a foreground is *other*."""


def _groups() -> Tensor:
    """(1000, 4): which classes count for which label; none for `DEFAULT_LABEL`."""
    classes = {"person": PEOPLE, "animal": ANIMALS, "food": FOOD, "vehicle": VEHICLES}
    groups = torch.zeros(1000, len(classes))
    for column, name in enumerate(name for name in LABELS if name != DEFAULT_LABEL):
        groups[list(classes[name]), column] = 1
    return groups


def labels_of(logits: Tensor) -> Tensor:
    """Indices into `LABELS`, (N,) int64, of a classifier's (N, 1000) logits."""
    likely = (logits.float().softmax(dim=1) @ _groups().to(logits.device)).max(dim=1)
    other = likely.indices.new_tensor(LABELS.index(DEFAULT_LABEL))
    return torch.where(likely.values < LEAST, other, likely.indices)
