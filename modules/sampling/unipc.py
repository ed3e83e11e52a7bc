"""pure: UniPC (Zhao et al. 2023, arXiv:2302.04867), a multistep predictor-corrector with data prediction.

Works in continuous time t in (0, 1]; coefficients are Python floats computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from modules.sampling.steps import Callback, ExtraArgs, Model, notify, whole_batch


class VPSchedule:
    """ln α(t), σ(t) and λ(t) = ln(α/σ) of a table ᾱ, linear in ln α between t = 1/N, 2/N, ... 1.

    The logarithm is taken in the type of the table.
    """

    def __init__(self, alphas_cumprod: Tensor):
        self.log_alphas = (0.5 * alphas_cumprod.log()).double().cpu().numpy()
        self.size = len(self.log_alphas)
        self.times = np.arange(1, self.size + 1) / self.size

    def log_alpha(self, t: float) -> float:
        """Returns ln α at time t."""
        return float(np.interp(t, self.times, self.log_alphas))

    def alpha(self, t: float) -> float:
        """Returns α at time t."""
        return math.exp(self.log_alpha(t))

    def sigma(self, t: float) -> float:
        """Returns σ = sqrt(1 - α²) at time t."""
        return math.sqrt(-math.expm1(2 * self.log_alpha(t)))

    def lamda(self, t: float) -> float:
        """Returns λ = ln(α / σ) at time t."""
        return self.log_alpha(t) - math.log(self.sigma(t))

    def time_of(self, lamda: float) -> float:
        """Returns the time at which λ has a value."""
        log_alpha = -0.5 * np.logaddexp(0.0, -2.0 * lamda)
        return float(np.interp(log_alpha, self.log_alphas[::-1], self.times[::-1]))


SKIP_TYPES = ("time_uniform", "time_quadratic", "logSNR")


def spaced_times(schedule: VPSchedule, skip_type: str, start: float, end: float, n: int) -> list[float]:
    """Returns n + 1 falling times: even in t ("time_uniform"), in √t ("time_quadratic") or in λ ("logSNR")."""
    if skip_type == "logSNR":
        return [schedule.time_of(lamda) for lamda in np.linspace(schedule.lamda(start), schedule.lamda(end), n + 1)]
    power = {"time_uniform": 1, "time_quadratic": 2}[skip_type]
    return (np.linspace(start ** (1 / power), end ** (1 / power), n + 1) ** power).tolist()


@dataclass(frozen=True)
class Corrections:
    """What a step adds to its first-order base: a factor per earlier model value for the predictor and the corrector.

    earlier: factors of D_1, D_2, ... ; last: factor of (m_t - m_0), used by the corrector only.
    """

    predictor: Sequence[float]
    corrector: Sequence[float]
    last: float


def bh_corrections(hh: float, ratios: Sequence[float], base: float) -> Corrections:
    """Variants bh1 and bh2: B(h) = base. ratios: r_1 .. r_(order-1) and a last 1."""
    order = len(ratios)
    r = np.array(ratios)
    matrix = np.stack([r**k for k in range(order)])
    g = math.expm1(hh) / hh - 1
    b = []
    for k in range(1, order + 1):
        b.append(g * math.factorial(k) / base)
        g = g / hh - 1 / math.factorial(k + 1)
    predictor = np.linalg.solve(matrix[:-1, :-1], b[:-1]) if order != 2 else np.array([0.5])
    corrector = np.linalg.solve(matrix, b) if order != 1 else np.array([0.5])
    return Corrections((base * predictor).tolist(), (base * corrector[:-1]).tolist(), base * float(corrector[-1]))


def vary_coeff_corrections(hh: float, ratios: Sequence[float]) -> Corrections:
    """Returns those of vary_coeff: from the inverse of C[j, k] = r_j^k / (k+1)!. ratios as in bh_corrections."""
    order = len(ratios)
    r = np.array(ratios)
    c = np.stack([r**k / math.factorial(k + 1) for k in range(order)], axis=1)
    phi = [math.expm1(hh)]
    for k in range(1, order + 1):
        phi.append(phi[-1] / hh - 1 / math.factorial(k))
    weights = np.array(phi[1:order])
    predictor = weights @ np.linalg.inv(c[:-1, :-1]) if order > 1 else np.array([])
    inverse = np.linalg.inv(c)
    corrector = weights @ inverse[: order - 1, : order - 1]
    # The reference code takes this row, not the last, for the newest value; images depend on it.
    row = max(order - 2, 0)
    return Corrections(predictor.tolist(), corrector.tolist(), phi[order] * float(inverse[row, order - 1]))


VARIANTS: dict[str, Callable[[float, Sequence[float]], Corrections]] = {
    "bh1": lambda hh, ratios: bh_corrections(hh, ratios, base=hh),
    "bh2": lambda hh, ratios: bh_corrections(hh, ratios, base=math.expm1(hh)),
    "vary_coeff": vary_coeff_corrections,
}


@torch.no_grad()
def sample_unipc(
    model: Model,
    x: Tensor,
    timesteps: Tensor,
    extra_args: ExtraArgs | None = None,
    callback: Callback | None = None,
    disable: bool | None = None,
    *,
    alphas_cumprod: Tensor,
    variant: str = "bh1",
    skip_type: str = "time_uniform",
    order: int = 3,
    lower_order_final: bool = True,
    is_img2img: bool = False,
) -> Tensor:
    """Samples with each step predicted from earlier model values, then corrected by the value at its end.

    model: returns eps for (x, timestep). timesteps: their number is the number of steps; is_img2img starts at the last
    of them, else at t = 1. variant: "bh1", "bh2" or "vary_coeff". order: at most the number of steps. Returns the
    latent at t = 1/1000, shape and dtype of x.
    """
    steps = len(timesteps)
    order = min(order, steps)
    schedule = VPSchedule(alphas_cumprod)
    ones, arguments = whole_batch(x, extra_args)
    corrections_of = VARIANTS[variant]

    def predict_x0(x: Tensor, t: float) -> Tensor:
        """Returns the clean latent the model predicts for x at time t."""
        eps = model(x, torch.tensor((t - 1 / schedule.size) * 1000.0) * ones, **arguments)
        return (x - schedule.sigma(t) * eps) / schedule.alpha(t)

    end = 1 / schedule.size
    start = float(timesteps[-1]) / 1000 + end if is_img2img and steps else 1.0
    times = spaced_times(schedule, skip_type, start, end, steps)
    known: list[tuple[float, Tensor]] = [(times[0], predict_x0(x, times[0]))] if steps else []  # newest first

    for step in trange(1, steps + 1, disable=disable):
        t = times[step]
        step_order = min(step, order)
        if lower_order_final and step >= order:
            step_order = min(order, steps + 1 - step)
        ratios, differences = earlier_values(schedule, t, known[:step_order])
        t_0, m_0 = known[0]
        hh = schedule.lamda(t_0) - schedule.lamda(t)
        alpha = schedule.alpha(t)
        corrections = corrections_of(hh, ratios)
        base = (schedule.sigma(t) / schedule.sigma(t_0)) * x - alpha * math.expm1(hh) * m_0
        x = base - alpha * weighted_sum(corrections.predictor, differences)
        if step < steps:
            m_t = predict_x0(x, t)
            x = base - alpha * (weighted_sum(corrections.corrector, differences) + corrections.last * (m_t - m_0))
            known = [(t, m_t), *known[: order - 1]]
        notify(callback, x, step - 1, 0, known[0][1])
    return x


def earlier_values(
    schedule: VPSchedule, t: float, known: list[tuple[float, Tensor]]
) -> tuple[list[float], list[Tensor]]:
    """Returns r_1, r_2, ..., 1 and D_1, D_2, ... of a step to t.

    r: where an earlier model value lies in λ, in units of this step; D: its divided difference to the newest. known:
    newest first.
    """
    (t_0, m_0), *older = known
    h = schedule.lamda(t) - schedule.lamda(t_0)
    ratios = [(schedule.lamda(t_i) - schedule.lamda(t_0)) / h for t_i, _ in older]
    differences = [(m_i - m_0) / r for (_, m_i), r in zip(older, ratios, strict=True)]
    return [*ratios, 1.0], differences


def weighted_sum(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor | float:
    """Returns the sum of weights[i] * tensors[i]."""
    return sum(weight * tensor for weight, tensor in zip(weights, tensors, strict=True))
