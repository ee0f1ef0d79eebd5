"""S2CRNet's thumbnails inside a graph: bounding box and antialiased resizing as matrix products.

`train.regions.region_thumbnails` cuts every image along its own box, which has no fixed shape.
Here the box decides the weights instead: resizing is separable, so that rows and columns are each
multiplied with a matrix, whose entries outside the box are 0.
"""

import torch
from torch import Tensor

from train.network import THUMBNAIL


def traced_thumbnails(composite: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """As `region_thumbnails`, for tracing.

    Args:
        composite: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1].

    Returns:
        Foreground and background, (N, 3, 256, 256) each.
    """
    stacked = torch.cat([composite, mask], dim=1)
    present = (mask > 0).to(composite.dtype)
    rows, columns = (_box(present.amax(dim=(1, axis))) for axis in (3, 2))
    foreground = _resize(stacked, rows, columns)
    whole_rows, whole_columns = (
        (torch.zeros_like(rows[0]), torch.full_like(rows[0], 1.0) * stacked.shape[axis])
        for axis in (2, 3)
    )
    background = _resize(stacked, whole_rows, whole_columns)
    return (
        foreground[:, :3] * foreground[:, 3:],
        background[:, :3] * (1 - background[:, 3:]),
    )


def _box(present: Tensor) -> tuple[Tensor, Tensor]:
    """First and last index (excluded) of what is 1 in (N, length), (N, 1) each; all if nothing."""
    length = present.shape[1]
    index = torch.arange(length, device=present.device, dtype=present.dtype)
    first = (length - present * (length - index)).amin(dim=1, keepdim=True)
    last = (present * (index + 1)).amax(dim=1, keepdim=True)
    empty = (last < 1).to(present.dtype)
    return first * (1 - empty), last + empty * length


def _resize(image: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor]) -> Tensor:
    down = _weights(*rows, image.shape[2])
    across = _weights(*columns, image.shape[3])
    return down.unsqueeze(1) @ image @ across.transpose(1, 2).unsqueeze(1)


def _weights(first: Tensor, last: Tensor, length: int) -> Tensor:
    """(N, 256, length): what each pixel of the box counts for each pixel of the thumbnail.

    A triangle as wide as two pixels of the coarser grid, centred, its weights adding up to 1.
    """
    position = torch.arange(length, device=first.device, dtype=first.dtype) - first + 0.5
    scale = (last - first) / THUMBNAIL
    centre = (torch.arange(THUMBNAIL, device=first.device, dtype=first.dtype) + 0.5) * scale
    distance = (position.unsqueeze(1) - centre.unsqueeze(2)).abs() / scale.clamp(min=1).unsqueeze(2)
    inside = ((position > 0) & (position < last - first)).to(first.dtype).unsqueeze(1)
    weights = (1 - distance).clamp(min=0) * inside
    return weights / weights.sum(dim=2, keepdim=True)
