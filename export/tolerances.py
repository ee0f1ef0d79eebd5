"""Every tolerance of the parity ladder, each with its reason. Tests and export read them here.

Raising one needs a commit that states the old and the new maximum error and the cause.
"""

GOLDEN_ARGUMENTS = 1e-5
"""Torch float32 against the published code's arguments: other kernels sum in another order
(measured 3.6e-7)."""

GOLDEN_STAGES = 1e-5
GOLDEN_STAGES_SHARE = 1e-3
GOLDEN_STAGES_MAX = 2e-4
"""Torch filters and C++ renderer (float32) against the published code's float32 stage outputs: at
most 0.1 % of values off by more than 1e-5, none by more than 2e-4. Only values near black under
strong shadow arguments come near the maximum, where an exponent near 0 amplifies float32 noise
(measured in torch: float32 3.0e-6 of values, maximum 5.6e-5; float64 8.3e-6, 1.7e-4)."""

IDENTITY = 2e-6
"""Identity arguments against the input: the published formulas divide by 1 + 1e-6."""

ONNX_FP32_ARGUMENTS = 5e-6
"""ONNX Runtime float32 against torch float32: other kernels, other order of summation (measured
5.4e-7 for the shipped network, 8.2e-7 for EfficientNet-B0 with random weights)."""

ONNX_FP16_ARGUMENTS = 3e-3
"""ONNX Runtime with half-precision encoder and MLP against torch float32: 11 bits of mantissa
through up to 16 blocks (measured 1.7e-3 shipped, 5.1e-4 EfficientNet-B0)."""

ANTIALIASED = 1e-5
"""Antialiased thumbnails as matrix products against torch's own: the weights of large sources
differ by the rounding of positions (measured 6.6e-7 for sources up to 317x700)."""

ONNX_FP32_SLOPES = 2e-5
ONNX_FP16_SLOPES = 5e-2
"""S2CRNet's slopes as the arguments above; their mean is 1, but single ones reach tens, and the
second stage looks at what the first draws (measured 1.0e-5 and 2.8e-2 for the shipped network,
whose encoder is an EfficientNet; what those draw is 0.34 of a level apart)."""

TENSORRT_FP32_ARGUMENTS = 1e-4
TENSORRT_FP16_ARGUMENTS = 3e-3
"""TensorRT (TF32 off) against ONNX Runtime on the same file: fused kernels sum in another order,
and three looks follow each other (not measured yet: no GPU; FP16 as for ONNX Runtime)."""

TENSORRT_FP32_SLOPES = 4e-4
TENSORRT_FP16_SLOPES = 5e-2
"""S2CRNet's slopes likewise: 20 times ONNX Runtime's own difference from torch in FP32, as for the
arguments, and once in FP16 (not measured yet: no GPU)."""

ONNX_FP32_PIXELS = 2e-3
"""Images drawn with either prediction, in [0, 1]: a step of contrast (255x crossing an integer)
that the smallest difference of arguments can cause moves a pixel by up to 1/512 (measured 7e-7
without such a step, 5.4e-5 for the end-to-end graph)."""

ONNX_FP16_PIXELS = 1e-2
"""As above with arguments off by up to 3e-3, which the steepest filters double (measured 2.9e-3
shipped, 3.7e-3 EfficientNet-B0)."""

RENDER_U8_LEVELS = 1
RENDER_U8_EQUAL = 0.999
"""C++ renderer on uint8 against the float64 oracle, for any arguments in [-1, 1]: no value off by
more than one level, 99.9 % of each image equal. Pixels whose float value lies near the limit of
two levels are drawn again in double, so what is left are half levels that two float64 evaluations
round apart (measured over 19,000 images, 8.8e8 values: maximum 1, 1035 values off; 0.02 % of
an image for random arguments, 0.5 % for a gradient whose mean is 1/2 and arguments of 1/2)."""

RENDER_U16 = 4e-5
RENDER_F32 = 3e-5
"""C++ renderer on uint16 and float32 against the float64 oracle, in [0, 1], for any arguments:
programs whose rounding errors might pass 2e-5 are evaluated in double; uint16 adds half a level
(measured: 1.6e-5, that is 1 level, for uint16; 2.7e-6 for float32)."""

THUMBNAIL = 1e-6
"""C++ thumbnail against torch's bilinear resize in float32: same weights, other order of sums."""

REGION_THUMBNAIL = 2e-6
"""Antialiased thumbnails of foreground and background, on the CPU and by the CUDA kernels, against
torch's antialiased resize in float64: up to some hundred float32 products are summed for each
value, whose weights are rounded once (measured 2.4e-7; torch in float32 is off by 3.1e-7)."""

CALIBRATION_IMAGES = 32
"""Fewest images that ranges of activations are measured on (see docs/precision.md for how they
settle with the number of images)."""

GATE_FP32_LEVELS = 1.0
GATE_FP32_FMSE = 1e-4
"""The same weights in another float32 engine: a step of contrast that the smallest difference
causes moves a pixel by at most half a level, which rounds to one."""

GATE_FP16_LEVELS = 2.0
GATE_FP16_FMSE = 0.005
"""Half precision: no pixel of an 8-bit picture off by more than two levels, which nobody sees even
side by side, and fMSE of each evaluation set within 0.5 %."""

GATE_INT8_DELTA_E = 0.5
GATE_INT8_FMSE = 0.03
"""INT8: mean delta-E 2000 over the foreground below 0.5, half of what is just noticeable, and fMSE
of each evaluation set within 3 %, as the project set itself."""

CUDA_U8_LEVELS = 1
CUDA_U8_EQUAL = 0.999
"""CUDA kernels on uint8 against the CPU renderer: no value off by more than one level, 99.9 % of
each image equal but for values within 1e-4 levels of a half level. Pixels are not drawn again in
double as on the CPU; float stays within 1e-3 at black and white and 4e-6 between, or the program
runs in double (measured in the emulation, whose approximate instructions err as far as PTX
allows, on 500 random programs: maximum 1, 52 of 7.8e6 values off; 0.5 % of an image whose
argument is near a fraction of small numbers, which puts many values near half levels)."""

CUDA_U16 = 7.1e-4
CUDA_F32 = 7e-4
"""CUDA kernels on uint16 and float32 against the CPU renderer, in [0, 1]: float is kept for errors
up to 7e-4 at black (strong shadows; 0.18 levels of 8 bits), more than the CPU keeps it for, so
that arguments within the synthesis ranges never need double, which is slow on most GPUs; uint16
adds half a level (measured in the emulation on 1,000 random programs: 7.6e-5, that is 5 levels,
for uint16; 4.0e-5 for float32)."""

CUDA_STATISTICS = 1e-6
"""Statistics measured by the kernels against the CPU's: the same in exact arithmetic; float powers
and divisions before them err by up to 6e-7 (measured in the emulation: 6.2e-7, 3e-16 from
histograms)."""

CUDA_THUMBNAIL_F16 = 2.0**-11
"""Thumbnails in half precision against float32: half a unit in the last place below 1."""

VIDEO_LUMA_8 = 0.02
VIDEO_LUMA_10 = 0.05
"""YUV to RGB and back, luma, mean absolute difference in code values, on a smooth picture whose
colours all exist in RGB: libswscale rounds each way (measured 0.001 for 8 bits, 0.0013 for 10)."""

CUDA_VIDEO = CUDA_F32
CUDA_VIDEO_THUMBNAIL = 2e-6
"""CUDA kernels on NV12 and P010 against a conversion in float64 and the oracle: beyond the half
code of rounding, what float may add to a drawn value, as a share of all codes; thumbnails add a
float conversion to the float resampling."""

STUDIO_P3_FORMULA = 1
"""Display P3 to sRGB and back in the studio against the formulas in float64, levels of 16 bits: a
table of 65,536 steps, interpolated, and rounding at its half levels (measured 1)."""

STUDIO_P3_U8 = 1
STUDIO_P3_U16 = 512
"""A picture in Display P3 harmonized in the studio against the command line, levels of 8 and of 16
bits. LittleCMS's matrices have 16 bits and err by up to 58 levels of 16 bits near black, where
strong filters have their steepest slopes (measured with three looks on every kind of colour: 1,
in 0.7 % of the values; 23, 352 and 64)."""

STUDIO_P3_ARGUMENTS = 5e-5
"""Arguments predicted of such a picture: its thumbnail differs by that of LittleCMS (measured
1.1e-5)."""
