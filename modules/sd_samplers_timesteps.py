"""engine: samplers over integer timesteps: the table of DDIM, PLMS, UniPC and their adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from modules import errors, sd_samplers_common, sd_samplers_timesteps_impl
from modules.sampling.denoisers import TIMESTEP_DENOISERS, TimestepDenoiser, TimestepVDenoiser
from modules.sampling.steps import append_dims
from modules.sd_samplers_cfg_denoiser import CFGDenoiser

samplers_timesteps: list[tuple[str, Callable[..., Tensor], list[str], dict[str, Any]]] = [
    ("DDIM", sd_samplers_timesteps_impl.ddim, ["ddim"], {}),
    ("DDIM CFG++", sd_samplers_timesteps_impl.ddim_cfgpp, ["ddim_cfgpp"], {}),
    ("PLMS", sd_samplers_timesteps_impl.plms, ["plms"], {}),
    ("UniPC", sd_samplers_timesteps_impl.unipc, ["unipc"], {}),
]
"""(name, solver, aliases, options), in the order of the menu."""


class CFGDenoiserTimesteps(CFGDenoiser):
    """Guidance over eps. Its sigma is the timestep."""

    def __init__(self, sampler: sd_samplers_common.Sampler):
        super().__init__(sampler)
        self.alphas = sampler.sd_model.alphas_cumprod
        self.mask_before_denoising = True

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        """Returns the clean latent that eps stands for. sigma: timesteps (B,)."""
        alpha = append_dims(self.alphas[sigma.long()], x_in.ndim)
        return (x_in - (1 - alpha).sqrt() * x_out) / alpha.sqrt()

    @property
    def inner_model(self) -> TimestepDenoiser:
        """The model in the wrapper of what it predicts. Raises InvalidInput for one that has no timesteps."""
        if self.model_wrap is None:
            model = self.sampler.sd_model
            wrapper = TIMESTEP_DENOISERS.get(model.parameterization)
            if wrapper is None:
                raise errors.InvalidInput(
                    f"{', '.join(row[0] for row in samplers_timesteps)} do not work with models that predict "
                    f"{model.parameterization!r}: choose a sampler over noise levels, like Euler",
                    "sampler_name",
                )
            self.model_wrap = wrapper(model)
        return self.model_wrap


class CompVisSampler(sd_samplers_common.Sampler):
    """Runs a solver over a part of the model's timesteps."""

    def __init__(self, funcname: Callable[..., Tensor], sd_model: Any):
        super().__init__(funcname)
        self.sd_model = sd_model
        self.eta_option_field = "eta_ddim"
        self.eta_infotext_field = "Eta DDIM"
        self.eta_default = 0.0
        self.model_wrap_cfg = CFGDenoiserTimesteps(self)
        self.model_wrap = self.model_wrap_cfg.inner_model

    def get_timesteps(self, p: Any, steps: int) -> Tensor:
        """Returns rising timesteps, evenly spaced from 1; more than steps of them where steps does not divide 1000."""
        discard = self.config.options.get("discard_next_to_last_sigma", False)
        if self.settings.always_discard_next_to_last_sigma and not discard:
            discard = True
            p.extra_generation_params["Discard penultimate sigma"] = True
        steps += 1 if discard else 0
        return (torch.arange(0, 1000, max(1000 // steps, 1)) + 1).clip(0, 999)

    def _solver_arguments(self, p: Any, timesteps: Tensor, is_img2img: bool) -> dict[str, Any]:
        """Returns the arguments of the solver beyond latent and prompts."""
        arguments = self.initialize(p)
        accepted = sd_samplers_common.parameters_of(self.func)
        offered = {
            "timesteps": timesteps,
            "is_img2img": is_img2img,
            "noise_sampler": lambda sigma, sigma_next: p.rng.next(),
        }
        return arguments | {name: value for name, value in offered.items() if name in accepted}

    def prepare_img2img(
        self, p: Any, x: Tensor, noise: Tensor, steps: int, t_enc: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Mixes latent and noise as the first timestep that is run says."""
        timesteps = self.get_timesteps(p, steps)
        alpha = self.sd_model.alphas_cumprod[timesteps[t_enc]]
        noisy = x * alpha.sqrt() + noise * (1 - alpha).sqrt()
        noisy = self.add_extra_noise(p, noise, x, noisy, scale=alpha.sqrt())
        return noisy, self._solver_arguments(p, timesteps[:t_enc], is_img2img=True)

    def prepare(self, p: Any, x: Tensor, steps: int) -> tuple[Tensor, dict[str, Any]]:
        """Takes the noise as it is."""
        return x, self._solver_arguments(p, self.get_timesteps(p, steps), is_img2img=False)


samplers_data_timesteps = [
    sd_samplers_common.SamplerData(label, lambda model, solver=solver: CompVisSampler(solver, model), aliases, options)
    for label, solver, aliases, options in samplers_timesteps
]

CompVisTimestepsDenoiser = TimestepDenoiser  # A1111 name
CompVisTimestepsVDenoiser = TimestepVDenoiser  # A1111 name
VanillaStableDiffusionSampler = CompVisSampler  # A1111 name
