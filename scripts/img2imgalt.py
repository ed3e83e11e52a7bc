"""img2img alternative test: finds the noise from which Euler's method would have made the image, and samples from it
with another prompt, so that what the prompt does not touch stays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from modules import errors, processing, sd_samplers, sd_samplers_common, shared
from modules import scripts as scripts_module
from modules.processing import Processed, StableDiffusionProcessing
from modules.sampling.conditioning import Conditioning
from modules.sampling.denoisers import SIGMA_DENOISERS, Denoiser
from modules.shared import state

INFO = """
* `CFG Scale` should be 2 or lower.
* `Original prompt` describes the picture as it is; the prompt of the tab what it is to become.
"""

SAME_LATENT = 100
"""Two latents are the same if tenths of their values, cut off, differ by less than this in all."""


@dataclass(frozen=True)
class Decoding:
    """How an image is turned back into noise."""

    prompt: str
    negative_prompt: str
    cfg_scale: float
    steps: int
    sigma_adjustment: bool


@dataclass(frozen=True)
class FoundNoise:
    """The noise of a latent; tenths: the latent's values in tenths, as integers."""

    decoding: Decoding
    tenths: Tensor
    noise: Tensor

    def fits(self, decoding: Decoding, tenths: Tensor) -> bool:
        """Says whether the noise was recovered from nearly this latent in the same way."""
        same_shape = decoding == self.decoding and tenths.shape == self.tenths.shape
        return same_shape and int((tenths - self.tenths).abs().sum()) < SAME_LATENT


def condition_of(p: StableDiffusionProcessing, decoding: Decoding, model: Any) -> dict[str, Any]:
    """Returns what the model is told: negative prompts, then prompts, one for each image, and images if it sees any."""
    texts = p.batch_size * [decoding.negative_prompt], p.batch_size * [decoding.prompt]
    conds = [Conditioning.of(model.get_learned_conditioning(text)) for text in texts]
    return Conditioning.cat([replace(cond, concat=p.image_conditioning) for cond in conds]).mapping


def guided(denoiser: Denoiser, decoding: Decoding, condition: dict[str, Any]) -> Any:
    """Returns a function (x, scale sigma, timestep) -> denoised latents, with the guidance of the decoding.

    The model's output counts as noise even if it is v.
    """
    model = denoiser.inner_model

    def denoise(x: Tensor, sigma: Tensor, t: Tensor) -> Tensor:
        """Takes away the noise that the model sees."""
        c_in = 1 / (sigma**2 + 1) ** 0.5
        c_out = -sigma * c_in if model.parameterization == "v" else -sigma
        x_in = torch.cat([x, x])
        out = model.apply_model(x_in * c_in, t.expand(x_in.shape[0]), cond=condition)
        denoised_uncond, denoised_cond = (x_in + out * c_out).chunk(2)
        return denoised_uncond + (denoised_cond - denoised_uncond) * decoding.cfg_scale

    return denoise


def find_noise_for_image(p: StableDiffusionProcessing, decoding: Decoding) -> Tensor:
    """Goes by Euler's method from the init latent up the noise levels, to the standard deviation of noise."""
    model = shared.sd_model
    if model.parameterization not in ("eps", "v"):
        raise errors.InvalidInput(
            f"this script does not work with {model.family.title}: choose another one", "script_name"
        )
    denoiser = SIGMA_DENOISERS[model.parameterization](model)
    sigmas = denoiser.get_sigmas(decoding.steps).flip(0).to(p.init_latent.device)
    denoise = guided(denoiser, decoding, condition_of(p, decoding, model))

    state.job_count += 1
    state.sampling_steps = decoding.steps
    x = p.init_latent
    for i in range(1, len(sigmas)):
        state.sampling_step = i
        sigma, before = sigmas[i], sigmas[i - 1]
        if not decoding.sigma_adjustment:
            d = (x - denoise(x, sigma, denoiser.sigma_to_t(sigma[None]))) / sigma
        else:
            t = denoiser.sigma_to_t((sigma if i == 1 else before)[None])
            d = (x - denoise(x, before, t)) / (2 * sigma if i == 1 else before)
        x = x + d * (sigma - before)
        sd_samplers_common.store_latent(x)
        shared.total_tqdm.update()
    state.nextjob()
    if decoding.sigma_adjustment:
        return x / sigmas[-1]
    deviation = x.std()
    return x / deviation if deviation > 0 else x


class Script(scripts_module.Script):
    """The script: finds the noise of the image, and samples from it with the prompt of the tab."""

    def __init__(self) -> None:
        self.cache: FoundNoise | None = None

    def title(self) -> str:
        """Returns the script's name."""
        return "img2img alternative test"

    def show(self, is_img2img: bool) -> bool:
        """Returns that it is on the img2img tab only."""
        return is_img2img

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls."""
        info = gr.Markdown(INFO)
        override_sampler = gr.Checkbox(
            label="Override `Sampling method` to Euler?(this method is built for it)",
            value=True,
            elem_id=self.elem_id("override_sampler"),
        )
        override_prompt = gr.Checkbox(
            label="Override `prompt` to the same value as `original prompt`?(and `negative prompt`)",
            value=True,
            elem_id=self.elem_id("override_prompt"),
        )
        original_prompt = gr.Textbox(label="Original prompt", lines=1, elem_id=self.elem_id("original_prompt"))
        original_negative_prompt = gr.Textbox(
            label="Original negative prompt", lines=1, elem_id=self.elem_id("original_negative_prompt")
        )
        override_steps = gr.Checkbox(
            label="Override `Sampling Steps` to the same value as `Decode steps`?",
            value=True,
            elem_id=self.elem_id("override_steps"),
        )
        st = gr.Slider(label="Decode steps", minimum=1, maximum=150, step=1, value=50, elem_id=self.elem_id("st"))
        override_strength = gr.Checkbox(
            label="Override `Denoising strength` to 1?", value=True, elem_id=self.elem_id("override_strength")
        )
        cfg = gr.Slider(
            label="Decode CFG scale", minimum=0.0, maximum=15.0, step=0.1, value=1.0, elem_id=self.elem_id("cfg")
        )
        randomness = gr.Slider(
            label="Randomness", minimum=0.0, maximum=1.0, step=0.01, value=0.0, elem_id=self.elem_id("randomness")
        )
        sigma_adjustment = gr.Checkbox(
            label="Sigma adjustment for finding noise for image",
            value=False,
            elem_id=self.elem_id("sigma_adjustment"),
        )
        return [
            info,
            override_sampler,
            override_prompt,
            original_prompt,
            original_negative_prompt,
            override_steps,
            st,
            override_strength,
            cfg,
            randomness,
            sigma_adjustment,
        ]

    def run(
        self,
        p: StableDiffusionProcessing,
        _: Any,
        override_sampler: bool,
        override_prompt: bool,
        original_prompt: str,
        original_negative_prompt: str,
        override_steps: bool,
        st: int,
        override_strength: bool,
        cfg: float,
        randomness: float,
        sigma_adjustment: bool,
    ) -> Processed:
        """Runs the job from the noise that leads to its image, instead of fresh noise."""
        if st < 1:
            raise errors.InvalidInput(f"Decode steps is {st}, but must be at least 1", field="script_args")
        if override_sampler:
            p.sampler_name = "Euler"
        if override_prompt:
            p.prompt = original_prompt
            p.negative_prompt = original_negative_prompt
        if override_steps:
            p.steps = st
        if override_strength:
            p.denoising_strength = 1.0
        decoding = Decoding(original_prompt, original_negative_prompt, cfg, st, sigma_adjustment)

        def sample(conditioning, unconditional_conditioning, seeds, subseeds, subseed_strength, prompts) -> Tensor:
            """Samples from the recovered noise, with some random noise mixed in."""
            recovered = self.recovered_noise(p, decoding)
            random = processing.create_random_tensors(
                p.init_latent.shape[1:],
                seeds=seeds,
                subseeds=subseeds,
                subseed_strength=p.subseed_strength,
                seed_resize_from_h=p.seed_resize_from_h,
                seed_resize_from_w=p.seed_resize_from_w,
                p=p,
            )
            scale = (randomness**2 + (1 - randomness) ** 2) ** 0.5
            noise = ((1 - randomness) * recovered + randomness * random) / scale
            sampler = p.sampler = sd_samplers.create_sampler(p.sampler_name, p.sd_model)
            first_sigma = SIGMA_DENOISERS[p.sd_model.parameterization](p.sd_model).get_sigmas(p.steps)[0]
            p.seed += 1
            return sampler.sample_img2img(
                p,
                p.init_latent,
                noise - p.init_latent / first_sigma.to(noise.device),
                conditioning,
                unconditional_conditioning,
                image_conditioning=p.image_conditioning,
            )

        p.sample = sample
        p.extra_generation_params["Decode prompt"] = original_prompt
        p.extra_generation_params["Decode negative prompt"] = original_negative_prompt
        p.extra_generation_params["Decode CFG scale"] = cfg
        p.extra_generation_params["Decode steps"] = st
        p.extra_generation_params["Randomness"] = randomness
        p.extra_generation_params["Sigma Adjustment"] = sigma_adjustment
        return processing.process_images(p)

    def recovered_noise(self, p: StableDiffusionProcessing, decoding: Decoding) -> Tensor:
        """Returns the noise of the init latent, kept until one that differs, or another decoding, is asked for."""
        tenths = (p.init_latent.cpu() * 10).to(torch.int64)
        if self.cache is None or not self.cache.fits(decoding, tenths):
            self.cache = FoundNoise(decoding, tenths, find_noise_for_image(p, decoding))
        return self.cache.noise
