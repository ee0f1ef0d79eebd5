"""What S2CRNet looks at: the foreground cut out and the background, apart from each other.

The bounding box of the foreground is cut out and brought to a square by antialiased bilinear
resizing, so that small foregrounds are seen as large as big ones. This is the reference of the
runtime's own stage and of the exported end-to-end graph.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from harmonizer.contract import THUMBNAIL_SIZE

Box = tuple[int, int, int, int]


def bounding_box(mask: Tensor) -> Box | None:
    """Top, bottom, left, right (ends excluded) of what is above 0 in (1, H, W); None if nothing."""
    rows, columns = (mask[0] > 0).any(dim=1), (mask[0] > 0).any(dim=0)
    if not rows.any():
        return None
    (top, bottom), (left, right) = (
        (int(line.nonzero()[0]), int(line.nonzero()[-1]) + 1) for line in (rows, columns)
    )
    return top, bottom, left, right


def check_images(composite: Tensor, mask: Tensor) -> None:
    """Refuse images that are not (N, 3, H, W) with masks (N, 1, H, W).

    Raises:
        ValueError: If they are not.
    """
    if composite.ndim != 4 or composite.shape[1] != 3:
        raise ValueError(
            f"composite must be (N, 3, H, W); got {tuple(composite.shape)}. Give one such batch."
        )
    expected = (composite.shape[0], 1, *composite.shape[2:])
    if tuple(mask.shape) != expected:
        raise ValueError(f"mask must be {expected}; got {tuple(mask.shape)}. Resize it.")


def check_regions(mask: Tensor) -> None:
    """Refuse masks that no foreground can be cut out by.

    Args:
        mask: (N, 1, H, W).

    Raises:
        ValueError: If the bounding box of an image's mask is empty, or 1 pixel wide or high.
    """
    for index, single in enumerate(mask):
        box = bounding_box(single)
        which = f" of image {index}" if len(mask) > 1 else ""
        if box is None:
            raise ValueError(
                f"the mask{which} must have a foreground, values above 0; it is empty. Paint one."
            )
        height, width = box[1] - box[0], box[3] - box[2]
        if min(height, width) < 2:
            raise ValueError(
                f"the mask{which} must be at least 2 pixels wide and high, so that its foreground "
                f"can be looked at; its bounding box is {width}x{height}. Paint a larger one."
            )


@torch.no_grad()
def region_thumbnails(
    composite: Tensor, mask: Tensor, size: int = THUMBNAIL_SIZE
) -> tuple[Tensor, Tensor]:
    """Foreground and background as the network sees them.

    T_f = resize(crop(I)) * resize(crop(M)), crop = bounding box of M > 0, each image its own;
    T_b = resize(I) * (1 - resize(M)). Source: S2CRNet, arXiv 2109.05750, section 3.2.

    Args:
        composite: (N, 3, H, W) in [0, 1].
        mask: (N, 1, H, W) in [0, 1]. An empty one gives a black foreground; `check_regions` is
            for those who want none.
        size: Side of the thumbnails.

    Returns:
        Foreground and background, (N, 3, size, size) each, in [0, 1], R, G, B.
    """
    stacked = torch.cat([composite, mask], dim=1)
    foregrounds = []
    for image in stacked:
        top, bottom, left, right = bounding_box(image[3:]) or (0, *image.shape[1:2], 0, 1)
        foregrounds.append(_resized(image[None, :, top:bottom, left:right], size))
    foreground, background = torch.cat(foregrounds), _resized(stacked, size)
    return (
        foreground[:, :3] * foreground[:, 3:],
        background[:, :3] * (1 - background[:, 3:]),
    )


def _resized(stacked: Tensor, size: int) -> Tensor:
    if stacked.shape[-2:] == (size, size):
        return stacked
    return F.interpolate(
        stacked, (size, size), mode="bilinear", antialias=True, align_corners=False
    )
