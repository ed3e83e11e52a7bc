"""Prompt matrix: one image for every choice of the optional parts of a prompt, which stand between | signs."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr

from modules import bounds, errors, images, processing, scripts
from modules.job.records import first_record, hand_on
from modules.processing import Processed, StableDiffusionProcessing, fix_seed
from modules.shared import opts

DELIMITERS = {"comma": ", ", "space": " "}


def combinations(prompt: str, delimiter: str, put_at_start: bool) -> list[str]:
    """Returns all prompts that a prompt with optional parts stands for.

    Bit n of a prompt's place says whether part n + 1 is in it.
    """
    fixed, *optional = prompt.split("|")
    prompts = []
    for choice in range(2 ** len(optional)):
        chosen = [part.strip().strip(",") for n, part in enumerate(optional) if choice & (1 << n)]
        prompts.append(delimiter.join([*chosen, fixed] if put_at_start else [fixed, *chosen]))
    return prompts


class Script(scripts.Script):
    def title(self) -> str:
        """Returns its name in the menu and in the API."""
        return "Prompt matrix"

    def ui(self, is_img2img: bool) -> list[Any]:
        """Makes the controls: place, seeds, which prompt, what joins the parts, and margins of the grid."""
        gr.HTML("<br />")
        with gr.Row():
            with gr.Column():
                put_at_start = gr.Checkbox(
                    label="Put variable parts at start of prompt", value=False, elem_id=self.elem_id("put_at_start")
                )
                different_seeds = gr.Checkbox(
                    label="Use different seed for each picture", value=False, elem_id=self.elem_id("different_seeds")
                )
            with gr.Column():
                prompt_type = gr.Radio(
                    ["positive", "negative"],
                    label="Select prompt",
                    elem_id=self.elem_id("prompt_type"),
                    value="positive",
                )
                variations_delimiter = gr.Radio(
                    list(DELIMITERS),
                    label="Select joining char",
                    elem_id=self.elem_id("variations_delimiter"),
                    value="comma",
                )
            with gr.Column():
                margin_size = gr.Slider(
                    label="Grid margins (px)",
                    minimum=0,
                    maximum=500,
                    value=0,
                    step=2,
                    elem_id=self.elem_id("margin_size"),
                )
        return [put_at_start, different_seeds, prompt_type, variations_delimiter, margin_size]

    def run(
        self,
        p: StableDiffusionProcessing,
        put_at_start: bool,
        different_seeds: bool,
        prompt_type: str,
        variations_delimiter: str,
        margin_size: int,
    ) -> Processed:
        """Makes an image for each combination, and the grid of them. Raises InvalidInput for an unknown choice."""
        field = {"positive": "prompt", "negative": "negative_prompt"}.get(prompt_type)
        if field is None:
            raise errors.InvalidInput(f"Unknown prompt type {prompt_type}: positive or negative", field="script_args")
        if variations_delimiter not in DELIMITERS:
            raise errors.InvalidInput(
                f"Unknown variations delimiter {variations_delimiter}: comma or space", field="script_args"
            )
        fix_seed(p)
        original = first(getattr(p, field))
        limits = bounds.current()
        limits.check_margin(margin_size)
        limits.check_images(2.0 ** min(original.count("|"), 1000), field)
        prompts = combinations(original, DELIMITERS[variations_delimiter], put_at_start)
        p.prompt_for_display = first(p.prompt)
        setattr(p, field, prompts)
        p.seed = [p.seed + (i if different_seeds else 0) for i in range(len(prompts))]
        p.n_iter = math.ceil(len(prompts) / p.batch_size)
        p.do_not_save_grid = True

        processed = processing.process_images(p)
        if len(processed.images) == len(prompts):  # not when interrupted
            add_grid(p, processed, original, margin_size)
        return processed


def first(prompt: str | list[str]) -> str:
    """Returns a prompt, the first of several."""
    return prompt[0] if isinstance(prompt, list) else prompt


def add_grid(p: StableDiffusionProcessing, processed: Processed, prompt: str, margin_size: int) -> None:
    """Puts the grid of all images, with the parts of the prompt around it, before them."""
    parts = prompt.split("|")
    grid = images.image_grid(processed.images, p.batch_size, rows=2 ** ((len(parts) - 1) // 2))
    grid = images.draw_prompt_matrix(grid, *processed.images[0].size, parts, margin_size)
    hand_on(first_record(processed), grid, "grid")
    processed.images.insert(0, grid)
    processed.index_of_first_image = 1
    processed.infotexts.insert(0, processed.infotexts[0])
    if opts.grid_save:
        images.save_image(
            grid,
            p.outpath_grids,
            "prompt_matrix",
            extension=opts.grid_format,
            prompt=prompt,
            seed=processed.seed,
            grid=True,
            p=p,
        )
