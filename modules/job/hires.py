"""job: the hires pass of txt2img: how large it gets, how the first pass becomes its start, and its own sampling."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from modules import (
    bounds,
    checkpoints,
    devices,
    extra_networks,
    images,
    latents,
    model_patches,
    rng,
    sd_samplers,
    sd_schedulers,
    shared,
)
from modules.errors import InvalidInput, NotFound
from modules.infotext import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULER
from modules.job import conds, decode, output, start
from modules.job.settings import CondSettings, HiresSettings, mask_weight_of

if TYPE_CHECKING:
    from modules.job.run_state import Txt2ImgState


def old_first_pass_dimensions(width: int, height: int) -> tuple[int, int]:
    """Returns old versions' first pass size: about 512x512 pixels at the result's aspect ratio, in steps of 64."""
    scale = math.sqrt(512 * 512 / (width * height))
    return math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64


def check_size(request: Any, largest: int) -> None:
    """Checks that the hires pass of a request (anything with its fields) stays within `largest` pixels a side.

    Only a size that follows from the first pass is looked at; one that is asked for has a range. Raises InvalidInput.
    """
    target_x, target_y = request.hr_resize_x, request.hr_resize_y
    if target_x and target_y:
        return
    if target_x or target_y:
        scale = max(target_x / request.width, target_y / request.height)
    else:
        scale = request.hr_scale
    longest = max(request.width, request.height) * scale
    if longest > largest:
        raise InvalidInput(
            f"The hires pass would be {longest:.0f} pixels long, but at most {largest} are allowed "
            "(the setting api_max_size changes it)",
            field="hr_scale",
        )


def calculate_target_resolution(p: Txt2ImgState) -> None:
    """Fills `p.hr_upscale_to_x/y` (size before cropping) and `p.truncate_x/y` (latent cells to crop), and records the
    request in the infotext.
    """
    calculate_size(p)
    p.hr_upscale_to_x, p.hr_upscale_to_y = (start.whole_cells(p, s) for s in (p.hr_upscale_to_x, p.hr_upscale_to_y))
    if p.hr_resize_x and p.hr_resize_y:
        wanted_x, wanted_y = start.whole_cells(p, p.hr_resize_x), start.whole_cells(p, p.hr_resize_y)
        excess = (p.hr_upscale_to_x - wanted_x, p.hr_upscale_to_y - wanted_y)
        _, p.truncate_y, p.truncate_x = p.sd_model.latent_format.cells(*excess)


def calculate_size(p: Txt2ImgState) -> None:
    """Fills `p.hr_upscale_to_x/y`, the size before cropping, and records the request; needs no model.

    Of a width and a height that are both asked for, the larger enlargement counts; what is too much is cropped.
    """
    if HiresSettings.from_opts(shared.opts).use_old_hires_fix_width_height and p.applied_old_hires_behavior_to != (
        p.width,
        p.height,
    ):
        p.hr_resize_x = p.hr_upscale_to_x = p.width
        p.hr_resize_y = p.hr_upscale_to_y = p.height
        p.width, p.height = old_first_pass_dimensions(p.width, p.height)
        p.applied_old_hires_behavior_to = (p.width, p.height)

    width, height, target_x, target_y = p.width, p.height, p.hr_resize_x, p.hr_resize_y
    if target_x == 0 and target_y == 0:
        p.extra_generation_params["Hires upscale"] = p.hr_scale
        p.hr_upscale_to_x, p.hr_upscale_to_y = int(width * p.hr_scale), int(height * p.hr_scale)
        return
    p.extra_generation_params["Hires resize"] = f"{target_x}x{target_y}"
    if target_y == 0 or (target_x != 0 and width / height < target_x / target_y):
        p.hr_upscale_to_x, p.hr_upscale_to_y = target_x, target_x * height // width
    else:
        p.hr_upscale_to_x, p.hr_upscale_to_y = target_y * width // height, target_y


def init(p: Txt2ImgState) -> None:
    """Resolves checkpoint, sampler, upscaler and size of the second pass and counts it in the job's progress.

    Raises NotFound for an unknown hires checkpoint or upscaler, and InvalidInput for an unknown sampler and for a size
    below a latent cell.
    """
    params = p.extra_generation_params
    params["Denoising strength"] = p.denoising_strength
    resolve_checkpoint(p)
    resolve_sampler(p)
    if p.hr_sampler_name is not None and p.hr_sampler_name != p.sampler_name:
        params["Hires sampler"] = p.hr_sampler_name
    params["Hires prompt"] = hires_prompt
    params["Hires negative prompt"] = hires_negative_prompt
    params["Hires schedule type"] = None  # holds the place; the sampler knows the value
    if p.hr_scheduler is None:
        p.hr_scheduler = p.scheduler
    resolve_upscaler(p)
    resolve_size(p)
    count_second_pass(p)
    if p.hr_second_pass_steps:
        params["Hires steps"] = p.hr_second_pass_steps
    if p.hr_upscaler is not None:
        params["Hires upscaler"] = p.hr_upscaler


def resolve_checkpoint(p: Txt2ImgState) -> None:
    """Finds the checkpoint of the second pass, if it has one of its own. Raises NotFound."""
    if not p.hr_checkpoint_name or p.hr_checkpoint_name == SAME_CHECKPOINT:
        return
    p.hr_checkpoint_info = checkpoints.find(p.hr_checkpoint_name)
    if p.hr_checkpoint_info is None:
        raise NotFound(f"Could not find a checkpoint with name {p.hr_checkpoint_name!r}", field="hr_checkpoint_name")
    p.hr_checkpoint_info.calculate_shorthash()
    p.extra_generation_params["Hires checkpoint"] = p.hr_checkpoint_info.short_title


def resolve_upscaler(p: Txt2ImgState) -> None:
    """Finds how the upscaler works: in latent space (`p.latent_scale_mode`) or on pixels (None). Raises NotFound."""
    name = p.hr_upscaler if p.hr_upscaler is not None else shared.latent_upscale_default_mode
    p.latent_scale_mode = shared.latent_upscale_modes.get(name)
    if p.latent_scale_mode is None and not any(upscaler.name == p.hr_upscaler for upscaler in shared.sd_upscalers):
        raise NotFound(
            f"Could not find an upscaler named {p.hr_upscaler!r}; "
            "/sdapi/v1/upscalers and /sdapi/v1/latent-upscale-modes list them",
            field="hr_upscaler",
        )


def resolve_size(p: Txt2ImgState) -> None:
    """Works out the size of the second pass. Raises InvalidInput for one below a latent cell, or beyond the setting
    api_max_size.
    """
    p.calculate_target_resolution()
    field = "hr_resize_x" if p.hr_resize_x or p.hr_resize_y else "hr_scale"
    bounds.current().check_size(p.hr_upscale_to_x, p.hr_upscale_to_y, field)
    cell = p.sd_model.latent_format.downscale
    if min(p.hr_upscale_to_x, p.hr_upscale_to_y) < cell:
        raise InvalidInput(
            f"the hires pass would be {p.hr_upscale_to_x}x{p.hr_upscale_to_y} pixels: "
            f"both sides must be at least {cell}",
            field=field,
        )


def resolve_sampler(p: Txt2ImgState) -> None:
    """Turns "Use same ..." into None, and a name with a schedule at its end ("DPM++ 2M Karras") into the two.

    Raises InvalidInput for a sampler that does not exist. An unknown schedule is none.
    """
    if p.hr_scheduler == SAME_SCHEDULER:
        p.hr_scheduler = None
    if p.hr_sampler_name in ("", SAME_SAMPLER):
        p.hr_sampler_name = None
    name = p.hr_sampler_name
    if sd_samplers.find_sampler_config(name) is not None:
        return
    sampler, schedule = sd_samplers.get_sampler_and_scheduler(name, None, convert_automatic=False)
    if name.removeprefix(f"{sampler} ") not in sd_schedulers.schedulers_map:
        raise InvalidInput(
            f"There is no sampler {name!r} for the hires pass; GET /sdapi/v1/samplers lists them",
            field="hr_sampler_name",
        )
    p.hr_sampler_name, p.hr_scheduler = sampler, p.hr_scheduler or schedule


def hires_prompt(p: Txt2ImgState, index: int, prompt_text: str, **told: Any) -> str | None:
    """Returns, for the infotext, the second pass's prompt where it differs from the first's."""
    text = p.all_hr_prompts[place_in_job(p, index, **told)]
    return text if text != prompt_text else None


def hires_negative_prompt(p: Txt2ImgState, index: int, negative_prompt: str, **told: Any) -> str | None:
    """Returns, for the infotext, the second pass's negative prompt where it differs from the first's."""
    text = p.all_hr_negative_prompts[place_in_job(p, index, **told)]
    return text if text != negative_prompt else None


def place_in_job(p: Txt2ImgState, index: int, all_prompts: list[str] | None = None, **_: Any) -> int:
    """Returns the place of an image in the lists of the job; index is that in all_prompts, those of a batch or all."""
    is_of_batch = all_prompts is not None and all_prompts is p.prompts
    return index + p.iteration * p.batch_size if is_of_batch else index


def count_second_pass(p: Txt2ImgState) -> None:
    """Doubles the job count, once per job, and sets the total of the console's progress bar."""
    state = shared.state
    if state.processing_has_refined_job_count:
        return
    if state.job_count == -1:
        state.job_count = p.n_iter
    first_pass_steps = 0 if getattr(p, "txt2img_upscale", False) else p.steps
    shared.total_tqdm.updateTotal((first_pass_steps + (p.hr_second_pass_steps or p.steps)) * state.job_count)
    state.job_count *= 2
    state.processing_has_refined_job_count = True


def decode_first_pass(p: Txt2ImgState, samples: torch.Tensor) -> torch.Tensor | None:
    """Returns the first pass's pixels (B, 3, H, W) in -1..1 where the upscaler works on them."""
    if p.latent_scale_mode is not None:
        return None
    decoded = decode.decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    return torch.stack(list(decoded)).float()


def start_from_image(p: Txt2ImgState) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Returns (latents, pixels in -1..1) of `p.firstpass_image`, which stands in for the first pass of every image of
    the batch; the ones that the upscaler does not need are None.
    """
    image = np.moveaxis(np.array(p.firstpass_image.convert("RGB")).astype(np.float32) / 255.0, 2, 0)
    pixels = torch.from_numpy(image[None].repeat(len(p.seeds), axis=0))
    if p.latent_scale_mode is None:
        return None, pixels * 2.0 - 1.0
    return encode(p, pixels), None


def encode(p: Txt2ImgState, pixels: torch.Tensor) -> torch.Tensor:
    """Returns the latent of pixels (B, 3, H, W) in 0..1. The posterior's noise comes from the last image's seed."""
    settings = latents.LatentSettings.from_opts(shared.opts)
    if settings.sd_vae_encode_method != "Full":
        p.extra_generation_params["VAE Encoder"] = settings.sd_vae_encode_method
    posterior = rng.posterior_generator(p.seeds[-1])
    return latents.images_tensor_to_samples(
        pixels.to(shared.device, p.sd_model.placement.dtype_vae),
        settings.encoder,
        p.sd_model,
        generator=posterior,
    )


def upscale_latent(p: Txt2ImgState, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (latent, image conditioning) at the target size, by interpolating the latent cells."""
    samples = F.interpolate(
        samples,
        size=p.sd_model.latent_format.cells(p.hr_upscale_to_x, p.hr_upscale_to_y)[1:],
        mode=p.latent_scale_mode["mode"],
        antialias=p.latent_scale_mode["antialias"],
    )
    # Only a weight below 1 makes the conditioning depend on the image; decoding it is dear.
    if mask_weight_of(p, CondSettings.from_opts(shared.opts)) < 1.0:
        return samples, conds.image_conditioning(p, latents.decode_first_stage(p.sd_model, samples), samples)
    return samples, p.txt2img_image_conditioning(samples, p.hr_upscale_to_x, p.hr_upscale_to_y)


def upscale_pixels(p: Txt2ImgState, decoded: torch.Tensor, save_intermediate) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (latent, image conditioning) at the target size, by the chosen upscaler on the decoded pixels (B, 3, H,
    W) in -1..1.
    """
    upscaled = []
    for index, pixels in enumerate(torch.clamp((decoded + 1.0) / 2.0, min=0.0, max=1.0)):
        image = Image.fromarray(decode.to_uint8(pixels))
        save_intermediate(image, index)
        image = images.resize_image(0, image, p.hr_upscale_to_x, p.hr_upscale_to_y, upscaler_name=p.hr_upscaler)
        upscaled.append(np.moveaxis(np.array(image).astype(np.float32) / 255.0, 2, 0))
    pixels = torch.from_numpy(np.array(upscaled))
    samples = encode(p, pixels)
    pixels = pixels.to(shared.device, p.sd_model.placement.dtype_vae)
    return samples, p.img2img_image_conditioning(pixels, samples)


def truncate(p: Txt2ImgState, samples: torch.Tensor) -> torch.Tensor:
    """Crops the latent to the asked size, the odd cell at the bottom and right."""
    top, left = p.truncate_y // 2, p.truncate_x // 2
    return samples[
        :, :, top : samples.shape[2] - (p.truncate_y + 1) // 2, left : samples.shape[3] - (p.truncate_x + 1) // 2
    ]


def save_before_hires(p: Txt2ImgState, image: Any, index: int, infotext) -> None:
    """Keeps the first pass's image (PIL, or a latent batch to decode) when the setting save_images_before_highres_fix
    asks for it.
    """
    options = p.opts_snapshot or shared.opts
    if not output.save_samples(p) or not options.save_images_before_highres_fix:
        return
    if not isinstance(image, Image.Image):
        image = latents.sample_to_image(image, index, approximation=0, model=p.sd_model)
    images.save_image(
        image,
        p.outpath_samples,
        "",
        p.seeds[index],
        p.prompts[index],
        options.samples_format,
        info=infotext(index),
        p=p,
        suffix="-before-highres-fix",
    )


def sample(p: Txt2ImgState, samples: torch.Tensor | None, decoded: torch.Tensor | None, infotext) -> Any:
    """Runs the second pass and returns its decoded pixels, or the first pass's latents after an interrupt.

    samples: first pass latents, decoded: its pixels in -1..1; the upscaler's kind decides which is needed. infotext:
    function of an image's index.
    """
    if shared.state.interrupted:
        return samples if samples is not None else decode.DecodedSamples(decoded)
    p.is_hr_pass = True
    p.sampler = sd_samplers.create_sampler(p.hr_sampler_name or p.sampler_name, p.sd_model)

    if p.latent_scale_mode is not None:
        for index in range(samples.shape[0]):
            save_before_hires(p, samples, index, infotext)
        samples, image_conditioning = upscale_latent(p, samples)
    else:
        samples, image_conditioning = upscale_pixels(
            p, decoded, lambda image, index: save_before_hires(p, image, index, infotext)
        )
    shared.state.nextjob()
    if image_conditioning.shape[2:] == samples.shape[2:]:  # not where the model takes none
        image_conditioning = truncate(p, image_conditioning)
    samples = truncate(p, samples)

    p.rng = rng.ImageRNG(
        samples.shape[1:],
        p.seeds,
        subseeds=p.subseeds,
        subseed_strength=p.subseed_strength,
        seed_resize_from_h=p.seed_resize_from_h,
        seed_resize_from_w=p.seed_resize_from_w,
        downscale=p.sd_model.latent_format.downscale,
    )
    noise = p.rng.next()
    devices.torch_gc()
    if not p.disable_extra_networks:
        with devices.autocast():
            extra_networks.activate(p, p.hr_extra_network_data)
    with devices.autocast():
        p.calculate_hr_conds()

    ratio = p.get_token_merging_ratio(for_hr=True)
    with model_patches.kept("token merging", lambda model: model_patches.token_merging(model, ratio)):
        if p.scripts is not None:
            p.scripts.before_hr(p)
            p.scripts.process_before_every_sampling(p=p, x=samples, noise=noise, c=p.hr_c, uc=p.hr_uc)
        steps = p.hr_second_pass_steps or p.steps
        samples = p.sampler.sample_img2img(
            p, samples, noise, p.hr_c, p.hr_uc, steps=steps, image_conditioning=image_conditioning
        )

    p.sampler = None
    devices.torch_gc()
    pixels = decode.decode_latent_batch(p.sd_model, samples, target_device=devices.cpu, check_for_nans=True)
    p.is_hr_pass = False
    return pixels
