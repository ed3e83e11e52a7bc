"""engine: which attention kernel the networks use: the table of optimizations, and the processor that calls the choice.

Extensions add rows with on_list_optimizers. The choice is one for the process; networks look it up at each call.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import torch

from modules import attention, devices, prompt_keys, shared
from modules.options import Options


@dataclass(frozen=True)
class AttentionSettings:
    """What the settings say of attention: which optimization computes it, and whether in float32."""

    optimization: str
    upcast: bool

    @classmethod
    def from_opts(cls, opts: Options) -> AttentionSettings:
        """Reads the settings as they are for the running job."""
        return cls(optimization=opts.cross_attention_optimization, upcast=opts.upcast_attn)


@dataclass
class Selection:
    """The kernel in use."""

    kernel: attention.Kernel = attention.scaled_dot_product


selection = Selection()


class SdOptimization:
    """A way to compute attention. Extensions subclass it and override apply and undo.

    cmd_opt: command line flag that chooses it. priority: the available one with the highest is chosen by itself.
    """

    name: str | None = None
    label: str | None = None
    cmd_opt: str | None = None
    priority: int = 0

    def title(self) -> str:
        """Returns how the setting cross_attention_optimization names it."""
        return f"{self.name} - {self.label}" if self.label else str(self.name)

    def is_available(self) -> bool:
        """Returns whether it can be used here."""
        return True

    def apply(self) -> None:
        """Makes the networks use it."""

    def undo(self) -> None:
        """Gives the networks torch's own kernel back."""
        selection.kernel = attention.scaled_dot_product


class KernelOptimization(SdOptimization):
    """A row of the built-in table: one of our kernels."""

    def __init__(
        self,
        name: str,
        kernel: attention.Kernel,
        *,
        priority: int,
        cmd_opt: str | None = None,
        label: str | None = None,
        available: Callable[[], bool] = lambda: True,
    ):
        self.name = name
        self.label = label
        self.cmd_opt = cmd_opt
        self.priority = priority
        self.kernel = kernel
        self.available = available

    def is_available(self) -> bool:
        """Returns whether the kernel can compute here."""
        return self.available()

    def apply(self) -> None:
        """Brings the kernel into use."""
        selection.kernel = self.kernel


def on_cuda() -> bool:
    """Returns whether networks compute on CUDA, where torch's kernel has several backends."""
    return devices.device.type == "cuda"


def has_xformers() -> bool:
    """Returns whether a flag asks for the xformers package and it can compute on the device: it is for CUDA cards.

    That it is installed changes no image by itself.
    """
    flags = shared.cmd_opts
    is_wanted = flags.force_enable_xformers or (flags.xformers and devices.device.type == "cuda")
    return bool(is_wanted) and importlib.util.find_spec("xformers") is not None


def get_available_vram() -> int:
    """Returns the bytes of memory the device has free, what torch holds unused included."""
    if devices.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(devices.device)
        stats = torch.cuda.memory_stats(devices.device)
        return free + stats["reserved_bytes.all.current"] - stats["active_bytes.all.current"]
    return psutil.virtual_memory().available


def sliced_by_free_memory(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes in slices as large as fit into the free memory: scores, their softmax and a margin."""
    return attention.sliced(q, k, v, get_available_vram() // 3)


def sliced_small(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes in slices that stay in the caches of a processor."""
    return attention.sliced(q, k, v, 32 * 1024**2)


def sub_quadratic(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Computes in chunks as the flags --sub-quad-* say.

    By default only where the scores need more than 70 % of the free memory.
    """
    flags = shared.cmd_opts
    percent = 70 if flags.sub_quad_chunk_threshold is None else flags.sub_quad_chunk_threshold
    return attention.sub_quadratic(
        q,
        k,
        v,
        query_chunk=flags.sub_quad_q_chunk_size,
        key_chunk=flags.sub_quad_kv_chunk_size,
        min_bytes=get_available_vram() * percent // 100,
    )


def sub_quad_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    q_chunk_size: int = 1024,
    kv_chunk_size: int | None = None,
    kv_chunk_size_min: int | None = None,
    chunk_threshold: int | None = None,
    use_checkpoint: bool = True,
) -> torch.Tensor:
    """Computes in chunks, for attention of extensions, whose heads are rows: (B, T, width).

    chunk_threshold: percent of the free memory that the scores need at least; None or 0 to compute in chunks always.
    """
    out = attention.sub_quadratic(
        q[:, None],
        k[:, None],
        v[:, None],
        query_chunk=q_chunk_size,
        key_chunk=kv_chunk_size,
        min_bytes=get_available_vram() * (chunk_threshold or 0) // 100,
    )
    return out[:, 0]


def get_xformers_flash_attention_op(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Returns no operator of xformers, for attention of extensions: xformers chooses the one that fits by itself."""


optimizations: tuple[SdOptimization, ...] = (
    KernelOptimization("xformers", attention.xformers, cmd_opt="xformers", priority=100, available=has_xformers),
    # Above the others, unlike in v1.10.1: torch's kernel needs no more memory than they do and is the fastest of them.
    KernelOptimization(
        "sdp",
        attention.scaled_dot_product,
        label="scaled dot product",
        cmd_opt="opt_sdp_attention",
        priority=95,
    ),
    KernelOptimization("Doggettx", sliced_by_free_memory, cmd_opt="opt_split_attention", priority=90),
    KernelOptimization(
        "sdp-no-mem",
        attention.scaled_dot_product_no_mem,
        label="scaled dot product without memory efficient attention",
        cmd_opt="opt_sdp_no_mem_attention",
        priority=80,
    ),
    KernelOptimization("sub-quadratic", sub_quadratic, cmd_opt="opt_sub_quad_attention", priority=10),
    KernelOptimization("V1", attention.per_head, label="original v1", cmd_opt="opt_split_attention_v1", priority=10),
    KernelOptimization("InvokeAI", sliced_small, cmd_opt="opt_split_attention_invokeai", priority=10),
    *(
        KernelOptimization(
            f"sdp-{name}",
            attention.preferring(backend),
            label=f"scaled dot product, {title} first",
            priority=5,
            available=on_cuda,
        )
        for name, backend, title in (
            ("flash", "FLASH_ATTENTION", "FlashAttention"),
            ("cudnn", "CUDNN_ATTENTION", "cuDNN"),
            ("efficient", "EFFICIENT_ATTENTION", "memory efficient attention"),
            ("math", "MATH", "plain products"),
        )
    ),
)


@functools.cache
def upcast(kernel: attention.Kernel) -> attention.Kernel:
    """Returns the kernel in float32, the same object each time."""
    return attention.upcast(kernel)


class AttentionProcessor:
    """Runs diffusers Attention layers of a network with the kernel in use; in float32 under the setting upcast_attn,
    which is read once for all layers.
    """

    def __init__(self) -> None:
        self.is_upcast = False

    def begin_pass(self, *_: Any) -> None:
        """Reads the settings for a call of the network."""
        self.is_upcast = AttentionSettings.from_opts(shared.opts).upcast

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Returns what a layer makes of its input, in the shape of hidden_states.

        hidden_states: tokens (B, T, C), or a map (B, C, h, w) in the VAE. encoder_hidden_states: what to attend to,
        (B, S, C'), the tokens themselves by default. attention_mask is for padded text, which these models never have;
        temb for layers these models have not.
        """
        residual = hidden_states
        if residual.ndim == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)  # (B, h * w, C)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        batch = hidden_states.shape[0]
        q = in_heads(attn.to_q(hidden_states), attn.heads)
        is_to_text = encoder_hidden_states is not None and not torch.compiler.is_compiling()
        kept = prompt_keys.in_use.get() if is_to_text else None
        k, v = keys_and_values(attn, context) if kept is None else kept.of(attn, context, keys_and_values)
        kernel = upcast(selection.kernel) if self.is_upcast else selection.kernel
        out = kernel(q, k, v).transpose(1, 2).reshape(batch, hidden_states.shape[1], -1)

        out = attn.to_out[0](out)
        if residual.ndim == 4:
            out = out.transpose(1, 2).reshape(residual.shape)
        return out + residual if attn.residual_connection else out


def in_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Returns vectors (B, T, C) as those of heads, (B, heads, T, width)."""
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def keys_and_values(attn: Any, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns what an attention layer attends to in a context (B, S, C): (B, heads, S, width) each."""
    return in_heads(attn.to_k(context), attn.heads), in_heads(attn.to_v(context), attn.heads)


def use_selected_attention(network: torch.nn.Module) -> None:
    """Has all attention layers of a diffusers network compute with the kernel in use."""
    processor = AttentionProcessor()
    for module in network.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(processor)
    for entry in (network, getattr(network, "encoder", None), getattr(network, "decoder", None)):
        if entry is not None:  # of a VAE the parts are called, one without the other
            entry.register_forward_pre_hook(processor.begin_pass)
