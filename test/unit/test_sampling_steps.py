"""The pieces that solvers are made of."""

import math

import pytest
import torch

from modules import sampling
from modules.sampling import steps


def test_zero_is_appended_in_kind():
    sigmas = torch.tensor([3.0, 1.0], dtype=torch.float64)
    longer = steps.append_zero(sigmas)
    assert longer.tolist() == [3.0, 1.0, 0.0]
    assert longer.dtype == torch.float64


def test_lambda_and_sigma_undo_each_other():
    sigma = torch.tensor([0.03, 1.0, 14.6], dtype=torch.float64)
    assert steps.lambda_of(sigma).tolist() == pytest.approx([-math.log(value) for value in sigma.tolist()])
    assert steps.sigma_of(steps.lambda_of(sigma)).tolist() == pytest.approx(sigma.tolist())


def test_slope_points_from_the_image_to_the_noise():
    denoised, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor(5.0)
    assert torch.allclose(steps.to_d(denoised + noise * sigma, sigma, denoised), noise, atol=1e-5)


@pytest.mark.parametrize("eta", [0.25, 0.5, 1.0])
@pytest.mark.parametrize(("start", "end"), [(10.0, 5.0), (1.0, 0.9), (14.6, 0.03)])
def test_ancestral_step_keeps_the_level_of_noise(start, end, eta):
    down, up = steps.get_ancestral_step(torch.tensor(start), torch.tensor(end), eta)
    assert down**2 + up**2 == pytest.approx(end**2, rel=1e-5)
    assert 0 < up <= end
    assert down < end


def test_more_eta_is_more_noise():
    ups = [float(steps.get_ancestral_step(torch.tensor(3.0), torch.tensor(2.0), eta)[1]) for eta in (0.1, 0.5, 1.0)]
    assert ups == sorted(ups)
    assert ups[1] == pytest.approx(5 * ups[0], rel=1e-5)


def test_step_without_eta_is_that_of_the_ode():
    end = torch.tensor(2.0)
    assert steps.get_ancestral_step(torch.tensor(3.0), end, 0.0) == (end, 0.0)


def test_ancestral_step_to_zero_adds_nothing():
    down, up = steps.get_ancestral_step(torch.tensor(3.0), torch.tensor(0.0))
    assert (float(down), float(up)) == (0.0, 0.0)


def test_noise_is_never_more_than_the_level():
    down, up = steps.get_ancestral_step(torch.tensor(3.0), torch.tensor(2.0), eta=100.0)
    assert (float(down), float(up)) == (0.0, 2.0)


def test_noise_comes_from_the_global_generator():
    x = torch.zeros(2, 4, 3, 5, dtype=torch.float64)
    sampler = steps.default_noise_sampler(x)
    torch.manual_seed(7)
    first, second = sampler(None, None), sampler(None, None)
    torch.manual_seed(7)
    assert torch.equal(sampler(None, None), first)
    assert not torch.equal(first, second)
    assert (first.shape, first.dtype) == (x.shape, x.dtype)


def test_whole_batch_has_one_level():
    x = torch.zeros(3, 4, 2, 2, dtype=torch.float64)
    ones, arguments = steps.whole_batch(x, None)
    assert (torch.tensor(2.5) * ones).tolist() == [2.5] * 3
    assert ones.dtype == x.dtype
    assert arguments == {}


def test_arguments_are_those_of_the_moment():
    """A refiner that takes over puts its own conditioning into them while the solver runs."""
    seen = []

    def model(x, sigma, cond):
        seen.append(cond)
        extra["cond"] = "of the refiner"
        return x

    extra = {"cond": "of the base"}
    sampling.sample_euler(model, torch.zeros(1, 1, 2, 2), torch.tensor([2.0, 1.0, 0.0]), extra, disable=True)
    assert seen == ["of the base", "of the refiner"]


def test_callback_is_told_the_level_after_churn_where_there_is_one():
    told = []
    x, denoised = torch.zeros(1), torch.ones(1)
    steps.notify(told.append, x, 4, 2.0, denoised)
    steps.notify(told.append, x, 5, 2.0, denoised, 2.5)
    steps.notify(None, x, 6, 2.0, denoised)
    assert [(row["i"], row["sigma"], row["sigma_hat"]) for row in told] == [(4, 2.0, 2.0), (5, 2.0, 2.5)]
    assert told[0]["x"] is x and told[0]["denoised"] is denoised
