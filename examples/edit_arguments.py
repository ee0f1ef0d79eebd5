"""Predict arguments, change one, keep them in a file, and draw them.

python examples/edit_arguments.py composite.jpg mask.png look.json out.jpg
"""

import sys

import harmonizer

if len(sys.argv) != 5:
    sys.exit(__doc__)
composite, mask, look, output = sys.argv[1:5]
picture = harmonizer.open(composite, mask)
with harmonizer.Harmonizer() as model:
    predicted = model.predict(picture.image, picture.mask)
    print("predicted:", predicted)
    edited = {**predicted, "saturation": -0.4}
    harmonizer.Arguments.from_mapping(edited, model.filters).save(look)
    kept = harmonizer.Arguments.load(look)
    picture.save(model.render(picture.image, picture.mask, kept), output)
