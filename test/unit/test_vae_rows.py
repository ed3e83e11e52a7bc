"""A VAE row by row: the image and the latent of the whole."""

import pytest
import torch

from modules import checkpoints, model_load, model_patches, vae_rows
from modules.placement import Placement


@pytest.fixture(scope="module")
def vae():
    prepared = model_load.prepare(checkpoints.embedded_checkpoint, {})
    return model_load.build(prepared, Placement(torch.device("cpu"), *[torch.float32] * 3)).first_stage_model


@pytest.fixture(scope="module")
def latent():
    return torch.randn(2, 4, 12, 9, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("goes_on", [False, True], ids=["edges", "seamless"])
@pytest.mark.parametrize("stripe", [1, vae_rows.STRIPE_BYTES], ids=["stripes", "one"])
def test_it_is_the_image_of_the_whole(vae, latent, monkeypatch, stripe, goes_on):
    monkeypatch.setattr(vae_rows, "STRIPE_BYTES", stripe)
    with model_patches.circular_padding(vae, goes_on):
        expected = vae.decode(latent).sample
        pixels = vae_rows.decode(vae, latent)
    assert pixels.shape == expected.shape == (2, 3, 96, 72)
    assert (pixels - expected).abs().max() < 1e-3 < expected.std()


@torch.no_grad()
@pytest.mark.parametrize("goes_on", [False, True], ids=["edges", "seamless"])
@pytest.mark.parametrize("stripe", [1, vae_rows.STRIPE_BYTES], ids=["stripes", "one"])
@pytest.mark.parametrize(("height", "width"), [(104, 40), (61, 45)], ids=["even", "odd"])
def test_it_is_the_latent_of_the_whole(vae, monkeypatch, stripe, goes_on, height, width):
    monkeypatch.setattr(vae_rows, "STRIPE_BYTES", stripe)
    pixels = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    given = pixels.clone()
    with model_patches.circular_padding(vae, goes_on):
        expected = vae.encode(pixels).latent_dist.parameters
        moments = vae_rows.encode(vae, pixels)
    assert moments.shape == expected.shape and torch.equal(pixels, given)
    assert (moments - expected).abs().max() < 1e-5 < expected.std()


@torch.no_grad()
def test_stripes_are_small(vae, latent, monkeypatch):
    """No convolution of the last level sees more than a stripe and the rows around it."""
    monkeypatch.setattr(vae_rows, "STRIPE_BYTES", 1)
    tallest = []
    handle = (
        vae.decoder.up_blocks[-1]
        .resnets[-1]
        .conv1.register_forward_pre_hook(lambda _, args: tallest.append(args[0].shape[2]))
    )
    vae_rows.decode(vae, latent)
    handle.remove()
    assert max(tallest) == vae_rows.SMALLEST_STRIPE + 4


@torch.no_grad()
def test_in_half_precision_it_differs_by_rounding(vae, latent):
    half = vae.to(torch.bfloat16)
    try:
        expected = half.decode(latent.bfloat16()).sample
        pixels = vae_rows.decode(half, latent.bfloat16())
    finally:
        vae.float()
    assert pixels.dtype == torch.bfloat16
    assert (pixels - expected).abs().mean() < 0.02


@torch.no_grad()
@pytest.mark.parametrize(
    ("call", "shape"), [("decode", (1, 4, 2, 72)), ("encode", (1, 3, 16, 576))], ids=["decode", "encode"]
)
def test_tiles_of_a_vae_are_rows_inside_the_block_only(vae, call, shape):
    wide = torch.linspace(-1, 1, 576 * 48)[: torch.Size(shape).numel()].view(shape)

    def result():
        made = getattr(vae, call)(wide)
        return made.sample if call == "decode" else made.latent_dist.mean

    whole = result()
    with vae_rows.row_by_row(vae):
        inside = result()
        if call == "decode":
            assert torch.equal(vae.decode(wide, return_dict=False)[0], inside)
    assert not vae.use_tiling and not {"tiled_decode", "_tiled_encode"} & vars(vae).keys()  # its own tiles again
    vae.enable_tiling()
    tiles = result()
    vae.disable_tiling()
    assert (inside - whole).abs().max() < 1e-3 < (tiles - whole).abs().max()
