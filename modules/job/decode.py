"""job: from latents to pixels: one image at a time, with the fallbacks that save a job whose VAE overflows or does not
fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from modules import devices, latents, shared


class DecodedSamples(list):
    """A list of pixels (3, H, W) in -1..1 that need no decoding any more."""

    already_decoded = True


def decode_latent_batch(
    model: Any, batch: torch.Tensor, target_device: torch.device | None = None, check_for_nans: bool = False
) -> DecodedSamples:
    """Decodes latents (B, C, h, w) one by one, so that memory is needed for one image only.

    target_device: where the pixels go. check_for_nans: test latents and pixels; an image of NaNs is decoded again in a
    wider dtype as the settings auto_vae_precision(_bfloat16) allow.
    Raises NansException for latents of NaNs, and for an image that stays so.
    """
    if check_for_nans:
        devices.test_for_nans(batch, "unet")
    decode_one = latents.decode_checked if check_for_nans else latents.decode_first_stage
    decoded = DecodedSamples()
    for i in range(batch.shape[0]):
        pixels = decode_one(model, batch[i : i + 1])[0]
        decoded.append(pixels.to(target_device) if target_device is not None else pixels)
    return decoded


def decode_samples(p: Any, samples: Any) -> torch.Tensor:
    """Returns pixels (B, 3, H, W) in 0..1 on the CPU, of latents or of what a hires pass has decoded already."""
    if not getattr(samples, "already_decoded", False):
        method = latents.LatentSettings.from_opts(shared.opts).sd_vae_decode_method
        if method != "Full":
            p.extra_generation_params["VAE Decoder"] = method
        samples = decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    pixels = torch.stack(list(samples)).float()
    return torch.clamp((pixels + 1.0) / 2.0, min=0.0, max=1.0)


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """Returns pixels (3, H, W) in 0..1 as (H, W, 3) bytes, truncated.

    NaNs, which --disable-nan-check lets pass, are black.
    """
    return (255.0 * np.moveaxis(pixels.nan_to_num().cpu().numpy(), 0, 2)).astype(np.uint8)
