"""job: what a result says about how it was made: the infotext's keys in their order, and the JSON of a finished job."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from modules import infotext, sd_samplers_common, shared
from modules.errors import InvalidInput

logger = logging.getLogger(__name__)

PROCESSED_KEYS = [
    "prompt",
    "all_prompts",
    "negative_prompt",
    "all_negative_prompts",
    "seed",
    "all_seeds",
    "subseed",
    "all_subseeds",
    "subseed_strength",
    "width",
    "height",
    "sampler_name",
    "cfg_scale",
    "steps",
    "batch_size",
    "restore_faces",
    "face_restoration_model",
    "sd_model_name",
    "sd_model_hash",
    "sd_vae_name",
    "sd_vae_hash",
    "seed_resize_from_w",
    "seed_resize_from_h",
    "denoising_strength",
    "extra_generation_params",
    "index_of_first_image",
    "infotexts",
    "styles",
    "job_timestamp",
    "clip_skip",
    "is_using_inpainting_conditioning",
    "version",
]
"""Keys of `Processed.js()`, in their order."""


@dataclass(frozen=True)
class PictureText:
    """What is told about one picture apart from the job it belongs to."""

    index: int
    prompt_text: str
    negative_prompt: str
    seed: int
    subseed: int


def one_per_picture(prompt: Any, negative_prompt: Any, count: int, field: str) -> tuple[list[str], list[str]]:
    """One prompt and one negative prompt per picture, from texts or lists; `count` pictures unless a list says
    otherwise.

    Raises InvalidInput when both are lists of different lengths.
    """
    if isinstance(prompt, list):
        prompts = list(prompt)
    elif isinstance(negative_prompt, list):
        prompts = [prompt] * len(negative_prompt)
    else:
        prompts = [prompt] * count
    negative_prompts = list(negative_prompt) if isinstance(negative_prompt, list) else [negative_prompt] * len(prompts)
    if len(prompts) != len(negative_prompts):
        raise InvalidInput(
            f"Received a different number of prompts ({len(prompts)}) and negative prompts ({len(negative_prompts)})",
            field=field,
        )
    return prompts, negative_prompts


def processed_dict(processed: Any) -> dict[str, Any]:
    """A finished job as a dict of `PROCESSED_KEYS`; the prompts are those of the first picture, styles applied."""
    values = {key: getattr(processed, key) for key in PROCESSED_KEYS}
    values["prompt"] = processed.all_prompts[0]
    values["negative_prompt"] = processed.all_negative_prompts[0]
    return values


def fixed_params(p: Any, picture: PictureText) -> dict[str, Any]:
    """The keys every infotext may have, in their fixed order; None means that a key is left out."""
    opts = shared.opts
    varied = p.subseed_strength != 0
    fp8 = opts.fp8_storage if getattr(shared.sd_model, "fp8", False) else None
    clip_skip = int(getattr(p, "clip_skip", opts.CLIP_stop_at_last_layers))
    token_merging_ratio = p.get_token_merging_ratio()
    token_merging_ratio_hr = p.get_token_merging_ratio(for_hr=True) if getattr(p, "enable_hr", False) else 0
    return {
        "Steps": p.steps,
        "Sampler": p.sampler_name,
        "Schedule type": p.scheduler,
        "CFG scale": p.cfg_scale,
        "Image CFG scale": getattr(p, "image_cfg_scale", None),
        "Seed": picture.seed,
        "Face restoration": opts.face_restoration_model if p.restore_faces else None,
        "Size": f"{p.width}x{p.height}",
        "Model hash": p.sd_model_hash if opts.add_model_hash_to_info else None,
        "Model": p.sd_model_name if opts.add_model_name_to_info else None,
        "FP8 weight": fp8,
        "Cache FP16 weight for LoRA": opts.cache_fp16_weight if fp8 else None,
        "VAE hash": p.sd_vae_hash if opts.add_vae_hash_to_info else None,
        "VAE": p.sd_vae_name if opts.add_vae_name_to_info else None,
        "Variation seed": picture.subseed if varied else None,
        "Variation seed strength": p.subseed_strength if varied else None,
        "Seed resize from": f"{p.seed_resize_from_w}x{p.seed_resize_from_h}"
        if p.seed_resize_from_w > 0 and p.seed_resize_from_h > 0
        else None,
        "Denoising strength": p.extra_generation_params.get("Denoising strength"),
        "Conditional mask weight": getattr(p, "inpainting_mask_weight", opts.inpainting_mask_weight)
        if p.is_using_inpainting_conditioning
        else None,
        "Clip skip": clip_skip if clip_skip > 1 else None,
        "ENSD": opts.eta_noise_seed_delta if uses_ensd(p) else None,
        "Token merging ratio": token_merging_ratio or None,
        "Token merging ratio hr": token_merging_ratio_hr or None,
        "Init image hash": getattr(p, "init_img_hash", None),
        "RNG": opts.randn_source if opts.randn_source != "GPU" else None,
        "Tiling": True if p.tiling else None,
    }


def uses_ensd(p: Any) -> bool:
    """Whether the setting eta_noise_seed_delta changes this job's pictures."""
    return shared.opts.eta_noise_seed_delta != 0 and sd_samplers_common.is_sampler_using_eta_noise_seed_delta(p)


def infotext_of(p: Any, picture: PictureText, version: str, call_arguments: dict[str, Any]) -> str:
    """The infotext of one picture.

    `p.extra_generation_params` follow the fixed keys in the order they were set. A value may be a list with one entry
    per picture, or a function that is called with everything known about the picture as keyword arguments.
    """
    params = {**fixed_params(p, picture), **p.extra_generation_params}
    params["Version"] = version if shared.opts.add_version_to_infotext else None
    params["User"] = p.user if shared.opts.add_user_name_to_info else None
    arguments = {**call_arguments, "p": p, "generation_params": params, **vars(picture)}
    resolved = {key: resolve(key, value, picture.index, arguments) for key, value in params.items()}
    return infotext.build_infotext(picture.prompt_text, picture.negative_prompt, resolved)


def resolve(key: str, value: Any, index: int, arguments: dict[str, Any]) -> Any:
    """The value of one key for one picture; None, with a log line, when it can't be had."""
    try:
        if isinstance(value, list):
            return value[index]
        if callable(value):
            return value(**arguments)
    except Exception:  # the value may come from an extension; a faulty one must not cost the picture its file
        logger.exception("infotext value of %r could not be worked out", key)
        return None
    return value
