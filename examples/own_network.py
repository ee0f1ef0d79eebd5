"""The torch network of a checkpoint: arguments, the stages of drawing, and gradients through both.

python examples/own_network.py models/harmonizer.safetensors composite.jpg mask.png

Needs the toolchain (torch).
"""

import sys

import torch

import harmonizer
from train.checkpoints import load_harmonizer

if len(sys.argv) != 4:
    sys.exit(__doc__)
network = load_harmonizer(sys.argv[1]).eval()
picture = harmonizer.open(sys.argv[2], sys.argv[3])
composite = torch.from_numpy(picture.image).permute(2, 0, 1)[None] / 255
mask = torch.from_numpy(picture.mask)[None, None] / 255

arguments = network.predict_arguments(composite, mask).detach().requires_grad_()
stages = network.render(composite, mask, arguments)  # one picture after each filter
loss = ((stages[-1] - composite) * mask).square().mean()
(slopes,) = torch.autograd.grad(loss, arguments)
for name, value, slope in zip(network.config.filters, arguments[0], slopes[0], strict=True):
    print(f"{name:12} {value:+.3f}, loss changes by {slope:+.5f} per unit")
