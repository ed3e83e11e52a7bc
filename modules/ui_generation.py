"""face: what the txt2img and img2img tabs have in common: order of sections, token counters, batch and override
controls, running a job.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from modules import (
    call_queue,
    extra_networks,
    progress,
    prompt_parser,
    script_callbacks,
    script_ui,  # noqa: F401  # builds the controls of scripts
    sd_models,
    shared,
    shared_items,
    ui_common,
)
from modules.sd_hijack import model_hijack
from modules.ui_components import FormRow
from modules.ui_form import Form
from modules.ui_toprow import Toprow

QUIET: dict[str, Any] = {"show_progress": "hidden"}
"""For events whose outputs show no spinner while they run."""

RESULT_DISCARDED = "<div class='error'>The result of that job is gone: only the last two are kept.</div>"


def ordered_ui_categories() -> Iterator[str]:
    """Names of the sections of a tab in the order to build them: the default one, changed by the setting
    ui_reorder_list.
    """
    chosen = {name.strip(): 2 * position + 1 for position, name in enumerate(shared.opts.ui_reorder_list)}
    weights = {
        name: chosen.get(name, 2 * position) for position, name in enumerate(shared_items.ui_reorder_categories())
    }
    yield from sorted(weights, key=weights.__getitem__)


def create_override_settings_dropdown(tabname: str, row: Any) -> gr.Dropdown:
    """Settings that hold for this tab's jobs only, as "Key: value" entries; it shows itself while it has any."""
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
    with FormRow(elem_id=f"{form.tabname}_override_settings_row") as row:
        form.add("override_settings_texts", create_override_settings_dropdown(form.tabname, row))


def add_batch_controls(form: Form) -> None:
    tab = form.tabname
    form.add(
        "n_iter", gr.Slider(minimum=1, step=1, label="Batch count", value=1, maximum=100, elem_id=f"{tab}_batch_count")
    )
    batch_size = gr.Slider(minimum=1, maximum=8, step=1, label="Batch size", value=1, elem_id=f"{tab}_batch_size")
    form.add("batch_size", batch_size, paste="Batch size")


def add_batch_row(form: Form) -> None:
    """The batch section, unless the batch controls already stand beside the size."""
    if not shared.opts.dimensions_and_batch_together:
        with FormRow(elem_id=f"{form.tabname}_column_batch"):
            add_batch_controls(form)


def add_size_sliders(form: Form) -> None:
    tab = form.tabname
    width = gr.Slider(minimum=64, maximum=2048, step=8, label="Width", value=512, elem_id=f"{tab}_width")
    height = gr.Slider(minimum=64, maximum=2048, step=8, label="Height", value=512, elem_id=f"{tab}_height")
    form.add("width", width, paste="Size-1")
    form.add("height", height, paste="Size-2")


def pasted_styles(parameters: dict[str, Any]) -> Any:
    """The styles found in a pasted infotext's prompts, if the user wants them applied."""
    return parameters["Styles array"] if isinstance(parameters.get("Styles array"), list) else gr.skip()


def native_size() -> tuple[int, int] | None:
    """(width, height) the embedded model draws best, while it is the only checkpoint; None once the user has one."""
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
    """(tokens, maximum) of the longest of all variants that prompt editing and AND make of a prompt.

    A text that cannot be parsed is counted as it is. Both are dashes while no text encoder is loaded.
    """
    try:
        text, _ = extra_networks.parse_prompt(text)
        _, prompt_flat_list, _ = prompt_parser.get_multicond_prompt_list([text])
        schedules = prompt_parser.get_learned_conditioning_prompt_schedules(prompt_flat_list, steps)
    except Exception:  # the grammar's errors have no common class; half-typed prompts are the rule here
        schedules = [[[steps, text]]]
    prompts = [prompt for schedule in schedules for _, prompt in schedule]
    return max((model_hijack.get_prompt_lengths(prompt) for prompt in prompts), key=lambda counts: counts[0])


def update_token_counter(text: str, steps: int, styles: list[str], *, is_positive: bool = True) -> str:
    """The token counter of a prompt as HTML; "-/-" while no text encoder is loaded."""
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
    token_count, max_length = count_tokens(text, int(steps))
    return f"<span class='gr-box gr-text-input'>{token_count}/{max_length}</span>"


def update_negative_prompt_token_counter(*args: Any) -> str:
    return update_token_counter(*args, is_positive=False)


def connect_token_counters(toprow: Toprow, steps: Any) -> None:
    """Counts when the page clicks a counter's button, and both when the chosen styles change."""
    count = call_queue.wrap_queued_call(update_token_counter)
    count_negative = call_queue.wrap_queued_call(update_negative_prompt_token_counter)
    styles = toprow.ui_styles.dropdown
    positive = {"inputs": [toprow.prompt, steps, styles], "outputs": [toprow.token_counter], **QUIET}
    negative = {"inputs": [toprow.negative_prompt, steps, styles], "outputs": [toprow.negative_token_counter], **QUIET}
    toprow.token_button.click(fn=update_token_counter if toprow.is_img2img else count, **positive)
    toprow.negative_token_button.click(fn=count_negative, **negative)
    styles.change(fn=count, **positive)
    styles.change(fn=count_negative, **negative)


def connect_job(toprow: Toprow, function: Callable, js: str, inputs: list, output: ui_common.OutputPanel) -> None:
    """Runs a job when Generate is clicked or Shift+Enter pressed in the prompt. Clicks during a job queue."""
    job = ui_common.show_first_picture(call_queue.wrap_gradio_gpu_call(function, extra_outputs=[None, "", ""]))
    arguments = {
        "fn": job,
        "js": js,
        "inputs": inputs,
        "outputs": output.outputs(),
        "trigger_mode": "multiple",
        **QUIET,
    }
    toprow.prompt.submit(**arguments)
    toprow.submit.click(**arguments)


def restore_result(id_task: str) -> tuple:
    """The outputs of a job that runs or ran, once it is over; the page as it is when they are no longer known."""
    result = progress.restore_progress(id_task)
    return result if result is not None else (gr.skip(), gr.skip(), gr.skip(), RESULT_DISCARDED)


def connect_restore(toprow: Toprow, js: str, task_id: Any, output: ui_common.OutputPanel) -> None:
    """Fetches the result of the job that the page was reloaded in."""
    toprow.restore_progress_button.click(
        fn=ui_common.show_first_picture(restore_result), js=js, inputs=[task_id], outputs=output.outputs(), **QUIET
    )
