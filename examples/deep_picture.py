"""16 bits in, 16 bits out: nothing is rounded to 8 on the way.

python examples/deep_picture.py composite.tif mask.png out.tif
"""

import sys

from harmonizer import Harmonizer
from harmonizer.images.files import load_pair, save_photo

photo, mask, _ = load_pair(sys.argv[1], sys.argv[2])
print(f"{photo.form}, {photo.pixels.dtype}")
with Harmonizer() as harmonizer:
    save_photo(sys.argv[3], harmonizer(photo.pixels, mask), like=photo)
