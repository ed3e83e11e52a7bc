"""Loopback: feeds the result of img2img back into it, several times, with a denoising strength that goes along a
curve.
"""

from __future__ import annotations

import math
from typing import Any

import gradio as gr
from PIL import Image

from modules import bounds, deepbooru, images, processing, scripts, shared
from modules.job.records import ImageRecord, first_record, hand_on, images_made
from modules.job.run_state import copy_of_job
from modules.processing import Processed, StableDiffusionProcessing, fix_seed, setup_color_correction
from modules.shared import opts, state

CURVES = {
    "Aggressive": lambda x: math.sin(x * math.pi / 2),
    "Linear": lambda x: x,
    "Lazy": lambda x: 1 - math.cos(x * math.pi / 2),
}

MASKED_CONTENT_ORIGINAL = 1


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Loopback"

    def show(self, is_img2img: bool) -> bool:
        """Returns whether the tab offers it: img2img does."""
        return is_img2img

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: loops, strength of the last loop, curve towards it, and what describes the image."""
        loops = gr.Slider(minimum=1, maximum=32, step=1, label="Loops", value=4, elem_id=self.elem_id("loops"))
        final_denoising_strength = gr.Slider(
            minimum=0,
            maximum=1,
            step=0.01,
            label="Final denoising strength",
            value=0.5,
            elem_id=self.elem_id("final_denoising_strength"),
        )
        denoising_curve = gr.Dropdown(label="Denoising strength curve", choices=list(CURVES), value="Linear")
        append_interrogation = gr.Dropdown(
            label="Append interrogated prompt at each iteration", choices=["None", "CLIP", "DeepBooru"], value="None"
        )
        return [loops, final_denoising_strength, denoising_curve, append_interrogation]

    def run(
        self,
        p: StableDiffusionProcessing,
        loops: int,
        final_denoising_strength: float,
        denoising_curve: str | None,
        append_interrogation: str | None,
    ) -> Processed:
        """Runs the loops once for each batch; of several repetitions only the last image of each is returned."""
        limits = bounds.current()
        limits.check("api_max_images", loops, "loops", bounds.SCRIPT_ARGS)
        limits.check_images(loops * p.n_iter, bounds.SCRIPT_ARGS)
        fix_seed(p)
        p.extra_generation_params = {
            "Final denoising strength": final_denoising_strength,
            "Denoising curve": denoising_curve,
        }
        repetitions, p.n_iter, p.batch_size = p.n_iter, 1, 1
        p.do_not_save_grid = True
        state.job_count = loops * repetitions
        run = Loops(p, loops, final_denoising_strength, CURVES.get(denoising_curve, CURVES["Linear"]))
        run.append_interrogation = append_interrogation

        results: list[Image.Image] = []
        for repetition in range(repetitions):
            state.job = f"Repetition {repetition + 1} out of {repetitions}"
            made = run.repeat()
            if repetitions == 1:
                results = made
            elif not (state.skipped or stopped()):
                results += made[-1:]
            if stopped():
                break
        return run.result(results)


def stopped() -> bool:
    """Returns whether the user stopped the job, now or after the current image."""
    return state.interrupted or state.stopping_generation


class Loops:
    """The loops over one job, with what of its beginning each repetition goes back to. p: the job of the last loop."""

    append_interrogation: str | None = "None"

    def __init__(self, p: StableDiffusionProcessing, loops: int, final_strength: float, curve: Any):
        self.p = copy_of_job(p)
        self.extra_generation_params = p.extra_generation_params
        self.loops = loops
        self.final_strength = final_strength
        self.curve = curve
        self.init_images = p.init_images
        self.strength = p.denoising_strength
        self.inpainting_fill = p.inpainting_fill
        self.prompt = p.prompt
        self.first: ImageRecord | None = None
        """Of the very first image."""

    def strength_of(self, loop: int) -> float:
        """Returns the denoising strength of a loop, counted from 0; that of the job if there is one loop."""
        if self.loops == 1:
            return self.strength
        return self.strength + (self.final_strength - self.strength) * self.curve(loop / (self.loops - 1))

    def repeat(self) -> list[Image.Image]:
        """Runs all loops once, unless skipped or stopped; returns the image of each."""
        p = self.p
        p.init_images = self.init_images
        p.denoising_strength = self.strength
        made: list[Image.Image] = []
        for loop in range(self.loops):
            # Each loop tells of itself alone. It starts from the run before, whose seed the encoder's noise has.
            self.p = p = copy_of_job(p)
            p.extra_generation_params = dict(self.extra_generation_params)
            if opts.img2img_color_correction:
                p.color_corrections = [setup_color_correction(self.init_images[0])]
            if self.append_interrogation != "None":
                p.prompt = self.interrogated_prompt()
            processed = processing.process_images(p)
            if stopped():
                break
            self.first = self.first or first_record(processed)
            p.seed = processed.seed + 1
            p.denoising_strength = self.strength_of(loop + 1)
            if state.skipped:
                break
            image = images_made(processed)[0]
            made.append(image)
            p.init_images = [image]
            p.inpainting_fill = MASKED_CONTENT_ORIGINAL
        p.inpainting_fill = self.inpainting_fill
        return made

    def interrogated_prompt(self) -> str:
        """Returns the prompt of the job with a description of the current image after it."""
        image, text = self.p.init_images[0], ""
        if self.append_interrogation == "CLIP":
            text = shared.interrogator.interrogate(image)
        elif self.append_interrogation == "DeepBooru":
            text = deepbooru.model.tag(image)
        return f"{self.prompt}, {text}" if self.prompt else text

    def result(self, results: list[Image.Image]) -> Processed:
        """Returns the images, with a grid of them in a row first; the result's infotext is that of the first loop."""
        p, first = self.p, self.first or ImageRecord()
        if len(results) > 1:
            grid = images.image_grid(results, rows=1)
            hand_on(first, grid, "grid")
            if opts.grid_save:
                images.save_image(
                    grid,
                    p.outpath_grids,
                    "grid",
                    first.seed,
                    p.prompt,
                    opts.grid_format,
                    short_filename=not opts.grid_extended_filename,
                    grid=True,
                    p=p,
                )
            if opts.return_grid:
                results = [grid, *results]
        return Processed(p, results, first.seed, first.infotext)
