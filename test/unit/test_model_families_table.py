"""What extensions, previews and sizes of images see of each family, as one table."""

from types import SimpleNamespace

import pytest
import torch

from modules import sd_vae_taesd, torchvision_ops
from modules.model_families import FAMILIES
from modules.sd_models_types import WebuiSdModel
from modules.sd_vae_approx import VAEApprox

SD1 = ("is_sd1", 4, 8, "model.pt", "taesd")
SD2 = ("is_sd2", *SD1[1:])
XL = ("is_sdxl", 4, 8, "vaeapprox-sdxl.pt", "taesdxl")
TABLE = {
    "sd1": SD1,
    "sd1-inpainting": SD1,
    "instruct-pix2pix": SD1,
    "sd1-tiny": (*SD1[:3], None, None),
    "sd2": SD2,
    "sd2-inpainting": SD2,
    "sd2-depth": SD2,
    "sd2-unclip-l": SD2,
    "sd2-unclip-h": SD2,
    "sdxl": XL,
    "sdxl-inpainting": ("is_sdxl is_sdxl_inpaint", *XL[1:]),
    "sdxl-instruct-pix2pix": XL,
    "sdxl-refiner": XL,
    "sdxl-playground": (*XL[:3], None, None),
    "sdxl-cosxl": XL,
    "sdxl-cosxl-edit": XL,
    "ssd": ("is_sdxl is_ssd", *XL[1:]),
    "sd3": ("is_sd3", 16, 16, "vaeapprox-sd3.pt", "taesd3"),
}
"""Name of a family -> flags that are set, channels of a latent, of what width and height are multiples, its previews'
files.
"""

FLAGS = ("is_sd1", "is_sd2", "is_sdxl", "is_ssd", "is_sd3", "is_sdxl_inpaint")
Bare = type("Bare", (SimpleNamespace,), {flag: vars(WebuiSdModel)[flag] for flag in FLAGS})


def test_every_family_is_as_the_table_says():
    found = {}
    for family in FAMILIES:
        latents, model = family.latent_format, Bare(family=family)
        flags = " ".join(flag for flag in FLAGS if getattr(model, flag))
        approx = latents.approx_url and latents.approx_url.rpartition("/")[2]
        found[family.name] = (flags, latents.channels, family.cell, approx, latents.taesd)
    assert found == TABLE


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_colours_of_previews(family):
    latents = family.latent_format
    assert len(latents.rgb_rows) == latents.channels
    noise = torch.randn(1, latents.channels, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = latents.to_rgb(noise)
    assert pixels.shape == (1, 3, 16, 16)
    assert pixels.abs().max() < 5 and pixels.std() > 0.1
    assert (latents.to_rgb(torch.zeros(1, latents.channels, 1, 1)).abs() < 1).all()


OF_PREVIEWS = {
    family.latent_format.taesd: family.latent_format for family in FAMILIES if family.latent_format.taesd is not None
}


@torch.no_grad()
@pytest.mark.parametrize("name", OF_PREVIEWS)
def test_networks_of_previews_fit_the_latents(name, tmp_path):
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderTiny

    latents = OF_PREVIEWS[name]
    latent, image = torch.zeros(1, latents.channels, 2, 3), torch.zeros(1, 3, 16, 24)
    assert VAEApprox(latents.channels)(latent).shape == (1, 3, 4, 6)
    tiny = AutoencoderTiny(latent_channels=latents.channels)
    for (part, skipped), given, shape in zip(
        (("decoder", 1), ("encoder", 0)), (latent, image), (image.shape, latent.shape), strict=True
    ):
        stored = {}
        for key, tensor in getattr(tiny, part).state_dict().items():
            number, _, rest = key.removeprefix("layers.").partition(".")
            stored[f"{int(number) + skipped}.{rest}"] = tensor
        path = str(tmp_path / f"{name}_{part}.pth")
        torch.save(stored, path)
        assert sd_vae_taesd.build(part, path, latents)(given).shape == shape
