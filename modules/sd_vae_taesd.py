"""engine: the tiny autoencoder TAESD (https://github.com/madebyollin/taesd), a VAE of a few megabytes.

The networks are diffusers', the weights in the layout of its own files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from modules import devices, errors, preview_files, safe, shared, torchvision_ops

if TYPE_CHECKING:
    from diffusers.models.autoencoders.vae import DecoderTiny, EncoderTiny

    from modules.model_families import Family, LatentFormat
    from modules.sd_models_types import WebuiSdModel

FOLDER = "VAE-taesd"
BASE_URL = "https://github.com/madebyollin/taesd/raw/main/"

sd_vae_taesd_models: dict[str, nn.Module] = {}
"""Path of the weights -> the network."""


def decoder_model(wait: bool = True, sd_model: WebuiSdModel | None = None) -> DecoderTiny | None:
    """Returns the network from latents (B, C, h, w) of a model to pixels (B, 3, 8h, 8w) in -1..1.

    wait: download weights that are missing, and raise NotFound if that fails; else return None until they are there.
    sd_model: by default the current one.
    """
    return load("decoder", wait, (sd_model or shared.sd_model).family)


def encoder_model(wait: bool = True, sd_model: WebuiSdModel | None = None) -> EncoderTiny | None:
    """Returns the network from pixels (B, 3, H, W) in -1..1 to latents of a model.

    wait, sd_model: as in decoder_model.
    """
    return load("encoder", wait, (sd_model or shared.sd_model).family)


def load(part: str, wait: bool, family: Family) -> nn.Module | None:
    """Returns one half of a family's autoencoder, the same each time. wait: as in decoder_model."""
    latent_format = family.latent_format
    if latent_format.taesd is None:
        if wait:
            raise errors.NotFound(f"there is no TAESD for {family.title}: choose Full", "sd_vae_decode_method")
        return None
    url = f"{BASE_URL}{latent_format.taesd}_{part}.pth"
    path = preview_files.get(FOLDER, url) if wait else preview_files.find_or_fetch(FOLDER, url)
    if path is None:
        return None
    if path not in sd_vae_taesd_models:
        sd_vae_taesd_models[path] = build(part, path, latent_format).eval().to(devices.device, devices.dtype)
    return sd_vae_taesd_models[path]


def build(part: str, path: str, latent_format: LatentFormat) -> nn.Module:
    """Returns one half of the autoencoder. Raises ModelLoadError for a file that holds another network.

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
