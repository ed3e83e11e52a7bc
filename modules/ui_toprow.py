"""face: the top of a generation tab: prompts with token counters, Generate, Interrupt and Skip, prompt
tools, styles.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from modules import infotext_utils, progress, shared, ui_prompt_styles
from modules.ui_components import ToolButton
from modules.ui_symbols import apply_style_symbol, clear_prompt_symbol, paste_symbol, restore_progress_symbol

KEYS_HINT = "Ctrl+Enter generates, Alt+Enter skips, Esc interrupts"


def interrupt_after_current_or_now(id_task: str | None = None) -> None:
    """Stops as the user wants it. First click with several images to go: stop after this one, if the user wants it so.
    Second click, or one image: stop now.

    id_task: what the tab waits for; while that has not begun, it alone is taken out of the queue.
    """
    state, shown, queue = shared.state, progress.shown_state(), progress.queue
    waiting = queue.find(id_task) if id_task else None
    if waiting is not None and queue.cancel(waiting):
        gr.Info("The job has been taken out of the queue.")
    elif not shown.stopping_generation and shown.job_count > 1 and shared.opts.interrupt_after_current:
        state.stop_generating()
        gr.Info("Stopping after this picture. Click again to stop at once.")
    else:
        state.interrupt()


class Toprow:
    """Prompts and buttons of a tab.

    is_compact: prompts stand in the settings column and Generate above the results, instead of both above the tab.
    id_part: start of the element ids, the tab's name. After creation the attributes are the components.
    """

    prompt: gr.Textbox | None = None
    prompt_img: gr.File | None = None
    negative_prompt: gr.Textbox | None = None
    button_interrogate: gr.Button | None = None
    button_deepbooru: gr.Button | None = None
    interrupt: gr.Button | None = None
    interrupting: gr.Button | None = None
    skip: gr.Button | None = None
    submit: gr.Button | None = None
    paste: gr.Button | None = None
    clear_prompt_button: gr.Button | None = None
    apply_styles: gr.Button | None = None
    restore_progress_button: gr.Button | None = None
    token_counter: gr.HTML | None = None
    token_button: gr.Button | None = None
    negative_token_counter: gr.HTML | None = None
    negative_token_button: gr.Button | None = None
    ui_styles: ui_prompt_styles.UiPromptStyles | None = None
    submit_box: gr.Row | None = None

    def __init__(self, is_img2img: bool, is_compact: bool = False, id_part: str | None = None):
        self.id_part = id_part or ("img2img" if is_img2img else "txt2img")
        self.is_img2img = is_img2img
        self.is_compact = is_compact
        if not is_compact:
            with gr.Row(elem_id=f"{self.id_part}_toprow", equal_height=False):
                self.create_classic_toprow()
        else:
            self.create_submit_box()

    def create_classic_toprow(self) -> None:
        """Makes everything above the form in its usual place: prompts left, buttons right."""
        self.create_prompts()
        with gr.Column(scale=1, min_width=280, elem_id=f"{self.id_part}_actions_column"):
            self.create_submit_box()
            self.create_tools_row()
            self.create_styles_ui()

    def create_inline_toprow_prompts(self) -> None:
        """Makes the prompts inside the settings column, in the compact layout only."""
        if not self.is_compact:
            return
        self.create_prompts()
        with gr.Row(elem_classes=["toprow-compact-stylerow"]):
            with gr.Column(elem_classes=["toprow-compact-tools"], min_width=160):
                self.create_tools_row()
            with gr.Column():
                self.create_styles_ui()

    def create_inline_toprow_image(self) -> None:
        """Makes the Generate button on top of the results, in the compact layout only."""
        if self.is_compact:
            self.submit_box.render()

    def create_prompts(self) -> None:
        """Makes the two prompts with their token counters."""
        classes = ["prompt-container-compact"] if self.is_compact else []
        with gr.Column(elem_id=f"{self.id_part}_prompt_container", elem_classes=classes, scale=3):
            with gr.Row(elem_id=f"{self.id_part}_prompt_row", elem_classes=["prompt-row"]):
                self.prompt = gr.Textbox(
                    label="Prompt",
                    elem_id=f"{self.id_part}_prompt",
                    show_label=False,
                    lines=3,
                    max_lines=20,
                    placeholder=f"Prompt\n({KEYS_HINT})",
                    elem_classes=["prompt"],
                )
                self.prompt_img = gr.File(
                    label="", elem_id=f"{self.id_part}_prompt_image", file_count="single", type="binary", visible=False
                )
            with gr.Row(elem_id=f"{self.id_part}_neg_prompt_row", elem_classes=["prompt-row"]):
                self.negative_prompt = gr.Textbox(
                    label="Negative prompt",
                    elem_id=f"{self.id_part}_neg_prompt",
                    show_label=False,
                    lines=3,
                    max_lines=20,
                    placeholder=f"Negative prompt\n({KEYS_HINT})",
                    elem_classes=["prompt"],
                )
        self.prompt_img.upload(
            fn=infotext_utils.image_data,
            inputs=[self.prompt_img],
            outputs=[self.prompt, self.prompt_img],
            show_progress="hidden",
        )

    def create_submit_box(self) -> None:
        """Makes Generate, and the buttons that lie over it while a job runs."""
        compact = ["generate-box-compact"] if self.is_compact else []
        with gr.Row(
            elem_id=f"{self.id_part}_generate_box", elem_classes=["generate-box", *compact], render=not self.is_compact
        ) as self.submit_box:
            self.interrupt = self.create_run_button("Interrupt", "interrupt")
            self.skip = self.create_run_button("Skip", "skip")
            self.interrupting = self.create_run_button("Interrupting...", "interrupting")
            self.submit = gr.Button("Generate", elem_id=f"{self.id_part}_generate", variant="primary")

        quiet: dict[str, Any] = {"outputs": [], "show_progress": "hidden"}
        self.skip.click(fn=shared.state.skip, inputs=[], **quiet)
        # The page's script puts the id of the job that the tab follows into the control.
        stop = {"fn": interrupt_after_current_or_now, "inputs": [gr.Textbox(visible=False)], **quiet}
        self.interrupt.click(js=f'() => interruptJob("{self.id_part}")', **stop)
        self.interrupting.click(js=f'() => followedJob("{self.id_part}")', **stop)

    def create_run_button(self, text: str, name: str) -> gr.Button:
        """Makes a button that lies over Generate while a job runs."""
        return gr.Button(text, elem_id=f"{self.id_part}_{name}", elem_classes=f"generate-box-{name}")

    def create_tools_row(self) -> None:
        """Makes the tools of the prompts."""
        with gr.Row(elem_id=f"{self.id_part}_tools"):
            self.paste = ToolButton(
                paste_symbol,
                elem_id="paste",
                tooltip="Read the parameters in the prompt into the page; if it is empty, those of the last job",
            )
            self.clear_prompt_button = ToolButton(
                clear_prompt_symbol, elem_id=f"{self.id_part}_clear_prompt", tooltip="Empty both prompts"
            )
            self.apply_styles = ToolButton(
                apply_style_symbol,
                elem_id=f"{self.id_part}_style_apply",
                tooltip="Put the selected styles into the prompts",
            )
            if self.is_img2img:
                self.button_interrogate = ToolButton(
                    "📎", elem_id="interrogate", tooltip="Describe the picture in words (CLIP)"
                )
                self.button_deepbooru = ToolButton(
                    "📦", elem_id="deepbooru", tooltip="Describe the picture in tags (DeepBooru)"
                )
            self.restore_progress_button = ToolButton(
                restore_progress_symbol,
                elem_id=f"{self.id_part}_restore_progress",
                visible=False,
                tooltip="Show the progress and result of the job that this page was reloaded in",
            )
            self.token_counter, self.token_button = self.create_token_counter("token")
            self.negative_token_counter, self.negative_token_button = self.create_token_counter("negative_token")

        self.clear_prompt_button.click(
            fn=None,
            js="confirm_clear_prompt",
            inputs=[self.prompt, self.negative_prompt],
            outputs=[self.prompt, self.negative_prompt],
        )

    def create_token_counter(self, name: str) -> tuple[gr.HTML, gr.Button]:
        """Makes a counter, and the hidden button that the page clicks to have it counted."""
        counter = gr.HTML(
            value="<span>0/75</span>",
            elem_id=f"{self.id_part}_{name}_counter",
            elem_classes=["token-counter"],
            visible=False,
        )
        return counter, gr.Button(visible=False, elem_id=f"{self.id_part}_{name}_button")

    def create_styles_ui(self) -> None:
        """Makes the menu of styles, and connects its tool."""
        self.ui_styles = ui_prompt_styles.UiPromptStyles(self.id_part, self.prompt, self.negative_prompt)
        self.ui_styles.setup_apply_button(self.apply_styles)
