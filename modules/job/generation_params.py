"""job: what an infotext says about how an image was made: its keys in their order, and what stands under them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from modules import infotext, sd_samplers_common, shared, step_cache
from modules.job.settings import InfotextSettings, mask_weight_of

if TYPE_CHECKING:
    from modules.job.run_state import RunState

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageText:
    """Per-image fields of an infotext."""

    index: int
    prompt_text: str
    negative_prompt: str
    seed: int
    subseed: int


def given(condition: Any, value: Any) -> Any:
    """Returns the value of a key where the condition holds; None, which leaves the key out, where it does not."""
    return value if condition else None


def fixed_params(p: RunState, image: ImageText, settings: InfotextSettings) -> dict[str, Any]:
    """Returns the keys every infotext may have, in their fixed order; None means that a key is left out."""
    return {
        **sampling_params(p, image, settings),
        **model_params(p, settings),
        **variation_params(p, image),
        **image_params(p, settings),
    }


def sampling_params(p: RunState, image: ImageText, settings: InfotextSettings) -> dict[str, Any]:
    """Returns what most readers of an infotext need: how to sample the same image again."""
    return {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": p.scheduler,
        "CFG scale": p.cfg_scale,
        "Image CFG scale": getattr(p, "image_cfg_scale", None),
        "Seed": image.seed,
        "Face restoration": given(p.restore_faces, settings.face_restoration_model),
        "Size": f"{p.width}x{p.height}",
    }


def model_params(p: RunState, settings: InfotextSettings) -> dict[str, Any]:
    """Returns the model, its VAE, and how its weights are stored."""
    fp8 = given(getattr(shared.sd_model, "fp8", False), settings.fp8_storage)
    return {
        "Model hash": given(settings.add_model_hash_to_info, p.sd_model_hash),
        "Model": given(settings.add_model_name_to_info, p.sd_model_name),
        "FP8 weight": fp8,
        "Cache FP16 weight for LoRA": given(fp8, settings.cache_fp16_weight),
        "VAE hash": given(settings.add_vae_hash_to_info, p.sd_vae_hash),
        "VAE": given(settings.add_vae_name_to_info, p.sd_vae_name),
        "Backend": backend_in_use(),
        "Precision": precision_in_use(),
        **{f"Module {number}": name for number, name in enumerate(p.sd_module_names, 1)},
    }


def backend_in_use() -> str | None:
    """Returns what has computed the denoiser in the place of torch's eager mode, if anything has."""
    runner = getattr(getattr(shared.sd_model, "model", None), "runner", None)
    return getattr(runner, "title", None)


def precision_in_use() -> str | None:
    """Returns the type that the denoiser computes in, if only a flag of this program's own chooses it."""
    placement = getattr(shared.sd_model, "placement", None)
    return given(getattr(placement, "dtype", None) == torch.bfloat16, "bf16")


def variation_params(p: RunState, image: ImageText) -> dict[str, Any]:
    """Returns what else than the seed made the noise."""
    varied = p.subseed_strength != 0
    resized = p.seed_resize_from_w > 0 and p.seed_resize_from_h > 0
    return {
        "Variation seed": given(varied, image.subseed),
        "Variation seed strength": given(varied, p.subseed_strength),
        "Seed resize from": given(resized, f"{p.seed_resize_from_w}x{p.seed_resize_from_h}"),
    }


def image_params(p: RunState, settings: InfotextSettings) -> dict[str, Any]:
    """Returns what the job did beside plain sampling."""
    clip_skip = int(getattr(p, "clip_skip", settings.CLIP_stop_at_last_layers))
    token_merging_ratio_hr = p.get_token_merging_ratio(for_hr=True) if getattr(p, "enable_hr", False) else 0
    interval = settings.step_cache_interval
    return {
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Conditional mask weight": given(p.is_using_inpainting_conditioning, mask_weight_of(p, settings)),
        "Clip skip": given(clip_skip > 1, clip_skip),
        "ENSD": given(uses_ensd(p, settings), settings.eta_noise_seed_delta),
        "Token merging ratio": p.get_token_merging_ratio() or None,
        "Token merging ratio hr": token_merging_ratio_hr or None,
        "Step cache": given(interval > 1 and step_cache.fits(shared.sd_model), interval),
        "Init image hash": getattr(p, "init_img_hash", None),
        "RNG": given(settings.randn_source != "GPU", settings.randn_source),
        "Tiling": given(p.tiling, True),
    }


def uses_ensd(p: RunState, settings: InfotextSettings) -> bool:
    """Tells whether the setting eta_noise_seed_delta changes this job's images."""
    return settings.eta_noise_seed_delta != 0 and sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)


def infotext_of(p: RunState, image: ImageText, version: str, call_arguments: dict[str, Any]) -> str:
    """Returns the infotext of one image.

    `p.extra_generation_params` follow the fixed keys in the order they were set. A value may be a list with one entry
    per image, or a function that is called with everything known about the image as keyword arguments.
    """
    settings = InfotextSettings.from_opts(shared.opts)
    params = {**fixed_params(p, image, settings), **p.extra_generation_params}
    params["Version"] = given(settings.add_version_to_infotext, version)
    params["User"] = given(settings.add_user_name_to_info, p.user)
    arguments = {**call_arguments, "p": p, "generation_params": params, **vars(image)}
    resolved = {key: resolve(key, value, image.index, arguments) for key, value in params.items()}
    return infotext.build_infotext(image.prompt_text, image.negative_prompt, resolved)


def resolve(key: str, value: Any, index: int, arguments: dict[str, Any]) -> Any:
    """Returns the value of one key for one image; None, with a log line, when it can't be had."""
    try:
        if isinstance(value, list):
            return value[index]
        if callable(value):
            return value(**arguments)
    except Exception:  # the value may come from an extension; a faulty one must not cost the image its file
        logger.exception("infotext value of %r could not be worked out", key)
        return None
    return value
