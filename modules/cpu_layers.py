"""pure: layers as a CPU computes them fastest, in place of torch's own ways, for float32 without gradients.

torch multiplies matrices with MKL, which leaves processors that are not Intel's at half of their speed, and reorders
the weights of a convolution at each call, which takes longer than convolving a small image. oneDNN comes with torch
too, multiplies at full speed on all of them, and takes weights as they lie, so nothing is kept beside them that could
get stale. Results differ from torch's as those of another number of threads do: in the last bits.
"""

from __future__ import annotations

import functools
import platform

import torch
import torch.nn.functional as F
from torch import nn

PLAIN_LINEAR = nn.Linear.forward
"""torch's own: extensions put another in its place, which then counts for these layers too."""

MATRIX_RATIO = 2
"""Convolutions with at least as many channels per pixel are computed as products of matrices."""

FEWEST_ROWS = 16
"""Rows of a product below which MKL is as fast."""

ROW_STEPS = ((256, 16), (512, 64), (1024, 128))
"""Up to so many rows they are a multiple of the second number."""

MANY_ROWS = ROW_STEPS[-1][0]
"""Rows from which on a product is a convolution."""

MIN_UPSAMPLED = 512
"""Pixels of a batch from which on a convolution of doubled pixels is taken apart."""


@functools.cache
def is_available() -> bool:
    """Returns whether torch has oneDNN's product with plain weights here: it has on x86."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def fits(input: torch.Tensor, weight: torch.Tensor) -> bool:
    """Returns whether a layer can be computed here: on a CPU in float32, and for no training.

    Compilers that read what layers do get torch's own operations, which they know.
    """
    return (
        not torch.compiler.is_compiling()
        and input.is_cpu
        and input.dtype is torch.float32
        and weight.dtype is torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and input.numel() > 0
        and is_available()
    )


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Returns input (..., in) times weight (out, in) transposed, plus bias: (..., out).

    oneDNN makes code for each shape and keeps it, half a megabyte for a product of few rows, so few different numbers
    of those are asked for: rows of zeros are added. As a convolution of many pixels it takes a tenth of that.
    """
    rows = input.numel() // input.shape[-1]
    if rows < FEWEST_ROWS:
        return F.linear(input, weight, bias)
    if rows >= MANY_ROWS:
        made = pointwise(input.reshape(rows, -1), weight, bias)
    elif added := padded(rows) - rows:
        input_rows = F.pad(input.reshape(rows, -1), (0, 0, 0, added))
        made = torch.ops.mkldnn._linear_pointwise(input_rows, weight, bias, "none", [], "")[:rows]
    else:
        return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
    return shaped(made, [*input.shape[:-1], len(weight)])


shaped = torch.ops.aten._unsafe_view
"""Gives a tensor that nobody else has another shape, and forgets where it came from: torch's own layers end so too, and
compilers ask."""


def padded(rows: int) -> int:
    """Returns the number of rows, not less, that a product of so many is computed with."""
    step = next(step for most, step in ROW_STEPS if rows <= most)
    return -(-rows // step) * step


def pointwise(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Returns rows (N, in) times weight (out, in) transposed, plus bias: (N, out), as a convolution of N pixels."""
    count, channels = rows.shape
    pixels = rows.view(1, count, 1, channels).permute(0, 3, 1, 2)
    weight = weight.view(-1, channels, 1, 1)
    ones = [1, 1]
    made = torch.ops.mkldnn._convolution_pointwise(pixels, weight, bias, [0, 0], ones, ones, 1, "none", [], "")
    return made.permute(0, 2, 3, 1).view(count, -1)


def as_matrices(input: torch.Tensor, conv: nn.Conv2d) -> bool:
    """Returns whether a convolution of these pixels (B, C, H, W) is faster as a product: where it has few of them."""
    if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str) or input.ndim != 4:
        return False
    batch, _, height, width = input.shape
    if conv.kernel_size == (1, 1):
        return conv.stride == (1, 1) and conv.padding == (0, 0) and batch * height * width < MANY_ROWS
    pixels = batch * (height // conv.stride[0]) * (width // conv.stride[1])
    return conv.out_channels >= MATRIX_RATIO * pixels


def convolve(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv: nn.Conv2d) -> torch.Tensor:
    """Convolves (B, C, H, W) as a product of the windows, one a row, with the weights."""
    if conv.kernel_size == (1, 1):
        height, width = input.shape[2:]
        windows = input.flatten(2)
    else:
        reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        height, width = (
            (input.shape[2 + i] + 2 * conv.padding[i] - reach[i] - 1) // conv.stride[i] + 1 for i in range(2)
        )
        windows = F.unfold(input, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    pixels = linear(windows.transpose(1, 2).contiguous(), weight.flatten(1), bias)
    # In one piece: torch would normalise channels that come last with fewer digits.
    return shaped(pixels.transpose(1, 2).contiguous(), [len(input), len(weight), height, width])


def doubles_apart(input: torch.Tensor, conv: nn.Conv2d) -> bool:
    """Returns whether a convolution of the doubled pixels of (B, C, h, w) is faster taken apart.

    A convolution that an extension has changed is left alone.
    """
    return (
        fits(input, conv.weight)
        and input.shape[0] * input.shape[2] * input.shape[3] >= MIN_UPSAMPLED
        and (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and conv.weight.is_contiguous()
        and is_bare(conv)
    )


def is_bare(layer: nn.Module) -> bool:
    """Returns whether nothing but the layer's own weights decides what it computes: no hooks, no other forward."""
    return not (layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer))


def convolve_doubled(input: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Returns what a 3x3 convolution makes of (B, C, h, w) with each pixel doubled both ways: (B, C', 2h, 2w).

    Each of its windows holds two by two different pixels. So the weights that meet the same pixel are added up first,
    for the four places that a window can have, and four convolutions of 2x2 take 4/9 of the products.
    """
    batch, _, height, width = input.shape
    weight = over_doubled(over_doubled(conv.weight, 2), 4)  # (2, 2, C', C, 2, 2): column, row of the result first
    weight = weight.transpose(0, 1).flatten(0, 2)
    bias = None if conv.bias is None else conv.bias.repeat(4)
    parts = F.conv2d(input, weight, bias, padding=1).view(batch, 2, 2, -1, height + 1, width + 1)
    output = input.new_empty(batch, parts.shape[3], height, 2, width, 2)
    for row in range(2):
        for column in range(2):
            output[:, :, :, row, :, column] = parts[:, row, column, :, row : row + height, column : column + width]
    return output.view(batch, -1, 2 * height, 2 * width)


def over_doubled(weight: torch.Tensor, dim: int) -> torch.Tensor:
    """Adds up the three weights along `dim` that meet the same pixel, for even and for odd places of the result.

    Returns (2, ...) with two weights along that dimension: at even places the window ends with the pixel's own two
    halves, at odd ones it begins with them.
    """
    first, second, third = weight.unbind(dim)
    return torch.stack([torch.stack([first, second + third], dim), torch.stack([first + second, third], dim)])


class Linear(nn.Linear):
    """A linear layer that multiplies with oneDNN."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Returns (..., out) for (..., in)."""
        if nn.Linear.forward is PLAIN_LINEAR and fits(input, self.weight):
            return linear(input, self.weight, self.bias)
        return super().forward(input)


class Conv2d(nn.Conv2d):
    """A convolution that is a product of matrices where that is faster."""

    def _conv_forward(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if fits(input, weight) and weight.is_contiguous() and as_matrices(input, self):
            return convolve(input, weight, bias, self)
        return super()._conv_forward(input, weight, bias)


KINDS: dict[type, type] = {nn.Linear: Linear, nn.Conv2d: Conv2d}
"""torch's class -> ours for the same layer. Subclasses compute in ways of their own and stay."""


def adopt(network: nn.Module) -> None:
    """Gives the layers of a network the classes above. They stay the objects that they are."""
    for module in network.modules():
        if type(module) in KINDS:
            module.__class__ = KINDS[type(module)]
