"""A small folder in iHarmony4's own layout, made from a real photograph."""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image

from train.data.iharmony4 import SUBSETS

COUNT = 2
"""Composites a subset."""


def write_benchmark(root: Path) -> Path:
    """Write all four subsets; composites are 60x80 or so, darker in the foreground."""
    photo = skimage.data.coffee()
    for number, subset in enumerate(SUBSETS):
        home = root / subset
        for folder in ("composite_images", "masks", "real_images"):
            (home / folder).mkdir(parents=True)
        names = []
        for index in range(COUNT):
            left = 40 * (number * COUNT + index)
            real = photo[100:160, left : left + 80 + index]
            mask = np.zeros(real.shape[:2], np.uint8)
            mask[15:45, 20 : 30 + 10 * number] = 255
            mask[14, 20:30] = 100
            stem = f"{subset[1].lower()}{index}"
            composite = np.where(mask[:, :, None] > 0, real * 0.7, real).astype(np.uint8)
            Image.fromarray(real).save(home / "real_images" / f"{stem}.jpg", quality=95)
            Image.fromarray(mask).save(home / "masks" / f"{stem}_1.png")
            Image.fromarray(composite).save(
                home / "composite_images" / f"{stem}_1_2.jpg", quality=95
            )
            names.append(f"{stem}_1_2.jpg")
        # The lists of some copies name the file alone, those of others its path.
        names[0] = f"{subset}/composite_images/{names[0]}"
        (home / f"{subset}_test.txt").write_text("\n".join(names) + "\n")
    return root
