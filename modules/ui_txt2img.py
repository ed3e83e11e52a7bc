"""face: the txt2img tab: one function a section, laid out in the order the user chose, every control declared in one
form.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules import call_queue, scripts, sd_models, sd_samplers, sd_schedulers, shared, ui_common, ui_extra_networks
from modules import infotext_utils as parameters_copypaste
from modules import txt2img as txt2img_job
from modules.processing import StableDiffusionProcessingTxt2Img
from modules.ui_common import OutputPanel, create_refresh_button
from modules.ui_components import FormGroup, FormHTML, FormRow, InputAccordion, ResizeHandleRow, ToolButton
from modules.ui_form import Form
from modules.ui_generation import (
    QUIET,
    add_batch_controls,
    add_batch_row,
    add_override_settings,
    add_size_sliders,
    connect_job,
    connect_restore,
    connect_token_counters,
    ordered_ui_categories,
    pasted_styles,
)
from modules.ui_symbols import switch_values_symbol
from modules.ui_toprow import Toprow


@dataclass
class Txt2ImgTab:
    """The built tab: its blocks, and what the page and other tabs need of it."""

    interface: gr.Blocks
    form: Form
    toprow: Toprow
    output: OutputPanel
    steps: Any


def create_ui() -> Txt2ImgTab:
    """Builds the tab in blocks of its own, to be rendered into the page."""
    scripts.scripts_current = scripts.scripts_txt2img
    scripts.scripts_txt2img.initialize_scripts(is_img2img=False)
    form = Form("txt2img", txt2img_job.Txt2ImgValues)
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = Toprow(is_img2img=False, is_compact=shared.opts.compact_prompt_box)
        task_id = gr.Textbox(visible=False)
        with gr.Tabs(elem_id="txt2img_extra_tabs", elem_classes=["extra-networks"]):
            with (
                gr.Tab("Generation", id="txt2img_generation") as generation,
                ResizeHandleRow(equal_height=False),
            ):
                create_settings(form, toprow)
                output = ui_common.create_output_panel("txt2img", shared.opts.outdir_txt2img_samples, toprow)
            networks = ui_extra_networks.create_ui(interface, [generation], "txt2img")
            ui_extra_networks.setup_ui(networks, output.gallery)
        tab = Txt2ImgTab(interface, form, toprow, output, scripts.scripts_txt2img.script("Sampler").steps)
        connect(tab, task_id)
    scripts.scripts_current = None
    return tab


def create_settings(form: Form, toprow: Toprow) -> None:
    """The left column: sections in the user's order, each followed by the scripts that belong there."""
    with ExitStack() as stack:
        if shared.opts.txt2img_settings_accordion:
            stack.enter_context(gr.Accordion("Open for Settings", open=False))
        stack.enter_context(gr.Column(variant="compact", elem_id="txt2img_settings"))
        scripts.scripts_txt2img.prepare_ui()
        for category in ordered_ui_categories():
            if category == "prompt":
                toprow.create_inline_toprow_prompts()
            elif category in SECTIONS:
                SECTIONS[category](form)
            if category != "accordions":
                scripts.scripts_txt2img.setup_ui_for_section(category)
    form.add("prompt", toprow.prompt, paste="Prompt")
    form.add("negative_prompt", toprow.negative_prompt, paste="Negative prompt")
    form.add("prompt_styles", toprow.ui_styles.dropdown, paste=pasted_styles, api="styles")


def create_dimensions(form: Form) -> None:
    with FormRow():
        with gr.Column(elem_id="txt2img_column_size", scale=4):
            add_size_sliders(form)
        with gr.Column(elem_id="txt2img_dimensions_row", scale=1, elem_classes="dimensions-tools"):
            switch = ToolButton(switch_values_symbol, elem_id="txt2img_res_switch_btn", tooltip="Swap width and height")
        if shared.opts.dimensions_and_batch_together:
            with gr.Column(elem_id="txt2img_column_batch"):
                add_batch_controls(form)
    switch.click(fn=None, js='() => switchWidthHeight("txt2img")', inputs=None, outputs=None, **QUIET)


def create_cfg(form: Form) -> None:
    with gr.Row():
        cfg_scale = gr.Slider(
            minimum=1.0, maximum=30.0, step=0.5, label="CFG Scale", value=7.0, elem_id="txt2img_cfg_scale"
        )
        form.add("cfg_scale", cfg_scale, paste="CFG scale")


def create_checkboxes(form: Form) -> None:
    FormRow(elem_classes="checkboxes-row")


def create_accordions(form: Form) -> None:
    with gr.Row(elem_id="txt2img_accordions", elem_classes="accordions"):
        create_hires_fix(form)
        scripts.scripts_txt2img.setup_ui_for_section("accordions")


def create_hires_fix(form: Form) -> None:
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
    """A picture was made with a hires pass if its infotext has one of the pass's keys."""
    keys = ("Hires upscale", "Hires upscaler", "Hires resize-1")
    return "Denoising strength" in parameters and any(parameters.get(key) for key in keys)


def create_hires_pass_row(form: Form) -> None:
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
    form.add("hr_upscaler", upscaler, paste="Hires upscaler")
    form.add("hr_second_pass_steps", steps, paste="Hires steps")
    form.add("denoising_strength", denoising_strength, paste="Denoising strength")


def create_hires_size_row(form: Form) -> None:
    with FormRow(elem_id="txt2img_hires_fix_row2", variant="compact"):
        scale = gr.Slider(
            minimum=1.0, maximum=4.0, step=0.05, label="Upscale by", value=2.0, elem_id="txt2img_hr_scale"
        )
        form.add("hr_scale", scale, paste="Hires upscale")
        for name, label, key in (("x", "width", "Hires resize-1"), ("y", "height", "Hires resize-2")):
            slider = gr.Slider(
                minimum=0,
                maximum=2048,
                step=8,
                label=f"Resize {label} to",
                value=0,
                elem_id=f"txt2img_hr_resize_{name}",
            )
            form.add(f"hr_resize_{name}", slider, paste=key)


def create_hires_sampler_row(form: Form) -> None:
    with FormRow(
        elem_id="txt2img_hires_fix_row3", variant="compact", visible=shared.opts.hires_fix_show_sampler
    ) as row:
        checkpoint = gr.Dropdown(
            label="Checkpoint", elem_id="hr_checkpoint", choices=hires_checkpoints(), value="Use same checkpoint"
        )
        create_refresh_button(
            checkpoint, sd_models.list_models, lambda: {"choices": hires_checkpoints()}, "hr_checkpoint_refresh"
        )
        sampler = gr.Dropdown(
            label="Hires sampling method",
            elem_id="hr_sampler",
            choices=["Use same sampler", *sd_samplers.visible_sampler_names()],
            value="Use same sampler",
        )
        scheduler = gr.Dropdown(
            label="Hires schedule type",
            elem_id="hr_scheduler",
            choices=["Use same scheduler", *(schedule.label for schedule in sd_schedulers.schedulers)],
            value="Use same scheduler",
        )
    form.add("hr_checkpoint_name", checkpoint, paste="Hires checkpoint")
    form.add("hr_sampler_name", sampler, paste=sd_samplers.get_hr_sampler_from_infotext)
    form.add("hr_scheduler", scheduler, paste=sd_samplers.get_hr_scheduler_from_infotext)
    form.add_paste(row, pasted_hires_sampler_row)


def hires_checkpoints() -> list[str]:
    return ["Use same checkpoint", *sd_models.checkpoint_tiles(use_short=True)]


def pasted_hires_sampler_row(parameters: dict[str, Any]) -> Any:
    """Shows the row when a picture used it."""
    used = (
        parameters.get("Hires sampler", "Use same sampler") != "Use same sampler"
        or parameters.get("Hires checkpoint", "Use same checkpoint") != "Use same checkpoint"
        or parameters.get("Hires schedule type", "Use same scheduler") != "Use same scheduler"
    )
    return gr.update(visible=True) if used else gr.update()


def create_hires_prompt_row(form: Form) -> None:
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
            form.add(name, text, paste=label)
    form.add_paste(row, pasted_hires_prompt_row)


def pasted_hires_prompt_row(parameters: dict[str, Any]) -> Any:
    """Shows the row when a picture used it."""
    used = parameters.get("Hires prompt") or parameters.get("Hires negative prompt")
    return gr.update(visible=True) if used else gr.update()


def calc_resolution_hires(
    enable: bool, width: int, height: int, hr_scale: float, hr_resize_x: int, hr_resize_y: int
) -> str:
    """HTML saying from which size to which the hires pass would go; empty when it is off."""
    if not enable:
        return ""
    p = StableDiffusionProcessingTxt2Img(
        width=width, height=height, enable_hr=True, hr_scale=hr_scale, hr_resize_x=hr_resize_x, hr_resize_y=hr_resize_y
    )
    p.calculate_target_resolution()
    final_width, final_height = p.hr_resize_x or p.hr_upscale_to_x, p.hr_resize_y or p.hr_upscale_to_y
    sizes = (f"{p.width}x{p.height}", f"{final_width}x{final_height}")
    first, final = (f"<span class='resolution'>{size}</span>" for size in sizes)
    return f"from {first} to {final}"


def create_scripts(form: Form) -> None:
    with FormGroup(elem_id="txt2img_script_container"):
        form.script_inputs = scripts.scripts_txt2img.setup_ui()


SECTIONS: dict[str, Callable[[Form], None]] = {
    "dimensions": create_dimensions,
    "cfg": create_cfg,
    "checkboxes": create_checkboxes,
    "accordions": create_accordions,
    "batch": add_batch_row,
    "override_settings": add_override_settings,
    "scripts": create_scripts,
}


def connect(tab: Txt2ImgTab, task_id: gr.Textbox) -> None:
    """What the tab's buttons do."""
    connect_job(tab.toprow, txt2img_job.txt2img, "submit", [task_id, *tab.form.inputs()], tab.output)
    connect_upscale(tab, task_id)
    connect_hires_resolution(tab.form)
    connect_restore(tab.toprow, "restoreProgressTxt2img", task_id, tab.output)
    connect_token_counters(tab.toprow, tab.steps)
    parameters_copypaste.add_paste_fields(
        "txt2img",
        None,
        [*tab.form.paste_fields(), *scripts.scripts_txt2img.infotext_fields],
        tab.form["override_settings_texts"],
    )
    binding = parameters_copypaste.ParamBinding(
        paste_button=tab.toprow.paste,
        tabname="txt2img",
        source_text_component=tab.toprow.prompt,
        source_image_component=None,
    )
    parameters_copypaste.register_paste_params_button(binding)


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


def connect_upscale(tab: Txt2ImgTab, task_id: gr.Textbox) -> None:
    """The button that gives the selected picture a hires pass. The second input after the task is the
    gallery's index.
    """
    index = gr.Number(value=-1, precision=0, visible=False)
    leading = [task_id, tab.output.gallery, index, tab.output.generation_info]
    tab.output.button_upscale.click(
        fn=call_queue.wrap_gradio_gpu_call(txt2img_job.txt2img_upscale, extra_outputs=[None, "", ""]),
        js="submit_txt2img_upscale",
        inputs=[*leading, *tab.form.inputs()],
        outputs=tab.output.outputs(),
        trigger_mode="multiple",
        **QUIET,
    )
