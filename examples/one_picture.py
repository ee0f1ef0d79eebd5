"""Harmonize one composite; EXIF, ICC profile and resolution are carried over.

python examples/one_picture.py composite.jpg mask.png out.jpg
"""

import sys

from harmonizer import Harmonizer

if len(sys.argv) != 4:
    sys.exit(__doc__)
with Harmonizer() as harmonizer:  # the shipped model, on the CPU or a GPU
    result = harmonizer.harmonize_file(*sys.argv[1:4])
for note in result.notes:
    print("note:", note)
