"""job: a finished job as scripts, extensions and API clients know it: images, infotexts, and the request as it was
carried out.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from modules import shared, version
from modules.job.settings import ResultSettings

if TYPE_CHECKING:
    from PIL import Image

    from modules.job.run_state import RunState

KEYS = [
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
"""Keys of `FinishedJob.js()`, in their order."""

TAKEN_OVER = (
    "prompt",
    "negative_prompt",
    "subseed_strength",
    "width",
    "height",
    "sampler_name",
    "cfg_scale",
    "steps",
    "batch_size",
    "restore_faces",
    "sd_model_name",
    "sd_model_hash",
    "sd_vae_name",
    "sd_vae_hash",
    "seed_resize_from_w",
    "seed_resize_from_h",
    "extra_generation_params",
    "styles",
    "token_merging_ratio",
    "token_merging_ratio_hr",
    "eta",
    "ddim_discretize",
    "s_churn",
    "s_tmin",
    "s_tmax",
    "s_noise",
    "s_min_uncond",
    "sampler_noise_scheduler_override",
    "is_using_inpainting_conditioning",
)
"""What a result repeats of its processing object."""


class FinishedJob:
    """The data of a result. Scripts make and change it too, so everything can be assigned."""

    # of TAKEN_OVER, which the constructor sets
    prompt: str
    negative_prompt: str
    subseed_strength: float
    width: int
    height: int
    sampler_name: str
    cfg_scale: float
    steps: int
    batch_size: int
    restore_faces: bool
    sd_model_name: str
    sd_model_hash: str
    sd_vae_name: str
    sd_vae_hash: str
    seed_resize_from_w: int
    seed_resize_from_h: int
    extra_generation_params: dict[str, Any]
    styles: list[str]
    token_merging_ratio: float
    token_merging_ratio_hr: float
    eta: float | None
    ddim_discretize: str
    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float
    s_min_uncond: float
    sampler_noise_scheduler_override: Any
    is_using_inpainting_conditioning: bool

    def __init__(
        self,
        p: RunState,
        images_list: list[Image.Image],
        seed: Any = -1,
        info: str = "",
        subseed: Any = None,
        all_prompts: list[str] | None = None,
        all_negative_prompts: list[str] | None = None,
        all_seeds: list[int] | None = None,
        all_subseeds: list[int] | None = None,
        index_of_first_image: int = 0,
        infotexts: list[str] | None = None,
        comments: str = "",
    ):
        settings = ResultSettings.from_opts(shared.opts)
        self.images = images_list
        self.extra_images: list[Image.Image] = []
        """Images of scripts that the page shows after the results."""
        for name in TAKEN_OVER:
            setattr(self, name, getattr(p, name))
        self.prompt, self.negative_prompt = first(p.prompt), first(p.negative_prompt)
        self.seed, self.subseed = first_seed(seed), first_seed(subseed)
        self.info = info
        self.comments = "".join(f"{comment}\n" for comment in p.comments)
        self.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.denoising_strength = getattr(p, "denoising_strength", None)
        self.face_restoration_model = settings.face_restoration_model if p.restore_faces else None
        self.index_of_first_image = index_of_first_image
        self.job_timestamp = shared.state.job_timestamp
        self.clip_skip = settings.CLIP_stop_at_last_layers

        self.all_prompts: list[str] = all_prompts or p.all_prompts or [self.prompt]
        self.all_negative_prompts: list[str] = all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        self.all_seeds: list[int] = all_seeds or p.all_seeds or [self.seed]
        self.all_subseeds: list[int] = all_subseeds or p.all_subseeds or [self.subseed]
        self.infotexts: list[str] = infotexts or [info] * len(images_list)
        self.version = version.PROGRAM_VERSION

    def js(self) -> str:
        """Returns the result without its images as JSON: the `info` of the API."""
        return json.dumps(described(self), default=lambda value: None)

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """Returns the job's own ratio of the first or the hires pass."""
        return self.token_merging_ratio_hr if for_hr else self.token_merging_ratio


def described(result: FinishedJob) -> dict[str, Any]:
    """Returns a finished job as a dict of `KEYS`; the prompts are those of the first image, styles applied."""
    values = {key: getattr(result, key) for key in KEYS}
    return values | {"prompt": result.all_prompts[0], "negative_prompt": result.all_negative_prompts[0]}


def first(value: Any) -> Any:
    """Returns the first entry of a list, anything else as it is."""
    return value[0] if isinstance(value, list) else value


def first_seed(seed: Any) -> int:
    """Returns a seed or the first of a list as a number; -1 for none."""
    return -1 if seed is None else int(first(seed))
