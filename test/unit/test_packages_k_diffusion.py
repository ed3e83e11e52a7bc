"""The package k_diffusion as extensions import it."""

import importlib

import pytest
import torch

from modules import paths, sampling, sd_samplers_kdiffusion  # noqa: F401  # paths puts the package on the path
from modules.sampling import denoisers


def test_its_names_are_those_of_our_samplers():
    import k_diffusion
    import k_diffusion.sampling
    from k_diffusion.external import CompVisDenoiser, CompVisVDenoiser
    from k_diffusion.utils import append_dims

    assert k_diffusion.sampling is sampling is importlib.import_module("k_diffusion.sampling")
    assert (CompVisDenoiser, CompVisVDenoiser) == (denoisers.EpsDenoiser, denoisers.VDenoiser)
    assert list(k_diffusion.sampling.trange(2, disable=True)) == [0, 1]
    assert append_dims(torch.ones(3), 4).shape == (3, 1, 1, 1)
    assert k_diffusion.utils.append_dims(torch.ones(()), 2).shape == (1, 1)
    with pytest.raises(ValueError, match="2 dimensions"):
        append_dims(torch.ones(2, 2), 1)
    with pytest.raises(ImportError):
        importlib.import_module("k_diffusion.gns")


def test_a_solver_put_there_is_found_by_the_name_of_its_row(monkeypatch):
    sampler = importlib.import_module("k_diffusion.sampling")
    monkeypatch.setattr(sampler, "sample_mine", lambda model, x, sigmas, **kwargs: x, raising=False)
    assert sd_samplers_kdiffusion.solver_of("sample_mine") is sampler.sample_mine


def test_scales_are_those_of_what_the_model_predicts():
    class Model:
        alphas_cumprod = torch.linspace(0.99, 0.01, 10)

        def apply_model(self, x, t, **kwargs):
            return x * 0 + 2

    x, sigma = torch.ones(2, 1, 1, 1), torch.tensor([1.0, 3.0])
    c_out, c_in = denoisers.EpsDenoiser(Model()).get_scalings(sigma)
    assert torch.allclose(denoisers.EpsDenoiser(Model())(x, sigma).flatten(), 1 + 2 * c_out)
    assert torch.allclose(c_in**2 * (1 + sigma**2), torch.ones(2))
    assert denoisers.EpsDenoiser(Model()).get_eps(x, None).eq(2).all()
    c_skip, c_out, _ = denoisers.VDenoiser(Model()).get_scalings(sigma)
    assert torch.allclose(denoisers.VDenoiser(Model())(x, sigma).flatten(), c_skip + 2 * c_out)
