import pytest
import torch

from modules.sampling import schedules
from modules.sampling.denoisers import EpsDenoiser, LCMDenoiser
from test.unit.sampling_oracles import ALPHAS_CUMPROD, VECTORS


class Model:
    alphas_cumprod = ALPHAS_CUMPROD


EPS, LCM = EpsDenoiser(Model()), LCMDenoiser(Model())
FUNCTIONS = {
    "Uniform": schedules.uniform,
    "Karras": schedules.get_sigmas_karras,
    "Exponential": schedules.get_sigmas_exponential,
    "Polyexponential": schedules.get_sigmas_polyexponential,
    "SGM Uniform": schedules.sgm_uniform,
    "KL Optimal": schedules.kl_optimal,
    "Simple": schedules.simple_scheduler,
    "Normal": schedules.normal_scheduler,
    "DDIM": schedules.ddim_scheduler,
    "Beta": schedules.beta_quantiles,
}
NEEDS_MODEL = ("Uniform", "SGM Uniform", "Simple", "Normal", "DDIM")


def schedule(row):
    wrapper = LCM if row.get("model") == "LCM wrapper" else EPS
    if row["scheduler"] == "Automatic":
        return wrapper.get_sigmas(row["n"])
    if row["scheduler"] == "Align Your Steps":
        table = schedules.AYS_SDXL if row.get("model") == "sdxl" else schedules.AYS_SD15
        return schedules.align_your_steps(row["n"], table)
    sigma_min, sigma_max = float(wrapper.sigmas[0]), float(wrapper.sigmas[-1])
    arguments = {"sigma_min": row.get("sigma_min", sigma_min), "sigma_max": row.get("sigma_max", sigma_max)}
    if "rho" in row:
        arguments["rho"] = row["rho"]
    if row["scheduler"] in NEEDS_MODEL:
        arguments["inner_model"] = wrapper
    return FUNCTIONS[row["scheduler"]](n=row["n"], device=torch.device("cpu"), **arguments)


@pytest.mark.parametrize(
    "row", VECTORS["schedules_sd1"]["rows"], ids=lambda row: f"{row['scheduler']} {row['n']} {row.get('model', '')}"
)
def test_levels_are_the_golden_ones(row):
    sigmas = schedule(row)
    assert sigmas.dtype == torch.float32
    assert sigmas.tolist() == pytest.approx(row["sigmas"], rel=2e-5)


@pytest.mark.parametrize("name", [*FUNCTIONS, "Align Your Steps"])
@pytest.mark.parametrize("n", [1, 7, 38, 150])
def test_levels_fall(name, n):
    sigmas = schedule({"scheduler": name, "n": n})
    assert len(sigmas) == n + 1 or name == "DDIM"
    assert (sigmas[1:] < sigmas[:-1]).all()


def test_simple_computes_its_indices_in_double_precision():
    """At these n, i * (1000 / n) falls below the whole number that i * 1000 // n gives."""
    for n in (38, 76, 122):
        sigmas = schedules.simple_scheduler(n, 0.03, 14.6, EPS, "cpu")
        indices = [int(i * (1000 / n)) for i in range(n)]
        assert indices != [i * 1000 // n for i in range(n)]
        assert sigmas.tolist() == [float(EPS.sigmas[-1 - i]) for i in indices] + [0.0]


def test_ddim_gives_more_levels_where_steps_do_not_divide_the_table():
    assert len(schedules.ddim_scheduler(30, 0.03, 14.6, EPS, "cpu")) == 32


def test_polyexponential_with_rho_2_bends_the_ramp():
    sigmas = schedules.get_sigmas_polyexponential(3, 0.1, 10.0, rho=2.0)
    assert sigmas.tolist() == pytest.approx([10.0, 0.1 * 100**0.25, 0.1, 0.0])


def test_beta_with_parameters_of_1_is_even():
    sigmas = schedules.beta_quantiles(5, 1.0, 9.0, alpha=1.0, beta=1.0)
    assert sigmas.tolist() == pytest.approx([9.0, 7.0, 5.0, 3.0, 1.0, 0.0])
