"""engine: what all samplers share: their rows and base class, the settings of a pass, img2img steps, previews, refiner.

A sampler adapts a job `p` and the settings to a pure solver. It knows neither families of solvers, which are its
subclasses, nor the list of samplers, which sd_samplers keeps.
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from modules import devices, errors, latents, rng, script_callbacks, sd_models, shared, shared_items
from modules.sampling.noise import BrownianTreeNoiseSampler
from modules.shared import opts, state

if TYPE_CHECKING:
    from modules.options import Options
    from modules.sd_samplers_cfg_denoiser import CFGDenoiser

logger = logging.getLogger(__name__)


class InterruptedException(BaseException):
    """Ends sampling; the sampler then returns what it has. No Exception, so that handlers of errors let it pass."""


@functools.cache
def parameters_of(solver: Callable) -> Mapping[str, inspect.Parameter]:
    """Returns the parameters of a solver by name."""
    return inspect.signature(solver).parameters


class SamplerData(NamedTuple):
    """A row of the list of samplers.

    constructor(model) makes the Sampler. options: "scheduler" (name of its own schedule), "discard_next_to_last_sigma",
    "uses_ensd", "second_order" (two calls of the model per step), "brownian_noise", "solver_type", "no_sdxl".
    """

    name: str
    constructor: Callable[[Any], Sampler] | None
    aliases: list[str]
    options: dict[str, Any]

    def total_steps(self, steps: int) -> int:
        """Returns the calls of the model for a number of steps."""
        return steps * 2 if self.options.get("second_order", False) else steps


@dataclass(frozen=True)
class SamplerSettings:
    """What one pass over a sampler takes from the settings. The names are those of the options.

    eta: of the option that the sampler names, as samplers differ in it.
    """

    always_discard_next_to_last_sigma: bool
    batch_cond_uncond: bool
    beta_dist_alpha: float
    beta_dist_beta: float
    enable_quantization: bool
    eta: float
    hires_fix_refiner_pass: str
    img2img_extra_noise: float
    img2img_fix_steps: bool
    live_preview_content: str
    no_dpmpp_sde_batch_determinism: bool
    pad_cond_uncond: bool
    pad_cond_uncond_v0: bool
    refiner_switch_by_sample_steps: bool
    rho: float
    s_churn: float
    s_min_uncond_all: bool
    s_noise: float
    s_tmax: float
    s_tmin: float
    sgm_noise_multiplier: bool
    sigma_max: float
    sigma_min: float
    skip_early_cond: float
    uni_pc_lower_order_final: bool
    uni_pc_order: int
    uni_pc_skip_type: str
    uni_pc_variant: str
    use_old_karras_scheduler_sigmas: bool

    @classmethod
    def from_opts(cls, options: Options, eta_option: str = "eta_ancestral") -> SamplerSettings:
        """Takes the values that hold now."""
        names = {field.name: field.name for field in fields(cls)} | {"eta": eta_option}
        return cls(**{name: getattr(options, option) for name, option in names.items()})


@dataclass(frozen=True)
class PreviewSettings:
    """What previews that are decoded while sampling take from the settings."""

    live_previews_enable: bool
    show_progress_every_n_steps: int

    @classmethod
    def from_opts(cls, options: Options) -> PreviewSettings:
        """Takes the values that hold now."""
        return cls(options.live_previews_enable, options.show_progress_every_n_steps)


def setup_img2img_steps(p: Any, steps: int | None = None) -> tuple[int, int]:
    """Returns what `img2img_steps` does, with the setting img2img_fix_steps as it is now."""
    return img2img_steps(p, steps, SamplerSettings.from_opts(opts).img2img_fix_steps)


def img2img_steps(p: Any, steps: int | None, fix_steps: bool) -> tuple[int, int]:
    """Returns (steps of the whole schedule, index t_enc of the last step taken): the last t_enc + 1 of them run.

    steps: how many of them are wanted, for the hires pass; else p.steps are those of the whole schedule, with fix_steps
    those wanted. Raises InvalidInput for a negative denoising_strength.
    """
    strength = p.denoising_strength
    if strength < 0:
        raise errors.InvalidInput(f"denoising_strength is {strength}: give a value from 0 to 1", "denoising_strength")
    strength = min(strength, 0.999)
    if fix_steps or steps is not None:
        wanted = steps or p.steps
        return (int(wanted / strength) if strength > 0 else 0), wanted - 1
    return p.steps, int(strength * p.steps)


def store_latent(decoded: Tensor) -> None:
    """Offers a denoised latent (B, C, h, w) for previews; decodes its first image where no other thread may."""
    state.current_latent = decoded
    if shared.parallel_processing_allowed:
        return
    settings = PreviewSettings.from_opts(opts)
    every_n_steps = settings.show_progress_every_n_steps
    if settings.live_previews_enable and every_n_steps > 0 and state.sampling_step % every_n_steps == 0:
        state.assign_current_image(latents.sample_to_image(decoded))


def is_sampler_using_eta_noise_seed_delta(p: Any) -> bool:
    """Tells whether the setting eta_noise_seed_delta changes what a job makes, and so belongs in infotext."""
    config = shared_items.find_sampler(p.sampler_name)
    eta = p.eta
    if eta is None and p.sampler is not None:
        eta = p.sampler.eta
    return eta != 0 and config is not None and config.options.get("uses_ensd", False)


def apply_refiner(cfg_denoiser: CFGDenoiser, sigma: Tensor | None = None) -> bool:
    """Switches to the refiner checkpoint of the job once enough of the image is done; tells whether it did.

    sigma: noise levels (B,) of this call, or timesteps of samplers that have those; None counts by steps.
    """
    p, settings = cfg_denoiser.p, cfg_denoiser.sampler.settings
    by_steps = settings.refiner_switch_by_sample_steps or sigma is None
    if by_steps:
        p.extra_generation_params["Refiner switch by sampling steps"] = True

    info = p.refiner_checkpoint_info
    if info is None or shared.sd_model.sd_checkpoint_info == info:
        return False
    if p.refiner_switch_at is not None:
        done = cfg_denoiser.step / cfg_denoiser.total_steps if by_steps else completed_ratio(cfg_denoiser, sigma)
        if done < p.refiner_switch_at:
            return False
    if getattr(p, "enable_hr", False):
        only_pass = settings.hires_fix_refiner_pass
        if only_pass == ("first pass" if p.is_hr_pass else "second pass"):
            return False
        if only_pass != "second pass":
            p.extra_generation_params["Hires refiner"] = only_pass

    before = shared.sd_model
    with sd_models.SkipWritingToConfig():
        sd_models.reload_model_weights(info=info)
    latents.check_readable(before, shared.sd_model, "refiner_checkpoint")
    devices.torch_gc()
    p.extra_generation_params["Refiner"] = info.short_title  # its hash is known now
    p.extra_generation_params["Refiner switch at"] = p.refiner_switch_at
    p.setup_conds()
    cfg_denoiser.update_inner_model()
    return True


def completed_ratio(cfg_denoiser: CFGDenoiser, sigma: Tensor) -> float:
    """Returns how much of the way from timestep 999 to 0 is done at a noise level, or at a timestep."""
    highest = sigma.max()
    table = getattr(cfg_denoiser.inner_model, "sigmas", None)
    timestep = highest if table is None else (table.to(sigma.device) - highest).abs().argmin()
    return (999 - int(timestep)) / 1000


S_PARAMS = {"s_churn": "Sigma churn", "s_tmin": "Sigma tmin", "s_tmax": "Sigma tmax", "s_noise": "Sigma noise"}
"""Parameters of churn, with their infotext keys."""


class Sampler:
    """Base of the adapters: a solver `func`, its row `config`, and one pass over it at a time.

    extra_params: names of parameters of func that are taken from p. eta: of the running pass. last_latent: newest
    prediction of the clean latent, which is the result if the pass is ended early. s_churn, s_tmin, s_tmax and s_noise
    are the neutral values: a setting that differs from them overrides the request. sampler_extra_args: what each call
    of the denoiser gets.
    """

    model_wrap_cfg: CFGDenoiser
    sampler_extra_args: dict[str, Any]

    def __init__(self, funcname: str | Callable[..., Tensor]):
        self.funcname = funcname
        self.func: Any = funcname
        self.extra_params: list[str] = []
        self.stop_at: int | None = None
        self.eta: float | None = None
        self.config = SamplerData("", None, [], {})
        self.options: dict[str, Any] = {}
        self.last_latent: Tensor | None = None
        self.p: Any = None
        self.s_min_uncond = 0.0
        self.s_churn = 0.0
        self.s_tmin = 0.0
        self.s_tmax = math.inf
        self.s_noise = 1.0
        self.eta_option_field = "eta_ancestral"
        self.eta_infotext_field = "Eta"
        self.eta_default = 1.0

    @functools.cached_property
    def settings(self) -> SamplerSettings:
        """The settings of the running pass. Each pass begins with new ones; asked before, they are those of now."""
        return SamplerSettings.from_opts(opts, self.eta_option_field)

    def callback_state(self, d: dict[str, Any]) -> None:
        """Counts a step; solvers call it at each. d: x, i, sigma, sigma_hat, denoised."""
        step = d["i"]
        if self.stop_at is not None and step > self.stop_at:
            raise InterruptedException
        state.sampling_step = step
        shared.total_tqdm.update()

    def launch_sampling(self, steps: int, func: Callable[[], Tensor]) -> Tensor:
        """Runs func, which takes that many steps; if it is interrupted, the last latent is the result."""
        self.model_wrap_cfg.steps = steps
        self.model_wrap_cfg.total_steps = self.config.total_steps(steps)
        state.sampling_steps = steps
        state.sampling_step = 0
        try:
            return func()
        except RecursionError:
            logger.warning("Noise levels too far apart for Brownian noise: lower rho. Returning the last latent")
        except InterruptedException:
            pass
        return self.last_latent

    def initialize(self, p: Any) -> dict[str, Any]:
        """Prepares for a pass of job p and returns the arguments of func that come from the job and the settings."""
        self.p = p
        self.model_wrap_cfg.p = p
        self.model_wrap_cfg.mask = getattr(p, "mask", None)
        self.model_wrap_cfg.nmask = getattr(p, "nmask", None)
        self.model_wrap_cfg.step = 0
        self.model_wrap_cfg.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.eta = p.eta if p.eta is not None else self.settings.eta
        self.s_min_uncond = getattr(p, "s_min_uncond", None) or 0.0

        accepted = parameters_of(self.func)
        arguments = {}
        if "eta" in accepted:
            if self.eta != self.eta_default:
                p.extra_generation_params[self.eta_infotext_field] = self.eta
            arguments["eta"] = self.eta
        for name in self.extra_params:
            if name in accepted and hasattr(p, name):
                arguments[name] = self._s_param(p, name) if name in S_PARAMS else getattr(p, name)
        return arguments

    def _s_param(self, p: Any, name: str) -> float:
        """Returns a parameter of churn: the job's, unless the setting is not neutral."""
        neutral = getattr(self, name)
        setting = getattr(self.settings, name)
        if name == "s_tmax":
            setting = setting or math.inf
        if setting != neutral:
            setattr(p, name, setting)
            p.extra_generation_params[S_PARAMS[name]] = setting
        value = getattr(p, name)
        return neutral if value is None else value

    def create_noise_sampler(self, x: Tensor, sigmas: Tensor, p: Any) -> BrownianTreeNoiseSampler:
        """Returns Brownian noise over a schedule: a path for each image, from its seed alone.

        With the setting no_dpmpp_sde_batch_determinism one path for the whole batch, seeded from torch's generator.
        """
        if self.settings.no_dpmpp_sde_batch_determinism:
            seeds: int | list[int] = int(torch.randint(0, 2**63 - 1, []))
        else:
            seeds = p.all_seeds[p.iteration * p.batch_size : (p.iteration + 1) * p.batch_size]
        return BrownianTreeNoiseSampler(x, sigmas[sigmas > 0].min(), sigmas.max(), seeds, rng.randn_local)

    def sample(
        self,
        p: Any,
        x: Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Tensor | None = None,
    ) -> Tensor:
        """Makes a latent from unit Gaussian noise x (B, C, h, w) in p.steps steps, or in steps."""
        self.settings = SamplerSettings.from_opts(opts, self.eta_option_field)
        steps = steps or p.steps
        noisy, arguments = self.prepare(p, x, steps)
        self.last_latent = noisy
        conditions = (conditioning, unconditional_conditioning, image_conditioning)
        samples = self.launch_sampling(steps, self.solver_call(p, noisy, arguments, *conditions))
        self.add_infotext(p)
        return samples

    def sample_img2img(
        self,
        p: Any,
        x: Tensor,
        noise: Tensor,
        conditioning: Any,
        unconditional_conditioning: Any,
        steps: int | None = None,
        image_conditioning: Tensor | None = None,
    ) -> Tensor:
        """Lays noise over the latent x (B, C, h, w) and denoises it; how much, setup_img2img_steps(p, steps) says."""
        self.settings = SamplerSettings.from_opts(opts, self.eta_option_field)
        steps, t_enc = img2img_steps(p, steps, self.settings.img2img_fix_steps)
        if steps == 0:
            return x
        noisy, arguments = self.prepare_img2img(p, x, noise, steps, t_enc)
        self.model_wrap_cfg.init_latent = x
        self.last_latent = x
        conditions = (conditioning, unconditional_conditioning, image_conditioning)
        samples = self.launch_sampling(t_enc + 1, self.solver_call(p, noisy, arguments, *conditions))
        self.add_infotext(p)
        return samples

    def prepare(self, p: Any, x: Tensor, steps: int) -> tuple[Tensor, dict[str, Any]]:
        """Returns the latent to start from, made of unit Gaussian noise x, and the arguments of func for its steps."""
        raise NotImplementedError

    def prepare_img2img(
        self, p: Any, x: Tensor, noise: Tensor, steps: int, t_enc: int
    ) -> tuple[Tensor, dict[str, Any]]:
        """Returns the noisy latent to start from, made of the latent x, and the arguments of func.

        steps: of the whole schedule, of which the last t_enc + 1 run.
        """
        raise NotImplementedError

    def add_extra_noise(self, p: Any, noise: Tensor, x: Tensor, noisy: Tensor, scale: Tensor | float = 1.0) -> Tensor:
        """Returns the noisy latent and the noise that img2img_extra_noise adds; callbacks may replace it."""
        strength = self.settings.img2img_extra_noise
        if strength <= 0:
            return noisy
        p.extra_generation_params["Extra noise"] = strength
        params = script_callbacks.ExtraNoiseParams(noise, x, noisy)
        script_callbacks.extra_noise_callback(params)
        return noisy + params.noise * strength * scale

    def solver_call(
        self, p: Any, x: Tensor, arguments: dict[str, Any], cond: Any, uncond: Any, image_cond: Any
    ) -> Callable[[], Tensor]:
        """Returns the solver with all it needs to go from the noisy latent x."""
        self.sampler_extra_args = {
            "cond": cond,
            "image_cond": image_cond,
            "uncond": uncond,
            "cond_scale": p.cfg_scale,
            "s_min_uncond": self.s_min_uncond,
        }
        return functools.partial(
            self.func,
            self.model_wrap_cfg,
            x,
            extra_args=self.sampler_extra_args,
            disable=shared.cmd_opts.disable_console_progressbars,
            callback=self.callback_state,
            **arguments,
        )

    def add_infotext(self, p: Any) -> None:
        """Records what the denoiser did in its last call."""
        if self.model_wrap_cfg.padded_cond_uncond:
            p.extra_generation_params["Pad conds"] = True
        if self.model_wrap_cfg.padded_cond_uncond_v0:
            p.extra_generation_params["Pad conds v0"] = True


from modules.latents import (  # noqa: E402, F401  # A1111 names
    approximation_indexes,
    decode_first_stage,
    images_tensor_to_samples,
    sample_to_image,
    samples_to_image_grid,
    samples_to_images_tensor,
    single_sample_to_image,
)
