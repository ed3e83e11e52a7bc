"""The tiny autoencoder, with weights in the layout of its own files."""

import dataclasses

import pytest
import torch
from torch import nn

from modules import devices, errors, latents, paths, preview_files, sd_models, sd_vae_taesd, shared
from modules.model_families import SD1


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(conv(64, 64), nn.ReLU(), conv(64, 64), nn.ReLU(), conv(64, 64))

    def forward(self, x):
        return torch.relu(x + self.conv(x))


class Clamp(nn.Module):
    def forward(self, x):
        return torch.tanh(x / 3) * 3


def conv(n_in, n_out, **more):
    return nn.Conv2d(n_in, n_out, 3, padding=1, **more)


def original_decoder():
    layers = [Clamp(), conv(4, 64), nn.ReLU()]
    for _ in range(3):
        layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), conv(64, 64, bias=False)]
    return nn.Sequential(*layers, Block(), conv(64, 3))


def original_encoder():
    layers = [conv(3, 64), Block()]
    for _ in range(3):
        layers += [conv(64, 64, stride=2, bias=False), Block(), Block(), Block()]
    return nn.Sequential(*layers, conv(64, 4))


@pytest.fixture
def taesd(tmp_path, monkeypatch):
    """Decoder and encoder as published, their files in the models folder, and a current model they are for."""
    monkeypatch.setattr(paths, "models_path", str(tmp_path))
    sd_models.setup_model()
    monkeypatch.setattr(shared.sd_model, "family", SD1)
    (tmp_path / "VAE-taesd").mkdir()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks = {"decoder": original_decoder().eval(), "encoder": original_encoder().eval()}
    for part, network in networks.items():
        torch.save(network.state_dict(), tmp_path / "VAE-taesd" / f"taesd_{part}.pth")
    yield networks
    sd_vae_taesd.sd_vae_taesd_models.clear()
    preview_files.fetch_once.cache_clear()


def test_decoder_computes_as_published(taesd):
    latent = torch.randn(1, 4, 2, 3)
    with torch.no_grad():
        expected = taesd["decoder"](latent) * 2 - 1
        assert torch.allclose(sd_vae_taesd.decoder_model()(latent), expected, atol=1e-5)
    assert torch.allclose(latents.samples_to_images_tensor(latent, latents.TAESD), expected, atol=1e-5)
    with shared.opts.overlay({"sd_vae_decode_method": "TAESD"}):
        pixels = latents.decode_first_stage(shared.sd_model, latent.to(devices.dtype))
    assert torch.allclose(pixels, expected, atol=1e-5)
    with shared.opts.overlay({"show_progress_type": "TAESD"}):
        assert torch.allclose(latents.samples_to_images_tensor(latent), expected, atol=1e-5)


def test_encoder_computes_as_published(taesd):
    pixels = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        expected = taesd["encoder"](pixels)
    with shared.opts.overlay({"sd_vae_encode_method": "TAESD"}):
        assert torch.allclose(latents.images_tensor_to_samples(pixels), expected, atol=1e-5)


def test_networks_are_loaded_once(taesd):
    assert sd_vae_taesd.decoder_model() is sd_vae_taesd.decoder_model(wait=False)


def test_missing_weights(taesd, tmp_path):
    (tmp_path / "VAE-taesd" / "taesd_decoder.pth").unlink()
    with pytest.raises(errors.NotFound, match=r"taesd_decoder\.pth.*HF_HUB_OFFLINE"):
        sd_vae_taesd.decoder_model()
    assert sd_vae_taesd.decoder_model(wait=False) is None


def test_weights_of_another_network(taesd, tmp_path):
    (tmp_path / "VAE-taesd" / "taesd_encoder.pth").rename(tmp_path / "VAE-taesd" / "taesd_decoder.pth")
    with pytest.raises(errors.ModelLoadError, match=r"taesd_decoder\.pth is no TAESD decoder"):
        sd_vae_taesd.decoder_model()


def test_families_nobody_made_it_for(taesd, monkeypatch):
    family = dataclasses.replace(SD1, latent_format=dataclasses.replace(SD1.latent_format, taesd=None))
    monkeypatch.setattr(shared.sd_model, "family", family)
    assert sd_vae_taesd.decoder_model(wait=False) is None
    with pytest.raises(errors.NotFound, match="choose Full"):
        sd_vae_taesd.encoder_model()
