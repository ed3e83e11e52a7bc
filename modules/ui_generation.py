"""face: what the txt2img and img2img tabs have in common: a tab put together from sections in the user's order, the
sections that both have, token counters, running a job.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import gradio as gr

from modules import (
    bounds,
    call_queue,
    errors,
    extra_networks,
    infotext_utils,
    progress,
    prompt_parser,
    script_callbacks,
    script_ui,  # noqa: F401  # builds the controls of scripts
    scripts,
    sd_models,
    shared,
    shared_items,
    token_counter,
    ui_common,
    ui_extra_networks,
    ui_jobs,
)
from modules.job import elsewhere
from modules.sd_hijack import model_hijack
from modules.ui_common import QUIET
from modules.ui_components import FormGroup, FormRow, ResizeHandleRow, ToolButton
from modules.ui_form import Form
from modules.ui_symbols import switch_values_symbol
from modules.ui_toprow import Toprow

"""For events whose outputs show no spinner while they run."""

RESTORE_POLL_SECONDS = 0.1

RESULT_DISCARDED = "<div class='error'>The result of that job is gone: only the last two are kept.</div>"


Section = Callable[[Form], None]
"""Builds one part of a tab's settings and declares its controls in the form."""


@dataclass
class GenerationTab:
    """The built tab: its blocks, and what the page and other tabs need of it."""

    interface: gr.Blocks
    form: Form
    toprow: Toprow
    output: ui_common.OutputPanel
    runner: scripts.ScriptRunner
    task_id: gr.Textbox

    @property
    def steps(self) -> Any:
        """The slider of the sampling steps, which a script adds."""
        return self.runner.script("Sampler").steps

    def connect(self) -> None:
        """Gives the tab's buttons what they do."""
        raise NotImplementedError


def create_tab(
    tab_type: type[GenerationTab], form: Form, runner: scripts.ScriptRunner, sections: Mapping[str, Section]
) -> GenerationTab:
    """Builds a tab in blocks of its own, to be rendered into the page."""
    name = form.tabname
    is_img2img = name == "img2img"
    scripts.scripts_current = runner
    runner.initialize_scripts(is_img2img=is_img2img)
    with gr.Blocks(analytics_enabled=False) as interface:
        toprow = Toprow(is_img2img=is_img2img, is_compact=shared.opts.compact_prompt_box)
        task_id = gr.Textbox(visible=False)
        with gr.Tabs(elem_id=f"{name}_extra_tabs", elem_classes=["extra-networks"]):
            with (
                gr.Tab("Generation", id=f"{name}_generation") as generation,
                ResizeHandleRow(equal_height=False),
            ):
                create_settings(form, toprow, runner, sections)
                output = ui_common.create_output_panel(name, getattr(shared.opts, f"outdir_{name}_samples"), toprow)
            networks = ui_extra_networks.create_ui(interface, [generation], name)
            ui_extra_networks.setup_ui(networks, output.gallery)
        tab = tab_type(interface, form, toprow, output, runner, task_id)
        tab.connect()
    scripts.scripts_current = None
    return tab


def create_settings(form: Form, toprow: Toprow, runner: scripts.ScriptRunner, sections: Mapping[str, Section]) -> None:
    """Makes the left column: sections in the user's order, each followed by the scripts that belong there."""
    with ExitStack() as stack:
        if getattr(shared.opts, f"{form.tabname}_settings_accordion"):
            stack.enter_context(gr.Accordion("Open for Settings", open=False))
        stack.enter_context(gr.Column(variant="compact", elem_id=f"{form.tabname}_settings"))
        runner.prepare_ui()
        for category in ordered_ui_categories():
            if category == "prompt":
                toprow.create_inline_toprow_prompts()
            elif category in sections:
                sections[category](form)
            if category != "accordions":
                runner.setup_ui_for_section(category)
    form.add("prompt", toprow.prompt)
    form.add("negative_prompt", toprow.negative_prompt)
    form.add("prompt_styles", toprow.ui_styles.dropdown, paste=pasted_styles, api="styles")


def ordered_ui_categories() -> Iterator[str]:
    """Yields the names of the sections of a tab in the order to build them: the default one, changed by the setting
    ui_reorder_list.
    """
    chosen = {name.strip(): 2 * position + 1 for position, name in enumerate(shared.opts.ui_reorder_list)}
    weights = {
        name: chosen.get(name, 2 * position) for position, name in enumerate(shared_items.ui_reorder_categories())
    }
    yield from sorted(weights, key=weights.__getitem__)


def create_override_settings_dropdown(tabname: str, row: gr.Row | None = None) -> gr.Dropdown:
    """Returns a menu of settings that hold for this tab's jobs only, as "Key: value" entries; it shows itself while it
    has any. row: not used; it is part of the signature that extensions know.
    """
    dropdown = gr.Dropdown(
        [],
        label="Override settings",
        visible=False,
        elem_id=f"{tabname}_override_settings",
        multiselect=True,
        interactive=True,
    )
    dropdown.change(fn=lambda entries: gr.update(visible=bool(entries)), inputs=[dropdown], outputs=[dropdown], **QUIET)
    return dropdown


def add_override_settings(form: Form) -> None:
    """Adds the row of settings that the job overrides."""
    with FormRow(elem_id=f"{form.tabname}_override_settings_row"):
        form.add("override_settings_texts", create_override_settings_dropdown(form.tabname))


def add_batch_controls(form: Form) -> None:
    """Adds the number of batches and their size."""
    tab = form.tabname
    form.add(
        "n_iter", gr.Slider(minimum=1, step=1, label="Batch count", value=1, maximum=100, elem_id=f"{tab}_batch_count")
    )
    batch_size = gr.Slider(minimum=1, maximum=8, step=1, label="Batch size", value=1, elem_id=f"{tab}_batch_size")
    form.add("batch_size", batch_size)


def add_batch_column(form: Form) -> None:
    """Adds the batch controls beside the size, if the user wants them there."""
    if shared.opts.dimensions_and_batch_together:
        with gr.Column(elem_id=f"{form.tabname}_column_batch"):
            add_batch_controls(form)


def add_batch_row(form: Form) -> None:
    """Adds the batch section, unless the batch controls already stand beside the size."""
    if not shared.opts.dimensions_and_batch_together:
        with FormRow(elem_id=f"{form.tabname}_column_batch"):
            add_batch_controls(form)


def add_size_sliders(form: Form) -> None:
    """Adds width and height."""
    tab = form.tabname
    width = gr.Slider(minimum=64, maximum=2048, step=8, label="Width", value=512, elem_id=f"{tab}_width")
    height = gr.Slider(minimum=64, maximum=2048, step=8, label="Height", value=512, elem_id=f"{tab}_height")
    form.add("width", width)
    form.add("height", height)


def add_swap_button(form: Form) -> None:
    """Adds the button that swaps width and height."""
    tab = form.tabname
    switch = ToolButton(switch_values_symbol, elem_id=f"{tab}_res_switch_btn", tooltip="Swap width and height")
    switch.click(fn=None, js=f'() => switchWidthHeight("{tab}")', inputs=None, outputs=None, **QUIET)


def add_cfg_slider(form: Form) -> None:
    """Adds the strength of guidance."""
    cfg_scale = gr.Slider(
        minimum=1.0, maximum=30.0, step=0.5, label="CFG Scale", value=7.0, elem_id=f"{form.tabname}_cfg_scale"
    )
    form.add("cfg_scale", cfg_scale)


def add_checkboxes(form: Form) -> None:
    """Adds an empty row: its contents come from scripts."""
    FormRow(elem_classes="checkboxes-row")


def add_accordions(form: Form, own: Section | None = None) -> None:
    """Adds the row of accordions: the tab's own, then those of scripts."""
    with gr.Row(elem_id=f"{form.tabname}_accordions", elem_classes="accordions"):
        if own is not None:
            own(form)
        scripts.scripts_current.setup_ui_for_section("accordions")


def add_scripts(form: Form) -> None:
    """Adds the controls of scripts."""
    with FormGroup(elem_id=f"{form.tabname}_script_container"):
        form.script_inputs = scripts.scripts_current.setup_ui()


def pasted_styles(parameters: dict[str, Any]) -> Any:
    """Returns the styles found in a pasted infotext's prompts, if the user wants them applied."""
    return parameters["Styles array"] if isinstance(parameters.get("Styles array"), list) else gr.skip()


def native_size() -> tuple[int, int] | None:
    """Returns (width, height) the embedded model draws best, while it is the only checkpoint; None once the user has
    one.
    """
    checkpoints = list(sd_models.checkpoints_list.values())
    if len(checkpoints) != 1 or not checkpoints[0].is_embedded:
        return None
    resolution = re.fullmatch(r"(\d+)x(\d+)", checkpoints[0].metadata.get("modelspec.resolution", ""))
    return (int(resolution[1]), int(resolution[2])) if resolution else None


def start_at_native_size(form: Form) -> None:
    """Has a tab start at the size of the embedded model where the user has set none of their own."""
    size = native_size()
    if size is not None and (form["width"].value, form["height"].value) == (512, 512):
        form["width"].value, form["height"].value = size


def count_tokens(text: str, steps: int) -> tuple[int, int]:
    """Returns (tokens, maximum) of the longest of all variants that prompt editing and AND make of a prompt.

    A text that cannot be parsed is counted as it is. Both are dashes while no text encoder is loaded, here or in a
    worker.
    """
    try:
        text, _ = extra_networks.parse_prompt(text)
        _, prompt_flat_list, _ = prompt_parser.get_multicond_prompt_list([text])
        schedules = prompt_parser.get_learned_conditioning_prompt_schedules(prompt_flat_list, steps)
    except Exception:  # the grammar's errors have no common class; half-typed prompts are the rule here
        schedules = [[[steps, text]]]
    prompts = [prompt for schedule in schedules for _, prompt in schedule]
    encoder = token_counter.of_chosen_checkpoint() if elsewhere.has_models() else None
    return max((model_hijack.get_prompt_lengths(prompt, encoder) for prompt in prompts), key=lambda counts: counts[0])


def update_token_counter(text: str, steps: int, styles: list[str], *, is_positive: bool = True) -> str:
    """Returns the token counter of a prompt as HTML; "-/-" while no text encoder is loaded, and for a text that no job
    would take.
    """
    params = script_callbacks.BeforeTokenCounterParams(text, steps, styles, is_positive=is_positive)
    script_callbacks.before_token_counter_callback(params)
    text, steps, styles, is_positive = params.prompt, params.steps, params.styles, params.is_positive
    if shared.opts.include_styles_into_token_counters:
        apply = (
            shared.prompt_styles.apply_styles_to_prompt
            if is_positive
            else shared.prompt_styles.apply_negative_styles_to_prompt
        )
        text = apply(text, styles)
    try:
        limits = bounds.current()
        limits.check_length(text, "prompt")
        limits.check_edits(text, int(steps), "prompt")
    except errors.InvalidInput:
        token_count, max_length = "-", "-"
    else:
        token_count, max_length = count_tokens(text, int(steps))
    return f"<span class='gr-box gr-text-input'>{token_count}/{max_length}</span>"


def update_negative_prompt_token_counter(*args: Any) -> str:
    """Returns the token counter of a negative prompt; see `update_token_counter`."""
    return update_token_counter(*args, is_positive=False)


def connect_token_counters(tab: GenerationTab) -> None:
    """Counts when the page clicks a counter's button, and both when the chosen styles change."""
    toprow, steps = tab.toprow, tab.steps
    count = call_queue.wrap_queued_call(update_token_counter)
    count_negative = call_queue.wrap_queued_call(update_negative_prompt_token_counter)
    styles = toprow.ui_styles.dropdown
    positive = {"inputs": [toprow.prompt, steps, styles], "outputs": [toprow.token_counter], **QUIET}
    negative = {"inputs": [toprow.negative_prompt, steps, styles], "outputs": [toprow.negative_token_counter], **QUIET}
    toprow.token_button.click(fn=update_token_counter if toprow.is_img2img else count, **positive)
    toprow.negative_token_button.click(fn=count_negative, **negative)
    styles.change(fn=count, **positive)
    styles.change(fn=count_negative, **negative)


def connect_job(tab: GenerationTab, function: Callable, request_of: ui_jobs.RequestOf, js: str) -> None:
    """Runs a job when Generate is clicked or Shift+Enter pressed in the prompt. Clicks during a job queue.

    request_of: takes what the function takes, and returns the job it runs.
    """
    wrapped = call_queue.wrap_gradio_gpu_call(function, [None, "", ""], ui_jobs.submitter(request_of))
    job = ui_common.show_first_image(wrapped)
    arguments = {
        "fn": job,
        "js": js,
        "inputs": [tab.task_id, *tab.form.inputs()],
        "outputs": tab.output.outputs(),
        "trigger_mode": "multiple",
        **QUIET,
    }
    tab.toprow.prompt.submit(**arguments)
    tab.toprow.submit.click(**arguments)


def restored_outputs(result: tuple | None) -> tuple:
    """Returns what a tab shows of the result of a job that was reloaded; the page as it is when it is gone."""
    return result if result is not None else (gr.skip(), gr.skip(), gr.skip(), RESULT_DISCARDED)


def restore_result(id_task: str) -> tuple:
    """Returns the outputs of a job that runs or ran, once it is over."""
    return restored_outputs(progress.restore_progress(id_task))


async def restore_result_later(id_task: str) -> tuple:
    """Returns the same, and holds no thread until the job is over."""
    while progress.is_unfinished(id_task):
        await asyncio.sleep(RESTORE_POLL_SECONDS)
    return restored_outputs(progress.recorded_result(id_task))


call_queue.add_coroutine(restore_result, restore_result_later)


def connect_restore(tab: GenerationTab, js: str) -> None:
    """Fetches the result of the job that the page was reloaded in."""
    tab.toprow.restore_progress_button.click(
        fn=ui_common.show_first_image(restore_result),
        js=js,
        inputs=[tab.task_id],
        outputs=tab.output.outputs(),
        **QUIET,
    )


def connect_paste(tab: GenerationTab, destinations: Mapping[str, gr.components.Component | None]) -> None:
    """Lets infotexts fill the tab: from its paste button, and from elsewhere under the names of `destinations`, each
    with the control that gets the image.
    """
    fields = [*tab.form.paste_fields(), *tab.runner.infotext_fields]
    for name, image in destinations.items():
        infotext_utils.add_paste_fields(name, image, fields, tab.form["override_settings_texts"])
    binding = infotext_utils.ParamBinding(
        paste_button=tab.toprow.paste,
        tabname=tab.form.tabname,
        source_text_component=tab.toprow.prompt,
        source_image_component=None,
    )
    infotext_utils.register_paste_params_button(binding)
