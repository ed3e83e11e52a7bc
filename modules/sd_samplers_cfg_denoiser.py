"""engine: what a solver calls at each step: the prompts of the step, the model, guidance, masks.

Extensions hook in through four callbacks and by replacing methods of CFGDenoiser, so the class keeps v1.10.1's names,
arguments and attributes. Nothing here waits for the device unless a setting needs a value from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from modules import errors, hooks, prompt_parser, sd_samplers_common, shared
from modules.model_families.base import EMBEDDED
from modules.sampling import guidance
from modules.sampling.conditioning import Cond, Conditioning
from modules.sampling.guidance import CondsList
from modules.script_callbacks import (
    AfterCFGCallbackParams,
    CFGDenoisedParams,
    CFGDenoiserParams,
    cfg_after_cfg_callback,
    cfg_denoised_callback,
    cfg_denoiser_callback,
)
from modules.shared import opts, state  # noqa: F401  # A1111 names

if TYPE_CHECKING:
    from modules.sd_samplers_common import Sampler


class CFGDenoiser(nn.Module):
    """Classifier-free guidance over a wrapped model; one object per sampler.

    mask, nmask, init_latent: (B, C, h, w) for inpainting, what is kept, what is made anew, what is kept from; else
    None. steps, total_steps: of the pass, and calls it is expected to take; step: calls so far. image_cfg_scale: of
    InstructPix2Pix, else None. padded_cond_uncond(_v0): whether the last call made prompts equally long.
    cond_scale_miltiplier: factor on the guidance scale (v1.10.1's spelling). need_last_noise_uncond: keep the model's
    output to the negative prompt in last_noise_uncond. mask_before_denoising: whether the mask is applied to the input
    or to the result.
    """

    def __init__(self, sampler: Sampler):
        super().__init__()
        self.model_wrap: nn.Module | None = None
        self.mask: Tensor | None = None
        self.nmask: Tensor | None = None
        self.init_latent: Tensor | None = None
        self.steps: int | None = None
        self.total_steps: int | None = None
        self.step = 0
        self.image_cfg_scale: float | None = None
        self.padded_cond_uncond = False
        self.padded_cond_uncond_v0 = False
        self.sampler = sampler
        self.p: Any = None
        self.cond_scale_miltiplier = 1.0
        self.need_last_noise_uncond = False
        self.last_noise_uncond: Tensor | None = None
        self.mask_before_denoising = False

    @property
    def inner_model(self) -> nn.Module:
        """The model of the sampler in a wrapper of `sampling.denoisers`, made when it is first needed."""
        raise NotImplementedError

    @property
    def is_edit_model(self) -> bool:
        """Whether guidance is that of InstructPix2Pix; at an image scale of 1 it equals the usual one."""
        return self.image_cfg_scale is not None and self.image_cfg_scale != 1.0

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        uncond: Any,
        cond: Any,
        cond_scale: float,
        s_min_uncond: float,
        image_cond: Tensor,
    ) -> Tensor:
        """Does one call: noisy latents x (B, C, h, w) at noise levels sigma (B,) -> denoised latents, or eps.

        cond, uncond: schedules of all prompts of the batch. image_cond: (B, ...) for models that take an image.
        Raises InterruptedException when the user ended the pass.
        """
        if state.interrupted or state.skipped:
            raise sd_samplers_common.InterruptedException
        if sd_samplers_common.apply_refiner(self, sigma):
            cond, uncond = self.sampler.sampler_extra_args["cond"], self.sampler.sampler_extra_args["uncond"]

        conds_list, tensor = prompt_parser.reconstruct_multicond_batch(cond, self.step)
        uncond = prompt_parser.reconstruct_cond_batch(uncond, self.step)
        if self.mask_before_denoising and self.mask is not None:
            x = self.apply_blend(x, sigma)

        params = self.stack_inputs(x, sigma, image_cond, conds_list, tensor, uncond)
        cfg_denoiser_callback(params)
        skip_uncond = self.skips_uncond(sigma, s_min_uncond)
        x_out = self.run_model(params, len(conds_list), skip_uncond)
        first_parts = [parts[0][0] for parts in conds_list]
        if skip_uncond:
            x_out = torch.cat([x_out, guidance.pick_rows(x_out, first_parts)])
        cfg_denoised_callback(CFGDenoisedParams(x_out, state.sampling_step, state.sampling_steps, self.inner_model))

        if self.need_last_noise_uncond:
            self.last_noise_uncond = x_out[-len(conds_list) :].clone()
        scale = 1.0 if skip_uncond else cond_scale * self.cond_scale_miltiplier
        if self.is_edit_model:
            denoised = self.combine_denoised_for_edit_model(x_out, scale)
        else:
            denoised = self.combine_denoised(x_out, conds_list, params.text_uncond, scale)
        if not self.mask_before_denoising and self.mask is not None:
            denoised = self.apply_blend(denoised, sigma)

        self.store_predictions(params.x, x_out, denoised, sigma, first_parts)
        after = AfterCFGCallbackParams(denoised, state.sampling_step, state.sampling_steps)
        cfg_after_cfg_callback(after)
        self.step += 1
        return after.x

    def apply_blend(self, latent: Tensor, sigma: Tensor) -> Tensor:
        """Puts the original back where the mask keeps it."""
        blended = latent * self.nmask + self.init_latent * self.mask
        if self.p.scripts is None:
            return blended
        args = hooks.MaskBlendArgs(latent, self.nmask, self.init_latent, self.mask, blended, denoiser=self, sigma=sigma)
        self.p.scripts.on_mask_blend(self.p, args)
        return args.blended_latent

    def stack_inputs(
        self, x: Tensor, sigma: Tensor, image_cond: Tensor, conds_list: CondsList, tensor: Cond, uncond: Cond
    ) -> CFGDenoiserParams:
        """Stacks rows of one model input: each image once per part of its prompt, then each for its negative prompt.

        InstructPix2Pix has all images a third time, without the one to edit; unCLIP's negative prompts get none.
        Raises InvalidInput if InstructPix2Pix meets AND.
        """
        repeats = [len(parts) for parts in conds_list]
        told = torch.zeros_like(image_cond) if self.sampler.sd_model.family.image == EMBEDDED else image_cond
        images = [guidance.repeat_rows(image_cond, repeats), told]
        copies = 1
        if self.is_edit_model:
            if any(count > 1 for count in repeats):
                raise errors.InvalidInput("AND does not work with InstructPix2Pix models: remove it", "prompt")
            images.append(torch.zeros_like(self.init_latent))
            copies = 2
        return CFGDenoiserParams(
            torch.cat([guidance.repeat_rows(x, repeats), *[x] * copies]),
            torch.cat(images),
            torch.cat([guidance.repeat_rows(sigma, repeats), *[sigma] * copies]),
            state.sampling_step,
            state.sampling_steps,
            tensor,
            uncond,
            self,
        )

    def skips_uncond(self, sigma: Tensor, s_min_uncond: float) -> bool:
        """Says whether this call leaves the negative prompt out, which InstructPix2Pix cannot; recorded in infotext."""
        if self.is_edit_model:
            return False
        settings, recorded = self.sampler.settings, self.p.extra_generation_params
        if settings.skip_early_cond != 0 and self.step / self.total_steps <= settings.skip_early_cond:
            recorded["Skip Early CFG"] = settings.skip_early_cond
            return True
        if s_min_uncond <= 0 or not (self.step % 2 or settings.s_min_uncond_all):
            return False
        if sigma[0] >= s_min_uncond:
            return False
        recorded["NGMS"] = s_min_uncond
        if settings.s_min_uncond_all:
            recorded["NGMS all steps"] = True
        return True

    def run_model(self, params: CFGDenoiserParams, batch_size: int, skip_uncond: bool) -> Tensor:
        """Returns the output of the model to all rows of params, or to those of the prompts alone."""
        cond, uncond = self.match_lengths(params.text_cond, params.text_uncond)
        outputs = []
        start = 0
        for piece in self.pieces(Conditioning.of(cond), Conditioning.of(uncond), batch_size, skip_uncond):
            rows = slice(start, start + piece.batch)
            condition = replace(piece, concat=params.image_cond[rows]).mapping
            outputs.append(self.inner_model(params.x[rows], params.sigma[rows], cond=condition))
            start = rows.stop
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def match_lengths(self, cond: Cond, uncond: Cond) -> tuple[Cond, Cond]:
        """Makes prompts and negative prompts equally long, if a setting asks for it."""
        self.padded_cond_uncond = False
        self.padded_cond_uncond_v0 = False
        if Conditioning.of(cond).length != Conditioning.of(uncond).length:
            if self.sampler.settings.pad_cond_uncond_v0:
                return self.pad_cond_uncond_v0(cond, uncond)
            if self.sampler.settings.pad_cond_uncond:
                return self.pad_cond_uncond(cond, uncond)
        return cond, uncond

    def pieces(
        self, cond: Conditioning, uncond: Conditioning, batch_size: int, skip_uncond: bool
    ) -> Iterator[Conditioning]:
        """Yields what the model's calls get, in the order of rows, as few as lengths and batch_cond_uncond allow."""
        together = self.sampler.settings.batch_cond_uncond
        if skip_uncond or cond.length == uncond.length:
            groups = [cond] if skip_uncond else [cond, uncond, uncond] if self.is_edit_model else [cond, uncond]
            everything = Conditioning.cat(groups)
            yield from everything.split(everything.batch if together else batch_size)
        elif self.is_edit_model:
            raise errors.InvalidInput(
                "InstructPix2Pix needs a negative prompt as long as the prompt: turn on the setting pad_cond_uncond",
                "negative_prompt",
            )
        else:
            yield from cond.split(batch_size * 2 if together else batch_size)
            yield uncond

    def pad_cond_uncond(self, cond: Cond, uncond: Cond) -> tuple[Cond, Cond]:
        """Appends empty prompts to the shorter one."""
        positive, negative = Conditioning.of(cond), Conditioning.of(uncond)
        empty = Conditioning.of(self.sampler.sd_model.cond_stage_model_empty_prompt)
        missing = (positive.length - negative.length) // empty.length
        self.padded_cond_uncond = missing != 0
        if missing < 0:
            return positive.pad(empty, -missing).cond, uncond
        return cond, negative.pad(empty, missing).cond

    def pad_cond_uncond_v0(self, cond: Cond, uncond: Cond) -> tuple[Cond, Cond]:
        """Repeats the last vector of the negative prompt up to the length of the prompt, or cuts it there."""
        length, negative = Conditioning.of(cond).length, Conditioning.of(uncond)
        self.padded_cond_uncond_v0 = negative.length != length
        return cond, negative.fit(length).cond

    def combine_denoised(self, x_out: Tensor, conds_list: CondsList, uncond: Any, cond_scale: float) -> Tensor:
        """Guides: (B, C, h, w) from the output of the model to all rows, of which the last ones belong to uncond."""
        return guidance.combine(x_out, conds_list, x_out[-Conditioning.of(uncond).batch :], cond_scale)

    def combine_denoised_for_edit_model(self, x_out: Tensor, cond_scale: float) -> Tensor:
        """Guides as InstructPix2Pix does."""
        return guidance.combine_edit(x_out, cond_scale, self.image_cfg_scale)

    def get_pred_x0(self, x_in: Tensor, x_out: Tensor, sigma: Tensor) -> Tensor:
        """Returns the clean latent that an output of the wrapped model stands for."""
        return x_out

    def store_predictions(
        self, x_in: Tensor, x_out: Tensor, denoised: Tensor, sigma: Tensor, first_parts: list[int]
    ) -> None:
        """Keeps the clean latents predicted for the prompts, the result if the pass ends now, and offers a preview."""
        x_first = guidance.pick_rows(x_in, first_parts)
        self.sampler.last_latent = self.get_pred_x0(x_first, guidance.pick_rows(x_out, first_parts), sigma)
        content = self.sampler.settings.live_preview_content
        if content == "Prompt":
            preview = self.sampler.last_latent
        elif content == "Negative prompt":
            preview = self.get_pred_x0(x_in[-len(first_parts) :], x_out[-len(first_parts) :], sigma)
        else:
            preview = self.get_pred_x0(x_first, denoised, sigma)
        sd_samplers_common.store_latent(preview)

    def update_inner_model(self) -> None:
        """Goes on with the model that is loaded now, and with its conditioning of the prompts."""
        self.sampler.sd_model = shared.sd_model
        self.model_wrap = None
        cond, uncond = self.p.get_conds()
        self.sampler.sampler_extra_args["cond"] = cond
        self.sampler.sampler_extra_args["uncond"] = uncond


def catenate_conds(conds: Sequence[Cond]) -> Cond:
    """Joins what callbacks carry along the batch."""
    return Conditioning.cat([Conditioning.of(cond) for cond in conds]).cond


def subscript_cond(cond: Cond, a: int, b: int) -> Cond:
    """Returns rows a to b."""
    return Conditioning.of(cond).rows(a, b).cond


def pad_cond(tensor: Cond, repeats: int, empty: Cond) -> Cond:
    """Appends the tokens of an empty prompt, one row, a number of times."""
    return Conditioning.of(tensor).pad(Conditioning.of(empty), repeats).cond
