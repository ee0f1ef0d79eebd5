"""Pictures as other libraries hold them: BGR as OpenCV's, an alpha channel as the mask, in place.

python examples/memory_layouts.py cutout.png out.png
"""

import sys

import numpy as np
from PIL import Image

from harmonizer import Harmonizer

if len(sys.argv) != 3:
    sys.exit(__doc__)
pixels = np.array(Image.open(sys.argv[1]).convert("RGBA"))
image, mask = pixels[..., :3], pixels[..., 3]
with Harmonizer() as harmonizer:
    bgr = np.ascontiguousarray(image[..., ::-1])
    drawn = harmonizer(bgr[..., ::-1], mask)  # a view: nothing is copied to turn it round
    harmonizer(image, mask, out=image)  # into the RGBA picture itself
assert np.array_equal(drawn, image)
Image.fromarray(pixels).save(sys.argv[2])
