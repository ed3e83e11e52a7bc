import pytest
import torch

from modules.model_families import FlowSchedule
from modules.sampling.denoisers import (
    SIGMA_DENOISERS,
    TIMESTEP_DENOISERS,
    EpsDenoiser,
    FlowDenoiser,
    LCMDenoiser,
    VDenoiser,
    sigma_table,
)
from test.unit.sampling_oracles import ALPHAS_CUMPROD, VECTORS, Gaussian, alpha_at

CONVERSIONS = VECTORS["sigma_t_conversion"]


class GaussianModel:
    """Predicts eps, v or the flow of Gaussian data exactly, at fractional timesteps too."""

    schedule = FlowSchedule(shift=3.0)

    def __init__(self, parameterization, alphas_cumprod=ALPHAS_CUMPROD):
        self.data = Gaussian()
        self.parameterization = parameterization
        self.alphas_cumprod = alphas_cumprod
        self.timesteps = None

    def apply_model(self, x, t, cond=None):
        self.timesteps, self.cond = t, cond
        if self.parameterization == "flow":
            s = (t / 1000).view(-1, 1, 1, 1)
            d = self.data.denoise(x / (1 - s), t / 1000 / (1 - t / 1000))
            return (x - d) / s
        alpha = EPS_TABLE.alpha(t).view(-1, 1, 1, 1)
        d = self.data.denoise(x / alpha**0.5, ((1 - alpha) / alpha).view(-1) ** 0.5)
        eps = (x - alpha**0.5 * d) / (1 - alpha) ** 0.5
        return eps if self.parameterization == "eps" else alpha**0.5 * eps - (1 - alpha) ** 0.5 * d


class Table:
    """ᾱ at fractional timesteps as the wrappers see it: ln σ is linear between them."""

    def alpha(self, t):
        return 1 / (1 + EpsDenoiser(GaussianModel("eps")).t_to_sigma(t) ** 2)


EPS_TABLE = Table()


@pytest.mark.parametrize("parameterization", ["eps", "v"])
def test_denoises_what_the_model_predicts(parameterization):
    model = GaussianModel(parameterization)
    wrapper = SIGMA_DENOISERS[parameterization](model)
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.1, 1.7, 12.0])
    x = x * sigma.view(-1, 1, 1, 1)
    assert wrapper(x, sigma, cond="c") == pytest.approx(model.data.denoise(x, sigma), abs=2e-4)
    assert model.cond == "c"
    assert wrapper.t_to_sigma(model.timesteps) == pytest.approx(sigma, rel=1e-5)


def test_flow_models_get_sigma_times_1000():
    model = GaussianModel("flow")
    wrapper = FlowDenoiser(model)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.2, 0.9])
    s = sigma.view(-1, 1, 1, 1)
    assert wrapper(x, sigma) == pytest.approx(model.data.denoise(x / (1 - s), sigma / (1 - sigma)), abs=1e-5)
    assert model.timesteps.tolist() == pytest.approx([200.0, 900.0])
    assert wrapper.sigma_max == 1.0
    assert float(wrapper.sigmas[499]) == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))
    mixed = wrapper.add_noise(torch.ones(1), torch.tensor([5.0]), torch.tensor(0.25))
    assert mixed.tolist() == [0.75 * 1 + 0.25 * 5]


def test_noise_is_added_to_the_latent_of_diffusion_models():
    wrapper = EpsDenoiser(GaussianModel("eps"))
    assert wrapper.add_noise(torch.ones(1), torch.tensor([5.0]), torch.tensor(2.0)).tolist() == [11.0]


@pytest.mark.parametrize("parameterization", ["eps", "v"])
def test_timestep_wrappers_return_eps(parameterization):
    model = GaussianModel(parameterization)
    wrapper = TIMESTEP_DENOISERS[parameterization](model)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    timesteps = torch.tensor([30.0, 800.0])
    assert wrapper(x, timesteps, cond=1) == pytest.approx(GaussianModel("eps").apply_model(x, timesteps), abs=1e-5)


def test_v_is_turned_into_eps_at_the_whole_timestep():
    wrapper = TIMESTEP_DENOISERS["v"](GaussianModel("v"))
    x, v = torch.ones(1, 1, 1, 1), torch.full((1, 1, 1, 1), 2.0)
    alpha = float(alpha_at(torch.tensor(500.0)))
    eps = wrapper.predict_eps_from_z_and_v(x, torch.tensor([500.9]), v)
    assert float(eps) == pytest.approx(alpha**0.5 * 2 + (1 - alpha) ** 0.5)


def test_table_of_sd1():
    sigmas = sigma_table(ALPHAS_CUMPROD)
    assert [float(sigmas[0]), float(sigmas[-1])] == pytest.approx(VECTORS["schedules_sd1"]["table_ends"], rel=1e-6)
    wrapper = EpsDenoiser(GaussianModel("eps"))
    assert (wrapper.sigma_min, wrapper.sigma_max) == (sigmas[0], sigmas[-1])
    assert torch.equal(wrapper.get_sigmas(), torch.cat([sigmas.flip(0), torch.zeros(1)]))


def test_converts_between_levels_and_timesteps():
    wrapper = EpsDenoiser(GaussianModel("eps"))
    for row in CONVERSIONS["sigma_to_t"]:
        assert wrapper.sigma_to_t(torch.tensor([row["sigma"]])).tolist() == pytest.approx(row["t"], rel=1e-5)
    for row in CONVERSIONS["t_to_sigma"]:
        assert wrapper.t_to_sigma(torch.tensor([row["t"]])).tolist() == pytest.approx(row["sigma"], rel=1e-5)


def test_levels_outside_the_table_are_clamped():
    wrapper = EpsDenoiser(GaussianModel("eps"))
    assert wrapper.sigma_to_t(torch.tensor([0.001, 99.0])).tolist() == [0.0, 999.0]


def test_quantized_timesteps_are_those_of_the_table():
    wrapper = VDenoiser(GaussianModel("v"), quantize=True)
    sigma = wrapper.sigmas[123] * 1.0001
    assert int(wrapper.sigma_to_t(sigma)) == 123
    assert 123.0 < float(wrapper.sigma_to_t(sigma, quantize=False)) < 123.5


def test_a_table_in_half_precision_stays_so():
    wrapper = EpsDenoiser(GaussianModel("eps", ALPHAS_CUMPROD.half()))
    assert wrapper.sigmas.dtype == wrapper.log_sigmas.dtype == torch.float16
    assert wrapper.get_sigmas(5).dtype == torch.float32
    x = torch.ones(1, 1, 2, 2)
    assert wrapper(x, torch.tensor([2.0])).dtype == torch.float32
    t = float(wrapper.sigma_to_t(torch.tensor([2.0])))
    assert t == pytest.approx(float(EpsDenoiser(GaussianModel("eps")).sigma_to_t(torch.tensor([2.0]))), rel=2e-3)


def test_a_half_precision_table_may_end_at_infinity():
    alphas = ALPHAS_CUMPROD.clone()
    alphas[-1] = 4.8973451890853435e-08
    assert EpsDenoiser(GaussianModel("eps", alphas.half())).sigma_max == float("inf")


def test_lcm_knows_50_levels_and_the_timesteps_of_the_model():
    wrapper = LCMDenoiser(GaussianModel("eps"))
    assert torch.equal(wrapper.sigmas, sigma_table(ALPHAS_CUMPROD)[19::20])
    assert wrapper.sigma_to_t(wrapper.sigmas[[0, 1, 49]]).tolist() == [19, 39, 999]
    assert wrapper.t_to_sigma(torch.tensor([0.0, 39.0, 999.0])) == pytest.approx(wrapper.sigmas[[0, 1, 49]])
    assert len(wrapper.get_sigmas()) == 51


def test_lcm_output_keeps_a_share_of_x_at_small_timesteps():
    model = GaussianModel("eps")
    wrapper = LCMDenoiser(model)
    x = torch.full((1, 1, 1, 1), 3.0)
    sigma = wrapper.sigmas[:1]
    x0 = float(model.data.denoise(x, sigma))
    s = 190.0
    wanted = s / (s**2 + 0.25) ** 0.5 * x0 + 0.25 / (s**2 + 0.25) * 3.0
    assert float(wrapper(x, sigma)) == pytest.approx(wanted, rel=1e-4)
    assert model.timesteps.tolist() == [19]
