"""A composite's look as a .cube table for Resolve, Premiere, OBS or ffmpeg, with its error.

python examples/lookup_table.py composite.jpg mask.png look.cube
"""

import sys
from pathlib import Path

from harmonizer import Harmonizer
from harmonizer.images.files import load_pair
from harmonizer.lut import build_lattice, format_cube, measure_errors

photo, mask, _ = load_pair(sys.argv[1], sys.argv[2])
with Harmonizer() as harmonizer:
    with harmonizer.open(photo.pixels, mask) as frame:
        plan = frame.measure(frame.predict())
    lattice = build_lattice(harmonizer.renderer, plan, 33)
    for error in measure_errors(harmonizer.renderer, plan, lattice, photo.pixels, mask):
        print(error)
Path(sys.argv[3]).write_bytes(format_cube(lattice, "look"))
