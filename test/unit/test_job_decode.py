"""From latents to pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from modules import devices, shared
from modules.job import decode


def test_bytes_are_cut_not_rounded():
    pixels = torch.tensor([0.0, 0.5, 0.999, 1.0]).view(1, 2, 2).expand(3, -1, -1)
    assert decode.to_uint8(pixels)[..., 0].tolist() == [[0, 127], [254, 255]]


def test_nan_is_black():
    assert not decode.to_uint8(torch.full((3, 2, 2), float("nan"))).any()


@torch.no_grad()
def test_a_batch_is_decoded_like_its_images(sd_model):
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    batch = decode.decode_latent_batch(sd_model, latents)
    assert batch.already_decoded and [pixels.shape for pixels in batch] == [(3, 64, 64)] * 2
    alone = decode.decode_latent_batch(sd_model, latents[1:])[0]
    assert torch.equal(batch[1], alone)


def test_latents_of_nans_end_the_job(sd_model):
    with pytest.raises(devices.NansException):
        decode.decode_latent_batch(sd_model, torch.full((1, 4, 8, 8), float("nan")), check_for_nans=True)


@torch.no_grad()
def test_another_decoder_is_told_in_the_infotext(sd_model, monkeypatch):
    p = SimpleNamespace(sd_model=sd_model, extra_generation_params={})
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    full = decode.decode_samples(p, latents)
    assert p.extra_generation_params == {}
    assert full.min() >= 0 and full.max() <= 1
    monkeypatch.setitem(shared.opts.data, "sd_vae_decode_method", "Approx cheap")
    cheap = decode.decode_samples(p, latents)
    assert p.extra_generation_params == {"VAE Decoder": "Approx cheap"}
    assert not np.allclose(full, torch.nn.functional.interpolate(cheap, size=full.shape[-2:]))


def test_decoded_pixels_are_only_scaled():
    decoded = decode.DecodedSamples([torch.full((3, 2, 2), value) for value in (-1.0, 0.0, 3.0)])
    pixels = decode.decode_samples(None, decoded)
    assert pixels[:, 0, 0, 0].tolist() == [0.0, 0.5, 1.0]
