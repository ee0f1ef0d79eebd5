"""Draw arguments of your own, without a network, in an order of your own.

python examples/own_look.py composite.jpg mask.png out.jpg
"""

import sys

from harmonizer import Arguments
from harmonizer.images.files import load_pair, save_photo
from harmonizer.ops import OPERATIONS
from harmonizer.renderer import CpuRenderer

for operation in OPERATIONS.values():
    print(f"{operation.name}: {operation.effect}")
photo, mask, _ = load_pair(sys.argv[1], sys.argv[2])
look = Arguments(("temperature", "tint", "shadow"), (0.2, -0.1, 0.3))
renderer = CpuRenderer()
plan = renderer.measure(photo.pixels, look)  # what the filters read of this picture
save_photo(sys.argv[3], renderer.draw(photo.pixels, mask, plan), like=photo)
