"""engine: pixels to latents and back, exactly by the checkpoint's VAE or roughly for previews; and what saves a job
whose VAE overflows or does not fit.

Pixels are (B, 3, H, W), in 0..1 on their way in and -1..1 on their way out, as the VAE sees them. Registers itself as
what draws previews.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from modules import devices, errors, image_ops, lowvram, sd_vae_approx, sd_vae_taesd, shared, vae_rows
from modules.model_families import VAE
from modules.options import OptionValues
from modules.sd_models_types import WebuiSdModel

logger = logging.getLogger(__name__)

FULL, APPROX_NN, APPROX_CHEAP, TAESD = range(4)

approximation_indexes: dict[str, int] = {
    "Full": FULL,
    "Approx NN": APPROX_NN,
    "Approx cheap": APPROX_CHEAP,
    "TAESD": TAESD,
}
"""Values of show_progress_type, sd_vae_decode_method and sd_vae_encode_method -> numbers the functions here take."""


@dataclass(frozen=True)
class LatentSettings(OptionValues):
    """How latents become pixels and pixels latents in a job. The names are those of the options."""

    auto_vae_precision: bool
    auto_vae_precision_bfloat16: bool
    sd_vae_decode_method: str
    sd_vae_encode_method: str

    @property
    def decoder(self) -> int:
        """Number of the decoder."""
        return approximation_indexes.get(self.sd_vae_decode_method, FULL)

    @property
    def encoder(self) -> int:
        """Number of the encoder."""
        return approximation_indexes.get(self.sd_vae_encode_method, FULL)

    @property
    def wider_vae_dtype(self) -> torch.dtype | None:
        """The type that a VAE may be switched to when it overflows."""
        if self.auto_vae_precision_bfloat16:
            return torch.bfloat16
        return torch.float32 if self.auto_vae_precision else None


@dataclass(frozen=True)
class PreviewSettings(OptionValues):
    """How live previews are drawn. The names are those of the options."""

    grid_background_color: str
    grid_prevent_empty_spots: bool
    live_preview_allow_lowvram_full: bool
    live_preview_fast_interrupt: bool
    n_rows: int
    show_progress_grid: bool
    show_progress_type: str

    def method(self, model: WebuiSdModel) -> int:
        """Returns the number of the decoder for a model: not its VAE if that would have to be moved to the device."""
        method = approximation_indexes.get(self.show_progress_type, FULL)
        if method == FULL and lowvram.is_enabled(model) and not self.live_preview_allow_lowvram_full:
            return APPROX_NN
        return method


def check_readable(before: WebuiSdModel, after: WebuiSdModel, field: str) -> None:
    """Raises InvalidInput unless a model can go on with latents of another one. field: of the request that names it."""
    if not after.latent_format.reads(before.latent_format):
        raise errors.InvalidInput(
            f"a model of {after.family.title} cannot go on with latents of {before.family.title}: choose one of the "
            "same family",
            field,
        )


def samples_to_images_tensor(
    sample: torch.Tensor, approximation: int | None = None, model: WebuiSdModel | None = None
) -> torch.Tensor:
    """Returns pixels in -1..1 of latents (B, C, h, w). Only the full VAE and TAESD give the full size.

    approximation: see approximation_indexes; None draws as previews are drawn, and so does everything after an
    interrupt under the setting live_preview_fast_interrupt. model: whose latents they are, by default the current one.
    Raises NotFound if TAESD is asked for and not there.
    """
    model = model or shared.sd_model
    previews = PreviewSettings.from_opts(shared.opts)
    if approximation is None or (shared.state.interrupted and previews.live_preview_fast_interrupt):
        return rough_pixels(sample, previews.method(model), model)
    if approximation == TAESD:
        return run_small(sd_vae_taesd.decoder_model(sd_model=model), sample)
    return rough_pixels(sample, approximation, model)


def rough_pixels(sample: torch.Tensor, method: int, model: WebuiSdModel) -> torch.Tensor:
    """Returns what samples_to_images_tensor does; where a small network has no weights, by the linear map."""
    if method == FULL:
        return decode_full(model, sample)
    network = None
    if method == APPROX_NN:
        network = sd_vae_approx.model(model)
    elif method == TAESD:
        network = sd_vae_taesd.decoder_model(wait=False, sd_model=model)
    return sd_vae_approx.cheap_approximation(sample, model) if network is None else run_small(network, sample)


def run_small(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Returns the result of a small network, on its own device and in its own type."""
    weight = next(network.parameters())
    with torch.no_grad(), devices.without_autocast():
        return network(x.to(weight.device, weight.dtype))


def decode_full(model: WebuiSdModel, latent: torch.Tensor) -> torch.Tensor:
    """Returns pixels by the VAE; row by row if the device has no memory for the whole."""
    halvings = len(model.first_stage_model.config.block_out_channels) - 1
    pixels = latent[:, 0].numel() * 4**halvings
    with torch.no_grad(), devices.without_autocast():
        return in_rows_if_needed(model, "decode", lambda: model.decode_first_stage(latent), pixels)


SURELY_FREE = 2**28
"""So many bytes are there, without asking."""

MAPS_AT_ONCE = 8
"""The VAE's largest maps, with as many channels as its finest level has, that are in memory together."""


def free_for_vae(model: WebuiSdModel) -> float:
    """Returns the bytes that are free where the VAE of a model computes, when it does."""
    elsewhere = model.loaded_as.devices.get(VAE)
    return devices.free_memory(elsewhere or lowvram.give_turn(model, model.first_stage_model))


def in_rows_if_needed(model: WebuiSdModel, what: str, run: Callable[[], torch.Tensor], pixels: int) -> torch.Tensor:
    """Returns the result of a call of the VAE on so many pixels; row by row if memory does not suffice for the whole.

    The whole is not tried if it surely does not fit. Raises OutOfMemory if the rows do not fit either.
    """
    vae = model.first_stage_model
    needed = MAPS_AT_ONCE * pixels * vae.config.block_out_channels[0] * model.dtype_vae.itemsize
    if needed <= SURELY_FREE or needed <= free_for_vae(model):
        try:
            return run()
        except RuntimeError as e:
            if not devices.is_out_of_memory(e):
                raise
    logger.warning("not enough memory to %s the whole picture: doing it row by row", what)
    devices.torch_gc()
    try:
        with vae_rows.row_by_row(vae):
            return run()
    except RuntimeError as e:
        if not devices.is_out_of_memory(e):
            raise
        raise errors.OutOfMemory(
            f"{devices.device} has not enough memory to {what} the image, row by row either: make smaller images, or "
            "start with --medvram or --lowvram"
        ) from e


def decode_first_stage(model: WebuiSdModel, x: torch.Tensor) -> torch.Tensor:
    """Returns pixels in -1..1 of latents (B, C, h, w), by the decoder that the setting sd_vae_decode_method names."""
    method = LatentSettings.from_opts(shared.opts).decoder
    return samples_to_images_tensor(x.to(model.dtype_vae), method, model)


def decode_checked(model: WebuiSdModel, x: torch.Tensor) -> torch.Tensor:
    """Returns pixels as decode_first_stage does; what is not numbers is decoded again in a wider type.

    The VAE keeps that type. The settings auto_vae_precision_bfloat16 and auto_vae_precision allow bfloat16 and float32.
    Raises NansException if neither is allowed or of use.
    """
    pixels = decode_first_stage(model, x)
    try:
        devices.test_for_nans(pixels, "vae")
        return pixels
    except devices.NansException:
        narrow, wider = model.dtype_vae, LatentSettings.from_opts(shared.opts).wider_vae_dtype
        if wider is None or narrow == wider:
            raise
    errors.print_error_explanation(
        f"The VAE produced no numbers in {narrow}. The picture is decoded again in {wider}, and so are all\n"
        "that follow. The settings auto_vae_precision and auto_vae_precision_bfloat16 turn this off; --no-half-vae\n"
        "has the VAE in float32 from the start."
    )
    set_vae_dtype(model, wider)
    pixels = decode_first_stage(model, x)
    devices.test_for_nans(pixels, "vae")
    return pixels


def set_vae_dtype(model: WebuiSdModel, dtype: torch.dtype) -> None:
    """Converts the VAE of a model to another type; other models and VAEs keep theirs."""
    model.first_stage_model.to(dtype)


def images_tensor_to_samples(
    image: torch.Tensor,
    approximation: int | None = None,
    model: WebuiSdModel | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Returns latents (B, C, h, w) of pixels (B, 3, H, W) in 0..1, made one after the other.

    approximation: see approximation_indexes; None is what the setting sd_vae_encode_method names. model: whose latents
    are wanted, by default the current one. generator: gives the noise of the posterior, a CPU generator; torch's global
    one by default. Raises NotFound for TAESD without weights.
    """
    model = model or shared.sd_model
    if approximation is None:
        approximation = LatentSettings.from_opts(shared.opts).encoder
    if approximation == TAESD:
        return run_small(sd_vae_taesd.encoder_model(sd_model=model), image * 2 - 1)
    pixels = image.to(shared.device, model.dtype_vae) * 2 - 1
    return torch.cat([encode_one(model, one, generator) for one in pixels.split(1)])


def encode_one(model: WebuiSdModel, pixels: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Returns the latent (1, C, h, w) of pixels (1, 3, H, W) in -1..1; row by row where the whole does not fit.

    Pixels that lie channels-last in memory, as after a permute, are copied: torch's group norm loses digits with them.
    """
    pixels = pixels.contiguous()
    with torch.no_grad(), devices.without_autocast():
        return in_rows_if_needed(
            model,
            "encode",
            lambda: model.get_first_stage_encoding(model.encode_first_stage(pixels, generator=generator)),
            pixels[0, 0].numel(),
        )


def single_sample_to_image(
    sample: torch.Tensor, approximation: int | None = None, model: WebuiSdModel | None = None
) -> Image.Image:
    """Returns the image of one latent (C, h, w). approximation, model: as in samples_to_images_tensor."""
    pixels = samples_to_images_tensor(sample[None], approximation, model)[0].float()
    values = torch.clamp(pixels * 0.5 + 0.5, min=0.0, max=1.0) * 255.0
    return Image.fromarray(values.movedim(0, 2).cpu().numpy().astype(np.uint8))


def sample_to_image(
    samples: torch.Tensor, index: int = 0, approximation: int | None = None, model: WebuiSdModel | None = None
) -> Image.Image:
    """Returns the image of one of a batch of latents (B, C, h, w)."""
    return single_sample_to_image(samples[index], approximation, model)


def samples_to_image_grid(
    samples: torch.Tensor, approximation: int | None = None, model: WebuiSdModel | None = None
) -> Image.Image:
    """Returns the images of a batch of latents (B, C, h, w), side by side."""
    images = [single_sample_to_image(sample, approximation, model) for sample in samples]
    settings = PreviewSettings.from_opts(shared.opts)
    rows, columns = image_ops.grid_shape(
        len(images), 1, None, n_rows=settings.n_rows, prevent_empty_spots=settings.grid_prevent_empty_spots
    )
    return image_ops.compose_grid(images, rows, columns, settings.grid_background_color)


@torch.no_grad()
def preview(latent: torch.Tensor) -> Image.Image:
    """Draws the live preview of the latents (B, C, h, w) of the running job: all of them or, by setting, the first."""
    as_grid = PreviewSettings.from_opts(shared.opts).show_progress_grid
    return samples_to_image_grid(latent) if as_grid else sample_to_image(latent)


shared.state.set_preview_provider(preview)
