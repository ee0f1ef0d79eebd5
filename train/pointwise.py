"""An encoder's stages with batch norm folded, of which only the 1x1 convolutions get gradients.

Most of what a mobile network's backward costs on a CPU goes into depthwise convolutions and batch
norm. Here both are fixed: a depthwise convolution's gradient by its input is then a convolution
too, with the kernel turned round, and what is trained are matrix products over pixels.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS_LAST = torch.channels_last


class FixedDepthwise(torch.autograd.Function):
    """A depthwise convolution whose kernel is not trained: gradients flow to its input alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, stride: int, lead: int
    ) -> Tensor:
        """x (N, C, H, W), kernel (C, 1, k, k), bias (C,); `lead` zeros go before the first row.

        So many go behind the last that each stride of the input gives one output.
        """
        ctx.save_for_backward(kernel)
        ctx.stride, ctx.lead, ctx.shape = stride, lead, x.shape
        side = kernel.shape[-1]
        if 2 * lead == side - 1:
            return F.conv2d(x, kernel, bias, stride, lead, groups=x.shape[1])
        tail = side - stride - lead
        padded = F.pad(x, (lead, tail, lead, tail))
        return F.conv2d(padded, kernel, bias, stride, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient by x, one convolution; with a stride, of the gradient with zeros between."""
        (kernel,) = ctx.saved_tensors
        (n, c, height, width), stride, side = ctx.shape, ctx.stride, kernel.shape[-1]
        turned = kernel.flip(2, 3).contiguous(memory_format=CHANNELS_LAST)
        gradient = gradients[0].contiguous(memory_format=CHANNELS_LAST)
        first = side - 1 - ctx.lead
        if stride == 1:
            return F.conv2d(gradient, turned, None, 1, first, groups=c), None, None, None, None
        shape = (n, c, height + side - 1, width + side - 1)
        spread = gradient.new_zeros(shape).contiguous(memory_format=CHANNELS_LAST)
        rows, columns = (slice(first, first + stride * s, stride) for s in gradient.shape[2:])
        spread[:, :, rows, columns] = gradient
        return F.conv2d(spread, turned, groups=c), None, None, None, None


def can_fold(block: nn.Module) -> bool:
    """Whether a timm block is of the two kinds that `run_block` knows."""
    return type(block).__name__ in ("InvertedResidual", "DepthwiseSeparableConv")


def trained_in(block: Any) -> list[nn.Parameter]:
    """The kernels of a block's 1x1 convolutions."""
    names = ("conv_pw", "conv_pwl")
    return [getattr(block, name).weight for name in names if hasattr(block, name)]


def run_block(block: Any, x: Tensor) -> Tensor:
    """What a block in eval mode computes, in the precision of x.

    Args:
        block: One that `can_fold`.
        x: (N, C, H, W) in channels-last order, H and W multiples of the stride.
    """
    entry = x
    if hasattr(block, "conv_pwl"):
        x = block.bn1.act(_pointwise(x, block.conv_pw, block.bn1))
        x = block.bn2.act(_depthwise(x, block.conv_dw, block.bn2))
        x = block.bn3.act(_pointwise(block.se(x), block.conv_pwl, block.bn3))
    else:
        x = block.bn1.act(_depthwise(x, block.conv_dw, block.bn1))
        x = block.bn2.act(_pointwise(block.se(x), block.conv_pw, block.bn2))
    return entry + x if block.has_skip else x


def _folded(norm: Any) -> tuple[Tensor, Tensor]:
    """Batch norm at inference as a factor and an offset for each channel, without gradients."""
    factor = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
    return factor, norm.bias.detach() - norm.running_mean * factor


def _pointwise(x: Tensor, convolution: Any, norm: Any) -> Tensor:
    n, _, height, width = x.shape
    factor, offset = _folded(norm)
    matrix = (convolution.weight[:, :, 0, 0] * factor[:, None]).to(x.dtype)
    pixels = x.permute(0, 2, 3, 1).reshape(n * height * width, -1)
    y = F.linear(pixels, matrix, offset.to(x.dtype))
    return y.view(n, height, width, -1).permute(0, 3, 1, 2)


def _depthwise(x: Tensor, convolution: Any, norm: Any) -> Tensor:
    factor, offset = _folded(norm)
    kernel = (convolution.weight.detach() * factor[:, None, None, None]).to(x.dtype)
    side, stride = kernel.shape[-1], convolution.stride[0]
    same = type(convolution).__name__ == "Conv2dSame"  # TensorFlow's padding, uneven with a stride
    y: Tensor = FixedDepthwise.apply(
        x,
        kernel.contiguous(memory_format=CHANNELS_LAST),
        offset.to(x.dtype),
        stride,
        (side - stride) // 2 if same else side // 2,
    )
    return y
