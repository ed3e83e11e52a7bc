"""face: the Extras tab: an image, a batch or a directory through the postprocessing scripts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from modules import call_queue, infotext_utils, postprocessing, scripts, shared, ui_common, ui_jobs, ui_toprow
from modules.job.plan import ResultImage
from modules.ui_components import ResizeHandleRow


@dataclass
class ExtrasTab:
    interface: gr.Blocks
    image: gr.Image
    output: ui_common.OutputPanel


@dataclass
class Sources:
    """What is worked on, in the order of the arguments of `postprocessing.run_postprocessing`."""

    mode: gr.Number
    image: gr.Image
    image_batch: gr.File
    input_dir: gr.Textbox
    output_dir: gr.Textbox
    show_results: gr.Checkbox

    def inputs(self) -> list[gr.components.Component]:
        """Returns the controls of the tab, in the order in which the job takes them."""
        return [self.mode, self.image, self.image_batch, self.input_dir, self.output_dir, self.show_results]


def described(mode: int, image: Any, image_batch: Any, input_dir: str, *values: Any) -> str:
    """Returns what a job works on."""
    return ("A picture", f"{len(image_batch or [])} pictures", str(input_dir))[int(mode)]


def controls_of_scripts() -> list[Any]:
    """Returns the scripts, each with the slice of a job's values that is its."""
    return [[row.name, row.args_from, row.args_to] for row in scripts.scripts_postproc.scripts_in_preferred_order()]


def images_made(outputs: Any) -> list[ResultImage]:
    """Returns the images of a job, each with its parameters or, where it has none, with what was done to it."""
    made = ui_jobs.shown_images(outputs)
    for row in made:
        row.infotext = row.infotext or row.image.info.get("postprocessing") or ""
    return made


ui_jobs.FORMS["extras"] = ui_jobs.Form(postprocessing.run_postprocessing, images_made, described, controls_of_scripts)


def create_ui() -> ExtrasTab:
    """Builds the tab in blocks of its own, to be rendered into the page."""
    with gr.Blocks(analytics_enabled=False) as interface:
        task_id = gr.Textbox(visible=False)
        mode = gr.Number(value=0, precision=0, visible=False)
        with ResizeHandleRow(equal_height=False):
            with gr.Column(variant="compact", elem_id="extras_settings"):
                sources = create_sources(mode)
                script_inputs = scripts.scripts_postproc.setup_ui()
            with gr.Column():
                toprow = ui_toprow.Toprow(is_img2img=False, is_compact=True, id_part="extras")
                output = ui_common.create_output_panel("extras", shared.opts.outdir_extras_samples, toprow)
        inputs = [task_id, *sources.inputs(), *script_inputs]
        toprow.submit.click(
            fn=ui_common.show_first_image(
                call_queue.wrap_gradio_gpu_call(
                    postprocessing.run_postprocessing_webui, [None, ""], partial(ui_jobs.submit_form, "extras")
                )
            ),
            js="submit_extras",
            inputs=inputs,
            outputs=[output.gallery, output.generation_info, output.html_log],
            show_progress="hidden",
        )
        sources.image.change(fn=scripts.scripts_postproc.image_changed, inputs=[], outputs=[], show_progress="hidden")
    infotext_utils.add_paste_fields("extras", sources.image, None)
    return ExtrasTab(interface, sources.image, output)


def create_sources(mode: gr.Number) -> Sources:
    """Makes the tabs with what to work on. The page's script puts the number of the chosen one into `mode`."""
    is_directory_allowed: dict[str, Any] = {"visible": not shared.cmd_opts.hide_ui_dir_config}
    with gr.Tabs(elem_id="mode_extras"):
        with gr.Tab("Single Image", id="single_image", elem_id="extras_single_tab"):
            image = gr.Image(
                label="Source",
                sources=["upload"],
                interactive=True,
                type="pil",
                elem_id="extras_image",
                image_mode="RGBA",
                format="png",
                buttons=[],
            )
        with gr.Tab("Batch Process", id="batch_process", elem_id="extras_batch_process_tab"):
            image_batch = gr.Files(label="Batch Process", interactive=True, elem_id="extras_image_batch")
        with gr.Tab("Batch from Directory", id="batch_from_directory", elem_id="extras_batch_directory_tab"):
            input_dir = gr.Textbox(
                label="Input directory",
                **is_directory_allowed,
                placeholder="A folder on the computer the program runs on",
                elem_id="extras_batch_input_dir",
            )
            output_dir = gr.Textbox(
                label="Output directory",
                **is_directory_allowed,
                placeholder="Leave empty to save to the usual folder",
                elem_id="extras_batch_output_dir",
            )
            show_results = gr.Checkbox(label="Show result images", value=True, elem_id="extras_show_extras_results")
    return Sources(mode, image, image_batch, input_dir, output_dir, show_results)
