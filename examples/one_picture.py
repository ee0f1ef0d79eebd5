"""Harmonize one composite; EXIF, ICC profile and resolution are carried over.

python examples/one_picture.py composite.jpg mask.png out.jpg
"""

import sys

from harmonizer import Harmonizer
from harmonizer.files import load_pair, save_photo

composite, mask_file, output = sys.argv[1:4]
photo, mask, notes = load_pair(composite, mask_file)
with Harmonizer() as harmonizer:  # the shipped model, on the CPU or a GPU
    result = harmonizer(photo.pixels, mask)
for note in [*notes, *save_photo(output, result, like=photo)]:
    print("note:", note)
