"""job: one generation request from settings to images: the processing objects, their result, and the order of steps.

`process_images` lays the job's settings over the user's and runs `process_images_inner`, which is the order of steps;
the steps themselves stand in `modules/job/`, one stage a file. Extensions replace functions of this module at run time,
so they are called through the module's names.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from modules import (
    call_queue,
    devices,
    extra_networks,
    images,
    latents,
    lowvram,
    model_patches,
    prompt_keys,
    rng,
    scripts,
    sd_models,
    sd_samplers,
    sd_vae,
    shared,
    step_cache,
    version,
)
from modules.job import batches, conds, decode, generation_params, hires, init_image, output, prompts, shares, start
from modules.job.result import FinishedJob
from modules.job.run_state import Img2ImgState, RunState, Txt2ImgState
from modules.job.settings import CondSettings, InitImageSettings, StepCacheSettings, TokenMergingSettings
from modules.model_load import MODULES_SETTING
from modules.opts_snapshot import create_opts_snapshot
from modules.prompt_parser import SdConditioning
from modules.prompt_seed_prep import prepare_prompt_seed_state
from modules.runtime_context import RuntimeContext
from modules.runtime_utils import read_overrides, temporary_opts
from modules.sd_hijack import model_hijack
from modules.sd_models_types import WebuiSdModel
from modules.shared import cmd_opts, opts, state

logger = logging.getLogger(__name__)

opt_C = 4
"""Latent channels of SD1 and SDXL; `sd_model.latent_channels` knows better."""
opt_f = 8
"""Pixels per latent cell and side."""


@dataclass(repr=False)
class StableDiffusionProcessing(RunState):
    """One run of a request, for extensions to look into and change: the data of `RunState` with the steps of a run."""

    cached_uc: ClassVar[list] = [None, None]
    cached_c: ClassVar[list] = [None, None]

    def __post_init__(self):
        super().__post_init__()
        self.cached_uc = StableDiffusionProcessing.cached_uc
        self.cached_c = StableDiffusionProcessing.cached_c

    def fill_fields_from_opts(self) -> None:
        """Resolves the sampler parameters that were left to the settings."""
        start.fill_sampler_parameters(self)

    def txt2img_image_conditioning(
        self, x: torch.Tensor, width: int | None = None, height: int | None = None
    ) -> torch.Tensor:
        """Returns the image conditioning for the loaded model when there is no image. x: latent (B, C, h, w)."""
        self.is_using_inpainting_conditioning = self.sd_model.model.conditioning_key in conds.IMAGE_CONDITIONED
        seed = self.seeds[-1] if self.seeds else 0
        return conds.text_only_conditioning(self.sd_model, x, width or self.width, height or self.height, seed)

    def depth2img_image_conditioning(self, source_image: torch.Tensor) -> torch.Tensor:
        """Returns the conditioning of depth models (1, 1, h, w). source_image: (B, 3, H, W) in -1..1."""
        return conds.depth_conditioning(self.sd_model, source_image)

    def edit_image_conditioning(self, source_image: torch.Tensor) -> torch.Tensor:
        """Returns InstructPix2Pix conditioning. source_image: (B, 3, H, W) in -1..1."""
        return conds.edit_conditioning(self.sd_model, source_image)

    def unclip_image_conditioning(self, source_image: torch.Tensor) -> torch.Tensor:
        """Returns the conditioning of unCLIP models (B, D). source_image: (B, 3, H, W) in -1..1."""
        return conds.embedded_conditioning(self.sd_model, source_image)

    def inpainting_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        """Returns the conditioning of inpainting models; see `job.conds.inpainting_conditioning`."""
        return conds.inpainting_conditioning(self, source_image, latent_image, image_mask, round_image_mask)

    def img2img_image_conditioning(
        self,
        source_image: torch.Tensor,
        latent_image: torch.Tensor,
        image_mask: Any = None,
        round_image_mask: bool = True,
    ) -> torch.Tensor:
        """Returns the image conditioning for the loaded model; see `job.conds.image_conditioning`."""
        return conds.image_conditioning(self, source_image, latent_image, image_mask, round_image_mask)

    def init(self, all_prompts: list[str], all_seeds: list[int], all_subseeds: list[int]) -> None:
        """Prepares the run once, before its first batch."""

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: list[int],
        subseeds: list[int],
        subseed_strength: float,
        prompts: list[str],
    ) -> Any:
        """Samples one batch; returns latents (B, C, h, w), or pixels already decoded."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of what only the run needed."""
        self.sampler = None
        self.c = None
        self.uc = None
        if not CondSettings.from_opts(opts).persistent_cond_cache:
            StableDiffusionProcessing.cached_c = [None, None]
            StableDiffusionProcessing.cached_uc = [None, None]

    def get_token_merging_ratio(self, for_hr: bool = False) -> float:
        """Returns the share of tokens merged in self-attention: the job's own value, else the setting's."""
        settings = TokenMergingSettings.from_opts(opts)
        first_pass = self.token_merging_ratio or settings.token_merging_ratio
        return (self.token_merging_ratio_hr or settings.token_merging_ratio_hr or first_pass) if for_hr else first_pass

    def setup_prompts(self) -> None:
        """Fills `all_prompts` and `all_negative_prompts`, one entry per image, styles applied."""
        prompts.fill(self)

    def cached_params(
        self,
        required_prompts: SdConditioning,
        steps: int,
        extra_network_data: Any,
        hires_steps: int | None = None,
        use_old_scheduling: bool = False,
    ) -> tuple:
        """Returns the key of the cond cache. Extensions put a longer one in place."""
        return conds.cond_cache_key(self, required_prompts, steps, extra_network_data, hires_steps, use_old_scheduling)

    def get_conds_with_caching(
        self,
        function: Callable,
        required_prompts: SdConditioning,
        steps: int,
        caches: Sequence[list],
        extra_network_data: Any,
        hires_steps: int | None = None,
    ) -> Any:
        """Returns the conditioning of `required_prompts`; see `job.conds.encode_with_cache`."""
        return conds.encode_with_cache(self, function, required_prompts, steps, caches, extra_network_data, hires_steps)

    def setup_conds(self) -> None:
        """Encodes the batch's prompts into `c` and `uc`."""
        conds.encode_first_pass(self)

    def get_conds(self) -> tuple[Any, Any]:
        """Returns (positive, negative) conditioning of the pass that is running."""
        return self.c, self.uc

    def parse_extra_network_prompts(self) -> None:
        """Cuts `<name:...>` tags out of the batch's prompts; those of the first count."""
        self.prompts, self.extra_network_data = extra_networks.parse_prompts(self.prompts)

    def save_samples(self) -> bool:
        """Tells whether the batch's images go to disk."""
        return output.save_samples(self)


@dataclass(repr=False)
class StableDiffusionProcessingTxt2Img(Txt2ImgState, StableDiffusionProcessing):
    """A request that starts from noise, with the hires pass as its second half."""

    cached_hr_uc: ClassVar[list] = [None, None]
    cached_hr_c: ClassVar[list] = [None, None]

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

    def init(self, all_prompts: list[str], all_seeds: list[int], all_subseeds: list[int]) -> None:
        """Resolves what the hires pass needs."""
        if self.enable_hr:
            hires.init(self)

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: list[int],
        subseeds: list[int],
        subseed_strength: float,
        prompts: list[str],
    ) -> Any:
        """Samples one batch from noise, or from `firstpass_image`, and gives it the hires pass if there is one."""
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
            decoded = hires.decode_first_pass(self, samples)
        devices.torch_gc()
        first = self.sd_model
        with sd_models.SkipWritingToConfig():
            sd_models.reload_model_weights(info=self.hr_checkpoint_info)
        if self.latent_scale_mode is not None:
            latents.check_readable(first, self.sd_model, "hr_checkpoint_name")
        return self.sample_hr_pass(samples, decoded, seeds, subseeds, subseed_strength, prompts)

    def sample_hr_pass(
        self,
        samples: torch.Tensor | None,
        decoded_samples: torch.Tensor | None,
        seeds: list[int],
        subseeds: list[int],
        subseed_strength: float,
        prompts: list[str],
    ) -> Any:
        """Runs the second pass; see `job.hires.sample`."""

        def infotext(index: int) -> str:
            """Returns the infotext of one image of the batch."""
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
        """Lets go of what only the run needed, that of the hires pass included."""
        super().close()
        self.hr_c = None
        self.hr_uc = None
        if not CondSettings.from_opts(opts).persistent_cond_cache:
            StableDiffusionProcessingTxt2Img.cached_hr_uc = [None, None]
            StableDiffusionProcessingTxt2Img.cached_hr_c = [None, None]

    def setup_prompts(self) -> None:
        """Fills the prompts of both passes, one entry per image, styles applied."""
        super().setup_prompts()
        if self.enable_hr:
            prompts.fill_hires(self)

    def calculate_hr_conds(self) -> None:
        """Encodes the hires prompts into `hr_c` and `hr_uc`, once."""
        conds.encode_hires_pass(self)

    def setup_conds(self) -> None:
        """Encodes the prompts of the pass that begins."""
        conds.encode_passes(self)

    def get_conds(self) -> tuple[Any, Any]:
        """Returns (positive, negative) conditioning of the pass that is running."""
        return (self.hr_c, self.hr_uc) if self.is_hr_pass else super().get_conds()

    def parse_extra_network_prompts(self) -> None:
        """Cuts `<name:...>` tags out of the batch's prompts of both passes."""
        super().parse_extra_network_prompts()
        if self.enable_hr:
            batch = batches.slice_of(self)
            self.hr_prompts = self.all_hr_prompts[batch]
            self.hr_negative_prompts = self.all_hr_negative_prompts[batch]
            self.hr_prompts, self.hr_extra_network_data = extra_networks.parse_prompts(self.hr_prompts)


@dataclass(repr=False)
class StableDiffusionProcessingImg2Img(Img2ImgState, StableDiffusionProcessing):
    """A request that starts from an image, or makes a masked part of one anew."""

    def __post_init__(self):
        super().__post_init__()
        self.image_mask = self.mask
        self.mask = None
        if self.initial_noise_multiplier is None:
            self.initial_noise_multiplier = InitImageSettings.from_opts(opts).initial_noise_multiplier

    def init(self, all_prompts: list[str], all_seeds: list[int], all_subseeds: list[int]) -> None:
        """Prepares init images, mask and latent."""
        self.image_cfg_scale = self.image_cfg_scale if self.sd_model.cond_stage_key == "edit" else None
        self.sampler = sd_samplers.create_sampler(self.sampler_name, self.sd_model)
        init_image.prepare(self, all_seeds, create_random_tensors)

    def sample(
        self,
        conditioning: Any,
        unconditional_conditioning: Any,
        seeds: list[int],
        subseeds: list[int],
        subseed_strength: float,
        prompts: list[str],
    ) -> Any:
        """Samples one batch from the init latent; returns latents (B, C, h, w)."""
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
        """Returns the job's own value, that of its settings, that of img2img, or the common one: the first there is."""
        settings = TokenMergingSettings.from_opts(opts)
        overridden = settings.token_merging_ratio if "token_merging_ratio" in self.override_settings else 0
        return (
            self.token_merging_ratio
            or overridden
            or settings.token_merging_ratio_img2img
            or settings.token_merging_ratio
        )


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


class Processed(FinishedJob):
    """The result of a job: images, their infotexts, and the request as it was carried out."""

    def infotext(self, p: StableDiffusionProcessing, index: int) -> str:
        """Returns the infotext of image `index` of the job."""
        return create_infotext(
            p,
            self.all_prompts,
            self.all_seeds,
            self.all_subseeds,
            comments=[],
            position_in_batch=index % self.batch_size,
            iteration=index // self.batch_size,
        )


def program_version() -> str:
    """Returns the version infotexts carry; its first part is the version of the program this is a drop-in for, so that
    every reader understands it.
    """
    return version.PROGRAM_VERSION


def create_infotext(
    p: StableDiffusionProcessing,
    all_prompts: list[str],
    all_seeds: list[int],
    all_subseeds: list[int],
    comments: list[str] | None = None,
    iteration: int = 0,
    position_in_batch: int = 0,
    use_main_prompt: bool = False,
    index: int | None = None,
    all_negative_prompts: list[str] | None = None,
) -> str:
    """Returns the generation parameters of one image as text, as written into files.

    index: of the image in the given lists; by default position_in_batch + iteration * batch_size. use_main_prompt: for
    a grid.
    """
    if all_negative_prompts is None:
        all_negative_prompts = p.all_negative_prompts
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
    if use_main_prompt:
        index = 0
    elif index is None:
        index = position_in_batch + iteration * p.batch_size
    image = generation_params.ImageText(
        index=index,
        prompt_text=p.main_prompt if use_main_prompt else all_prompts[index],
        negative_prompt=p.main_negative_prompt if use_main_prompt else all_negative_prompts[index],
        seed=all_seeds[index],
        subseed=all_subseeds[index],
    )
    return generation_params.infotext_of(p, image, program_version(), call_arguments)


def create_random_tensors(
    shape: Sequence[int],
    seeds: list[int],
    subseeds: list[int] | None = None,
    subseed_strength: float = 0.0,
    seed_resize_from_h: int = 0,
    seed_resize_from_w: int = 0,
    p: StableDiffusionProcessing | None = None,
) -> torch.Tensor:
    """Returns noise (len(seeds), *shape), one generator per seed, as the first draw of a job with these seeds."""
    return rng.ImageRNG(
        shape,
        seeds,
        subseeds=subseeds,
        subseed_strength=subseed_strength,
        seed_resize_from_h=seed_resize_from_h,
        seed_resize_from_w=seed_resize_from_w,
    ).next()


def txt2img_image_conditioning(sd_model: WebuiSdModel, x: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Returns the image conditioning of a job without an image; see `job.conds.text_only_conditioning`."""
    return conds.text_only_conditioning(sd_model, x, width, height)


def process_images(p: StableDiffusionProcessing) -> Processed:
    """Runs a job: its settings laid over the user's, its checkpoint and VAE loaded, and all undone afterwards.

    Raises the domain errors of `modules.errors` for requests that can't be carried out.
    """
    if p.scripts is not None:
        p.scripts.before_process(p)

    images.check_output_folder(p.outpath_samples, "outpath_samples")
    images.check_output_folder(p.outpath_grids, "outpath_grids")
    overrides, ineffective = read_overrides(p.override_settings)
    for name in ineffective:
        p.comment(f"override_settings: {name} has no effect on a job")
    if "sd_model_checkpoint" not in overrides:
        p.override_settings.pop("sd_model_checkpoint", None)
    has_own_model = not overrides.keys().isdisjoint(("sd_model_checkpoint", MODULES_SETTING))
    if not has_own_model:
        # A job without a checkpoint of its own runs on the configured one, even after a refiner or another job left
        # its own loaded.
        sd_models.reload_model_weights()

    try:
        with temporary_opts(overrides, p.override_settings_restore_afterwards):
            if has_own_model:
                with sd_models.SkipWritingToConfig():
                    sd_models.reload_model_weights()
            if "sd_vae" in overrides:
                sd_vae.reload_vae_weights()
            ratio = p.get_token_merging_ratio()
            merging = model_patches.kept("token merging", lambda model: model_patches.token_merging(model, ratio))
            interval = StepCacheSettings.from_opts(opts).step_cache_interval
            caching = model_patches.kept("step cache", functools.partial(step_cache.applied, interval=interval))
            with model_patches.job_wishes(), merging, caching, prompt_keys.kept():
                sd_samplers.fix_p_invalid_sampler_and_scheduler(p)
                return process_images_inner(p)
    finally:
        if "sd_vae" in overrides and p.override_settings_restore_afterwards:
            sd_vae.reload_vae_weights()


def process_images_inner(p: StableDiffusionProcessing) -> Processed:
    """Runs the steps of a job in their order. Called by `process_images`, with the job's settings in place."""
    start.resolve(p)
    prepare_prompt_seed_state(p)
    call_queue.queue.note_seeds([p.all_seeds[0], p.all_subseeds[0]])
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
                for n in batches.each(p):
                    if not process_batch(p, n, result):
                        break
        finally:
            # Also after an error: what a network did to the model must not outlive its job.
            if not p.disable_extra_networks:
                extra_networks.deactivate(p, p.extra_network_data or {})
        if not result.infotexts:
            result.infotexts.append(Processed(p, []).infotext(p, 0))
        p.color_corrections = None
        output.add_grid(p, result, functools.partial(grid_infotext, p))

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


def process_batch(p: StableDiffusionProcessing, n: int, result: output.JobOutput) -> bool:
    """Encodes, samples, decodes and finishes batch n. Returns False when a hook has emptied it.

    What other processes have made of it, if the job is shared with some, is not made again.
    """
    share = shares.current.get()
    if (finished := share.finished(n)) is not None:
        result.add(*finished)
        state.nextjob()
        return True
    if not begin_batch(p, n):
        return False
    p.setup_conds()
    p.extra_generation_params.update(model_hijack.extra_generation_params)
    remembered = None
    if n == 0 and not cmd_opts.no_prompt_history:
        remembered = output.remember(Processed(p, []).infotext(p, 0))
    for comment in model_hijack.comments:
        p.comment(comment)
    if p.n_iter > 1:
        state.job = f"Batch {n + 1} out of {p.n_iter}"
    sd_models.apply_alpha_schedule_override(p.sd_model, p)

    pixels = share.pixels_of(n)
    if pixels is None:
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
    if remembered is not None:
        remembered.result()
    if share.hand_over(n, pixels):
        return True
    batch = output.JobOutput()
    output.finish_batch(p, batches.after_decoding(p, n, pixels), batch, functools.partial(batch_infotext, p))
    share.note_finished(n, batch.images, batch.infotexts)
    result.add(batch.images, batch.infotexts)
    return True


def begin_batch(p: StableDiffusionProcessing, n: int) -> bool:
    """Calls the hooks before batch n, and has its networks active. Returns False when a hook has emptied it."""
    if p.scripts is not None:
        p.scripts.before_process_batch(p, **batches.hook_arguments(p, n))
    if len(p.prompts) == 0:
        return False
    p.parse_extra_network_prompts()
    if p.disable_extra_networks:
        model_patches.wishes().take_over()
    else:
        with devices.autocast():
            extra_networks.activate(p, p.extra_network_data)
    if p.scripts is not None:
        p.scripts.process_batch(p, **batches.hook_arguments(p, n))
    return True


def batch_infotext(p: StableDiffusionProcessing, index: int) -> str:
    """Returns the infotext by the batch's own lists: index is the place in the batch."""
    return create_infotext(p, p.prompts, p.seeds, p.subseeds, index=index, all_negative_prompts=p.negative_prompts)


def grid_infotext(p: StableDiffusionProcessing) -> str:
    """Returns the infotext of a grid: that of the job's first image, with which all can be made again."""
    return create_infotext(p, p.all_prompts, p.all_seeds, p.all_subseeds, use_main_prompt=True)


# A1111 names
from modules.image_ops import apply_color_correction, apply_overlay, create_binary_mask, setup_color_correction, uncrop  # noqa: E402, F401
from modules.job.decode import DecodedSamples, decode_latent_batch  # noqa: E402, F401
from modules.job.hires import old_first_pass_dimensions as old_hires_fix_first_pass_dimensions  # noqa: E402, F401
from modules.prompt_seed_prep import fix_seed, get_fixed_seed  # noqa: E402, F401
from modules.rng import slerp  # noqa: E402, F401
from modules.sd_samplers_common import approximation_indexes, decode_first_stage, images_tensor_to_samples  # noqa: E402, F401
