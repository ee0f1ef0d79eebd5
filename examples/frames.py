"""Frames from anywhere - here a picture that grows darker - with arguments smoothed over time.

python examples/frames.py composite.jpg mask.png
"""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import harmonizer
from harmonizer.video import harmonize_frames

if len(sys.argv) != 3:
    sys.exit(__doc__)
picture = harmonizer.open(sys.argv[1], sys.argv[2])


def frames() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], float]]:
    """Half a second at 24 frames a second: image, mask, time."""
    for number in range(12):
        yield (
            (picture.image * (1 - number / 24)).astype(np.uint8),
            picture.mask.astype(np.uint8),
            number / 24,
        )


with harmonizer.Harmonizer() as model:
    for result in harmonize_frames(model, frames()):
        print(f"{result.time:.3f} s: mean {result.image.mean():.1f}, {result.arguments}")
