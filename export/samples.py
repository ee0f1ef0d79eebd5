"""Real photographs with foreground masks that every set-up has: those in scikit-image's wheel.

The photographs are free of rights (NASA; CC0 by Rachel Michetti and by Stefan van der Walt; the
launch pad of the demonstration by SpaceX). The outlines were drawn by hand for this project, in
pixels of the photographs.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from harmonizer.usage import says_errors, tool_parser

_OUTLINES: Mapping[str, list[tuple[int, int]]] = {
    "astronaut": [
        *((155, 95), (155, 65), (172, 38), (205, 20), (240, 15), (272, 30), (292, 60), (300, 95)),
        *((285, 128), (265, 140), (258, 165), (262, 185), (290, 205), (303, 235), (345, 255)),
        *((358, 300), (362, 345), (330, 355), (300, 385), (285, 420), (278, 512), (25, 512)),
        *((25, 460), (40, 400), (25, 380), (28, 320), (50, 270), (80, 235), (112, 225)),
        *((110, 195), (125, 165), (150, 152), (183, 152), (188, 140), (165, 125)),
    ],
    "chelsea": [
        *((35, 0), (385, 0), (395, 40), (365, 90), (365, 130), (350, 180), (300, 250), (270, 285)),
        *((180, 290), (100, 275), (40, 260), (0, 250), (0, 140), (30, 60)),
    ],
}
_ELLIPSES: Mapping[str, list[tuple[int, int, int, int]]] = {
    "coffee": [(77, 42, 480, 388), (173, 17, 408, 205)],
}
EDGE = 1.5
"""Gaussian softening of the outlines, in pixels."""

PERTURBATIONS: Mapping[str, tuple[float, ...]] = {
    "astronaut": (-0.22, 0.05, -0.15, 0.3, -0.2, 0.28),
    "coffee": (-0.28, -0.2, 0.1, -0.35, 0.1, -0.1),
    "chelsea": (0.25, 0.18, -0.1, 0.25, -0.25, 0.15),
}
"""Arguments of the six default filters that turn each photograph's foreground into a paste."""


@dataclass(frozen=True)
class SamplePhoto:
    """A photograph and the mask of its foreground.

    Attributes:
        name: scikit-image's name.
        pixels: (H, W, 3) uint8 sRGB.
        mask: (H, W) uint8, soft edges.
    """

    name: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.uint8]


def sample_photos() -> list[SamplePhoto]:
    """The photographs, in a fixed order."""
    return [_sample(name) for name in ("astronaut", "coffee", "chelsea")]


def _sample(name: str) -> SamplePhoto:
    pixels = getattr(skimage.data, name)()
    mask = Image.new("L", (pixels.shape[1], pixels.shape[0]))
    draw = ImageDraw.Draw(mask)
    for outline in [_OUTLINES[name]] if name in _OUTLINES else []:
        draw.polygon(outline, fill=255)
    for box in _ELLIPSES.get(name, []):
        draw.ellipse(box, fill=255)
    return SamplePhoto(name, pixels, np.asarray(mask.filter(ImageFilter.GaussianBlur(EDGE))))


@says_errors("samples")
def main() -> int:
    """Write the first photograph and its mask."""
    parser = tool_parser("Write photo.png and mask.png, the first sample, into a folder.")
    parser.add_argument("folder", type=Path)
    folder, sample = parser.parse_args().folder, sample_photos()[0]
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sample.pixels).save(folder / "photo.png")
    Image.fromarray(sample.mask).save(folder / "mask.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
