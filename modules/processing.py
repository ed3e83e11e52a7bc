"""job: one generation request from settings to pictures: the processing objects, their result, and the order of steps.

`process_images` lays the job's settings over the user's and runs `process_images_inner`, which is the order of steps;
the steps themselves stand in `modules/job/`, one stage a file. Extensions replace functions of this module at run time,
so they are called through the module's names.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from PIL import Image

from modules import (
    checkpoints,
    devices,
    errors,
    extra_networks,
    lowvram,
    model_patches,
    paths,
    rng,
    scripts,
    sd_models,
    sd_samplers,
    sd_samplers_common,
    sd_unet,
    sd_vae,
    sd_vae_approx,
    shared,
    version,
)
from modules.job import conds, decode, generation_params, hires, init_image, output
from modules.job.request import Img2ImgFields, RequestFields, Txt2ImgFields
from modules.opts_snapshot import OptsSnapshot, create_opts_snapshot
from modules.prompt_seed_prep import prepare_prompt_seed_state
from modules.runtime_context import RuntimeContext
from modules.runtime_utils import temporary_opts
from modules.sd_hijack import model_hijack
from modules.shared import cmd_opts, opts, state

logger = logging.getLogger(__name__)

opt_C = 4
"""Latent channels of SD1 and SDXL; `sd_model.latent_channels` knows better."""
opt_f = 8
"""Pixels per latent cell and side."""


@dataclass(repr=False)
class StableDiffusionProcessing(RequestFields):
    """One run of a request: what is asked for (`RequestFields`, the constructor's arguments), and what the run works
    out.

    Hooks may change any of it. `opts_snapshot` and `runtime_context` are None until a run has begun.
    """

    token_merging_ratio = 0
    token_merging_ratio_hr = 0

    scripts_value: scripts.ScriptRunner = field(default=None, init=False)
    script_args_value: list = field(default=None, init=False)
    scripts_setup_complete: bool = field(default=False, init=False)

    cached_uc: ClassVar[list] = [None, None]
    cached_c: ClassVar[list] = [None, None]

    comments: dict = None
    sampler: sd_samplers_common.Sampler | None = field(default=None, init=False)
    is_using_inpainting_conditioning: bool = field(default=False, init=False)
    paste_to: tuple | None = field(default=None, init=False)

    is_hr_pass: bool = field(default=False, init=False)

    c: tuple = field(default=None, init=False)
    uc: tuple = field(default=None, init=False)

    rng: rng.ImageRNG | None = field(default=None, init=False)
    step_multiplier: int = field(default=1, init=False)
    color_corrections: list = field(default=None, init=False)

    all_prompts: list = field(default=None, init=False)
    all_negative_prompts: list = field(default=None, init=False)
    all_seeds: list = field(default=None, init=False)
    all_subseeds: list = field(default=None, init=False)
    iteration: int = field(default=0, init=False)
    main_prompt: str = field(default=None, init=False)
    main_negative_prompt: str = field(default=None, init=False)

    prompts: list = field(default=None, init=False)
    negative_prompts: list = field(default=None, init=False)
    seeds: list = field(default=None, init=False)
    subseeds: list = field(default=None, init=False)
    extra_network_data: dict = field(default=None, init=False)

    user: str = field(default=None, init=False)

    sd_model_name: str = field(default=None, init=False)
    sd_model_hash: str = field(default=None, init=False)
    sd_vae_name: str = field(default=None, init=False)
    sd_vae_hash: str = field(default=None, init=False)

    is_api: bool = field(default=False, init=False)

    opts_snapshot: OptsSnapshot | None = field(default=None, init=False)
    runtime_context: RuntimeContext | None = field(default=None, init=False)

    def __post_init__(self):
        if self.sampler_index is not None:
            logger.warning("sampler_index is deprecated and has no effect; use sampler_name")
        self.comments = {}
        if self.styles is None:
            self.styles = []
        self.sampler_noise_scheduler_override = None
        self.extra_generation_params = self.extra_generation_params or {}
        self.override_settings = self.override_settings or {}
        self.script_args_value = {}
        self.refiner_checkpoint_info = None
        if not self.seed_enable_extras:
            self.subseed, self.subseed_strength = -1, 0
            self.seed_resize_from_h = self.seed_resize_from_w = 0
        self.cached_uc = StableDiffusionProcessing.cached_uc
        self.cached_c = StableDiffusionProcessing.cached_c

    def fill_fields_from_opts(self) -> None:
        """Resolves the sampler parameters that were left to the settings."""
        self.s_min_uncond = self.s_min_uncond if self.s_min_uncond is not None else opts.s_min_uncond
        self.s_churn = self.s_churn if self.s_churn is not None else opts.s_churn
        self.s_tmin = self.s_tmin if self.s_tmin is not None else opts.s_tmin
        self.s_tmax = (self.s_tmax if self.s_tmax is not None else opts.s_tmax) or float("inf")
        self.s_noise = self.s_noise if self.s_noise is not None else opts.s_noise

    @property
    def scripts(self) -> scripts.ScriptRunner | None:
        """The runner whose hooks this job calls."""
        return self.scripts_value

    @scripts.setter
    def scripts(self, value):
        self.scripts_value = value
        self._setup_scripts_once()

    @property
    def script_args(self) -> list:
        """The flat argument list all scripts take their slices from."""
        return self.script_args_value

    @script_args.setter
    def script_args(self, value):
        self.script_args_value = value
        self._setup_scripts_once()

    def _setup_scripts_once(self) -> None:
        if self.scripts_value and self.script_args_value and not self.scripts_setup_complete:
            self.setup_scripts()

    def setup_scripts(self) -> None:
        """Calls the scripts' `setup` hooks."""
        self.scripts_setup_complete = True
        self.scripts.setup_scrips(self, is_ui=not self.is_api)

    def comment(self, text: str) -> None:
        """Adds a remark that is shown below the result; the same text once only."""
        self.comments[text] = 1

    def txt2img_image_conditioning(self, x, width=None, height=None):
        """Image conditioning for the loaded model when there is no picture. x: latent (B, C, h, w)."""
        self.is_using_inpainting_conditioning = conds.takes_masked_image(self.sd_model)
        seed = self.seeds[-1] if self.seeds else 0
        return conds.text_only_conditioning(self.sd_model, x, width or self.width, height or self.height, seed)

    def depth2img_image_conditioning(self, source_image):
        """Depth models are not among the supported families. Raises NotSupported."""
        raise errors.NotSupported("Depth models are not supported.")

    def edit_image_conditioning(self, source_image):
        """InstructPix2Pix conditioning. source_image: (B, 3, H, W) in -1..1."""
        return conds.edit_conditioning(self.sd_model, source_image)

    def unclip_image_conditioning(self, source_image):
        """unCLIP models are not among the supported families. Raises NotSupported."""
        raise errors.NotSupported("unCLIP models are not supported.")

    def inpainting_image_conditioning(self, source_image, latent_image, image_mask=None, round_image_mask=True):
        """Conditioning of inpainting models; see `job.conds.inpainting_conditioning`."""
        return conds.inpainting_conditioning(self, source_image, latent_image, image_mask, round_image_mask)

    def img2img_image_conditioning(self, source_image, latent_image, image_mask=None, round_image_mask=True):
        """Image conditioning for the loaded model. source_image: (B, 3, H, W) in -1..1; latent_image: its latent."""
        generator = rng.posterior_generator(self.all_seeds[0])
        return conds.image_conditioning(self, source_image, latent_image, image_mask, round_image_mask, generator)

    def init(self, all_prompts, all_seeds, all_subseeds):
        """Prepares the run once, before its first batch."""

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        """Samples one batch; returns latents (B, C, h, w), or pictures already decoded."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what only the run needed."""
        self.sampler = None
        self.c = None
        self.uc = None
        if not opts.persistent_cond_cache:
            StableDiffusionProcessing.cached_c = [None, None]
            StableDiffusionProcessing.cached_uc = [None, None]

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """Share of tokens merged in self-attention: the job's own value, else the setting's."""
        if for_hr:
            return (
                self.token_merging_ratio_hr
                or opts.token_merging_ratio_hr
                or self.token_merging_ratio
                or opts.token_merging_ratio
            )
        return self.token_merging_ratio or opts.token_merging_ratio

    def setup_prompts(self) -> None:
        """Fills `all_prompts` and `all_negative_prompts`, one entry per picture, styles applied."""
        self.all_prompts, self.all_negative_prompts = generation_params.one_per_picture(
            self.prompt, self.negative_prompt, self.batch_size * self.n_iter, "prompt"
        )
        self.all_prompts = [shared.prompt_styles.apply_styles_to_prompt(x, self.styles) for x in self.all_prompts]
        self.all_negative_prompts = [
            shared.prompt_styles.apply_negative_styles_to_prompt(x, self.styles) for x in self.all_negative_prompts
        ]
        self.main_prompt = self.all_prompts[0]
        self.main_negative_prompt = self.all_negative_prompts[0]

    def cached_params(self, required_prompts, steps, extra_network_data, hires_steps=None, use_old_scheduling=False):
        """Key of the cond cache."""
        return conds.cond_cache_key(self, required_prompts, steps, extra_network_data, hires_steps, use_old_scheduling)

    def get_conds_with_caching(self, function, required_prompts, steps, caches, extra_network_data, hires_steps=None):
        """Conditioning of `required_prompts`; see `job.conds.encode_with_cache`."""
        return conds.encode_with_cache(self, function, required_prompts, steps, caches, extra_network_data, hires_steps)

    def setup_conds(self) -> None:
        """Encodes the batch's prompts into `c` and `uc`."""
        conds.encode_first_pass(self)

    def get_conds(self):
        """(positive, negative) conditioning of the pass that is running."""
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        """Cuts `<name:...>` tags out of the batch's prompts; those of the first count."""
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def save_samples(self) -> bool:
        """Whether the batch's pictures go to disk."""
        return output.save_samples(self)


def _model_property() -> property:
    """`p.sd_model` is always the loaded model; what a constructor passes for it is accepted and ignored, as callers
    expect.
    """
    return property(lambda self: shared.sd_model, lambda self, value: None)


StableDiffusionProcessing.sd_model = _model_property()


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(Txt2ImgFields, StableDiffusionProcessing):
    """A request that starts from noise, with the hires pass as its second half."""

    cached_hr_uc: ClassVar[list] = [None, None]
    cached_hr_c: ClassVar[list] = [None, None]

    hr_checkpoint_info: dict = field(default=None, init=False)
    hr_upscale_to_x: int = field(default=0, init=False)
    hr_upscale_to_y: int = field(default=0, init=False)
    truncate_x: int = field(default=0, init=False)
    truncate_y: int = field(default=0, init=False)
    applied_old_hires_behavior_to: tuple = field(default=None, init=False)
    latent_scale_mode: dict = field(default=None, init=False)
    hr_c: tuple | None = field(default=None, init=False)
    hr_uc: tuple | None = field(default=None, init=False)
    all_hr_prompts: list = field(default=None, init=False)
    all_hr_negative_prompts: list = field(default=None, init=False)
    hr_prompts: list = field(default=None, init=False)
    hr_negative_prompts: list = field(default=None, init=False)
    hr_extra_network_data: list = field(default=None, init=False)

    def __post_init__(self):
        super().__post_init__()
        if self.firstphase_width != 0 or self.firstphase_height != 0:
            self.hr_upscale_to_x, self.hr_upscale_to_y = self.width, self.height
            self.width, self.height = self.firstphase_width, self.firstphase_height
        self.cached_hr_uc = StableDiffusionProcessingTxt2Img.cached_hr_uc
        self.cached_hr_c = StableDiffusionProcessingTxt2Img.cached_hr_c

    def calculate_target_resolution(self) -> None:
        """Works out the size of the hires pass."""
        hires.calculate_target_resolution(self)

    def init(self, all_prompts, all_seeds, all_subseeds):
        if self.enable_hr:
            hires.init(self)

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        if self.firstpass_image is not None and self.enable_hr:
            samples, decoded = hires.start_from_image(self)
        else:
            noise = self.rng.next()
            if self.scripts is not None:
                self.scripts.process_before_every_sampling(
                    p=self, x=noise, noise=noise, c=conditioning, uc=unconditional_conditioning
                )
            samples = self.sampler.sample(
                self,
                noise,
                conditioning,
                unconditional_conditioning,
                image_conditioning=self.txt2img_image_conditioning(noise),
            )
            if not self.enable_hr:
                return samples
            decoded = None
            if self.latent_scale_mode is None:
                decoded = torch.stack(
                    list(decode_latent_batch(self.sd_model, samples, target_device=devices.cpu, check_for_nans=True))
                ).float()
        devices.torch_gc()
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights(info=self.hr_checkpoint_info)
        return self.sample_hr_pass(samples, decoded, seeds, subseeds, subseed_strength, prompts)

    def sample_hr_pass(self, samples, decoded_samples, seeds, subseeds, subseed_strength, prompts):
        """The second pass; see `job.hires.sample`."""

        def infotext(index: int) -> str:
            return create_infotext(
                self,
                self.all_prompts,
                self.all_seeds,
                self.all_subseeds,
                [],
                iteration=self.iteration,
                position_in_batch=index,
            )

        return hires.sample(self, samples, decoded_samples, infotext)

    def close(self) -> None:
        super().close()
        self.hr_c = None
        self.hr_uc = None
        if not opts.persistent_cond_cache:
            StableDiffusionProcessingTxt2Img.cached_hr_uc = [None, None]
            StableDiffusionProcessingTxt2Img.cached_hr_c = [None, None]

    def setup_prompts(self) -> None:
        super().setup_prompts()
        if not self.enable_hr:
            return
        if self.hr_prompt == "":
            self.hr_prompt = self.prompt
        if self.hr_negative_prompt == "":
            self.hr_negative_prompt = self.negative_prompt
        prompts, negative_prompts = generation_params.one_per_picture(
            self.hr_prompt, self.hr_negative_prompt, len(self.all_prompts), "hr_prompt"
        )
        self.all_hr_prompts = [shared.prompt_styles.apply_styles_to_prompt(x, self.styles) for x in prompts]
        self.all_hr_negative_prompts = [
            shared.prompt_styles.apply_negative_styles_to_prompt(x, self.styles) for x in negative_prompts
        ]

    def calculate_hr_conds(self) -> None:
        """Encodes the hires prompts into `hr_c` and `hr_uc`, once."""
        conds.encode_hires_pass(self)

    def setup_conds(self) -> None:
        if self.is_hr_pass:
            # A refiner that takes over in the second pass needs that pass's conditioning only.
            self.hr_c = None
            self.calculate_hr_conds()
            return
        super().setup_conds()
        self.hr_uc = None
        self.hr_c = None
        if not self.enable_hr or self.hr_checkpoint_info is not None:
            return
        if opts.hires_fix_use_firstpass_conds:
            self.calculate_hr_conds()
        elif (
            lowvram.is_enabled(shared.sd_model) and shared.sd_model.sd_checkpoint_info == sd_models.select_checkpoint()
        ):
            # With little memory the text encoder is on the device now, so both passes are encoded in one go.
            with devices.autocast():
                extra_networks.activate(self, self.hr_extra_network_data)
            self.calculate_hr_conds()
            with devices.autocast():
                extra_networks.activate(self, self.extra_network_data)

    def get_conds(self):
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def parse_extra_network_prompts(self) -> None:
        super().parse_extra_network_prompts()
        if self.enable_hr:
            batch = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
            self.hr_prompts = self.all_hr_prompts[batch]
            self.hr_negative_prompts = self.all_hr_negative_prompts[batch]
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.hr_prompts)


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(Img2ImgFields, StableDiffusionProcessing):
    """A request that starts from a picture, or makes a masked part of one anew."""

    image_mask: Any = field(default=None, init=False)

    nmask: torch.Tensor = field(default=None, init=False)
    image_conditioning: torch.Tensor = field(default=None, init=False)
    init_img_hash: str = field(default=None, init=False)
    mask_for_overlay: Image.Image = field(default=None, init=False)
    init_latent: torch.Tensor = field(default=None, init=False)

    def __post_init__(self):
        super().__post_init__()
        self.image_mask = self.mask
        self.mask = None
        if self.initial_noise_multiplier is None:
            self.initial_noise_multiplier = opts.initial_noise_multiplier

    def init(self, all_prompts, all_seeds, all_subseeds):
        self.image_cfg_scale = self.image_cfg_scale if self.sd_model.cond_stage_key == "edit" else None
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        init_image.prepare(self, all_seeds, create_random_tensors)

    def sample(self, conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts):
        if self.sampler.sd_model is not self.sd_model:
            # In the batch before, a refiner took the sampler along to its own model.
            self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        noise = self.rng.next()
        if len(noise) < len(self.init_latent):  # the last prompts of a list need not fill their batch
            self.init_latent = self.init_latent[: len(noise)]
            self.image_conditioning = self.image_conditioning[: len(noise)]
        if self.initial_noise_multiplier != 1.0:
            self.extra_generation_params["Noise multiplier"] = self.initial_noise_multiplier
            noise *= self.initial_noise_multiplier
        if self.scripts is not None:
            self.scripts.process_before_every_sampling(
                p=self, x=self.init_latent, noise=noise, c=conditioning, uc=unconditional_conditioning
            )
        samples = self.sampler.sample_img2img(
            self,
            self.init_latent,
            noise,
            conditioning,
            unconditional_conditioning,
            image_conditioning=self.image_conditioning,
        )
        if self.mask is not None:
            samples = self._blend_with_init(samples)
        del noise
        devices.torch_gc()
        return samples

    def _blend_with_init(self, samples: torch.Tensor) -> torch.Tensor:
        blended = samples * self.nmask + self.init_latent * self.mask
        if self.scripts is not None:
            args = scripts.MaskBlendArgs(samples, self.nmask, self.init_latent, self.mask, blended)
            self.scripts.on_mask_blend(self, args)
            blended = args.blended_latent
        return blended

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        overridden = opts.token_merging_ratio if "token_merging_ratio" in self.override_settings else 0
        return self.token_merging_ratio or overridden or opts.token_merging_ratio_img2img or opts.token_merging_ratio


def _common_mask_blur(self: StableDiffusionProcessingImg2Img) -> int | None:
    return self.mask_blur_x if self.mask_blur_x == self.mask_blur_y else None


def _set_mask_blur(self: StableDiffusionProcessingImg2Img, value: Any) -> None:
    if isinstance(value, int):
        self.mask_blur_x = self.mask_blur_y = value


StableDiffusionProcessingImg2Img.mask_blur = property(
    _common_mask_blur,
    _set_mask_blur,
    doc="Blur of both directions, None while they differ; setting None leaves both alone.",
)


class Processed:
    """The result of a job: pictures, their infotexts, and the request as it was carried out."""

    def __init__(
        self,
        p: StableDiffusionProcessing,
        images_list,
        seed=-1,
        info="",
        subseed=None,
        all_prompts=None,
        all_negative_prompts=None,
        all_seeds=None,
        all_subseeds=None,
        index_of_first_image=0,
        infotexts=None,
        comments="",
    ):
        self.images = images_list
        self.extra_images = []
        """Pictures of scripts that the page shows after the results."""
        self.prompt = p.prompt
        self.negative_prompt = p.negative_prompt
        self.seed = seed
        self.subseed = subseed
        self.subseed_strength = p.subseed_strength
        self.info = info
        self.comments = "".join(f"{comment}\n" for comment in p.comments)
        self.width = p.width
        self.height = p.height
        self.sampler_name = p.sampler_name
        self.cfg_scale = p.cfg_scale
        self.image_cfg_scale = getattr(p, "image_cfg_scale", None)
        self.steps = p.steps
        self.batch_size = p.batch_size
        self.restore_faces = p.restore_faces
        self.face_restoration_model = opts.face_restoration_model if p.restore_faces else None
        self.sd_model_name = p.sd_model_name
        self.sd_model_hash = p.sd_model_hash
        self.sd_vae_name = p.sd_vae_name
        self.sd_vae_hash = p.sd_vae_hash
        self.seed_resize_from_w = p.seed_resize_from_w
        self.seed_resize_from_h = p.seed_resize_from_h
        self.denoising_strength = getattr(p, "denoising_strength", None)
        self.extra_generation_params = p.extra_generation_params
        self.index_of_first_image = index_of_first_image
        self.styles = p.styles
        self.job_timestamp = state.job_timestamp
        self.clip_skip = opts.CLIP_stop_at_last_layers
        self.token_merging_ratio = p.token_merging_ratio
        self.token_merging_ratio_hr = p.token_merging_ratio_hr

        self.eta = p.eta
        self.ddim_discretize = p.ddim_discretize
        self.s_churn = p.s_churn
        self.s_tmin = p.s_tmin
        self.s_tmax = p.s_tmax
        self.s_noise = p.s_noise
        self.s_min_uncond = p.s_min_uncond
        self.sampler_noise_scheduler_override = p.sampler_noise_scheduler_override
        self.prompt = self.prompt if not isinstance(self.prompt, list) else self.prompt[0]
        self.negative_prompt = (
            self.negative_prompt if not isinstance(self.negative_prompt, list) else self.negative_prompt[0]
        )
        self.seed = _first_seed(self.seed)
        self.subseed = _first_seed(self.subseed)
        self.is_using_inpainting_conditioning = p.is_using_inpainting_conditioning

        self.all_prompts = all_prompts or p.all_prompts or [self.prompt]
        self.all_negative_prompts = all_negative_prompts or p.all_negative_prompts or [self.negative_prompt]
        self.all_seeds = all_seeds or p.all_seeds or [self.seed]
        self.all_subseeds = all_subseeds or p.all_subseeds or [self.subseed]
        self.infotexts = infotexts or [info] * len(images_list)
        self.version = program_version()

    def js(self) -> str:
        """The result without its pictures as JSON: the `info` of the API."""
        return json.dumps(generation_params.processed_dict(self), default=lambda value: None)

    def infotext(self, p: StableDiffusionProcessing, index: int) -> str:
        """Infotext of picture `index` of the job."""
        return create_infotext(
            p,
            self.all_prompts,
            self.all_seeds,
            self.all_subseeds,
            comments=[],
            position_in_batch=index % self.batch_size,
            iteration=index // self.batch_size,
        )

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """The job's own ratio of the first or the hires pass."""
        return self.token_merging_ratio_hr if for_hr else self.token_merging_ratio


def _first_seed(seed: Any) -> int:
    if seed is None:
        return -1
    return int(seed[0] if isinstance(seed, list) else seed)


def program_version() -> str:
    """The version infotexts carry; its first part is the version of the program this is a drop-in for, so that every
    reader understands it.
    """
    return version.PROGRAM_VERSION


def create_infotext(
    p,
    all_prompts,
    all_seeds,
    all_subseeds,
    comments=None,
    iteration=0,
    position_in_batch=0,
    use_main_prompt=False,
    index=None,
    all_negative_prompts=None,
) -> str:
    """The generation parameters of one picture as text, as written into files.

    index: of the picture in the given lists; by default position_in_batch + iteration * batch_size. use_main_prompt:
    for a grid.
    """
    if use_main_prompt:
        index = 0
    elif index is None:
        index = position_in_batch + iteration * p.batch_size
    if all_negative_prompts is None:
        all_negative_prompts = p.all_negative_prompts
    picture = generation_params.PictureText(
        index=index,
        prompt_text=p.main_prompt if use_main_prompt else all_prompts[index],
        negative_prompt=p.main_negative_prompt if use_main_prompt else all_negative_prompts[index],
        seed=all_seeds[index],
        subseed=all_subseeds[index],
    )
    call_arguments = {
        "all_prompts": all_prompts,
        "all_seeds": all_seeds,
        "all_subseeds": all_subseeds,
        "all_negative_prompts": all_negative_prompts,
        "comments": comments,
        "iteration": iteration,
        "position_in_batch": position_in_batch,
        "use_main_prompt": use_main_prompt,
    }
    return generation_params.infotext_of(p, picture, program_version(), call_arguments)


def create_random_tensors(
    shape, seeds, subseeds=None, subseed_strength=0.0, seed_resize_from_h=0, seed_resize_from_w=0, p=None
):
    """Noise (len(seeds), *shape), one generator per seed, as the first draw of a job with these seeds."""
    return rng.ImageRNG(
        shape,
        seeds,
        subseeds=subseeds,
        subseed_strength=subseed_strength,
        seed_resize_from_h=seed_resize_from_h,
        seed_resize_from_w=seed_resize_from_w,
    ).next()


def txt2img_image_conditioning(sd_model, x, width, height):
    """Image conditioning of a job without a picture; see `job.conds.text_only_conditioning`."""
    return conds.text_only_conditioning(sd_model, x, width, height)


def process_images(p: StableDiffusionProcessing) -> Processed:
    """Runs a job: its settings laid over the user's, its checkpoint and VAE loaded, and all undone afterwards.

    Raises the domain errors of `modules.errors` for requests that can't be carried out.
    """
    if p.scripts is not None:
        p.scripts.before_process(p)

    if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
        # A job without a checkpoint of its own runs on the configured one, even after a refiner or another job left
        # its own loaded.
        p.override_settings.pop("sd_model_checkpoint", None)
        sd_models.reload_model_weights()

    try:
        with temporary_opts(p.override_settings, p.override_settings_restore_afterwards):
            if "sd_model_checkpoint" in p.override_settings:
                with sd_models.SkipWritingToConfig():
                    sd_models.reload_model_weights()
            if "sd_vae" in p.override_settings:
                sd_vae.reload_vae_weights()
            ratio = p.get_token_merging_ratio()
            merging = model_patches.kept("token merging", lambda model: model_patches.token_merging(model, ratio))
            with model_patches.job_wishes(), merging:
                sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
                return process_images_inner(p)
    finally:
        if "sd_vae" in p.override_settings and p.override_settings_restore_afterwards:
            sd_vae.reload_vae_weights()


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    """The order of steps of a run. Called by `process_images`, with the job's settings in place."""
    resolve_request(p)
    prepare_prompt_seed_state(p)
    p.opts_snapshot = create_opts_snapshot(shared.opts)
    p.runtime_context = RuntimeContext(
        model=shared.sd_model,
        opts_snapshot=p.opts_snapshot,
        device=shared.device,
        state=shared.state,
        cmd_opts=shared.cmd_opts,
    )
    if os.path.exists(cmd_opts.embeddings_dir) and not p.do_not_reload_embeddings:
        model_hijack.embedding_db.load_textual_inversion_embeddings()
    if p.scripts is not None:
        p.scripts.process(p)

    result = output.JobOutput()
    with torch.no_grad():  # not inference mode: extensions turn gradients on again inside
        try:
            with model_patches.kept("tiling", lambda model: model_patches.circular_padding(model, p.tiling)):
                run_batches(p, result)
        finally:
            # Also after an error: what a network did to the model must not outlive its job.
            if not p.disable_extra_networks:
                extra_networks.deactivate(p, p.extra_network_data or {})
        if not result.infotexts:
            result.infotexts.append(Processed(p, []).infotext(p, 0))
        p.color_corrections = None
        output.add_grid(p, result, lambda: batch_infotext(p, 0, use_main_prompt=True))

    devices.torch_gc()
    processed = Processed(
        p,
        images_list=result.images,
        seed=p.all_seeds[0],
        info=result.infotexts[0],
        subseed=p.all_subseeds[0],
        index_of_first_image=result.index_of_first_image,
        infotexts=result.infotexts,
    )
    if p.scripts is not None:
        p.scripts.postprocess(p, processed)
    return processed


def resolve_request(p: StableDiffusionProcessing) -> None:
    """Checks prompt and size, fills in what was left to the settings, and notes which model and VAE the job runs on.

    Raises InvalidInput for a missing prompt or a picture smaller than a latent cell, and NotFound for an unknown
    refiner.
    """
    if p.prompt is None or (isinstance(p.prompt, list) and not p.prompt):
        raise errors.InvalidInput("prompt is missing: give a text, or a list with one text per picture", field="prompt")
    cell = p.sd_model.latent_format.downscale
    if min(p.width, p.height) < cell:
        raise errors.InvalidInput(
            f"the picture would be {p.width}x{p.height} pixels; give width and height (or firstphase_width and "
            f"firstphase_height) of at least {cell}",
            field="width",
        )
    devices.torch_gc()
    if p.restore_faces is None:
        p.restore_faces = opts.face_restoration
    if p.tiling is None:
        p.tiling = opts.tiling
    if p.refiner_checkpoint not in (None, "", "None", "none"):
        p.refiner_checkpoint_info = checkpoints.find(p.refiner_checkpoint)
        if p.refiner_checkpoint_info is None:
            raise errors.NotFound(
                f"Could not find a checkpoint with name {p.refiner_checkpoint!r}", field="refiner_checkpoint"
            )
    p.sd_model_name = shared.sd_model.sd_checkpoint_info.name_for_extra
    p.sd_model_hash = shared.sd_model.sd_model_hash
    p.sd_vae_name = sd_vae.get_loaded_vae_name()
    p.sd_vae_hash = sd_vae.get_loaded_vae_hash()
    model_hijack.clear_comments()
    p.fill_fields_from_opts()


def run_batches(p: StableDiffusionProcessing, result: output.JobOutput) -> None:
    """Prepares the run and makes its batches one after the other, until all are made or something asks to stop."""
    with devices.autocast():
        p.init(p.all_prompts, p.all_seeds, p.all_subseeds)
    if opts.live_previews_enable and opts.show_progress_type == "Approx NN":
        sd_vae_approx.model()
    sd_unet.apply_unet()
    if state.job_count == -1:
        state.job_count = p.n_iter

    for n in range(p.n_iter):
        p.iteration = n
        state.skipped = False
        if state.interrupted or state.stopping_generation:
            break
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights()  # a refiner or hires checkpoint may be loaded
        slice_batch(p)
        if not process_batch(p, n, result):
            break


def slice_batch(p: StableDiffusionProcessing) -> None:
    """Takes the prompts and seeds of batch `p.iteration` out of the job's, and makes the batch's noise source."""
    batch = slice(p.iteration * p.batch_size, (p.iteration + 1) * p.batch_size)
    p.prompts = p.all_prompts[batch]
    p.negative_prompts = p.all_negative_prompts[batch]
    p.seeds = p.all_seeds[batch]
    p.subseeds = p.all_subseeds[batch]
    latent_format = p.sd_model.latent_format
    p.rng = rng.ImageRNG(
        latent_format.cells(p.width, p.height),
        p.seeds,
        subseeds=p.subseeds,
        subseed_strength=p.subseed_strength,
        seed_resize_from_h=p.seed_resize_from_h,
        seed_resize_from_w=p.seed_resize_from_w,
        downscale=latent_format.downscale,
    )


def process_batch(p: StableDiffusionProcessing, n: int, result: output.JobOutput) -> bool:
    """Encodes, samples, decodes and finishes batch n; False when a hook has emptied it."""
    if p.scripts is not None:
        p.scripts.before_process_batch(p, **batch_arguments(p, n))
    if len(p.prompts) == 0:
        return False
    p.parse_extra_network_prompts()
    if not p.disable_extra_networks:
        with devices.autocast():
            extra_networks.activate(p, p.extra_network_data)
    if p.scripts is not None:
        p.scripts.process_batch(p, **batch_arguments(p, n))

    p.setup_conds()
    p.extra_generation_params.update(model_hijack.extra_generation_params)
    if n == 0 and not cmd_opts.no_prompt_history:
        with open(os.path.join(paths.data_path, "params.txt"), "w", encoding="utf8") as file:
            file.write(Processed(p, []).infotext(p, 0))
    for comment in model_hijack.comments:
        p.comment(comment)
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    sd_models.apply_alpha_schedule_override(p.sd_model, p)

    with devices.without_autocast() if p.sd_model.placement.upcast_sampling else devices.autocast():
        samples = p.sample(
            conditioning=p.c,
            unconditional_conditioning=p.uc,
            seeds=p.seeds,
            subseeds=p.subseeds,
            subseed_strength=p.subseed_strength,
            prompts=p.prompts,
        )
        if p.scripts is not None:
            ps = scripts.PostSampleArgs(samples)
            p.scripts.post_sample(p, ps)
            samples = ps.samples
        pixels = decode.decode_samples(p, samples)

    if lowvram.is_enabled(shared.sd_model):
        lowvram.send_everything_to_cpu()
    devices.torch_gc()
    state.nextjob()
    output.finish_batch(p, postprocess_batch(p, n, pixels), result, lambda index: batch_infotext(p, index))
    return True


def batch_arguments(p: StableDiffusionProcessing, n: int) -> dict[str, Any]:
    """What the hooks of batch n are told of it."""
    return {"batch_number": n, "prompts": p.prompts, "seeds": p.seeds, "subseeds": p.subseeds}


def postprocess_batch(p: StableDiffusionProcessing, n: int, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Shows the batch (B, 3, H, W) in 0..1 to the scripts' batch hooks and returns its pictures, of any number."""
    if p.scripts is None:
        return list(pixels)
    p.scripts.postprocess_batch(p, pixels, batch_number=n)
    # From here on prompts are what was asked for, network tags included.
    p.prompts = p.all_prompts[n * p.batch_size : (n + 1) * p.batch_size]
    p.negative_prompts = p.all_negative_prompts[n * p.batch_size : (n + 1) * p.batch_size]
    batch = scripts.PostprocessBatchListArgs(list(pixels))
    p.scripts.postprocess_batch_list(p, batch, batch_number=n)
    return batch.images


def batch_infotext(p: StableDiffusionProcessing, index: int, use_main_prompt: bool = False) -> str:
    """Infotext by the batch's own lists: index is the place in the batch."""
    return create_infotext(
        p,
        p.prompts,
        p.seeds,
        p.subseeds,
        use_main_prompt=use_main_prompt,
        index=index,
        all_negative_prompts=p.negative_prompts,
    )


# A1111 names
from modules.image_ops import apply_color_correction, apply_overlay, create_binary_mask, setup_color_correction, uncrop  # noqa: E402, F401
from modules.job.decode import DecodedSamples, decode_latent_batch  # noqa: E402, F401
from modules.job.hires import old_first_pass_dimensions as old_hires_fix_first_pass_dimensions  # noqa: E402, F401
from modules.prompt_seed_prep import fix_seed, get_fixed_seed  # noqa: E402, F401
from modules.rng import slerp  # noqa: E402, F401
from modules.sd_samplers_common import approximation_indexes, decode_first_stage, images_tensor_to_samples  # noqa: E402, F401
