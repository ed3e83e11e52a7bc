"""face: the txt2img tab: one function a section, laid out in the order the user chose, every control declared in one
form.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import call_queue, scripts, sd_models, sd_samplers, sd_schedulers, shared, ui_jobs
from modules import txt2img as txt2img_job
from modules.infotext import SAME_CHECKPOINT, SAME_SAMPLER, SAME_SCHEDULER
from modules.job import hires
from modules.job.request import Txt2ImgFields
from modules.processing import StableDiffusionProcessingTxt2Img
from modules.ui_common import QUIET, create_refresh_button
from modules.ui_components import FormHTML, FormRow, InputAccordion
from modules.ui_form import Form
from modules.ui_generation import (
    GenerationTab,
    Section,
    add_accordions,
    add_batch_column,
    add_batch_row,
    add_cfg_slider,
    add_checkboxes,
    add_override_settings,
    add_scripts,
    add_size_sliders,
    add_swap_button,
    connect_job,
    connect_paste,
    connect_restore,
    connect_token_counters,
    create_tab,
)


class Txt2ImgTab(GenerationTab):
    def connect(self) -> None:
        """Connects the tab's buttons."""
        connect_job(self, txt2img_job.txt2img, txt2img_job.request_of_call, "submit")
        connect_upscale(self)
        connect_hires_resolution(self.form)
        connect_restore(self, "restoreProgressTxt2img")
        connect_token_counters(self)
        connect_paste(self, {"txt2img": None})


def create_ui() -> GenerationTab:
    """Builds the tab in blocks of its own, to be rendered into the page."""
    form = Form("txt2img", txt2img_job.Txt2ImgValues, Txt2ImgFields)
    return create_tab(Txt2ImgTab, form, scripts.scripts_txt2img, SECTIONS)


def create_dimensions(form: Form) -> None:
    """Makes the size of the image."""
    with FormRow():
        with gr.Column(elem_id="txt2img_column_size", scale=4):
            add_size_sliders(form)
        with gr.Column(elem_id="txt2img_dimensions_row", scale=1, elem_classes="dimensions-tools"):
            add_swap_button(form)
        add_batch_column(form)


def create_cfg(form: Form) -> None:
    """Makes the strength of guidance."""
    with gr.Row():
        add_cfg_slider(form)


def create_accordions(form: Form) -> None:
    """Makes the accordions: the hires pass, then those of scripts."""
    add_accordions(form, create_hires_fix)


def create_hires_fix(form: Form) -> None:
    """Makes the accordion of the hires pass."""
    enable = InputAccordion(False, label="Hires. fix", elem_id="txt2img_hr")
    form.add("enable_hr", enable, paste=pasted_enable_hr)
    with enable:
        with enable.extra():
            form.parts["hires_resolution"] = FormHTML(
                value="", elem_id="txtimg_hr_finalres", label="Upscaled resolution"
            )
        create_hires_pass_row(form)
        create_hires_size_row(form)
        create_hires_sampler_row(form)
        create_hires_prompt_row(form)


def pasted_enable_hr(parameters: dict[str, Any]) -> bool:
    """Says whether an image was made with a hires pass: its infotext has one of the pass's keys."""
    keys = ("Hires upscale", "Hires upscaler", "Hires resize-1")
    return "Denoising strength" in parameters and any(parameters.get(key) for key in keys)


def create_hires_pass_row(form: Form) -> None:
    """Makes upscaler, steps and denoising strength of the hires pass."""
    with FormRow(elem_id="txt2img_hires_fix_row1", variant="compact"):
        upscaler = gr.Dropdown(
            label="Upscaler",
            elem_id="txt2img_hr_upscaler",
            choices=[*shared.latent_upscale_modes, *(upscaler.name for upscaler in shared.sd_upscalers)],
            value=shared.latent_upscale_default_mode,
        )
        steps = gr.Slider(minimum=0, maximum=150, step=1, label="Hires steps", value=0, elem_id="txt2img_hires_steps")
        denoising_strength = gr.Slider(
            minimum=0.0,
            maximum=1.0,
            step=0.01,
            label="Denoising strength",
            value=0.7,
            elem_id="txt2img_denoising_strength",
        )
    form.add("hr_upscaler", upscaler)
    form.add("hr_second_pass_steps", steps)
    form.add("denoising_strength", denoising_strength)


def create_hires_size_row(form: Form) -> None:
    """Makes the size of the hires pass."""
    with FormRow(elem_id="txt2img_hires_fix_row2", variant="compact"):
        scale = gr.Slider(
            minimum=1.0, maximum=4.0, step=0.05, label="Upscale by", value=2.0, elem_id="txt2img_hr_scale"
        )
        form.add("hr_scale", scale)
        for name, label in (("x", "width"), ("y", "height")):
            slider = gr.Slider(
                minimum=0,
                maximum=2048,
                step=8,
                label=f"Resize {label} to",
                value=0,
                elem_id=f"txt2img_hr_resize_{name}",
            )
            form.add(f"hr_resize_{name}", slider)


def create_hires_sampler_row(form: Form) -> None:
    """Makes checkpoint, sampler and schedule of the hires pass."""
    with FormRow(
        elem_id="txt2img_hires_fix_row3", variant="compact", visible=shared.opts.hires_fix_show_sampler
    ) as row:
        checkpoint = gr.Dropdown(
            label="Checkpoint", elem_id="hr_checkpoint", choices=hires_checkpoints(), value=SAME_CHECKPOINT
        )
        create_refresh_button(
            checkpoint, sd_models.list_models, lambda: {"choices": hires_checkpoints()}, "hr_checkpoint_refresh"
        )
        sampler = gr.Dropdown(
            label="Hires sampling method",
            elem_id="hr_sampler",
            choices=[SAME_SAMPLER, *sd_samplers.visible_sampler_names()],
            value=SAME_SAMPLER,
        )
        scheduler = gr.Dropdown(
            label="Hires schedule type",
            elem_id="hr_scheduler",
            choices=[SAME_SCHEDULER, *(schedule.label for schedule in sd_schedulers.schedulers)],
            value=SAME_SCHEDULER,
        )
    form.add("hr_checkpoint_name", checkpoint)
    form.add("hr_sampler_name", sampler, paste=sd_samplers.get_hr_sampler_from_infotext)
    form.add("hr_scheduler", scheduler, paste=sd_samplers.get_hr_scheduler_from_infotext)
    form.add_paste(row, pasted_hires_sampler_row)


def hires_checkpoints() -> list[str]:
    """Returns the choices of the hires pass's checkpoint."""
    return [SAME_CHECKPOINT, *sd_models.checkpoint_tiles(use_short=True)]


def pasted_hires_sampler_row(parameters: dict[str, Any]) -> Any:
    """Shows the row when an image used it."""
    used = (
        parameters.get("Hires sampler", SAME_SAMPLER) != SAME_SAMPLER
        or parameters.get("Hires checkpoint", SAME_CHECKPOINT) != SAME_CHECKPOINT
        or parameters.get("Hires schedule type", SAME_SCHEDULER) != SAME_SCHEDULER
    )
    return gr.update(visible=True) if used else gr.update()


def create_hires_prompt_row(form: Form) -> None:
    """Makes the prompts of the hires pass."""
    with FormRow(
        elem_id="txt2img_hires_fix_row4", variant="compact", visible=shared.opts.hires_fix_show_prompts
    ) as row:
        for name, label, elem_id in (
            ("hr_prompt", "Hires prompt", "hires_prompt"),
            ("hr_negative_prompt", "Hires negative prompt", "hires_neg_prompt"),
        ):
            with gr.Column(scale=80), gr.Row():
                text = gr.Textbox(
                    label=label,
                    elem_id=elem_id,
                    show_label=False,
                    lines=3,
                    placeholder=f"{label}\n(empty: as in the first pass)",
                    elem_classes=["prompt"],
                )
            form.add(name, text)
    form.add_paste(row, pasted_hires_prompt_row)


def pasted_hires_prompt_row(parameters: dict[str, Any]) -> Any:
    """Shows the row when an image used it."""
    used = parameters.get("Hires prompt") or parameters.get("Hires negative prompt")
    return gr.update(visible=True) if used else gr.update()


def calc_resolution_hires(
    enable: bool, width: int, height: int, hr_scale: float, hr_resize_x: int, hr_resize_y: int
) -> str:
    """Returns HTML saying from which size to which the hires pass would go; empty when it is off."""
    if not enable:
        return ""
    p = StableDiffusionProcessingTxt2Img(
        width=width, height=height, enable_hr=True, hr_scale=hr_scale, hr_resize_x=hr_resize_x, hr_resize_y=hr_resize_y
    )
    hires.calculate_size(p)
    final_width, final_height = p.hr_resize_x or p.hr_upscale_to_x, p.hr_resize_y or p.hr_upscale_to_y
    sizes = (f"{p.width}x{p.height}", f"{final_width}x{final_height}")
    first, final = (f"<span class='resolution'>{size}</span>" for size in sizes)
    return f"from {first} to {final}"


SECTIONS: dict[str, Section] = {
    "dimensions": create_dimensions,
    "cfg": create_cfg,
    "checkboxes": add_checkboxes,
    "accordions": create_accordions,
    "batch": add_batch_row,
    "override_settings": add_override_settings,
    "scripts": add_scripts,
}


def connect_hires_resolution(form: Form) -> None:
    """Keeps the accordion's line about the size up to date, and greys out the sliders that don't count."""
    sizes = [form[name] for name in ("enable_hr", "width", "height", "hr_scale", "hr_resize_x", "hr_resize_y")]
    gr.on(
        [component.change for component in sizes],
        fn=calc_resolution_hires,
        inputs=sizes,
        outputs=[form.parts["hires_resolution"]],
        trigger_mode="always_last",
        queue=False,
        api_visibility="private",
        **QUIET,
    )
    gr.on([c.change for c in sizes], fn=None, js="onCalcResolutionHires", inputs=sizes, outputs=[], **QUIET)


def connect_upscale(tab: GenerationTab) -> None:
    """Connects the button that gives the selected image a hires pass. The second input after the task is the
    gallery's index.
    """
    index = gr.Number(value=-1, precision=0, visible=False)
    leading = [tab.task_id, tab.output.gallery, index, tab.output.generation_info]
    tab.output.button_upscale.click(
        fn=call_queue.wrap_gradio_gpu_call(
            txt2img_job.txt2img_upscale,
            [None, "", ""],
            ui_jobs.submitter(txt2img_job.upscale_request_of_call, ui_jobs.new_images),
        ),
        js="submit_txt2img_upscale",
        inputs=[*leading, *tab.form.inputs()],
        outputs=tab.output.outputs(),
        trigger_mode="multiple",
        **QUIET,
    )
