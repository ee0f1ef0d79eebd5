"""Predict arguments, change one, keep them in a file, and draw them.

python examples/edit_arguments.py composite.jpg mask.png look.json out.jpg
"""

import sys

from harmonizer import Arguments, Harmonizer
from harmonizer.images.files import load_pair, save_photo

composite, mask_file, look, output = sys.argv[1:5]
photo, mask, _ = load_pair(composite, mask_file)
with Harmonizer() as harmonizer:
    predicted = harmonizer.predict(photo.pixels, mask)
    print("predicted:", predicted)
    edited = Arguments.from_mapping({**predicted, "saturation": -0.4}, harmonizer.filters)
    edited.save(look)
    result = harmonizer.render(photo.pixels, mask, Arguments.load(look))
save_photo(output, result, like=photo)
