"""pure: sigma schedules: from the number of steps, at least 1, and the ends of the range to (n + 1,) falling levels.

The last level is 0 unless a schedule says otherwise. Those that follow the timesteps of a model also take
`inner_model`, a wrapper of `denoisers`. `device` is where the levels are put; solvers want them on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from modules.sampling.steps import append_zero

if TYPE_CHECKING:
    from modules.sampling.denoisers import DiscreteSchedule

Device = torch.device | str


def get_sigmas_karras(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0, device: Device = "cpu") -> Tensor:
    """Returns even steps in σ^(1/ρ): equation 5 of Karras et al. 2022 (arXiv:2206.00364)."""
    ramp = torch.linspace(0, 1, n, device=device)
    min_inv_rho = sigma_min ** (1 / rho)
    max_inv_rho = sigma_max ** (1 / rho)
    return append_zero((max_inv_rho + ramp * (min_inv_rho - max_inv_rho)) ** rho)


def get_sigmas_exponential(n: int, sigma_min: float, sigma_max: float, device: Device = "cpu") -> Tensor:
    """Returns even steps in ln σ."""
    return append_zero(torch.linspace(math.log(sigma_max), math.log(sigma_min), n, device=device).exp())


def get_sigmas_polyexponential(
    n: int, sigma_min: float, sigma_max: float, rho: float = 1.0, device: Device = "cpu"
) -> Tensor:
    """Returns steps in ln σ along a ramp to the power of rho; rho 1 is the exponential schedule."""
    ramp = torch.linspace(1, 0, n, device=device) ** rho
    return append_zero(torch.exp(ramp * (math.log(sigma_max) - math.log(sigma_min)) + math.log(sigma_min)))


def uniform(n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: Device) -> Tensor:
    """Returns even timesteps over the whole table of the model, whatever the range."""
    return inner_model.get_sigmas(n).to(device)


def sgm_uniform(n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: Device) -> Tensor:
    """Returns even timesteps over the range without its lower end, as Stability AI's generative-models take them."""
    return _levels_at(_timesteps(n + 1, sigma_min, sigma_max, inner_model)[:-1], inner_model, device)


def normal_scheduler(
    n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: Device
) -> Tensor:
    """Returns even timesteps over the range, both ends included."""
    return _levels_at(_timesteps(n, sigma_min, sigma_max, inner_model), inner_model, device)


def simple_scheduler(
    n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: Device
) -> Tensor:
    """Returns every (table length / n)-th level of the model's table, counted from its noisy end."""
    table = inner_model.sigmas.tolist()
    stride = len(table) / n
    return _schedule([table[-1 - int(i * stride)] for i in range(n)], device)


def ddim_scheduler(n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule, device: Device) -> Tensor:
    """Levels 1, 1 + s, 1 + 2s, ... of the model's table, s = table length // n: more than n if a rest is left."""
    table = inner_model.sigmas.tolist()
    stride = max(len(table) // n, 1)
    return _schedule(table[1::stride][::-1], device)


def kl_optimal(n: int, sigma_min: float, sigma_max: float, device: Device) -> Tensor:
    """Returns even steps in arctan σ (Sabour et al. 2024, arXiv:2404.14507). Ends at sigma_min, without a 0."""
    alpha_min = torch.arctan(torch.tensor(sigma_min, device=device))
    alpha_max = torch.arctan(torch.tensor(sigma_max, device=device))
    ramp = torch.arange(n + 1, device=device) / n
    return torch.tan(ramp * alpha_min + (1.0 - ramp) * alpha_max)


AYS_SD15 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
AYS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)


def align_your_steps(n: int, table: Sequence[float] = AYS_SD15, device: Device = "cpu") -> Tensor:
    """Returns a table made for a family of models, interpolated in ln σ to n levels (Sabour et al. 2024,
    arXiv:2404.14507).
    """
    if n != len(table):
        rising = np.log(table[::-1])
        positions = np.linspace(0, 1, len(table))
        table = np.exp(np.interp(np.linspace(0, 1, n), positions, rising))[::-1].tolist()
    return _schedule(table, device)


def beta_quantiles(
    n: int, sigma_min: float, sigma_max: float, alpha: float = 0.6, beta: float = 0.6, device: Device = "cpu"
) -> Tensor:
    """Quantiles of a Beta(alpha, beta) distribution over the range of σ, after Lee et al. 2024 (arXiv:2407.12173).

    Parameters below 1 crowd the steps at both ends.
    """
    from scipy.special import betaincinv

    quantiles = betaincinv(alpha, beta, 1 - np.linspace(0, 1, n))
    return _schedule((sigma_min + quantiles * (sigma_max - sigma_min)).tolist(), device)


def _timesteps(n: int, sigma_min: float, sigma_max: float, inner_model: DiscreteSchedule) -> Tensor:
    """Returns n even timesteps from that of sigma_max to that of sigma_min."""
    start = inner_model.sigma_to_t(torch.tensor(sigma_max))
    end = inner_model.sigma_to_t(torch.tensor(sigma_min))
    return torch.linspace(float(start), float(end), n)


def _levels_at(timesteps: Tensor, inner_model: DiscreteSchedule, device: Device) -> Tensor:
    return _schedule([float(inner_model.t_to_sigma(t)) for t in timesteps], device)


def _schedule(levels: Sequence[float], device: Device) -> Tensor:
    return torch.tensor([*levels, 0.0], dtype=torch.float32, device=device)
