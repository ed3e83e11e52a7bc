"""The table of model families, latent formats and noise schedules."""

import dataclasses

import pytest
import torch

from modules import model_families, weights
from modules.model_families import SD1, SDXL, LatentFormat, NoiseSchedule, Unet
from modules.model_families.base import fits
from test.unit.checkpoint_files import INPUT_CONVOLUTION, embedded_weights

TOKENS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


def shapes(channels=4, width=320, text=768):
    return {INPUT_CONVOLUTION: (width, channels, 3, 3), TOKENS: (49408, text)}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (shapes(), "sd1"),
        (shapes(channels=9), "sd1-inpainting"),
        (shapes(channels=8), "instruct-pix2pix"),
        (shapes(width=64, text=128), "sd1-tiny"),
    ],
)
def test_a_family_is_told_by_shapes(found, name):
    assert model_families.detect(found).name == name


@pytest.mark.parametrize("found", [{}, {TOKENS: (49408, 768)}, shapes(channels=5), {INPUT_CONVOLUTION: (320, 4, 3, 3)}])
def test_other_shapes_are_of_no_family(found):
    assert model_families.detect(found) is None


def test_embedded_checkpoint_is_of_its_own_row():
    family = model_families.detect(weights.shapes_of(embedded_weights()))
    assert (family.name, family.architecture, family.parameterization) == ("sd1-tiny", "sd1", "eps")


def test_names_of_families_are_unique():
    assert len({family.name for family in model_families.FAMILIES}) == len(model_families.FAMILIES)


def test_pattern_names_number_of_dimensions_and_some_sizes():
    assert fits((3, 4), (None, 4))
    assert not fits((3, 4), (None, 5))
    assert not fits((3, 4, 1), (None, 4))


def test_latents_scale_to_the_vae_and_back():
    scaled = LatentFormat(channels=2, scale=0.5, shift=0.25, downscale=8, rgb_rows=((1, 0, 0), (0, 1, 0)))
    z = torch.tensor([1.25])
    assert scaled.from_vae(z) == 0.5
    assert scaled.to_vae(scaled.from_vae(z)) == z


def test_latent_has_whole_cells():
    latent_format = LatentFormat(channels=4, scale=1.0, shift=0.0, downscale=8, rgb_rows=())
    assert latent_format.cells(512, 768) == (4, 96, 64)
    assert latent_format.cells(519, 7) == (4, 0, 64)
    assert dataclasses.replace(latent_format, channels=16, downscale=16).cells(512, 768) == (16, 48, 32)


def test_latents_of_other_families_are_not_read():
    sdxl, tiny = SDXL.latent_format, model_families.sd1.SD1_TINY.latent_format
    assert not SD1.latent_format.reads(sdxl)
    assert SD1.latent_format.reads(tiny)  # its previews alone are others


def test_files_of_previews_are_those_people_have():
    latents = SDXL.latent_format
    assert (latents.approx_url.rpartition("/")[2], latents.taesd) == ("vaeapprox-sdxl.pt", "taesdxl")


def test_heads_are_counted_or_measured():
    assert Unet(heads=8).heads_of((320, 640, 1280)) == 8
    assert Unet(head_width=64).heads_of((320, 640, 1280)) == (5, 10, 20)
    with pytest.raises(ValueError, match="has to name its heads"):
        Unet().heads_of((320,))


def test_modules_of_a_family_are_told_by_their_prefixes():
    assert list(SD1.prefixes) == ["denoiser", "vae", "clip_l"]
    assert SD1.matches({INPUT_CONVOLUTION: (320, 4, 3, 3)}, without=["vae", "clip_l"])
    assert not SD1.matches({INPUT_CONVOLUTION: (320, 4, 3, 3)}, without=["vae"])
    assert SD1.matches({TOKENS: (49408, 768)}, without=["denoiser"])


def test_older_names_of_weights():
    assert (
        SD1.renamed["cond_stage_model.transformer.embeddings."] == "cond_stage_model.transformer.text_model.embeddings."
    )


def test_modules_are_called_as_people_do():
    assert [SD1.called(name) for name in SD1.prefixes] == ["U-Net", "VAE", "text encoder"]
    second = dataclasses.replace(SD1.text_encoders[0], name="clip_g")
    two = dataclasses.replace(SD1, text_encoders=(*SD1.text_encoders, second))
    assert [two.called(name) for name in two.prefixes][2:] == ["text encoder clip_l", "text encoder clip_g"]


def test_weights_that_no_network_needs():
    ignored = ["model_ema.decay", "alphas_cumprod", "cond_stage_model.transformer.text_model.embeddings.position_ids"]
    assert all(SD1.is_ignored(key) for key in ignored)
    assert not SD1.is_ignored(TOKENS) and not SD1.is_ignored(INPUT_CONVOLUTION)


def test_linear_map_adds_up_channels():
    rows = ((1.0, 0.0, 0.5), (0.0, 2.0, 0.0))
    latent_format = LatentFormat(2, 1.0, 0.0, 8, rows, rgb_bias=(0.0, 0.0, 0.1))
    latent = torch.tensor([[[3.0]], [[4.0]]])
    expected = torch.tensor([[[3.0]], [[8.0]], [[1.6]]])
    assert torch.allclose(latent_format.to_rgb(latent), expected)
    assert torch.allclose(latent_format.to_rgb(latent[None]), expected[None])


def test_noise_schedule_is_that_of_training():
    alphas = NoiseSchedule().alphas_cumprod()
    sigmas = ((1 - alphas) / alphas) ** 0.5
    assert alphas.dtype == torch.float32
    assert sigmas[0].item() == pytest.approx(0.0292, abs=1e-4)
    assert sigmas[-1].item() == pytest.approx(14.6146, abs=1e-4)
    assert torch.allclose(alphas, embedded_weights()["alphas_cumprod"])
