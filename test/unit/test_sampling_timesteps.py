"""Solvers over timesteps: against the golden trajectories, and against the exact solution for a Gaussian."""

import pytest
import torch

from modules import sampling
from modules.sampling.unipc import VPSchedule, spaced_times
from test.unit.sampling_oracles import ALPHAS_CUMPROD, VECTORS, Gaussian, Toy, alpha_at, error

SOLVERS = {
    "DDIM": sampling.sample_ddim,
    "DDIM CFG++": sampling.sample_ddim_cfgpp,
    "PLMS": sampling.sample_plms,
    "UniPC": sampling.sample_unipc,
}
UNIPC_SETTINGS = ("variant", "skip_type", "order", "lower_order_final")


@pytest.mark.parametrize("row", VECTORS["timestep_samplers"], ids=lambda row: f"{row['sampler']} {row['args']}")
def test_follows_the_golden_trajectory(row):
    toy = Toy()
    name = row["sampler"].partition(" (")[0]
    timesteps = torch.tensor(row["timesteps"])
    arguments = row["args"] | {key: row[key] for key in UNIPC_SETTINGS if key in row}
    if "img2img" in row:
        timesteps = timesteps[:5]
        arguments["is_img2img"] = True
    if name.startswith("DDIM"):
        arguments["noise_sampler"] = toy.noise

    x = SOLVERS[name](toy, toy.start, timesteps, alphas_cumprod=ALPHAS_CUMPROD, **arguments)

    assert toy.calls == pytest.approx(row["calls"], rel=1e-4)
    assert toy.draws == row["draws"]
    assert x.flatten().tolist() == pytest.approx(row["x"], rel=1e-5, abs=1e-6)


def exact(data: Gaussian, x: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Where the ODE takes x at one timestep by another."""
    a, b = (float(alpha_at(torch.tensor(float(t)))) for t in (start, end))
    clean = data.solution(x / a**0.5, ((1 - a) / a) ** 0.5, ((1 - b) / b) ** 0.5)
    return clean * b**0.5


START = torch.tensor([-2.0, 0.4, 0.9, 1.7], dtype=torch.float64).view(1, 1, 2, 2)


@pytest.mark.parametrize(("name", "bound"), [("DDIM", 0.03), ("PLMS", 0.004)])
def test_converges_to_the_exact_solution(name, bound):
    data = Gaussian()

    def error_with(count: int) -> float:
        timesteps = torch.linspace(100, 900, count + 1).long()
        arguments = {"noise_sampler": lambda a, b: torch.zeros_like(START)} if name == "DDIM" else {}
        result = SOLVERS[name](data.eps, START, timesteps, alphas_cumprod=ALPHAS_CUMPROD, **arguments)
        return error(result, exact(data, START, 900, 100))

    assert error_with(40) < bound
    assert error_with(80) < error_with(40) * 0.6


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary_coeff"])
@pytest.mark.parametrize("skip_type", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipc_converges_to_the_exact_solution(variant, skip_type):
    data = Gaussian()

    def error_with(count: int) -> float:
        result = sampling.sample_unipc(
            data.eps, START, torch.arange(count), alphas_cumprod=ALPHAS_CUMPROD, variant=variant, skip_type=skip_type
        )
        return error(result, exact(data, START, 999, 0))

    assert error_with(60) < 0.03
    assert error_with(120) < error_with(60) * 0.6


def test_ddim_with_eta_1_has_mean_and_std_of_the_data():
    data = Gaussian(mean=0.4, std=0.7)
    generator = torch.Generator().manual_seed(1)

    def noise(sigma, sigma_next):
        return torch.randn(1, 1, 100, 100, generator=generator, dtype=torch.float64)

    x = noise(None, None) + float(ALPHAS_CUMPROD[-1]) ** 0.5 * data.mean
    timesteps = torch.arange(0, 1000, 8)
    samples = sampling.sample_ddim(data.eps, x, timesteps, alphas_cumprod=ALPHAS_CUMPROD, eta=1.0, noise_sampler=noise)
    assert float(samples.mean()) == pytest.approx(data.mean, abs=0.03)
    assert float(samples.std()) == pytest.approx(data.std, rel=0.04)


def test_cfgpp_adds_back_the_unconditional_prediction():
    toy = Toy()
    sampling.sample_ddim_cfgpp(toy, toy.start, torch.tensor([1, 500, 999]), alphas_cumprod=ALPHAS_CUMPROD)
    assert toy.cond_scale_miltiplier == 1 / 12.5
    assert toy.need_last_noise_uncond


def test_unipc_lowers_its_order_to_the_number_of_steps():
    toy = Toy()
    sampling.sample_unipc(toy, toy.start, torch.tensor([1, 501]), alphas_cumprod=ALPHAS_CUMPROD, order=3)
    assert len(toy.calls) == 2


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_happens_without_timesteps(name):
    toy = Toy()
    none = torch.zeros(0, dtype=torch.long)
    arguments = {"is_img2img": True} if name == "UniPC" else {}
    result = SOLVERS[name](toy, toy.start, none, alphas_cumprod=ALPHAS_CUMPROD, **arguments)
    assert torch.equal(result, toy.start)
    assert toy.calls == []


@pytest.mark.parametrize("name", SOLVERS)
def test_tells_the_callback_of_every_step(name):
    told = []
    toy = Toy()
    timesteps = torch.tensor([1, 201, 401, 601, 801])
    SOLVERS[name](toy, toy.start, timesteps, None, told.append, True, alphas_cumprod=ALPHAS_CUMPROD)
    steps = 5 if name == "UniPC" else 4
    assert [d["i"] for d in told] == list(range(steps))
    assert all(d["x"].shape == d["denoised"].shape == toy.start.shape for d in told)


def test_a_table_in_half_precision_takes_its_roots_in_half_precision():
    toy = Toy()
    x = toy.start.float()
    half = ALPHAS_CUMPROD.half()
    result = sampling.sample_ddim(toy, x, torch.tensor([1, 999]), alphas_cumprod=half)
    eps = toy(x, torch.tensor([999.0]))
    x0 = (x - (1 - half[999]).sqrt().float() * eps) / half[999].float().sqrt()
    wanted = half[1].float().sqrt() * x0 + (1 - half[1].float()).sqrt() * eps
    assert result == pytest.approx(wanted, rel=1e-5)


def test_spaced_times_run_from_start_to_end():
    schedule = VPSchedule(ALPHAS_CUMPROD)
    for skip_type in ("time_uniform", "time_quadratic", "logSNR"):
        times = spaced_times(schedule, skip_type, 1.0, 0.001, 7)
        assert len(times) == 8
        assert times == sorted(times, reverse=True)
        assert (times[0], times[-1]) == pytest.approx((1.0, 0.001))


@pytest.mark.parametrize("name", SOLVERS)
def test_never_waits_for_the_device_of_the_latent(name):
    """On the meta device a tensor has no values: asking for one, or mixing devices where CUDA would not, raises."""

    class Model:
        last_noise_uncond = torch.zeros(2, 1, 4, 4, device="meta")

        def __call__(self, x, timestep):
            return x * timestep.view(-1, 1, 1, 1)

    x = torch.zeros(2, 1, 4, 4, device="meta")
    result = SOLVERS[name](Model(), x, torch.tensor([1, 201, 401, 601, 801]), alphas_cumprod=ALPHAS_CUMPROD)
    assert result.device.type == "meta"
    assert result.dtype == torch.float32
