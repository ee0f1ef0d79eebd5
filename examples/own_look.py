"""Draw arguments of your own, without a network, in an order of your own.

python examples/own_look.py composite.jpg mask.png out.jpg
"""

import sys

import harmonizer
from harmonizer.ops import OPERATIONS
from harmonizer.renderer import CpuRenderer

if len(sys.argv) != 4:
    sys.exit(__doc__)
for operation in OPERATIONS.values():
    print(f"{operation.name}: {operation.effect}")
picture = harmonizer.open(sys.argv[1], sys.argv[2])
look = harmonizer.Arguments(("temperature", "tint", "shadow"), (0.2, -0.1, 0.3))
renderer = CpuRenderer()
plan = renderer.measure(picture.image, look)  # what the filters read of this picture
picture.save(renderer.draw(picture.image, picture.mask, plan), sys.argv[3])
