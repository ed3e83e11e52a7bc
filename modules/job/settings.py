"""job: what each stage of a job takes from the settings, as values that do not change while the stage works.

A stage asks for its group when it begins, in the job's context, so that the job's own settings are laid over the
user's. The names are those of the options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modules.options import OptionValues


@dataclass(frozen=True)
class StartSettings(OptionValues):
    """What a request may leave open, and what has to be there before the first batch."""

    face_restoration: bool
    live_previews_enable: bool
    samples_format: str
    samples_save: bool
    show_progress_type: str
    tiling: bool

    @property
    def previews_need_network(self) -> bool:
        """Whether previews are drawn by a network of their own."""
        return self.live_previews_enable and self.show_progress_type == "Approx NN"


@dataclass(frozen=True)
class SamplerDefaults(OptionValues):
    """Sampler parameters that a request may leave open."""

    s_churn: float
    s_min_uncond: float
    s_noise: float
    s_tmax: float
    s_tmin: float


@dataclass(frozen=True)
class TokenMergingSettings(OptionValues):
    """Shares of tokens merged where a job does not say."""

    token_merging_ratio: float
    token_merging_ratio_hr: float
    token_merging_ratio_img2img: float


@dataclass(frozen=True)
class StepCacheSettings(OptionValues):
    """How often the inner layers of a denoiser are computed."""

    step_cache_interval: int


@dataclass(frozen=True)
class CondSettings(OptionValues):
    """What conditioning depends on beside the prompts, and how long it is kept."""

    CLIP_stop_at_last_layers: int
    cache_fp16_weight: bool
    comma_padding_backtrack: int
    emphasis: str
    fp8_storage: str
    hires_fix_use_firstpass_conds: bool
    inpainting_mask_weight: float
    persistent_cond_cache: bool
    sdxl_clip_l_skip: bool
    sdxl_crop_left: int
    sdxl_crop_top: int
    sdxl_refiner_high_aesthetic_score: float
    sdxl_refiner_low_aesthetic_score: float
    use_old_emphasis_implementation: bool
    use_old_scheduling: bool


@dataclass(frozen=True)
class InitImageSettings(OptionValues):
    """How an init image is prepared and kept."""

    img2img_background_color: str
    img2img_color_correction: bool
    initial_noise_multiplier: float
    outdir_init_images: str
    save_init_img: bool


@dataclass(frozen=True)
class HiresSettings(OptionValues):
    """How sizes of the hires pass are meant."""

    use_old_hires_fix_width_height: bool


@dataclass(frozen=True)
class OutputSettings(OptionValues):
    """What is done to decoded images; everything about files comes from the run's snapshot."""

    overlay_inpaint: bool


@dataclass(frozen=True)
class InfotextSettings(OptionValues):
    """What an infotext tells of the settings, and what it leaves out."""

    CLIP_stop_at_last_layers: int
    add_model_hash_to_info: bool
    add_model_name_to_info: bool
    add_user_name_to_info: bool
    add_vae_hash_to_info: bool
    add_vae_name_to_info: bool
    add_version_to_infotext: bool
    cache_fp16_weight: bool
    eta_noise_seed_delta: int
    face_restoration_model: str
    fp8_storage: str
    inpainting_mask_weight: float
    randn_source: str
    step_cache_interval: int


@dataclass(frozen=True)
class ResultSettings(OptionValues):
    """What a result remembers of the settings."""

    CLIP_stop_at_last_layers: int
    face_restoration_model: str


def mask_weight_of(p: Any, settings: CondSettings | InfotextSettings) -> float:
    """Returns how far the masked part is blanked for an inpainting model: the job's own weight, else the setting's."""
    return getattr(p, "inpainting_mask_weight", settings.inpainting_mask_weight)
