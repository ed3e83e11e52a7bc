"""pure: layers as a CPU computes them fastest, in place of torch's own ways, for float32 without gradients.

torch multiplies matrices with MKL, which leaves processors that are not Intel's at half of their speed, and reorders
the weights of a convolution at each call, which takes longer than convolving a small image. oneDNN comes with torch
too, multiplies at full speed on all of them, and takes weights as they lie, so nothing is kept beside them that could
get stale. Results differ from torch's in the last bits. They are the same with any number of threads, which torch's own
are not, so that this number may follow what other programs leave of the machine.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from modules import cpu_load, launch_process

TORCHS_LINEAR = nn.Linear.forward
TORCHS_CONV2D = nn.Conv2d.forward
TORCHS_CONVOLUTION = nn.Conv2d._conv_forward
TORCHS_SILU = nn.SiLU.forward
PLAIN = (torch.Tensor, nn.Parameter)
"""Weights of other types compute in ways of their own."""

MATRIX_RATIO = 2
"""Convolutions with at least as many channels per pixel are computed as products of matrices."""

MOST_FEW_ROWS = 2
"""Rows of a product that are computed as they are."""

PROMPT_ROWS = 77
"""A multiple of these as well: they come often, and in few numbers."""

ROW_STEPS = ((256, 16), (512, 64), (1024, 128))
"""Up to so many rows they are a multiple of the second number."""

MANY_ROWS = ROW_STEPS[-1][0]
"""Rows from which on a product is a convolution."""

MIN_UPSAMPLED = 512
"""Pixels of a batch from which on a convolution of doubled pixels is taken apart."""


@dataclass
class Use:
    """Whether layers are computed here at all."""

    is_on: bool = True


use = Use()

threads = torch.get_num_threads()
"""How many threads compute on an idle machine."""

GRAIN, GRAIN_OF_GELU = 2**15, 2**14
"""Numbers that torch leaves to one thread where each is computed by itself: more are shared evenly among threads."""

VECTORS = 64
"""Numbers that are a multiple of what is computed at once. The rest of a thread's share is computed by other code."""


def install() -> None:
    """Has torch's layers compute so. Their classes stay, by which extensions find layers, and what an extension puts in
    the place of a class's or a layer's function still counts. Before extensions are loaded: they keep what they find.
    """
    replace(nn.Linear, "forward", linear_forward)
    replace(nn.Conv2d, "_conv_forward", conv_forward)
    replace(nn.SiLU, "forward", silu_forward)


@functools.cache
def install_activations() -> None:
    """The same for the activations of diffusers and transformers, which are imported with the first model."""
    from diffusers.models.activations import GEGLU, GELU
    from transformers.activations import QuickGELUActivation

    replace(GEGLU, "gelu", gelu)
    replace(GELU, "gelu", gelu)
    replace(QuickGELUActivation, "forward", quick_gelu_forward)


def replace(owner: type[nn.Module], name: str, own: Callable[..., torch.Tensor]) -> None:
    """Puts a function in the place of a class's, unless an extension has put its own there."""
    if getattr(owner, name).__module__ == owner.__module__:
        setattr(owner, name, own)


@contextmanager
def with_free_cores() -> Iterator[None]:
    """Has torch compute with no more threads than the machine has cores that others leave free, inside the block and in
    the calling thread.

    Threads wait for each other many times in a step, so one that has no core of its own stops all. Results are the same
    to the last bit with any number. Nothing changes where that does not hold, or where somebody has chosen the number.
    """
    may_change = threads > 1 and torch.get_num_threads() == threads and launch_process.may_change_threads()
    wanted = cpu_load.cores_for(threads) if may_change and is_same_with_any_threads() else threads
    if wanted == threads:
        yield
        return
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(threads)  # threads that are made later begin with the number that was last set


def is_same_with_any_threads() -> bool:
    """Returns whether all layers are computed here; those that an extension has changed one by one are not seen."""
    return (
        use.is_on
        and is_available()
        and nn.Linear.forward is linear_forward
        and nn.Conv2d.forward is TORCHS_CONV2D
        and nn.Conv2d._conv_forward is conv_forward
        and nn.SiLU.forward is silu_forward
    )


@contextmanager
def left_out() -> Iterator[None]:
    """Has the whole process compute in torch's own ways, inside the block: to compare with them."""
    before, use.is_on = use.is_on, False
    try:
        yield
    finally:
        use.is_on = before


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
        and type(weight) in PLAIN
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()
        and input.numel() > 0
        and use.is_on
        and is_available()
    )


def linear_forward(self: nn.Linear, input: torch.Tensor) -> torch.Tensor:
    """`nn.Linear.forward`: multiplies with oneDNN. Returns (..., out) for (..., in)."""
    weight = self.weight
    if fits(input, weight) and input.shape[-1] == weight.shape[1] and takes_bias(weight, self.bias):
        return linear(input, weight, self.bias)
    return TORCHS_LINEAR(self, input)


def conv_forward(self: nn.Conv2d, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`nn.Conv2d._conv_forward`: a product of matrices where that is faster."""
    if fits(input, weight) and is_plain(input, weight, self) and takes_bias(weight, bias):
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            return convolve_whole(input, weight, bias, (0, 0), self.stride, self.dilation)
        small = undoubled(input)
        if small is not None and doubles_apart(small, weight, bias, self):
            return convolve_doubled(small, weight, bias)
        if as_matrices(input, weight, self):
            return convolve(input, weight, bias, self)
        return convolve_whole(input, weight, bias, self.padding, self.stride, self.dilation)
    return TORCHS_CONVOLUTION(self, input, weight, bias)


def silu_forward(self: nn.SiLU, input: torch.Tensor) -> torch.Tensor:
    """`nn.SiLU.forward`: the same with any number of threads."""
    if self.inplace or not input.is_contiguous() or not fits(input, input):
        return TORCHS_SILU(self, input)
    return in_even_shares(torch.ops.aten.silu, input)


def gelu(self: nn.Module, gate: torch.Tensor) -> torch.Tensor:
    """`gelu` of diffusers' classes likewise: of a tensor in one piece, torch has oneDNN compute the exact one."""
    kind = getattr(self, "approximate", "none")
    if not fits(gate, gate):
        return F.gelu(gate, approximate=kind)
    if kind == "none":
        return F.gelu(gate.contiguous())
    return in_even_shares(functools.partial(torch.ops.aten.gelu, approximate=kind), gate, shares_of_gelu)


def quick_gelu_forward(self: nn.Module, input: torch.Tensor) -> torch.Tensor:
    """`QuickGELUActivation.forward` of transformers likewise."""
    wide = 1.702 * input
    return input * (in_even_shares(torch.ops.aten.sigmoid, wide) if fits(wide, wide) else wide.sigmoid())


def usual_shares(numbers: int) -> int:
    """Returns among how many threads torch shares so many numbers."""
    return min(torch.get_num_threads(), -(-numbers // GRAIN))


def shares_of_gelu(numbers: int) -> int:
    """The same for GELU."""
    return torch.get_num_threads() if numbers > GRAIN_OF_GELU else 1


def in_even_shares(
    function: Callable[..., torch.Tensor], input: torch.Tensor, shares: Callable[[int], int] = usual_shares
) -> torch.Tensor:
    """Computes a function of each number of a tensor so that each thread's share is a whole number of vectors: torch
    computes what is left over of a share by other code, with other last bits.
    """
    input = input.contiguous()
    even = even_numbers(input.numel(), shares)
    if even == input.numel():
        return function(input)
    output = torch.empty_like(input)
    flat_input, flat_output = input.view(-1), output.view(-1)
    for part in (slice(even), slice(even, None)):
        function(flat_input[part], out=flat_output[part])
    return output


def even_numbers(numbers: int, shares: Callable[[int], int]) -> int:
    """Returns how many of these numbers, all or nearly all, make shares of whole vectors. shares: how many there are of
    so many numbers.
    """
    while (count := shares(numbers)) > 1 and -(-numbers // count) % VECTORS:
        numbers -= numbers % (count * VECTORS)
    return numbers


def takes_bias(weight: torch.Tensor, bias: torch.Tensor | None) -> bool:
    """Returns whether there is no bias, or one number for each of a layer's results."""
    return bias is None or (type(bias) in PLAIN and bias.dtype is torch.float32 and bias.shape == weight.shape[:1])


def linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Returns input (..., in) times weight (out, in) transposed, plus bias: (..., out).

    oneDNN makes code for each shape and keeps it, half a megabyte for a product of few rows, so few different numbers
    of those are asked for: rows of zeros are added. As a convolution of many pixels it takes a tenth of that.
    """
    rows = input.numel() // input.shape[-1]
    bias = None if bias is None else bias.contiguous()  # as above
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
    if rows <= MOST_FEW_ROWS or rows % PROMPT_ROWS == 0 or rows >= MANY_ROWS:
        return rows
    step = next(step for most, step in ROW_STEPS if rows <= most)
    return -(-rows // step) * step


def pointwise(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Returns rows (N, in) times weight (out, in) transposed, plus bias: (N, out), as a convolution of N pixels."""
    count, channels = rows.shape
    pixels = rows.view(1, count, 1, channels).permute(0, 3, 1, 2)
    made = convolve_whole(pixels, weight.view(-1, channels, 1, 1), bias)
    return made.permute(0, 2, 3, 1).view(count, -1)


def convolve_whole(
    input: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    padding: Sequence[int] = (0, 0),
    stride: Sequence[int] = (1, 1),
    dilation: Sequence[int] = (1, 1),
) -> torch.Tensor:
    """Convolves (B, C, H, W) as torch does it, by oneDNN. torch itself takes MKL for small images, and for kernels of
    one pixel if there is one thread.
    """
    bias = None if bias is None else bias.contiguous()  # oneDNN takes it for such
    return torch.mkldnn_convolution(input, weight, bias, padding, stride, dilation, 1)


def is_plain(input: torch.Tensor, weight: torch.Tensor, conv: nn.Conv2d) -> bool:
    """Returns whether a convolution of (B, C, H, W) has no groups and nothing that torch has to bring into order."""
    steps = (conv.stride, conv.padding, conv.dilation)
    return (
        all(type(step) is tuple for step in steps)
        and conv.groups == 1
        and input.ndim == 4
        and weight.is_contiguous()
        and weight.shape[1:] == (input.shape[1], *conv.kernel_size)
    )


def as_matrices(input: torch.Tensor, weight: torch.Tensor, conv: nn.Conv2d) -> bool:
    """Returns whether a convolution of these pixels (B, C, H, W) is faster as a product: where it has few of them."""
    batch, _, height, width = input.shape
    if conv.kernel_size == (1, 1):
        return conv.stride == (1, 1) and conv.padding == (0, 0) and batch * height * width < MANY_ROWS
    pixels = batch * (height // conv.stride[0]) * (width // conv.stride[1])
    return len(weight) >= MATRIX_RATIO * pixels


def convolve(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv: nn.Conv2d) -> torch.Tensor:
    """Convolves (B, C, H, W) as products of the weights with the windows, one a column: (B, out, H', W')."""
    if conv.kernel_size == (1, 1):
        height, width = input.shape[2:]
        windows = input.flatten(2)
    else:
        reach = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        height, width = (
            (input.shape[2 + i] + 2 * conv.padding[i] - reach[i] - 1) // conv.stride[i] + 1 for i in range(2)
        )
        windows = F.unfold(input, conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    return shaped(products(weight.flatten(1), windows, bias), [len(input), len(weight), height, width])


def products(matrix: torch.Tensor, columns: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Returns the matrix (M, K) times each of (B, K, N), plus bias (M): (B, M, N)."""
    output = columns.new_empty(len(columns), len(matrix), columns.shape[2])
    if added := padded(columns.shape[2]) - columns.shape[2]:
        columns = F.pad(columns, (0, added))
    for part, result in zip(columns, output, strict=True):
        made = torch.ops.mkldnn._linear_pointwise(matrix, part.t(), None, "none", [], "")[:, : output.shape[2]]
        result.copy_(made) if bias is None else torch.add(made, bias[:, None], out=result)
    return output


def doubles_apart(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, conv: nn.Conv2d) -> bool:
    """Returns whether a convolution of the doubled pixels of (B, C, h, w) is faster taken apart."""
    return (
        fits(input, weight)
        and takes_bias(weight, bias)
        and input.shape[0] * input.shape[2] * input.shape[3] >= MIN_UPSAMPLED
        and (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and weight.shape[1:] == (input.shape[1], 3, 3)
        and weight.is_contiguous()
    )


def double_and_convolve(input: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Returns what a convolution makes of the doubled pixels of (B, C, h, w), for one that `doubles_apart`.

    One that an extension has changed is called with these pixels, which remember what they are made of: where its own
    function comes to torch's, that computes the same.
    """
    if is_untouched(conv):
        return convolve_doubled(input, conv.weight, conv.bias)
    doubled = F.interpolate(input, scale_factor=2.0, mode="nearest")
    if not doubled.is_inference():  # whose changes torch does not count
        doubled.undoubled = (input, doubled._version)  # type: ignore[attr-defined]
    return conv(doubled)


def undoubled(input: torch.Tensor) -> torch.Tensor | None:
    """Returns what pixels are the doubled ones of, if they are and nobody has changed them since."""
    small, version = getattr(input, "undoubled", (None, 0))
    return small if small is not None and input._version == version else None


def is_untouched(layer: nn.Module) -> bool:
    """Returns whether a layer is a convolution or a linear layer of torch's, and nothing but its weights decides what
    it computes: no hook, and no other function in the place of the layer's or its class's.
    """
    own = vars(layer)
    if type(layer) is nn.Conv2d:
        is_ours = nn.Conv2d.forward is TORCHS_CONV2D and nn.Conv2d._conv_forward is conv_forward
    else:
        is_ours = type(layer) is nn.Linear and nn.Linear.forward is linear_forward
    is_hooked = own["_forward_hooks"] or own["_forward_pre_hooks"] or has_hooks_on_all()
    return is_ours and not (is_hooked or "forward" in own or "_conv_forward" in own)


def has_hooks_on_all() -> bool:
    """Returns whether there is a hook on all layers there are."""
    every = torch.nn.modules.module
    return bool(every._global_forward_pre_hooks or every._global_forward_hooks)


def convolve_doubled(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Returns what a 3x3 convolution makes of (B, C, h, w) with each pixel doubled both ways: (B, C', 2h, 2w).

    Each of its windows holds two by two different pixels. So the weights that meet the same pixel are added up first,
    for the four places that a window can have, and four convolutions of 2x2 take 4/9 of the products.
    """
    batch, _, height, width = input.shape
    weight = over_doubled(over_doubled(weight, 2), 4)  # (2, 2, C', C, 2, 2): column, row of the result first
    weight = weight.transpose(0, 1).flatten(0, 2)
    bias = None if bias is None else bias.repeat(4)
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
