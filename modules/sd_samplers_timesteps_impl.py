"""engine: the solvers over timesteps under their v1.10.1 names and signatures: they take the table ᾱ from the model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from modules import sampling
from modules.errors import InvalidInput
from modules.sampling.steps import Callback, ExtraArgs, NoiseSampler
from modules.sampling.unipc import SKIP_TYPES, VARIANTS

UNIPC_CHOICES = {"uni_pc_variant": VARIANTS, "uni_pc_skip_type": SKIP_TYPES}
"""Setting -> the values that UniPC knows."""


def alphas_cumprod_of(model: Any) -> Tensor:
    """Returns ᾱ of the model inside a CFG denoiser."""
    return model.inner_model.inner_model.alphas_cumprod


def ddim(
    model: Any,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    eta: float = 0.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by DDIM."""
    table = alphas_cumprod_of(model)
    noise = {"eta": eta, "noise_sampler": noise_sampler}
    return sampling.sample_ddim(model, x, timesteps, extra_args, callback, disable, alphas_cumprod=table, **noise)


def ddim_cfgpp(
    model: Any,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    eta: float = 0.0,
    noise_sampler: NoiseSampler | None = None,
) -> Tensor:
    """Samples by DDIM CFG++."""
    table = alphas_cumprod_of(model)
    noise = {"eta": eta, "noise_sampler": noise_sampler}
    return sampling.sample_ddim_cfgpp(model, x, timesteps, extra_args, callback, disable, alphas_cumprod=table, **noise)


def plms(
    model: Any,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
) -> Tensor:
    """Samples by PLMS."""
    table = alphas_cumprod_of(model)
    return sampling.sample_plms(model, x, timesteps, extra_args, callback, disable, alphas_cumprod=table)


def unipc(
    model: Any,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    is_img2img: bool = False,
) -> Tensor:
    """Samples by UniPC as the settings say. Raises InvalidInput for a variant or spacing that it does not know."""
    settings = model.sampler.settings
    for name, choices in UNIPC_CHOICES.items():
        value = getattr(settings, name)
        if value not in choices:
            raise InvalidInput(f"The setting {name} is {value!r}, but must be one of {', '.join(choices)}", name)
    return sampling.sample_unipc(
        model,
        x,
        timesteps,
        extra_args,
        callback,
        disable,
        alphas_cumprod=alphas_cumprod_of(model),
        variant=settings.uni_pc_variant,
        skip_type=settings.uni_pc_skip_type,
        order=max(settings.uni_pc_order, 1),
        lower_order_final=settings.uni_pc_lower_order_final,
        is_img2img=is_img2img,
    )
