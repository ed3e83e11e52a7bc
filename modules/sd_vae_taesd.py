"""engine: the tiny autoencoder TAESD (https://github.com/madebyollin/taesd), a VAE of a few megabytes.

The networks are diffusers', the weights in the layout of its own files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from modules import devices, errors, preview_files, safe, shared, torchvision_ops

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny

    from modules.model_families import LatentFormat

FOLDER = "VAE-taesd"
BASE_URL = "https://github.com/madebyollin/taesd/raw/main/"

sd_vae_taesd_models: dict[str, nn.Module] = {}
"""Path of the weights -> the network."""


def decoder_model(wait: bool = True) -> DecoderTiny | None:
    """The decoder for the current checkpoint: latents (B, C, h, w) in model space -> pixels (B, 3, 8h, 8w) in -1..1.

    wait: download weights that are missing, and raise NotFound if that fails; else return None until they are there.
    """
    return load("decoder", wait)


def encoder_model(wait: bool = True) -> EncoderTiny | None:
    """The encoder for the current checkpoint: pixels (B, 3, H, W) in -1..1 -> latents in model space.

    wait: as in decoder_model.
    """
    return load("encoder", wait)


def load(part: str, wait: bool) -> nn.Module | None:
    latent_format = shared.sd_model.family.latent_format
    if latent_format.taesd is None:
        if wait:
            raise errors.NotFound(
                f"there is no TAESD for {shared.sd_model.family.title}: choose Full", "sd_vae_decode_method"
            )
        return None
    url = f"{BASE_URL}{latent_format.taesd}_{part}.pth"
    path = preview_files.get(FOLDER, url) if wait else preview_files.find_or_fetch(FOLDER, url)
    if path is None:
        return None
    if path not in sd_vae_taesd_models:
        sd_vae_taesd_models[path] = build(part, path, latent_format).eval().to(devices.device, devices.dtype)
    return sd_vae_taesd_models[path]


def build(part: str, path: str, latent_format: LatentFormat) -> nn.Module:
    """One half of the autoencoder.

    The files number the layers; diffusers has no layer 0 in the decoder, where the files have one without weights.
    """
    torchvision_ops.declare_missing()
    from diffusers import AutoencoderTiny

    network = getattr(AutoencoderTiny(latent_channels=latent_format.channels), part)
    skipped = 1 if part == "decoder" else 0
    weights = {}
    for key, tensor in safe.load(path, map_location="cpu").items():
        number, _, rest = key.partition(".")
        weights[f"layers.{int(number) - skipped}.{rest}"] = tensor
    try:
        network.load_state_dict(weights)
    except RuntimeError as e:
        raise errors.ModelLoadError(f"{path} is no TAESD {part} for {latent_format.channels} channels: {e}") from e
    return network
