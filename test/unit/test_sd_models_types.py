"""The object behind shared.sd_model."""

from dataclasses import replace

import pytest
import torch

from modules import sd_models, shared
from modules.sd_models_types import Posterior


@pytest.fixture(scope="module")
def model():
    sd_models.setup_model()
    return shared.sd_model


def test_kind_of_model(model):
    assert model.is_sd1
    assert not (model.is_sd2 or model.is_sdxl or model.is_ssd or model.is_sd3 or model.is_sdxl_inpaint)
    assert (model.latent_channels, model.scale_factor, model.num_timesteps) == (4, 0.18215, 1000)
    assert (model.model.conditioning_key, model.cond_stage_key) == ("crossattn", "txt")
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)


def test_text_may_be_given_in_three_ways(model):
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([10.0])
    text = model.cond_stage_model_empty_prompt
    with torch.no_grad():
        expected = model.apply_model(x, t, {"c_crossattn": [text], "c_concat": [torch.zeros(1, 5, 1, 1)]})
        assert torch.equal(model.apply_model(x, t, text), expected)
        assert torch.equal(model.apply_model(x, t, [text]), expected)
        assert torch.equal(model.apply_model(x.double(), t, text), expected.double())


def test_half_precision_rounds_timesteps(model, monkeypatch):
    seen = {}

    class Unet(torch.nn.Module):
        def forward(self, x, t, context):
            seen.update(x=x.dtype, t=t, context=context.dtype)
            return x

    monkeypatch.setattr(model, "loaded_as", replace(model.loaded_as, dtype=torch.float16))
    monkeypatch.setitem(model.model._modules, "diffusion_model", Unet())
    x = torch.ones(1, 4, 8, 8)
    out = model.apply_model(x, torch.tensor([900.26]), torch.ones(1, 77, 128))
    assert out.dtype == torch.float32
    assert seen["x"] == seen["context"] == torch.float16
    assert seen["t"].item() == 900.5


def test_placement_follows_the_vae(model):
    """Extensions convert the VAE by themselves, and go on giving it what devices.dtype_vae says."""
    vae = model.first_stage_model
    kept = {name: weight.clone() for name, weight in vae.state_dict().items()}
    try:
        vae.to(torch.bfloat16)
        assert model.placement == replace(model.loaded_as, dtype_vae=torch.bfloat16)
        assert (model.placement.dtype, model.placement.dtype_text) == (torch.float32, torch.float32)
        with torch.no_grad():
            assert model.decode_first_stage(torch.zeros(1, 4, 2, 2)).dtype == torch.bfloat16
            assert model.encode_first_stage(torch.zeros(1, 3, 16, 16)).mean.dtype == torch.bfloat16
    finally:
        vae.to(model.loaded_as.dtype_vae).load_state_dict(kept)


def test_storage_in_8_bits_is_known(model, monkeypatch):
    assert not model.fp8
    monkeypatch.setattr(model, "loaded_as", replace(model.loaded_as, fp8=True))
    assert model.fp8 and model.placement.fp8


def test_tables_of_the_schedule(model, monkeypatch):
    share = model.alphas_cumprod
    sum_of_shares = model.sqrt_alphas_cumprod**2 + model.sqrt_one_minus_alphas_cumprod**2
    assert torch.allclose(sum_of_shares, torch.ones(1000))
    assert torch.allclose(torch.cumprod(1 - model.betas, 0), share, atol=1e-6)
    assert (model.alphas_cumprod_prev[0], model.alphas_cumprod_prev[1]) == (1, share[0])
    assert torch.allclose(model.sqrt_recip_alphas_cumprod**2 - 1, model.sqrt_recipm1_alphas_cumprod**2, rtol=1e-3)
    assert torch.allclose(model.log_one_minus_alphas_cumprod.exp(), 1 - share)
    monkeypatch.setattr(model, "betas", 3, raising=False)
    assert model.betas == 3
    with pytest.raises(AttributeError, match="no attribute 'betes'"):
        _ = model.betes


def test_posterior_is_drawn_from_a_generator():
    posterior = Posterior(
        torch.full((1, 2, 2, 2), 3.0), torch.full((1, 2, 2, 2), 2.0), torch.Generator().manual_seed(7)
    )
    noise = torch.randn(1, 2, 2, 2, generator=torch.Generator().manual_seed(7))
    assert torch.equal(posterior.sample(), 3 + 2 * noise)
    assert posterior.mode().unique().tolist() == [3]


def test_encoding_is_scaled_once(model):
    pixels = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        posterior = model.encode_first_stage(pixels, generator=torch.Generator().manual_seed(1))
        mode = posterior.mode()
        assert torch.allclose(model.get_first_stage_encoding(mode), mode * 0.18215)
        assert torch.equal(
            model.decode_first_stage(mode * 0.18215), model.first_stage_model.decode(mode * 0.18215 / 0.18215).sample
        )


def test_image_survives_the_vae(model):
    ramp = torch.linspace(-1, 1, 64)
    pixels = torch.stack([ramp[None].expand(64, -1), ramp[:, None].expand(-1, 64), torch.zeros(64, 64)])[None]
    with torch.no_grad():
        back = model.decode_first_stage(model.get_first_stage_encoding(model.encode_first_stage(pixels).mode()))
    assert (back - pixels).abs().mean() < 0.2


META = torch.device("meta")


class DistantVae(torch.nn.Module):
    """A VAE that notes where its input is, as if it computed there."""

    dtype = torch.float32

    def __init__(self):
        super().__init__()
        self.seen = []

    def decode(self, z, return_dict):
        self.seen.append(z.device)
        return (torch.zeros(1, 3, 64, 64),)

    def encode(self, x, return_dict):
        self.seen.append(x.device)
        return (Posterior(torch.zeros(1, 4, 8, 8), torch.ones(1, 4, 8, 8)),)


def test_a_vae_elsewhere_gets_its_input_there_and_gives_its_result_here(model, monkeypatch):
    vae = DistantVae()
    monkeypatch.setitem(model._modules, "first_stage_model", vae)
    monkeypatch.setattr(model, "loaded_as", replace(model.loaded_as, devices={"vae": META}))
    assert model.decode_first_stage(torch.zeros(1, 4, 8, 8)).device.type == "cpu"
    assert model.encode_first_stage(torch.zeros(1, 3, 64, 64)).mean.device.type == "cpu"
    assert vae.seen == [META, META]


def test_modules_are_found_by_name(model):
    assert model.network("denoiser") is model.model.diffusion_model.unet
    assert model.network("vae") is model.first_stage_model
    assert model.network("clip_l") is model.cond_stage_model
