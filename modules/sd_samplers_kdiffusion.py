"""engine: samplers over noise levels: the table of k-diffusion's solvers and the adapter that runs them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from modules import devices, errors, sampling, sd_samplers_common, sd_samplers_extra, sd_schedulers
from modules.sampling.denoisers import SIGMA_DENOISERS, Denoiser, FlowDenoiser
from modules.sd_samplers_cfg_denoiser import CFGDenoiser

samplers_k_diffusion: list[tuple[str, str | Callable[..., Tensor], list[str], dict[str, Any]]] = [
    ("DPM++ 2M", "sample_dpmpp_2m", ["k_dpmpp_2m"], {"scheduler": "karras"}),
    (
        "DPM++ SDE",
        "sample_dpmpp_sde",
        ["k_dpmpp_sde"],
        {"scheduler": "karras", "second_order": True, "brownian_noise": True},
    ),
    ("DPM++ 2M SDE", "sample_dpmpp_2m_sde", ["k_dpmpp_2m_sde"], {"scheduler": "exponential", "brownian_noise": True}),
    (
        "DPM++ 2M SDE Heun",
        "sample_dpmpp_2m_sde",
        ["k_dpmpp_2m_sde_heun"],
        {"scheduler": "exponential", "brownian_noise": True, "solver_type": "heun"},
    ),
    (
        "DPM++ 2S a",
        "sample_dpmpp_2s_ancestral",
        ["k_dpmpp_2s_a"],
        {"scheduler": "karras", "uses_ensd": True, "second_order": True},
    ),
    (
        "DPM++ 3M SDE",
        "sample_dpmpp_3m_sde",
        ["k_dpmpp_3m_sde"],
        {"scheduler": "exponential", "discard_next_to_last_sigma": True, "brownian_noise": True},
    ),
    ("Euler a", "sample_euler_ancestral", ["k_euler_a", "k_euler_ancestral"], {"uses_ensd": True}),
    ("Euler", "sample_euler", ["k_euler"], {}),
    ("LMS", "sample_lms", ["k_lms"], {}),
    ("Heun", "sample_heun", ["k_heun"], {"second_order": True}),
    (
        "DPM2",
        "sample_dpm_2",
        ["k_dpm_2"],
        {"scheduler": "karras", "discard_next_to_last_sigma": True, "second_order": True},
    ),
    (
        "DPM2 a",
        "sample_dpm_2_ancestral",
        ["k_dpm_2_a"],
        {"scheduler": "karras", "discard_next_to_last_sigma": True, "uses_ensd": True, "second_order": True},
    ),
    ("DPM fast", "sample_dpm_fast", ["k_dpm_fast"], {"uses_ensd": True}),
    ("DPM adaptive", "sample_dpm_adaptive", ["k_dpm_ad"], {"uses_ensd": True}),
    ("Restart", sd_samplers_extra.restart_sampler, ["restart"], {"scheduler": "karras", "second_order": True}),
]
"""(name, solver or its name in modules.sampling, aliases, options), in the order of the menu."""

HIGHEST = 1.001
"""What the first level of a schedule may be of the highest one of the model: some schedules round."""

FIXED_NOISE = ("sample_euler_ancestral", "sample_dpm_adaptive", sd_samplers_extra.restart_sampler)
"""Solvers whose s_noise is always 1: it never came from the job, and images are to stay as they are."""


def solver_of(funcname: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns the solver of a row."""
    return funcname if callable(funcname) else getattr(sampling, funcname)


def churn_params(funcname: str | Callable[..., Tensor]) -> list[str]:
    """Returns those parameters of a solver that come from p, in the order of its signature."""
    accepted = inspect.signature(solver_of(funcname)).parameters
    return [] if funcname in FIXED_NOISE else [name for name in accepted if name in sd_samplers_common.S_PARAMS]


sampler_extra_params: dict[str | Callable[..., Tensor], list[str]] = {
    funcname: churn_params(funcname) for _, funcname, _, _ in samplers_k_diffusion if churn_params(funcname)
}
"""Which parameters of p a solver gets. Extensions add their solvers."""


class CFGDenoiserKDiffusion(CFGDenoiser):
    """Guidance over the denoised latent."""

    @property
    def inner_model(self) -> Denoiser:
        """The model in the wrapper of what it predicts."""
        if self.model_wrap is None:
            model = self.sampler.sd_model
            self.model_wrap = SIGMA_DENOISERS[model.parameterization](model, self.sampler.settings.enable_quantization)
        return self.model_wrap


class KDiffusionSampler(sd_samplers_common.Sampler):
    """Runs a solver over a schedule of noise levels."""

    denoiser_class: type[CFGDenoiser] = CFGDenoiserKDiffusion

    def __init__(self, funcname: str | Callable[..., Tensor], sd_model: Any, options: dict[str, Any] | None = None):
        super().__init__(funcname)
        self.sd_model = sd_model
        self.extra_params = sampler_extra_params.get(funcname, [])
        self.options = options or {}
        self.func = solver_of(funcname)
        self.model_wrap_cfg = self.denoiser_class(self)

    @functools.cached_property
    def model_wrap(self) -> Denoiser:
        """The wrapped model that the schedule is made for, also after a refiner took over."""
        return self.model_wrap_cfg.inner_model

    def get_sigmas(self, p: Any, steps: int) -> Tensor:
        """Returns the schedule of a pass, (steps + 1,) for most, on the CPU; records what the job or the settings
        chose.
        """
        discard = self.config.options.get("discard_next_to_last_sigma", False)
        if self.settings.always_discard_next_to_last_sigma and not discard:
            discard = True
            p.extra_generation_params["Discard penultimate sigma"] = True
        steps += 1 if discard else 0

        scheduler = self._scheduler(p)
        if p.sampler_noise_scheduler_override:
            sigmas = p.sampler_noise_scheduler_override(steps)
        elif scheduler is None or scheduler.function is None:
            sigmas = self.model_wrap.get_sigmas(steps)
        else:
            sigmas = scheduler.function(n=steps, **self._scheduler_arguments(p, scheduler), device=devices.cpu)
        if discard:
            sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
        if not torch.isfinite(sigmas).all():
            raise errors.InvalidInput(
                "The noise levels of the schedule are no numbers: put its settings (sigma_max, rho, beta_dist_alpha, "
                "beta_dist_beta) back, and use_downcasted_alpha_bar or Zero Terminal SNR off, which overflow together",
                "scheduler",
            )
        return sigmas.cpu()

    def _scheduler(self, p: Any) -> sd_schedulers.Scheduler | None:
        """Returns the schedule the job names, or for Automatic the sampler's own; None where neither is known."""
        name = (p.hr_scheduler if p.is_hr_pass else p.scheduler) or "Automatic"
        if name == "Automatic":
            name = self.config.options.get("scheduler")
        return sd_schedulers.schedulers_map.get(name)

    def _scheduler_arguments(self, p: Any, scheduler: sd_schedulers.Scheduler) -> dict[str, Any]:
        settings, recorded = self.settings, p.extra_generation_params
        if not p.is_hr_pass:
            recorded["Schedule type"] = scheduler.label
        elif scheduler.label != recorded.get("Schedule type"):
            recorded["Hires schedule type"] = scheduler.label

        table_min, table_max = self._sigma_range()
        sigma_min, sigma_max = (0.1, 10.0) if settings.use_old_karras_scheduler_sigmas else (table_min, table_max)
        arguments: dict[str, Any] = {"sigma_min": sigma_min, "sigma_max": sigma_max}
        if settings.sigma_min not in (0, table_min):
            arguments["sigma_min"] = recorded["Schedule min sigma"] = settings.sigma_min
        if settings.sigma_max not in (0, table_max):
            arguments["sigma_max"] = recorded["Schedule max sigma"] = settings.sigma_max
        if min(arguments.values()) <= 0:
            raise errors.InvalidInput("The settings sigma_min and sigma_max cannot be negative", "sigma_min")
        if scheduler.default_rho != -1 and settings.rho not in (0, scheduler.default_rho):
            arguments["rho"] = recorded["Schedule rho"] = settings.rho
        if scheduler.need_inner_model:
            arguments["inner_model"] = self.model_wrap
        for key, option in scheduler.recorded_options.items():
            recorded[key] = getattr(settings, option)
        return arguments

    def _sigma_range(self) -> tuple[float, float]:
        """Ends of the model's table."""
        return float(self.model_wrap.sigmas[0]), float(self.model_wrap.sigmas[-1])

    def _solver_arguments(self, p: Any, x: Tensor, whole: Tensor, **schedule: Any) -> dict[str, Any]:
        """Returns the arguments of the solver beyond latent and prompts.

        schedule: "sigmas" that are run, "sigma_min", "sigma_max", "n"; the solver gets what its signature names.
        whole: the schedule that sigmas are a part of.
        """
        arguments = self.initialize(p)
        accepted = sd_samplers_common.parameters_of(self.func)
        schedule["sigma_sched"] = schedule["sigmas"]
        arguments |= {name: value for name, value in schedule.items() if name in accepted}
        if self.config.options.get("brownian_noise", False):
            span = schedule["sigmas"] if self.settings.no_dpmpp_sde_batch_determinism else whole
            arguments["noise_sampler"] = self.create_noise_sampler(x, span, p)
        elif "noise_sampler" in accepted:
            arguments["noise_sampler"] = lambda sigma, sigma_next: p.rng.next()
        if "solver_type" in self.config.options:
            arguments["solver_type"] = self.config.options["solver_type"]
        if isinstance(self.model_wrap, FlowDenoiser):
            self._remark_on_flow(p, arguments, accepted, whole)
        return arguments

    def _remark_on_flow(self, p: Any, arguments: Mapping[str, Any], accepted: Collection[str], whole: Tensor) -> None:
        """Tells the job what a model of rectified flow was not trained for; it is done all the same, as in v1.10.1.

        Noise that is added on the way has to come with a weaker image there, which no solver here knows.
        """
        title = self.sd_model.family.title
        if "s_churn" in accepted:
            adds_noise = arguments.get("s_churn", 0) > 0
        else:
            adds_noise = "noise_sampler" in accepted and arguments.get("eta", 1) != 0
        if adds_noise:
            p.comment(
                f"{self.config.name} adds noise on the way as {title} does not know it, colours get too strong: choose "
                "Euler, Heun, LMS, DPM2 or DPM++ 2M without churn, or another sampler with an eta of 0"
            )
        if whole[0] > self._sigma_range()[1] * HIGHEST:
            p.comment(
                f"The schedule begins at a noise level of {float(whole[0]):.4g}, {title} knows none above 1: choose "
                "another schedule, and put the settings of noise levels back"
            )

    def prepare_img2img(
        self, p: Any, x: Tensor, noise: Tensor, steps: int, t_enc: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Lays the noise of the first level that is run over the latent."""
        sigmas = self.get_sigmas(p, steps)
        executed = sigmas[steps - t_enc - 1 :]
        noisy = self.model_wrap.add_noise(x, noise, executed[0])
        noisy = self.add_extra_noise(p, noise, x, noisy)

        # The last level is 0, where solvers that take the ends of the range cannot go.
        sigma_min, sigma_max, n = executed[-2], executed[0], len(executed) - 1
        schedule = {"sigmas": executed, "sigma_min": sigma_min, "sigma_max": sigma_max, "n": n}
        return noisy, self._solver_arguments(p, x, sigmas, **schedule)

    def prepare(self, p: Any, x: Tensor, steps: int) -> tuple[Tensor, dict[str, Any]]:
        """Scales the noise to the first level; by the setting as SGM does, unless noise is mixed in, as in flow."""
        sigmas = self.get_sigmas(p, steps)
        if self.settings.sgm_noise_multiplier and not isinstance(self.model_wrap, FlowDenoiser):
            p.extra_generation_params["SGM noise multiplier"] = True
            x = x * torch.sqrt(1.0 + sigmas[0] ** 2.0)
        else:
            x = x * sigmas[0]

        sigma_min, sigma_max = self._sigma_range()
        schedule = {"sigmas": sigmas, "sigma_min": sigma_min, "sigma_max": sigma_max, "n": steps}
        return x, self._solver_arguments(p, x, sigmas, **schedule)


samplers_data_k_diffusion = [
    sd_samplers_common.SamplerData(
        label, lambda model, funcname=funcname: KDiffusionSampler(funcname, model), aliases, options
    )
    for label, funcname, aliases, options in samplers_k_diffusion
]

k_diffusion_samplers_map = {x.name: x for x in samplers_data_k_diffusion}
k_diffusion_scheduler = {x.name: x.function for x in sd_schedulers.schedulers}
