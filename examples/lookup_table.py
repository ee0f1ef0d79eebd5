"""A composite's look as a .cube table for Resolve, Premiere, OBS or ffmpeg, with its error.

python examples/lookup_table.py composite.jpg mask.png look.cube
"""

import sys
from pathlib import Path

import harmonizer
from harmonizer.lut import build_lattice, format_cube, measure_errors

if len(sys.argv) != 4:
    sys.exit(__doc__)
picture = harmonizer.open(sys.argv[1], sys.argv[2])
with harmonizer.Harmonizer() as look:
    with look.open(picture.image, picture.mask) as frame:
        plan = frame.measure(frame.predict())
    lattice = build_lattice(look.renderer, plan, 33)
    for error in measure_errors(look.renderer, plan, lattice, picture.image, picture.mask):
        print(error)
Path(sys.argv[3]).write_bytes(format_cube(lattice, "look"))
