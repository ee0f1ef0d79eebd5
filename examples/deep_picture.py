"""16 bits in, 16 bits out: nothing is rounded to 8 on the way.

python examples/deep_picture.py composite.tif mask.png out.tif
"""

import sys

import harmonizer

if len(sys.argv) != 4:
    sys.exit(__doc__)
picture = harmonizer.open(sys.argv[1], sys.argv[2])
print(f"{picture.photo.form}, {picture.image.dtype}")
with harmonizer.Harmonizer() as model:
    picture.save(model(picture.image, picture.mask), sys.argv[3])
