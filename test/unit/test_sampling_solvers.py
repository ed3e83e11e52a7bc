"""Solvers over noise levels: against the golden trajectories, and against the exact solution for a Gaussian."""

import math

import pytest
import torch

from modules import sampling
from modules.sampling.dpm import StepSize
from modules.sampling.lms import linear_multistep_coeff
from modules.sampling.restart import plan_restarts, restart_steps
from test.unit.sampling_oracles import VECTORS, Gaussian, Toy, error

SOLVERS = {
    "Euler": sampling.sample_euler,
    "Euler a": sampling.sample_euler_ancestral,
    "Heun": sampling.sample_heun,
    "DPM2": sampling.sample_dpm_2,
    "DPM2 a": sampling.sample_dpm_2_ancestral,
    "LMS": sampling.sample_lms,
    "DPM++ 2S a": sampling.sample_dpmpp_2s_ancestral,
    "DPM++ 2M": sampling.sample_dpmpp_2m,
    "DPM++ SDE": sampling.sample_dpmpp_sde,
    "DPM++ 2M SDE": sampling.sample_dpmpp_2m_sde,
    "DPM++ 2M SDE Heun": sampling.sample_dpmpp_2m_sde,
    "DPM++ 3M SDE": sampling.sample_dpmpp_3m_sde,
    "DPM fast": sampling.sample_dpm_fast,
    "DPM adaptive": sampling.sample_dpm_adaptive,
    "Restart": sampling.sample_restart,
    "LCM": sampling.sample_lcm,
}
DETERMINISTIC = ("LMS", "DPM++ 2M")


def karras(n: int, sigma_min: float = 0.1, sigma_max: float = 10.0) -> torch.Tensor:
    return sampling.get_sigmas_karras(n, sigma_min, sigma_max).double()


@pytest.mark.parametrize("row", VECTORS["sigma_samplers"], ids=lambda row: f"{row['sampler']} {row['args']}")
def test_follows_the_golden_trajectory(row):
    toy = Toy()
    name, _, note = row["sampler"].partition(" (")
    steps = int(note.split()[0]) if name == "Restart" else 8
    arguments = dict(row["args"])
    if "sigma_min" in arguments:
        for end in ("sigma_min", "sigma_max"):
            arguments[end] = torch.tensor(arguments[end], dtype=torch.float64)
    else:
        arguments["sigmas"] = karras(steps)
    if name not in DETERMINISTIC:
        arguments["noise_sampler"] = toy.noise

    x = SOLVERS[name](toy.denoise, 10 * toy.start, **arguments)

    assert toy.calls == pytest.approx(row["calls"], rel=1e-4)
    assert toy.draws == row["draws"]
    assert x.flatten().tolist() == pytest.approx(row["x"], rel=1e-5, abs=1e-6)


ORDERS = {
    "Euler": (1, {}),
    "Heun": (2, {}),
    "DPM2": (2, {}),
    "LMS": (3, {}),
    "DPM++ 2M": (2, {}),
    "DPM++ 2S a": (2, {"eta": 0.0}),
    "Euler a": (1, {"eta": 0.0}),
    "DPM2 a": (2, {"eta": 0.0}),
    "DPM++ SDE": (2, {"eta": 0.0}),
    "DPM++ 2M SDE": (2, {"eta": 0.0}),
    "DPM++ 2M SDE Heun": (2, {"eta": 0.0, "solver_type": "heun"}),
    "DPM++ 3M SDE": (3, {"eta": 0.0}),
}


@pytest.mark.parametrize("name", ORDERS)
def test_converges_to_the_exact_solution_with_the_order_of_the_method(name):
    order, arguments = ORDERS[name]
    data = Gaussian()
    x = torch.tensor([-9.0, 2.0, 0.3, 11.0], dtype=torch.float64).view(1, 1, 2, 2)
    exact = data.solution(x, 10.0, 0.5)

    def error_with(steps: int) -> float:
        sigmas = torch.exp(torch.linspace(math.log(10.0), math.log(0.5), steps + 1, dtype=torch.float64))
        return error(SOLVERS[name](data.denoise, x, sigmas, **arguments), exact)

    coarse, fine = error_with(40), error_with(80)
    assert fine < 0.02
    assert math.log2(coarse / fine) > order - 0.35


@pytest.mark.parametrize("n", [1, 2, 3, 4, 20, 21])
def test_dpm_fast_takes_the_calls_it_was_given(n):
    calls = []
    data = Gaussian()
    x = torch.full((1, 1, 1, 1), 8.0, dtype=torch.float64)

    def denoise(x, sigma):
        calls.append(float(sigma[0]))
        return data.denoise(x, sigma)

    result = sampling.sample_dpm_fast(denoise, x, torch.tensor(0.1), torch.tensor(10.0), n)
    assert len(calls) == n
    assert error(result, data.solution(x, 10.0, 0.1)) < (0.01 if n >= 20 else 2.0)


def test_dpm_adaptive_meets_its_tolerance():
    data = Gaussian()
    x = torch.full((1, 1, 1, 1), 8.0, dtype=torch.float64)
    result = sampling.sample_dpm_adaptive(data.denoise, x, 0.1, 10.0, rtol=1e-3, atol=1e-4)
    assert error(result, data.solution(x, 10.0, 0.1)) < 1e-3


def test_dpm_adaptive_ends_when_the_model_returns_nan():
    x = torch.ones(1, 1, 1, 1)
    result = sampling.sample_dpm_adaptive(lambda x, sigma: x * math.nan, x, 0.1, 10.0)
    assert torch.isnan(result).all()


def test_step_size_shrinks_after_a_large_error_and_grows_after_a_small_one():
    size = StepSize(0.1, order=3)
    assert not size.accepts(8.0)
    assert size.h < 0.1
    shrunk = size.h
    assert size.accepts(0.1)
    assert size.h > shrunk


STOCHASTIC = {
    "Euler": (0.10, {"s_churn": 40.0}),
    "Euler a": (0.06, {}),
    "DPM2 a": (0.02, {}),
    "DPM++ 2S a": (0.02, {}),
    "DPM++ SDE": (0.06, {}),
    "DPM++ 2M SDE": (0.02, {}),
    "DPM++ 3M SDE": (0.02, {}),
    "Restart": (0.02, {}),
}
"""Solver -> (relative error of the std at 60 steps, arguments)."""


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samples_have_mean_and_std_of_the_data(name):
    data = Gaussian(mean=0.4, std=0.7)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 1, 100, 100, generator=generator, dtype=torch.float64) * 10.0 + data.mean

    def noise(sigma, sigma_next):
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)

    tolerance, arguments = STOCHASTIC[name]
    samples = SOLVERS[name](data.denoise, x, karras(60, 0.01), noise_sampler=noise, **arguments)
    assert float(samples.mean()) == pytest.approx(data.mean, abs=0.02)
    assert float(samples.std()) == pytest.approx(data.std, rel=tolerance + 0.01)


@pytest.mark.parametrize("name", [name for name in SOLVERS if not name.startswith("DPM ")])
def test_one_step_to_zero_gives_the_prediction(name):
    data = Gaussian()
    x = torch.full((2, 1, 2, 2), 3.0)
    arguments = {} if name in DETERMINISTIC else {"noise_sampler": lambda a, b: torch.ones_like(x)}
    result = SOLVERS[name](data.denoise, x, torch.tensor([5.0, 0.0]), **arguments)
    assert result == pytest.approx(data.denoise(x, torch.tensor([5.0, 5.0])))


@pytest.mark.parametrize("name", [name for name in SOLVERS if not name.startswith("DPM ")])
def test_an_empty_schedule_returns_the_latent(name):
    x = torch.full((1, 1, 2, 2), 3.0)
    arguments = {} if name in DETERMINISTIC else {"noise_sampler": lambda a, b: torch.ones_like(x)}
    assert SOLVERS[name](Gaussian().denoise, x, torch.tensor([0.0]), **arguments) is x


@pytest.mark.parametrize("name", SOLVERS)
def test_tells_the_callback_of_every_step(name):
    told = []
    data = Gaussian()
    x = torch.full((2, 1, 2, 2), 3.0)
    arguments = {"sigmas": karras(6).float()}
    if name.startswith("DPM "):
        arguments = {"sigma_min": 0.1, "sigma_max": 10.0} | ({"n": 6} if name == "DPM fast" else {})
    SOLVERS[name](data.denoise, x, callback=told.append, disable=True, **arguments)
    assert [d["i"] for d in told] == list(range(len(told)))
    assert told
    for d in told:
        assert d.keys() == {"x", "i", "sigma", "sigma_hat", "denoised"}
        assert d["x"].shape == d["denoised"].shape == x.shape


def test_extra_args_are_passed_as_they_are_at_each_call():
    seen = []
    extra_args = {"scale": 1}

    def denoise(x, sigma, scale):
        seen.append(scale)
        extra_args["scale"] = scale + 1
        return x

    sampling.sample_euler(denoise, torch.ones(1, 1, 1, 1), karras(3).float(), extra_args)
    assert seen == [1, 2, 3]


def test_noise_comes_from_torch_where_none_is_given():
    x = torch.full((1, 1, 2, 2), 3.0)
    torch.manual_seed(7)
    first = sampling.sample_euler_ancestral(Gaussian().denoise, x, karras(4).float())
    torch.manual_seed(7)
    again = sampling.sample_euler_ancestral(Gaussian().denoise, x, karras(4).float())
    assert torch.equal(first, again)
    torch.manual_seed(7)
    sde = sampling.sample_dpmpp_2m_sde(Gaussian().denoise, x, karras(4).float())
    torch.manual_seed(7)
    assert torch.equal(sde, sampling.sample_dpmpp_2m_sde(Gaussian().denoise, x, karras(4).float()))


def test_multistep_coefficients_integrate_polynomials_exactly():
    t = torch.tensor([1.0, 0.7, 0.5, 0.2, 0.1], dtype=torch.float64).numpy()
    i = 3
    for power in range(4):
        step = sum(linear_multistep_coeff(4, t, i, j) * t[i - j] ** power for j in range(4))
        assert step == pytest.approx((t[i + 1] ** (power + 1) - t[i] ** (power + 1)) / (power + 1))


def test_restart_repeats_only_long_schedules():
    for steps, rounds in ((19, 0), (20, 1), (35, 1), (36, 2), (80, 2)):
        taken = restart_steps(*plan_restarts(karras(steps)))
        rises = sum(float(b[0]) > float(a[1]) for a, b in zip(taken, taken[1:], strict=False))
        assert rises == rounds
        assert len(taken) == steps


@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "DPM adaptive"])
def test_never_waits_for_the_device_of_the_latent(name):
    """On the meta device a tensor has no values: asking for one, or mixing devices where CUDA would not, raises."""
    x = torch.zeros(2, 1, 4, 4, device="meta")
    arguments = {"sigmas": karras(24).float()}
    if name == "DPM fast":
        arguments = {"sigma_min": 0.1, "sigma_max": 10.0, "n": 8}
    if name not in DETERMINISTIC:
        arguments["noise_sampler"] = lambda sigma, sigma_next: torch.zeros_like(x)
    result = SOLVERS[name](lambda x, sigma: x * sigma.view(-1, 1, 1, 1), x, **arguments)
    assert result.device.type == "meta"
    assert result.dtype == torch.float32
