"""Put a cut-out on a photograph, and make it belong there.

python examples/cutout.py cutout.png composite.jpg out.jpg
"""

import sys

from harmonizer import Harmonizer, Placing

if len(sys.argv) != 4:
    sys.exit(__doc__)
cutout, background, output = sys.argv[1:4]
with Harmonizer() as harmonizer:
    placing = Placing(background, at=("50%", "90%"), anchor="bottom", scale=0.5)
    result = harmonizer.harmonize_file(cutout, output=output, placing=placing)
print(result.arguments)
