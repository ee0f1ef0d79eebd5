"""The GPU runtime: one fused frame through PyCUDA; see docs/cuda.md.

Importing this package, or `harmonizer.gpu`, loads no GPU library; the other modules import
PyCUDA when a renderer is made, after the driver has been asked whether there is a GPU.
"""
