"""job: from prompts to conditioning: texts encoded once and remembered, and what inpainting, edit and depth models see
beside the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from modules import (
    devices,
    extra_networks,
    image_readers,
    latents,
    lowvram,
    prompt_parser,
    rng,
    sd_hijack,
    sd_models,
    sd_samplers,
    shared,
)
from modules.errors import InvalidInput
from modules.job.settings import CondSettings, mask_weight_of
from modules.model_families.base import DEPTH, EDITED, EMBEDDED, MASKED

if TYPE_CHECKING:
    from modules.job.run_state import RunState, Txt2ImgState
    from modules.sd_models_types import WebuiSdModel

IMAGE_CONDITIONED = ("hybrid", "concat")
"""`model.conditioning_key` values of SD1's U-Nets that take a masked image beside the latent (9 input channels)."""


def cond_cache_key(
    p: RunState,
    prompts: prompt_parser.SdConditioning,
    steps: int,
    extra_network_data: Any,
    hires_steps: int | None,
    use_old_scheduling: bool,
) -> tuple:
    """Returns everything the encoded prompts depend on; equal keys mean that the remembered conditioning can be used
    again.
    """
    settings = CondSettings.from_opts(shared.opts)
    return (
        prompts,
        steps,
        hires_steps,
        use_old_scheduling,
        settings.CLIP_stop_at_last_layers,
        shared.sd_model.sd_checkpoint_info,
        extra_networks.text_key(extra_network_data),
        sd_hijack.model_hijack.embedding_db.revision,
        settings.sdxl_crop_left,
        settings.sdxl_crop_top,
        p.width,
        p.height,
        settings.fp8_storage,
        settings.cache_fp16_weight,
        settings.emphasis,
        settings.comma_padding_backtrack,
        settings.use_old_emphasis_implementation,
        settings.sdxl_clip_l_skip,
        settings.sdxl_refiner_low_aesthetic_score,
        settings.sdxl_refiner_high_aesthetic_score,
        getattr(prompts, "width", None),
        getattr(prompts, "height", None),
    )


def encode_with_cache(
    p: RunState,
    encode: Callable,
    prompts: prompt_parser.SdConditioning,
    steps: int,
    caches: Sequence[list],
    extra_network_data: Any,
    hires_steps: int | None = None,
) -> Any:
    """Returns the conditioning of `prompts`: taken from one of `caches` ([key, value] pairs), or encoded and put into
    the first.

    encode: `prompt_parser.get_learned_conditioning` or `get_multicond_learned_conditioning`. steps: denoiser calls of
    the first pass. hires_steps: of the second, None in the first. What encoding tells the job, such as "TI hashes", is
    told again where network tags were in the prompt: v1.10.1 remembers nothing there. Without tags it is not, as there,
    but to each copy of one job, whose images tell of themselves alone.
    """
    old_scheduling = CondSettings.from_opts(shared.opts).use_old_scheduling
    if old_scheduling:
        schedules = [
            prompt_parser.get_learned_conditioning_prompt_schedules(prompts, steps, hires_steps, old)
            for old in (False, True)
        ]
        if schedules[0] != schedules[1]:
            p.extra_generation_params["Old prompt editing timelines"] = True

    key = p.cached_params(prompts, steps, extra_network_data, hires_steps, old_scheduling)
    for cache in caches:
        if cache[0] is not None and cache[0] == key:
            if len(cache) > 2 and (extra_network_data or is_news(p, cache[2])):
                tell(sd_hijack.model_hijack, cache[2])
                p.notes_told.append(cache[2])
            return cache[1]
    with devices.autocast(), noting(sd_hijack.model_hijack) as notes:
        conds = encode(shared.sd_model, prompts, steps, hires_steps, old_scheduling)
    caches[0][:] = [key, conds, notes]
    p.notes_made.append(notes)
    p.notes_told.append(notes)
    return conds


def is_news(p: RunState, notes: EncodingNotes) -> bool:
    """Tells whether a job does not know what encoding told another copy of it, such as the cell before."""
    return any(made is notes for made in p.notes_made) and not any(told is notes for told in p.notes_told)


@dataclass(frozen=True)
class EncodingNotes:
    """What encoding tells the job. params: for the infotext; comments: remarks."""

    params: dict[str, Any] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)


@contextmanager
def noting(exchange: sd_hijack.StableDiffusionModelHijack) -> Iterator[EncodingNotes]:
    """Collects what encoding tells inside the block, and tells it to the job at its end."""
    notes = EncodingNotes()
    params, comments = exchange.extra_generation_params, exchange.comments
    exchange.extra_generation_params, exchange.comments = notes.params, notes.comments
    try:
        yield notes
    finally:
        exchange.extra_generation_params, exchange.comments = params, comments
        tell(exchange, notes)


def tell(exchange: sd_hijack.StableDiffusionModelHijack, notes: EncodingNotes) -> None:
    """Adds notes to what the job has been told, new hashes before earlier ones."""
    params = exchange.extra_generation_params
    for key, value in notes.params.items():
        earlier = params.get(key) if key == "TI hashes" else None
        params[key] = f"{value}, {earlier}" if earlier else value
    exchange.comments.extend(notes.comments)


def total_steps(sampler_name: str | None, steps: int) -> int:
    """Returns the denoiser calls a sampler makes for `steps` steps: twice as many for second-order ones."""
    config = sd_samplers.find_sampler_config(sampler_name)
    return config.total_steps(steps) if config else steps


def encode_first_pass(p: RunState) -> None:
    """Fills `p.c` and `p.uc`, and the step counts that prompt editing is based on. The negative prompt is encoded
    first.
    """
    prompts = prompt_parser.SdConditioning(p.prompts, width=p.width, height=p.height)
    negative_prompts = prompt_parser.SdConditioning(
        p.negative_prompts, width=p.width, height=p.height, is_negative_prompt=True
    )
    steps = total_steps(p.sampler_name, p.steps)
    p.step_multiplier = steps // p.steps
    p.firstpass_steps = steps
    data = p.extra_network_data
    p.uc = encode_with_cache(p, prompt_parser.get_learned_conditioning, negative_prompts, steps, [p.cached_uc], data)
    p.c = encode_with_cache(p, prompt_parser.get_multicond_learned_conditioning, prompts, steps, [p.cached_c], data)


def encode_passes(p: Txt2ImgState) -> None:
    """Fills the conditioning of the pass that begins, and of the hires pass too where it is to be had now."""
    if p.is_hr_pass:
        # A refiner that takes over in the second pass needs that pass's conditioning only.
        p.hr_c = None
        p.calculate_hr_conds()
        return
    encode_first_pass(p)
    p.hr_uc = p.hr_c = None
    if not p.enable_hr or p.hr_checkpoint_info is not None:
        return
    if CondSettings.from_opts(shared.opts).hires_fix_use_firstpass_conds:
        p.calculate_hr_conds()
    elif lowvram.is_enabled(shared.sd_model) and shared.sd_model.sd_checkpoint_info == sd_models.select_checkpoint():
        # With little memory the text encoder is on the device now, so both passes are encoded in one go.
        with devices.autocast():
            extra_networks.activate(p, p.hr_extra_network_data)
        p.calculate_hr_conds()
        with devices.autocast():
            extra_networks.activate(p, p.extra_network_data)


def encode_hires_pass(p: Txt2ImgState) -> None:
    """Fills `p.hr_c` and `p.hr_uc` unless they are there already."""
    if p.hr_c is not None:
        return
    size = {"width": p.hr_upscale_to_x, "height": p.hr_upscale_to_y}
    prompts = prompt_parser.SdConditioning(p.hr_prompts, **size)
    negative_prompts = prompt_parser.SdConditioning(p.hr_negative_prompts, **size, is_negative_prompt=True)
    steps = total_steps(p.hr_sampler_name or p.sampler_name, p.hr_second_pass_steps or p.steps)
    data = p.hr_extra_network_data
    first = p.firstpass_steps
    p.hr_uc = encode_with_cache(
        p, prompt_parser.get_learned_conditioning, negative_prompts, first, [p.cached_hr_uc, p.cached_uc], data, steps
    )
    p.hr_c = encode_with_cache(
        p, prompt_parser.get_multicond_learned_conditioning, prompts, first, [p.cached_hr_c, p.cached_c], data, steps
    )


def no_image_conditioning(latent: torch.Tensor) -> torch.Tensor:
    """Returns what models without image conditioning get: a tiny zero tensor (B, 5, 1, 1) that nothing reads."""
    return latent.new_zeros(latent.shape[0], 5, 1, 1)


def takes_masked_image(sd_model: WebuiSdModel) -> bool:
    """Tells whether the U-Net is an inpainting model's."""
    return sd_model.family.image == MASKED


def with_mask_channel(latent: torch.Tensor, mask: torch.Tensor | float) -> torch.Tensor:
    """Puts the mask (B or 1, 1, h, w), or one value for all, before the latent: (B, C, h, w) -> (B, 1 + C, h, w)."""
    if not isinstance(mask, torch.Tensor):
        mask = torch.full_like(latent[:, :1], mask)
    return torch.cat([mask.to(latent.dtype).expand(latent.shape[0], -1, -1, -1), latent], dim=1)


def text_only_conditioning(
    sd_model: WebuiSdModel, latent: torch.Tensor, width: int, height: int, seed: int = 0
) -> torch.Tensor:
    """Returns the image conditioning of a job that has no image: for inpainting models a grey image that is masked
    everywhere, for InstructPix2Pix an empty latent, for unCLIP zeros.

    latent: (B, C, h, w), gives batch size, device and dtype. seed: of the encoder's posterior noise. Raises
    InvalidInput for depth models, which cannot do without one.
    """
    if sd_model.family.image == EDITED:
        return torch.zeros_like(latent)
    if sd_model.family.image == DEPTH:
        raise InvalidInput(f"{sd_model.family.title} starts from an image: use img2img", "sd_model_checkpoint")
    if sd_model.family.image == EMBEDDED:
        return latent.new_zeros(latent.shape[0], 2 * sd_model.embedder.width)
    if takes_masked_image(sd_model):
        grey = torch.full(
            (latent.shape[0], 3, height, width), 0.5, dtype=sd_model.placement.dtype_vae, device=latent.device
        )
        encoded = latents.images_tensor_to_samples(
            grey,
            latents.LatentSettings.from_opts(shared.opts).encoder,
            sd_model,
            generator=rng.posterior_generator(seed),
        )
        return with_mask_channel(encoded, 1.0).to(latent.dtype)
    return no_image_conditioning(latent)


def edit_conditioning(sd_model: WebuiSdModel, pixels: torch.Tensor) -> torch.Tensor:
    """Returns, for models that edit an image, the posterior's mode, in most without the latent scale.

    pixels: (B, 3, H, W) in -1..1.
    """
    latent = sd_model.encode_first_stage(pixels).mode()
    return sd_model.latent_format.from_vae(latent) if sd_model.family.image_is_scaled else latent


def depth_conditioning(sd_model: WebuiSdModel, pixels: torch.Tensor) -> torch.Tensor:
    """Returns, for depth models, the map of distances (B, 1, h, w) of the first image. pixels: (B, 3, H, W) in -1..1.

    Raises NotFound while the network that makes it is not there.
    """
    _, height, width = sd_model.latent_format.cells(pixels.shape[-1], pixels.shape[-2])
    depth = image_readers.depth_map(pixels, (height, width))
    return depth.expand(pixels.shape[0], -1, -1, -1).to(sd_model.dtype)


@torch.no_grad()
def embedded_conditioning(
    sd_model: WebuiSdModel, pixels: torch.Tensor, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Returns, for unCLIP, what CLIP says of images, without noise. pixels: (B, 3, H, W) in -1..1.

    generator: of the noise, which even its lowest level has a little of.
    """
    return sd_model.noise_augmentor(sd_model.embedder(pixels), 0, generator).to(sd_model.dtype)


def inpainting_conditioning(
    p: RunState,
    pixels: torch.Tensor,
    latent: torch.Tensor,
    image_mask: Any = None,
    round_image_mask: bool = True,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Returns, for inpainting models, (B, 1 + C, h, w): the mask, then the encoded image, its masked part blank.

    pixels: (B, 3, H, W) in -1..1. image_mask: PIL image or tensor, white where the image is made anew; None means
    everywhere. The setting inpainting_mask_weight (or `p.inpainting_mask_weight`) blends between the blanked and the
    whole image.
    """
    p.is_using_inpainting_conditioning = True
    if image_mask is None:
        mask = pixels.new_ones(1, 1, *pixels.shape[-2:])
    elif isinstance(image_mask, Image.Image):
        mask = torch.from_numpy(np.array(image_mask.convert("L")).astype(np.float32) / 255.0)[None, None]
        mask = torch.round(mask) if round_image_mask else mask
    else:
        mask = image_mask
    mask = mask.to(device=pixels.device, dtype=pixels.dtype)
    weight = mask_weight_of(p, CondSettings.from_opts(shared.opts))
    blanked = torch.lerp(pixels, pixels * (1.0 - mask), weight)
    encoded = p.sd_model.get_first_stage_encoding(p.sd_model.encode_first_stage(blanked, generator=generator))
    return with_mask_channel(encoded, F.interpolate(mask, size=latent.shape[-2:])).to(
        device=shared.device, dtype=p.sd_model.dtype
    )


def image_conditioning(
    p: RunState,
    pixels: torch.Tensor,
    latent: torch.Tensor,
    image_mask: Any = None,
    round_image_mask: bool = True,
) -> torch.Tensor:
    """Returns the image conditioning of a job that starts from an image, by what the loaded model takes.

    pixels: (B, 3, H, W) in -1..1; latent: of them. The posterior's noise is that of the job's first seed.
    """
    sd_model = p.sd_model
    generator = rng.posterior_generator(p.all_seeds[0])
    pixels = pixels.to(shared.device)
    if sd_model.family.image == EDITED:
        return edit_conditioning(sd_model, sd_model.placement.upcast(pixels))
    if sd_model.family.image == DEPTH:
        return depth_conditioning(sd_model, pixels)
    if sd_model.family.image == EMBEDDED:
        return embedded_conditioning(sd_model, pixels, generator)
    if takes_masked_image(sd_model):
        return inpainting_conditioning(
            p,
            sd_model.placement.upcast(pixels),
            latent,
            image_mask,
            sd_model.is_sdxl_inpaint or round_image_mask,
            generator,
        )
    return no_image_conditioning(latent)
