"""One prediction drawn in four strengths, side by side: 0, 0.5, 1 and 1.5.

python examples/strengths.py composite.jpg mask.png sheet.png
"""

import sys

import numpy as np

from harmonizer import Harmonizer
from harmonizer.images.files import load_pair, save_photo

photo, mask, _ = load_pair(sys.argv[1], sys.argv[2])
with Harmonizer() as harmonizer:
    arguments = harmonizer.predict(photo.pixels, mask)  # the network runs once
    drawn = [
        harmonizer.render(photo.pixels, mask, arguments.scaled(strength))
        for strength in (0.0, 0.5, 1.0, 1.5)
    ]
save_photo(sys.argv[3], np.concatenate(drawn, axis=1))
