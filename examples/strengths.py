"""One prediction drawn in four strengths, side by side: 0, 0.5, 1 and 1.5.

python examples/strengths.py composite.jpg mask.png sheet.png
"""

import sys

import numpy as np
from PIL import Image

import harmonizer

if len(sys.argv) != 4:
    sys.exit(__doc__)
picture = harmonizer.open(sys.argv[1], sys.argv[2])
with harmonizer.Harmonizer() as model:
    arguments = model.predict(picture.image, picture.mask)  # the network runs once
    drawn = [
        model.render(picture.image, picture.mask, arguments.scaled(strength))
        for strength in (0.0, 0.5, 1.0, 1.5)
    ]
Image.fromarray(np.concatenate(drawn, axis=1)).save(sys.argv[3])
