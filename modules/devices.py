"""state: which device and precision each part of the program computes with, and the torch calls that depend on them.

Reads the command line, no settings. The variables are set once, at import, and hold what the flags choose; `fp8` alone
follows the current model. What a loaded model computes in may differ, as a VAE that overflowed is wider than dtype_vae:
its `placement` says it, and is what the engine asks. The names here are for extensions and for networks of other kinds.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass

import psutil
import torch

from modules import errors
from modules.shared_cmd_options import cmd_opts


class NansException(errors.WebuiError):
    """A model produced values that are not numbers: it can't carry out this request, with this precision."""

    http_status = 422


@dataclass(frozen=True, slots=True)
class Precision:
    """Types of the weights, of the VAE's weights, and of the arithmetic of the U-Net."""

    dtype: torch.dtype
    dtype_vae: torch.dtype
    dtype_inference: torch.dtype


def choose_precision(
    device_type: str, *, precision: str, no_half: bool, no_half_vae: bool, bf16: bool = False
) -> Precision:
    """Returns the types that --precision, --no-half, --no-half-vae and --bf16 give a kind of device ("cuda", "mps",
    "cpu" ...).

    Weights are float16 where flags do not say otherwise, bfloat16 with --bf16, except on the CPU: it computes in
    float32 faster than in either, so it gets one only if asked by --precision half or --bf16. Raises InvalidInput for
    flags that contradict each other.
    """
    if precision == "half" and (no_half or no_half_vae):
        flag = "--no-half" if no_half else "--no-half-vae"
        raise errors.InvalidInput(f"--precision half and {flag} contradict each other: leave one out", "precision")
    if bf16 and no_half:
        raise errors.InvalidInput("--bf16 and --no-half contradict each other: leave one out", "bf16")
    full = no_half or (device_type == "cpu" and precision != "half" and not bf16)
    half = torch.bfloat16 if bf16 else torch.float16
    dtype = torch.float32 if full else half
    return Precision(
        dtype=dtype,
        dtype_vae=torch.float32 if no_half_vae else dtype,
        dtype_inference=torch.float32 if precision == "full" else dtype,
    )


def has_mps() -> bool:
    """Returns whether there is a GPU of an Apple computer."""
    return torch.backends.mps.is_available()


def has_xpu() -> bool:
    """Returns whether there is a GPU made by Intel."""
    return torch.xpu.is_available()


def get_cuda_device_id() -> int:
    """Returns the number of the CUDA device in use: --device-id, else torch's current one."""
    return int(cmd_opts.device_id) if cmd_opts.device_id is not None else torch.cuda.current_device()


def get_cuda_device_string() -> str:
    """Returns the CUDA device as torch names it: "cuda", or "cuda:<n>" with --device-id."""
    return "cuda" if cmd_opts.device_id is None else f"cuda:{cmd_opts.device_id}"


def get_optimal_device_name() -> str:
    """Returns the name of the fastest device there is."""
    if torch.cuda.is_available():
        return get_cuda_device_string()
    if has_mps():
        return "mps"
    return "xpu" if has_xpu() else "cpu"


def get_optimal_device() -> torch.device:
    """Returns the fastest device there is."""
    return torch.device(get_optimal_device_name())


def get_device_for(task: str) -> torch.device:
    """Returns the device of a task: the CPU if --use-cpu lists the task or "all", else the fastest.

    task: "sd", "interrogate", "gfpgan", "esrgan", "codeformer", "scunet" or "swinir".
    """
    return cpu if task in cmd_opts.use_cpu or "all" in cmd_opts.use_cpu else get_optimal_device()


def cuda_no_autocast(device_id: int | None = None) -> bool:
    """Returns whether a CUDA device is a GeForce GTX 16xx: cuDNN's default float16 convolutions give NaN there."""
    device_id = get_cuda_device_id() if device_id is None else device_id
    is_turing = torch.cuda.get_device_capability(device_id) == (7, 5)
    return is_turing and torch.cuda.get_device_name(device_id).startswith("NVIDIA GeForce GTX 16")


def enable_tf32() -> None:
    """Lets CUDA round the factors of float32 products to 10 bits of mantissa, several times faster.

    On GTX 16 cards works around their NaN.
    """
    if torch.cuda.is_available():
        if cuda_no_autocast():
            torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True


def torch_gc() -> None:
    """Gives the accelerators' memory back that torch keeps for reuse, so that others can have it."""
    if torch.cuda.is_available():
        with torch.cuda.device(get_cuda_device_string()):
            torch.cuda.empty_cache()
            torch.cuda.ipc_collect()
    if has_mps():
        torch.mps.empty_cache()
    if has_xpu():
        torch.xpu.empty_cache()


class MainMemory:
    """What this process has of main memory beyond what it uses, and giving that back to the system.

    glibc keeps as much for reuse as the largest job of each thread has taken, in pieces that do not fit tensors of
    other sizes.
    """

    SLACK = 2**27
    """Bytes that it may grow by before that is given back: to get them from the system again takes time."""

    def __init__(self) -> None:
        self.least = 0
        self._process = psutil.Process()
        try:
            self._trim = ctypes.CDLL(None).malloc_trim if sys.platform == "linux" else None
        except AttributeError:  # another C library
            self._trim = None

    def trim(self) -> None:
        """Gives back what is free, if the process has grown since the last time."""
        if self._has_grown():
            self.give_back()

    def trim_beside(self) -> None:
        """The same in a thread of its own, where somebody waits: it takes about 0.1 ms for each MB."""
        if self._has_grown():
            threading.Thread(target=self.give_back, name="give memory back", daemon=True).start()

    def _has_grown(self) -> bool:
        resident = self._process.memory_info().rss
        has_grown = resident > self.least + self.SLACK
        self.least = min(self.least, resident)
        return has_grown

    def give_back(self) -> None:
        """Gives back what is free: after weights were freed, which stay with the process otherwise."""
        if self._trim is not None:
            self._trim(0)
        self.least = self._process.memory_info().rss


main_memory = MainMemory()


def free_memory(on: torch.device) -> float:
    """Returns the bytes that can be taken on a device now; infinity where nothing tells it."""
    if on.type == "cpu":
        return psutil.virtual_memory().available
    if on.type in ("cuda", "xpu"):
        backend = getattr(torch, on.type)
        kept = backend.memory_reserved(on) - backend.memory_allocated(on)
        return backend.mem_get_info(on)[0] + kept
    return float("inf")


def cond_cast_unet(input: torch.Tensor) -> torch.Tensor:
    """Casts to the type of the U-Net's weights where sampling runs in float32 around them (--upcast-sampling)."""
    return input.to(dtype_unet) if unet_needs_upcast else input


def cond_cast_float(input: torch.Tensor) -> torch.Tensor:
    """Casts to float32 what the U-Net returns where sampling runs in float32 around it (--upcast-sampling)."""
    return input.float() if unet_needs_upcast else input


def autocast(disable: bool = False) -> AbstractContextManager[object]:
    """Returns a context in which layers with weights of 16 bits take float32 input.

    Costs nothing where all is float32 or --precision half made all narrow.
    """
    if disable or force_fp16 or torch.float32 in (dtype, dtype_inference):
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=dtype)


def without_autocast(disable: bool = False) -> AbstractContextManager[object]:
    """Returns a context that suspends a surrounding autocast()."""
    if disable or not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


NAN_CAUSES = {
    "unet": (
        "the U-Net",
        "The picture may need more range than float16 has: turn on the setting upcast_attn, or start with --no-half or"
        " --bf16.",
    ),
    "vae": ("the VAE", "Its weights may need more range than float16 has: start with --no-half-vae or --bf16."),
}


def test_for_nans(x: torch.Tensor, where: str) -> None:
    """Raises NansException if the first element of x is NaN, unless --disable-nan-check is given.

    One element stands for all, because in these networks a NaN spreads to everything. where: "unet", "vae", or a name
    for the message.
    """
    if cmd_opts.disable_nan_check or not torch.isnan(x[(0,) * x.ndim]):
        return
    name, advice = NAN_CAUSES.get(where, (where, ""))
    message = f"NaN (not a number) came out of {name}, for x of shape {tuple(x.shape)} and type {x.dtype}."
    if x.dtype == torch.float16 and advice:
        message += f" {advice}"
    raise NansException(f"{message} --disable-nan-check turns this check off.")


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception means that a device has no room.

    Only CUDA has a class for it; others say it in words.
    """
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
    )


@functools.cache
def first_time_calculation() -> None:
    """Runs a linear layer and a convolution once: the libraries behind them load now, and not in the first job."""
    linear = torch.nn.Linear(1, 1, device=device, dtype=dtype)
    linear(torch.zeros((1, 1), device=device, dtype=dtype))
    convolution = torch.nn.Conv2d(1, 1, (3, 3), device=device, dtype=dtype)
    convolution(torch.zeros((1, 1, 3, 3), device=device, dtype=dtype))


cpu: torch.device = torch.device("cpu")
device: torch.device = get_device_for("sd")
device_interrogate: torch.device = get_device_for("interrogate")
device_gfpgan: torch.device = get_device_for("gfpgan")
device_esrgan: torch.device = get_device_for("esrgan")
device_codeformer: torch.device = get_device_for("codeformer")

chosen = choose_precision(
    device.type,
    precision=cmd_opts.precision,
    no_half=cmd_opts.no_half,
    no_half_vae=cmd_opts.no_half_vae,
    bf16=cmd_opts.bf16,
)
dtype: torch.dtype = chosen.dtype
dtype_vae: torch.dtype = chosen.dtype_vae
dtype_unet: torch.dtype = chosen.dtype
dtype_inference: torch.dtype = chosen.dtype_inference
unet_needs_upcast: bool = cmd_opts.upcast_sampling and dtype_unet != torch.float32
force_fp16: bool = cmd_opts.precision == "half"
fp8: bool = False
"""Whether the weights of the current model are stored in 8 bits."""

enable_tf32()
