"""Draws with the fused kernels, for a profiler: python -m bench.cuda_draws 1920x1080 3840x2160."""

import sys

from harmonizer.cuda.bench import Buffer
from harmonizer.cuda.renderer import CudaRenderer
from harmonizer.latency import TYPICAL, picture, rectangle

REPEATS = 2
"""The first draw of a size allocates."""


def main(words: list[str]) -> None:
    """Draw a full mask at each size, WIDTHxHEIGHT."""
    with CudaRenderer(graphs=False) as renderer, renderer.device.current():
        cuda = renderer.device.pycuda
        stream = cuda.Stream(1)
        for word in words:
            width, height = map(int, word.split("x"))
            image = picture(width, height)
            source, out = Buffer(cuda, image), Buffer(cuda, image)
            cover = Buffer(cuda, rectangle(width, height, 1.0))
            for _ in range(REPEATS):
                renderer.render(source, cover, TYPICAL, out, stream)
            stream.synchronize()
            print(word, "drawn", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
