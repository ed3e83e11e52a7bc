"""engine: the registry of sigma schedules: what the menu shows, how a schedule is called, what it writes into infotext.

The maths is in `sampling.schedules`; here stand the rows, and the two schedules that depend on the model or on
settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from modules import shared
from modules.sampling.denoisers import DiscreteSchedule
from modules.sampling.schedules import (
    AYS_SD15,
    AYS_SDXL,
    align_your_steps,
    beta_quantiles,
    ddim_scheduler,
    get_sigmas_exponential,
    get_sigmas_karras,
    get_sigmas_polyexponential,
    kl_optimal,
    normal_scheduler,
    sgm_uniform,
    simple_scheduler,
    uniform,
)

if TYPE_CHECKING:
    from modules.options import Options


@dataclass
class Scheduler:
    """A schedule: function(n, sigma_min, sigma_max, device, ...) -> (n + 1,) falling levels; None decides nothing.

    default_rho: -1 if the function takes no rho. need_inner_model: pass the wrapped model as inner_model. aliases:
    further names in `Sampler name <alias>`. recorded_options: infotext key -> field of SamplerSettings, written each
    time.
    """

    name: str
    label: str
    function: Callable[..., Tensor] | None
    default_rho: float = -1
    need_inner_model: bool = False
    aliases: list[str] | None = None
    recorded_options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BetaSettings:
    """What the beta schedule takes from the settings: the two parameters of the distribution."""

    beta_dist_alpha: float
    beta_dist_beta: float

    @classmethod
    def from_opts(cls, options: Options) -> BetaSettings:
        """Takes the values that hold now."""
        return cls(options.beta_dist_alpha, options.beta_dist_beta)


def get_align_your_steps_sigmas(n: int, sigma_min: float, sigma_max: float, device: torch.device) -> Tensor:
    """Returns the table made for the family of the current model, whatever the range."""
    return align_your_steps(n, AYS_SDXL if shared.sd_model.is_sdxl else AYS_SD15, device)


def beta_scheduler(
    n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: torch.device
) -> Tensor:
    """Returns quantiles of the distribution that the settings beta_dist_alpha and beta_dist_beta describe."""
    settings = BetaSettings.from_opts(shared.opts)
    return beta_quantiles(n, sigma_min, sigma_max, settings.beta_dist_alpha, settings.beta_dist_beta, device)


BETA_OPTIONS = {"Beta schedule alpha": "beta_dist_alpha", "Beta schedule beta": "beta_dist_beta"}

schedulers: list[Scheduler] = [
    Scheduler("automatic", "Automatic", None),
    Scheduler("uniform", "Uniform", uniform, need_inner_model=True),
    Scheduler("karras", "Karras", get_sigmas_karras, default_rho=7.0),
    Scheduler("exponential", "Exponential", get_sigmas_exponential),
    Scheduler("polyexponential", "Polyexponential", get_sigmas_polyexponential, default_rho=1.0),
    Scheduler("sgm_uniform", "SGM Uniform", sgm_uniform, need_inner_model=True, aliases=["SGMUniform"]),
    Scheduler("kl_optimal", "KL Optimal", kl_optimal),
    Scheduler("align_your_steps", "Align Your Steps", get_align_your_steps_sigmas),
    Scheduler("simple", "Simple", simple_scheduler, need_inner_model=True),
    Scheduler("normal", "Normal", normal_scheduler, need_inner_model=True),
    Scheduler("ddim", "DDIM", ddim_scheduler, need_inner_model=True),
    Scheduler("beta", "Beta", beta_scheduler, need_inner_model=True, recorded_options=BETA_OPTIONS),
]
"""In the order of the menu. Extensions append to it and to schedulers_map."""

schedulers_map: dict[str, Scheduler] = {x.name: x for x in schedulers} | {x.label: x for x in schedulers}


def find(text: str) -> Scheduler | None:
    """Returns the schedule that a text typed for it means, by label, name or alias in any letter case."""
    wanted = text.strip().lower()
    return next((x for x in schedulers if wanted in [name.lower() for name in names_of(x)]), None)


def names_of(scheduler: Scheduler) -> list[str]:
    """Returns everything a schedule is called: label, name and aliases."""
    return [scheduler.label, scheduler.name, *(scheduler.aliases or [])]


from modules.sampling.steps import to_d  # noqa: E402, F401  # A1111 name
